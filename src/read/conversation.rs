//! What one JSON element says as a conversation: which fields hold the turns, who speaks, when. Everything that no
//! field of ours takes is kept as JSON in `extra`; nothing is guessed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, LargeListBuilder, LargeStringBuilder, RecordBatch, StructBuilder, TimestampMicrosecondBuilder,
    UInt64Builder,
};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::split::{Element, Layout, Splitter};
use crate::error::{Error, Result};

/// Where a format keeps what: each field is a list of alternative names, dots descend into objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    pub conversation_id: Vec<String>,
    /// The list of turns; empty when `text` is used.
    pub turns: Vec<String>,
    pub role: Vec<String>,
    pub content: Vec<String>,
    pub model: Vec<String>,
    pub language: Vec<String>,
    pub timestamp: Vec<String>,
    /// A single text that is the one user turn.
    pub text: Vec<String>,
    /// Source role (lower case) to ours: user, assistant, system, tool. Unknown roles are kept as they are.
    pub roles: HashMap<String, String>,
}

/// An element that could not be read: its 1-based line or position, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub number: u64,
    pub message: String,
}

/// Turns pieces of bytes into record batches of conversations.
#[derive(Debug)]
pub struct JsonReader {
    mapping: Mapping,
    splitter: Splitter,
}

impl JsonReader {
    /// # Errors
    /// `InvalidInput` when the mapping names neither turns nor a text.
    pub fn new(mapping: Mapping, layout: Option<Layout>) -> Result<Self> {
        if mapping.turns.is_empty() && mapping.text.is_empty() {
            return Err(Error::invalid("the mapping must name a field for 'turns' or for 'text'"));
        }
        Ok(Self { mapping, splitter: Splitter::new(layout) })
    }

    pub fn layout(&self) -> Option<Layout> {
        self.splitter.layout()
    }

    /// The conversations that are complete once `data` is added, and the elements that could not be read.
    pub fn feed(&mut self, data: &[u8], last: bool) -> Result<(RecordBatch, Vec<Broken>)> {
        let elements = self.splitter.feed(data, last);
        let parsed: Vec<std::result::Result<Conversation, Broken>> = elements
            .par_iter()
            .map(|element| read(element, &self.mapping).map_err(|message| Broken { number: element.number, message }))
            .collect();
        let mut broken = Vec::new();
        let mut conversations = Vec::with_capacity(parsed.len());
        for result in parsed {
            match result {
                Ok(conversation) => conversations.push(conversation),
                Err(why) => broken.push(why),
            }
        }
        Ok((to_batch(&conversations)?, broken))
    }
}

/// conversation_id, model, language, timestamp, turns (role, content), extra, line.
pub fn conversation_schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::LargeUtf8, true);
    Schema::new(vec![
        text("conversation_id"),
        text("model"),
        text("language"),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("turns", DataType::LargeList(Arc::new(turn_field())), true),
        text("extra"),
        Field::new("line", DataType::UInt64, true),
    ])
}

fn turn_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::LargeUtf8, true), Field::new("content", DataType::LargeUtf8, true)])
}

fn turn_field() -> Field {
    Field::new("item", DataType::Struct(turn_fields()), true)
}

#[derive(Debug, Default)]
struct Conversation {
    id: Option<String>,
    model: Option<String>,
    language: Option<String>,
    /// Microseconds since 1970, UTC.
    timestamp: Option<i64>,
    turns: Vec<(String, String)>,
    extra: Option<String>,
    line: u64,
}

