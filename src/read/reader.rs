//! How bytes become record batches: cut into elements, parsed in parallel, read by the format's rules, laid out in
//! order. What cannot be read is reported with its number, and what lies whole within it is read all the same.

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde_json::Value;

use super::conversation::{Conversation, Sealed, to_batch};
use super::mapped::{self, Mapping};
use super::salvage::{first_key, whole_objects};
use super::shapes::oasst::{Message, Tree};
use super::shapes::{self, Shape};
use super::split::{Element, Layout, MAX_ELEMENT_BYTES, Splitter};
use super::value::{Fields, kind, parse, take_text, take_time};
use crate::error::{Error, Result};

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
    /// Elements of an array that do not parse, one after another: one slip may have cut them at wrong places.
    torn: Vec<Element>,
    torn_bytes: usize,
    /// Messages of the tree that is not complete yet, where elements are single messages.
    tree: Option<Tree>,
    /// What is broken after that tree began: reported after it, so that no position lies beyond a tree to come.
    held: Vec<Broken>,
}

/// What an element holds.
enum Found {
    Conversations(Vec<std::result::Result<Sealed, String>>),
    /// One message of a tree that other elements go on with.
    Message(Message),
}

enum Read {
    Found(u64, Found),
    /// JSON, but not of the format.
    Broken(Element, String),
    /// Does not parse as JSON.
    Torn(Element, String),
}

/// What a call of `feed` hands out.
#[derive(Default)]
struct Output {
    conversations: Vec<Sealed>,
    broken: Vec<Broken>,
}

impl JsonReader {
    /// # Errors
    /// `InvalidInput` when the mapping names neither turns nor a text nor a shape.
    pub fn new(mapping: Mapping, layout: Option<Layout>) -> Result<Self> {
        if mapping.turns.is_empty() && mapping.text.is_empty() && mapping.shape.is_none() {
            return Err(Error::invalid("the mapping must name a field for 'turns' or for 'text', or a shape"));
        }
        let splitter = Splitter::new(layout, MAX_ELEMENT_BYTES);
        Ok(Self { mapping, splitter, torn: Vec::new(), torn_bytes: 0, tree: None, held: Vec::new() })
    }

    pub fn layout(&self) -> Option<Layout> {
        self.splitter.layout()
    }

    /// The conversations that are complete once `data` is added, and the elements that could not be read.
    pub fn feed(&mut self, data: &[u8], last: bool) -> Result<(RecordBatch, Vec<Broken>)> {
        let elements = self.splitter.feed(data, last);
        self.learn_first_key(&elements);
        let mapping = &self.mapping;
        let read: Vec<Read> = elements.into_par_iter().map(|element| read_element(element, mapping)).collect();
        let mut output = Output::default();
        for element in read {
            match element {
                Read::Torn(element, why) => self.tear(element, why, &mut output),
                Read::Found(number, found) => {
                    self.mend_torn(&mut output);
                    self.take(number, found, &mut output);
                }
                Read::Broken(element, message) => {
                    self.report(Broken { number: element.number, message }, &mut output);
                    if !self.torn.is_empty() {
                        self.keep_torn(element, &mut output); // may be a piece of what one slip has torn apart
                    }
                }
            }
        }
        if last {
            self.mend_torn(&mut output);
            self.close_tree(&mut output);
        }
        Ok((to_batch(&output.conversations)?, output.broken))
    }

    fn learn_first_key(&mut self, elements: &[Element]) {
        if self.splitter.first_key().is_none() && self.layout() != Some(Layout::Lines) {
            let whole = elements.iter().find(|element| parse(&element.bytes).is_ok_and(|value| value.is_object()));
            if let Some(key) = whole.and_then(|element| first_key(&element.bytes)) {
                self.splitter.set_first_key(key.to_owned());
            }
        }
    }

    /// In an array, what one slip has torn apart comes in several pieces; a line stands for itself.
    fn tear(&mut self, element: Element, why: String, output: &mut Output) {
        let number = element.number;
        if self.layout() == Some(Layout::Lines) {
            let (objects, n_broken) = whole_objects(&element.bytes, self.layout(), None, |_| true);
            let is_all = n_broken == 0;
            if !is_all {
                self.report(Broken { number, message: why }, output);
            }
            for object in objects {
                match read_value(object, &self.mapping, number) {
                    Ok(found) => self.take(number, found, output),
                    Err(message) if is_all => self.report(Broken { number, message }, output),
                    Err(_) => {}
                }
            }
            return;
        }
        if self.torn.is_empty() {
            self.report(Broken { number, message: why }, output);
        }
        self.keep_torn(element, output);
    }

    fn keep_torn(&mut self, element: Element, output: &mut Output) {
        self.torn_bytes += element.bytes.len();
        self.torn.push(element);
        if self.torn_bytes > MAX_ELEMENT_BYTES {
            self.mend_torn(output);
        }
    }

    fn mend_torn(&mut self, output: &mut Output) {
        self.torn_bytes = 0;
        let torn = std::mem::take(&mut self.torn);
        let Some(number) = torn.last().map(|element| element.number) else { return };
        let mut bytes = Vec::new();
        for element in torn {
            bytes.extend_from_slice(&element.gap);
            bytes.extend_from_slice(&element.bytes);
        }
        let fits = |object: &Value| read_value(object.clone(), &self.mapping, number).is_ok();
        let (objects, n_broken) = whole_objects(&bytes, self.layout(), self.splitter.first_key(), fits);
        // the first one is reported already
        for _ in 1..n_broken {
            self.report(Broken { number, message: "not JSON: it begins within another broken element".into() }, output);
        }
        for object in objects {
            if let Ok(found) = read_value(object, &self.mapping, number) {
                self.take(number, found, output);
            }
        }
    }

