//! What a single JSON value is: parsed in spite of other writers' slips, found under a path, read as a time. It knows
//! nothing of conversations.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde_json::{Map, Value};

pub(super) type Fields = Map<String, Value>;

pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
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

/// The value under a name; dots descend into objects where no field has the whole name.
pub(super) fn get<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
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
pub(super) fn take<N: AsRef<str>>(fields: &mut Fields, names: &[N]) -> Option<Value> {
    for name in names {
        let name = name.as_ref();
        if get(fields, name).is_none_or(Value::is_null) {
            continue;
        }
        if fields.contains_key(name) {
            return fields.remove(name);
        }
        let (first, rest) = name.split_once('.')?;
        if let Some(Value::Object(inner)) = fields.get_mut(first) {
            return take(inner, &[rest]);
        }
    }
    None
}

/// As `take`, as a text; an empty one counts as absent, a number is written out.
pub(super) fn take_text<N: AsRef<str>>(fields: &mut Fields, names: &[N]) -> Option<String> {
    take(fields, names).map(|value| scalar_text(&value)).filter(|text| !text.is_empty())
}

/// The first of the named fields that can be read as a time; one that can't be is left where it is.
pub(super) fn take_time<N: AsRef<str>>(fields: &mut Fields, names: &[N]) -> Option<i64> {
    for name in names {
        let parsed = get(fields, name.as_ref()).and_then(to_microseconds);
        if parsed.is_some() {
            take(fields, std::slice::from_ref(name));
            return parsed;
        }
    }
    None
}

pub(super) fn scalar_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON objects and lists that were written into a string are taken out of it; anything else stays as it is.
pub(super) fn unpacked(value: Value) -> Value {
    if let Value::String(text) = &value
        && text.trim_start().starts_with(['{', '['])
        && let Ok(inner) = serde_json::from_str::<Value>(text)
    {
        return inner;
    }
    value
}

/// Microseconds of an ISO 8601 string (UTC when it names no zone) or of seconds, milliseconds, microseconds or
/// nanoseconds since 1970, told apart by size.
pub(super) fn to_microseconds(value: &Value) -> Option<i64> {
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

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_path_descends_only_where_no_field_has_its_name() {
        let mut fields: Fields = serde_json::from_str(r#"{"a.b": 1, "a": {"b": 2, "c": 3}}"#).unwrap();
        assert_eq!(take(&mut fields, &["a.b"]), Some(1.into()));
        assert_eq!(take(&mut fields, &["a.b"]), Some(2.into()));
        assert_eq!(take_text(&mut fields, &["x", "a.c"]), Some("3".into()));
    }

    #[test]
    fn only_strings_that_hold_json_are_unpacked() {
        assert_eq!(unpacked("[1]".into()), serde_json::json!([1]));
        assert_eq!(unpacked("[1".into()), Value::from("[1"));
        assert_eq!(unpacked("12".into()), Value::from("12"));
    }
}