fn read(element: &Element, mapping: &Mapping) -> std::result::Result<Conversation, String> {
    let value = parse(&element.bytes)?;
    let Value::Object(mut fields) = value else {
        return Err(format!("need a JSON object: got {}", kind(&value)));
    };
    let mut conversation = Conversation { line: element.number, ..Conversation::default() };
    let mut turn_rest: Vec<Value> = Vec::new();
    if let Some(turns) = take(&mut fields, &mapping.turns) {
        let Value::Array(turns) = turns else {
            return Err(format!(
                "field '{}' must be a list of turns: got {}",
                mapping.turns.join("' or '"),
                kind(&turns)
            ));
        };
        for (position, turn) in turns.into_iter().enumerate() {
            let Value::Object(mut turn) = turn else {
                return Err(format!("turn {position} must be an object: got {}", kind(&turn)));
            };
            let role = take(&mut turn, &mapping.role).map_or_else(String::new, |role| to_text(&role));
            let lower = role.to_lowercase();
            let role = mapping.roles.get(&lower).cloned().unwrap_or(lower);
            let content = take(&mut turn, &mapping.content).map_or_else(String::new, |content| to_text(&content));
            conversation.turns.push((role, content));
            turn_rest.push(if turn.is_empty() { Value::Null } else { Value::Object(turn) });
        }
    } else if let Some(text) = take(&mut fields, &mapping.text) {
        conversation.turns.push(("user".into(), to_text(&text)));
    } else if mapping.turns.iter().chain(&mapping.text).any(|name| get(&fields, name).is_some()) {
        // the field is there and null: a conversation without turns, as in the columns of a table
        for name in mapping.turns.iter().chain(&mapping.text) {
            fields.remove(name);
        }
    } else {
        let wanted: Vec<&str> = mapping.turns.iter().chain(&mapping.text).map(String::as_str).collect();
        let present: Vec<&str> = fields.keys().take(12).map(String::as_str).collect();
        return Err(format!("no field '{}': there are {}", wanted.join("' or '"), present.join(", ")));
    }
    let some_text = |value: Value| match value {
        Value::Null => None,
        value => Some(to_text(&value)).filter(|text| !text.is_empty()),
    };
    conversation.id = take(&mut fields, &mapping.conversation_id).and_then(some_text);
    conversation.model = take(&mut fields, &mapping.model).and_then(some_text);
    conversation.language = take(&mut fields, &mapping.language).and_then(some_text);
    for name in &mapping.timestamp {
        let parsed = get(&fields, name).and_then(to_microseconds);
        if parsed.is_some() {
            conversation.timestamp = parsed;
            take(&mut fields, std::slice::from_ref(name));
            break;
        }
    }
    if turn_rest.iter().any(|rest| !rest.is_null()) {
        fields.insert("turn_fields".into(), Value::Array(turn_rest));
    }
    if !fields.is_empty() {
        conversation.extra = Some(Value::Object(fields).to_string());
    }
    Ok(conversation)
}

fn parse(bytes: &[u8]) -> std::result::Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // other writers emit lone surrogates and NaN, which JSON does not have: mended, then read again
        Err(error) => serde_json::from_str(&mend(text)).map_err(|_| format!("not JSON: {error}")),
    }
}

/// Replaces escaped lone surrogates by U+FFFD, and bare NaN and Infinity by null.
fn mend(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        if in_string {
            if let Some(escape) = rest.strip_prefix('\\') {
                let unit = |at: &str| {
                    at.strip_prefix('u').and_then(|hex| hex.get(..4)).and_then(|hex| u16::from_str_radix(hex, 16).ok())
                };
                match unit(escape) {
                    Some(0xD800..=0xDBFF) => {
                        let low = escape.get(5..).and_then(|after| after.strip_prefix('\\')).and_then(unit);
                        let whole = matches!(low, Some(0xDC00..=0xDFFF));
                        let length = if whole { 12 } else { 6 };
                        mended.push_str(if whole { &rest[..length] } else { "\\ufffd" });
                        rest = &rest[length..];
                    }
                    Some(0xDC00..=0xDFFF) => {
                        mended.push_str("\\ufffd");
                        rest = &rest[6..];
                    }
                    _ => {
                        let length = 1 + escape.chars().next().map_or(0, char::len_utf8);
                        mended.push_str(&rest[..length]);
                        rest = &rest[length..];
                    }
                }
                continue;
            }
            in_string = c != '"';
        } else if c == '"' {
            in_string = true;
        } else if let Some(word) = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word)) {
            mended.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        mended.push(c);
        rest = &rest[c.len_utf8()..];
    }
    mended
}

fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    match fields.get(first)? {
        Value::Object(inner) => get(inner, rest),
        _ => None,
    }
}

/// Removes and returns the first of the named fields that is there and not null.
fn take(fields: &mut Map<String, Value>, names: &[String]) -> Option<Value> {
    for name in names {
        if get(fields, name).is_none_or(Value::is_null) {
            continue;
        }
        if fields.contains_key(name) {
            return fields.remove(name);
        }
        let (first, rest) = name.split_once('.')?;
        if let Some(Value::Object(inner)) = fields.get_mut(first) {
            return take(inner, &[rest.to_owned()]);
        }
    }
    None
}