    fn take(&mut self, number: u64, found: Found, output: &mut Output) {
        match found {
            Found::Conversations(conversations) => {
                self.close_tree(output);
                for conversation in conversations {
                    match conversation {
                        Ok(conversation) => output.conversations.push(conversation),
                        Err(message) => output.broken.push(Broken { number, message }),
                    }
                }
            }
            Found::Message(message) => match &mut self.tree {
                Some(tree) if tree.takes(&message) => tree.add(number, message),
                _ => {
                    self.close_tree(output);
                    self.tree = Some(Tree::new(number, message));
                }
            },
        }
    }

    fn close_tree(&mut self, output: &mut Output) {
        if let Some(tree) = self.tree.take() {
            let number = tree.last_number();
            match tree.conversation(&self.mapping.roles) {
                Ok(conversation) => output.conversations.push(conversation.seal(number)),
                Err(message) => output.broken.push(Broken { number, message }),
            }
        }
        output.broken.append(&mut self.held);
        output.broken.sort_by_key(|broken| broken.number);
    }

    fn report(&mut self, broken: Broken, output: &mut Output) {
        if self.tree.is_some() {
            self.held.push(broken);
        } else {
            output.broken.push(broken);
        }
    }
}

fn read_element(element: Element, mapping: &Mapping) -> Read {
    let number = element.number;
    if element.is_too_long {
        let message = format!("longer than {} MiB: not read", MAX_ELEMENT_BYTES >> 20);
        return if element.bytes.is_empty() { Read::Broken(element, message) } else { Read::Torn(element, message) };
    }
    let value = match parse(&element.bytes) {
        Ok(value) => value,
        Err(message) => return Read::Torn(element, message),
    };
    // where a bracket is missing, a list holds what should stand beside it
    let is_list = value.is_array();
    match read_value(value, mapping, number) {
        Ok(found) => Read::Found(number, found),
        Err(message) if is_list => Read::Torn(element, message),
        Err(message) => Read::Broken(element, message),
    }
}

fn read_value(value: Value, mapping: &Mapping, number: u64) -> std::result::Result<Found, String> {
    let Value::Object(mut fields) = value else {
        return Err(format!("need a JSON object: got {}", kind(&value)));
    };
    let Some(shape) = mapping.shape else {
        return Ok(Found::Conversations(vec![Ok(mapped::read(fields, mapping)?.seal(number))]));
    };
    if shape == Shape::Oasst && Message::is_one(&fields) {
        return Ok(Found::Message(Message::read(fields)?));
    }
    let named = Named::take(&mut fields, mapping);
    let mut found = shapes::read(shape, fields, &mapping.roles);
    if let [Err(message)] = &mut found[..] {
        return Err(std::mem::take(message));
    }
    let is_one = found.len() == 1;
    let seal = |mut conversation: Conversation| {
        conversation.model = named.model.clone().or(conversation.model);
        conversation.language = named.language.clone().or(conversation.language);
        conversation.timestamp = named.timestamp.or(conversation.timestamp);
        if is_one {
            conversation.id = named.id.clone().or(conversation.id);
        }
        conversation.seal(number)
    };
    Ok(Found::Conversations(found.into_iter().map(|conversation| conversation.map(seal)).collect()))
}

/// What the caller's own field names say: it goes before what the format says.
struct Named {
    id: Option<String>,
    model: Option<String>,
    language: Option<String>,
    timestamp: Option<i64>,
}

impl Named {
    fn take(fields: &mut Fields, mapping: &Mapping) -> Self {
        Self {
            id: take_text(fields, &mapping.conversation_id),
            model: take_text(fields, &mapping.model),
            language: take_text(fields, &mapping.language),
            timestamp: take_time(fields, &mapping.timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
            roles: HashMap::from([("human".into(), "user".into()), ("gpt".into(), "assistant".into())]),
            ..Mapping::default()
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

    #[test]
    fn whole_elements_within_broken_ones_are_read() {
        let good = |id: u32| format!(r#"{{"id": {id}, "conversation": [{{"role": "user", "content": "a ] b"}}]}}"#);
        for broken in [r#"{"id": 9, "conversation": [{"role": "user"#, r#"{"id": "#, r#""x"#, "{{{[[", "}}]]"] {
            let text = format!("[{}, {broken}, {}, {}, {broken}, {}]", good(1), good(2), good(3), good(4));
            let (batch, problems) = read_all(&text);
            let ids: Vec<String> = strings(&batch, "conversation_id").into_iter().flatten().collect();
            assert_eq!(ids, ["1", "2", "3", "4"], "{broken}: {problems:?}");
            assert!(!problems.is_empty());
        }
    }

    #[test]
    fn two_objects_on_a_line_are_two_conversations() {
        let (batch, broken) = read_all("{\"conversation\": []}{\"conversation\": []}\n{\"conversation\": []}");
        assert_eq!((batch.num_rows(), broken.len()), (3, 0));
    }
}