/// The text of a content: strings as they are, lists of parts joined by lines, objects by their text field.
fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(to_text).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => ["text", "content", "value", "answer", "parts"]
            .iter()
            .find_map(|name| fields.get(*name))
            .map_or_else(|| value.to_string(), to_text),
        other => other.to_string(),
    }
}

/// Microseconds of an ISO 8601 string (UTC when it names no zone) or of seconds, milliseconds, microseconds or
/// nanoseconds since 1970, told apart by size.
fn to_microseconds(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => epoch_to_microseconds(number),
            Err(_) => string_to_timestamp_nanos(text.trim().trim_end_matches(" UTC"))
                .ok()
                .map(|nanos| nanos.div_euclid(1_000)),
        },
        Value::Number(number) => epoch_to_microseconds(number.as_f64()?),
        _ => None,
    }
}

fn epoch_to_microseconds(number: f64) -> Option<i64> {
    // 1e11 seconds is the year 5138; as milliseconds it is 1973
    let scale = match number.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        _ => 1e-3,
    };
    let microseconds = (number * scale).round();
    (microseconds.is_finite() && microseconds.abs() < 9e18).then_some(microseconds as i64)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn to_batch(conversations: &[Conversation]) -> Result<RecordBatch> {
    let column = |field: fn(&Conversation) -> Option<&String>| -> ArrayRef {
        let mut builder = LargeStringBuilder::new();
        conversations.iter().for_each(|conversation| builder.append_option(field(conversation)));
        Arc::new(builder.finish())
    };
    let mut timestamp = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut line = UInt64Builder::new();
    let mut turns = LargeListBuilder::new(StructBuilder::new(
        turn_fields(),
        vec![Box::new(LargeStringBuilder::new()), Box::new(LargeStringBuilder::new())],
    ))
    .with_field(turn_field());
    for conversation in conversations {
        timestamp.append_option(conversation.timestamp);
        line.append_value(conversation.line);
        for (role, content) in &conversation.turns {
            let turn = turns.values();
            for (position, text) in [role, content].into_iter().enumerate() {
                if let Some(builder) = turn.field_builder::<LargeStringBuilder>(position) {
                    builder.append_value(text);
                }
            }
            turn.append(true);
        }
        turns.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        column(|conversation| conversation.id.as_ref()),
        column(|conversation| conversation.model.as_ref()),
        column(|conversation| conversation.language.as_ref()),
        Arc::new(timestamp.finish()),
        Arc::new(turns.finish()),
        column(|conversation| conversation.extra.as_ref()),
        Arc::new(line.finish()),
    ];
    RecordBatch::try_new(Arc::new(conversation_schema()), columns)
        .map_err(|error| Error::Internal { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn mapping() -> Mapping {
        Mapping {
            conversation_id: names(&["conversation_id", "id"]),
            turns: names(&["conversation", "conversations"]),
            role: names(&["role", "from"]),
            content: names(&["content", "value"]),
            model: names(&["model", "meta.model"]),
            language: names(&["language"]),
            timestamp: names(&["timestamp", "tstamp"]),
            text: Vec::new(),
            roles: HashMap::from([("human".into(), "user".into()), ("gpt".into(), "assistant".into())]),
        }
    }

    fn read_all(data: &str) -> (RecordBatch, Vec<Broken>) {
        JsonReader::new(mapping(), None).unwrap().feed(data.as_bytes(), true).unwrap()
    }

    fn strings(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        batch.column_by_name(column).unwrap().as_string::<i64>().iter().map(|v| v.map(str::to_owned)).collect()
    }

    #[test]
    fn lmsys_and_sharegpt_shapes_are_read() {
        let (batch, broken) = read_all(concat!(
            r#"{"conversation_id": 7, "model": "m", "conversation": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}], "tstamp": 1682351042.5, "turn": 1, "redacted": false}"#,
            "\n",
            r#"{"id": "a", "conversations": [{"from": "human", "value": "q"}], "meta": {"model": "x", "y": 1}}"#
        ));
        assert!(broken.is_empty());
        assert_eq!(strings(&batch, "conversation_id"), [Some("7".into()), Some("a".into())]);
        assert_eq!(strings(&batch, "model"), [Some("m".into()), Some("x".into())]);
        assert_eq!(
            strings(&batch, "extra"),
            [Some(r#"{"redacted":false,"turn":1}"#.into()), Some(r#"{"meta":{"y":1}}"#.into())]
        );
        let turns = batch.column_by_name("turns").unwrap().as_list::<i64>();
        assert_eq!(turns.value(0).len(), 2);
        let roles = turns.values().as_struct().column(0).as_string::<i64>().clone();
        assert_eq!(roles.iter().flatten().collect::<Vec<_>>(), ["user", "assistant", "user"]);
        let when =
            batch.column_by_name("timestamp").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        assert_eq!(when.value(0), 1_682_351_042_500_000);
    }

    #[test]
    fn broken_elements_are_numbered_and_the_rest_is_kept() {
        let good = r#"{"conversation": []}"#;
        let (batch, broken) =
            read_all(&format!("{good}\nnot json\n\n[1]\n{{\"text\": 1}}\n{{\"conversation\": 3}}\n{good}"));
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(broken.iter().map(|b| b.number).collect::<Vec<_>>(), [2, 4, 5, 6]);
        assert!(broken[2].message.contains("no field 'conversation' or 'conversations': there are text"), "{broken:?}");
    }

    #[test]
    fn null_turns_are_a_conversation_without_turns() {
        let (batch, broken) = read_all(r#"{"id": "a", "conversation": null}"#);
        assert_eq!((batch.num_rows(), broken.len()), (1, 0));
        assert!(batch.column_by_name("extra").unwrap().is_null(0));
    }

    #[test]
    fn lone_surrogates_nan_and_nul_are_survived() {
        let (batch, broken) = read_all(
            r#"{"conversation": [{"role": "user", "content": "a\ud800b \ud83d\ude00 \udc00 \\ud800 \u0000"}], "language": NaN}"#,
        );
        assert_eq!(broken, []);
        let turns = batch.column_by_name("turns").unwrap().as_list::<i64>();
        let contents = turns.values().as_struct().column(1).as_string::<i64>().clone();
        assert_eq!(contents.value(0), "a\u{fffd}b 😀 \u{fffd} \\ud800 \0");
        assert!(batch.column_by_name("language").unwrap().is_null(0));
    }

    #[test]
    fn invalid_utf8_is_broken_not_replaced() {
        let (batch, broken) = JsonReader::new(mapping(), None)
            .unwrap()
            .feed(b"{\"conversation\": [], \"x\": \"\xff\"}\n{\"conversation\": []}", true)
            .unwrap();
        assert_eq!((batch.num_rows(), broken.len()), (1, 1));
        assert!(broken[0].message.contains("not UTF-8"));
    }

    #[test]
    fn times_are_told_apart_by_size() {
        let want = Some(1_700_000_000_000_000);
        for value in [
            "1700000000",
            "1700000000000",
            "1700000000000000",
            "1700000000000000000",
            "\"1700000000\"",
            "\"2023-11-14T22:13:20Z\"",
            "\"2023-11-14 22:13:20\"",
            "\"2023-11-14T23:13:20+01:00\"",
        ] {
            assert_eq!(to_microseconds(&serde_json::from_str(value).unwrap()), want, "{value}");
        }
        assert_eq!(to_microseconds(&Value::String("yesterday".into())), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_reported(data in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let mut reader = JsonReader::new(mapping(), None).unwrap();
            for chunk in data.chunks(piece) {
                reader.feed(chunk, false).unwrap();
            }
            reader.feed(b"", true).unwrap();
        }

        #[test]
        fn any_content_survives_the_round_trip(content in any::<String>()) {
            let line = serde_json::json!({"conversation": [{"role": "user", "content": content}]}).to_string();
            let (batch, broken) = read_all(&line);
            prop_assert!(broken.is_empty());
            let turns = batch.column_by_name("turns").unwrap().as_list::<i64>();
            prop_assert_eq!(turns.values().as_struct().column(1).as_string::<i64>().value(0), content.as_str());
        }
    }
}
