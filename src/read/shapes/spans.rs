//! What the attributes of a span are, however an exporter writes them: OTLP's list of typed values, an object of values,
//! or the tags of Jaeger; and which of them are the numbered fields of a list (`gen_ai.prompt.0.role`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::value::{Fields, get, unpacked};

/// Attributes by name.
pub(super) fn attributes(value: Value) -> Fields {
    match unpacked(value) {
        Value::Object(fields) => fields,
        Value::Array(items) => items
            .into_iter()
            .filter_map(|item| {
                let Value::Object(mut item) = item else { return None };
                let name = item.get("key").and_then(Value::as_str)?.to_owned();
                Some((name, plain(item.remove("value").unwrap_or_default())))
            })
            .collect(),
        _ => Fields::new(),
    }
}

/// A value without OTLP's type around it.
fn plain(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    if fields.len() != 1 {
        return Value::Object(fields);
    }
    let Some((kind, inner)) = fields.into_iter().next() else { return Value::Null };
    let values = |mut inner: Value| match inner.get_mut("values").map(Value::take) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    match kind.as_str() {
        "stringValue" | "string_value" | "boolValue" | "bool_value" | "doubleValue" | "double_value" | "bytesValue"
        | "bytes_value" => inner,
        "intValue" | "int_value" => match inner.as_str().and_then(|digits| digits.parse::<i64>().ok()) {
            Some(number) => number.into(),
            None => inner,
        },
        "arrayValue" | "array_value" => Value::Array(values(inner).into_iter().map(plain).collect()),
        "kvlistValue" | "kvlist_value" => Value::Object(attributes(Value::Array(values(inner)))),
        _ => Value::Object(Fields::from_iter([(kind, inner)])),
    }
}

/// The entries of a list that is written as numbered attributes, or as a list, without `wrapper` before their names:
/// `llm.input_messages.0.message.role` is the field `role` of entry 0.
pub(super) fn numbered(attributes: &mut Fields, list: &str, wrapper: &str) -> Vec<Fields> {
    let prefix = format!("{list}.");
    let names: Vec<String> = attributes.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
    let mut entries: BTreeMap<u64, Fields> = BTreeMap::new();
    for name in names {
        let Some((number, field)) = name[prefix.len()..].split_once('.') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let value = attributes.remove(&name).unwrap_or_default();
        let field = field.strip_prefix(wrapper).unwrap_or(field);
        entries.entry(number).or_default().insert(field.to_owned(), value);
    }
    if !entries.is_empty() {
        return entries.into_values().collect();
    }
    let Some(Value::Array(items)) = get(attributes, list) else { return Vec::new() };
    let unwrapped = |item: &Value| match item.get(wrapper.trim_end_matches('.')) {
        Some(Value::Object(inner)) => Some(inner.clone()),
        _ => item.as_object().cloned(),
    };
    items.iter().filter_map(unwrapped).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typed_values_become_plain() {
        let found = attributes(json!([
            {"key": "a", "value": {"stringValue": "x"}},
            {"key": "b", "value": {"intValue": "7"}},
            {"key": "c", "value": {"arrayValue": {"values": [{"boolValue": true}]}}},
            {"key": "d", "value": {"kvlistValue": {"values": [{"key": "e", "value": {"doubleValue": 1.5}}]}}},
            {"key": "f", "value": 3},
            3,
        ]));
        assert_eq!(Value::Object(found), json!({"a": "x", "b": 7, "c": [true], "d": {"e": 1.5}, "f": 3}));
    }

    #[test]
    fn numbered_fields_are_in_the_order_of_their_numbers() {
        let Value::Object(mut fields) = json!({
            "p.10.message.role": "b", "p.2.message.role": "a", "p.2.message.content": "x", "p.x": 1
        }) else {
            unreachable!()
        };
        let found: Vec<Value> = numbered(&mut fields, "p", "message.").into_iter().map(Value::Object).collect();
        assert_eq!(found, [json!({"role": "a", "content": "x"}), json!({"role": "b"})]);
        assert_eq!(Value::Object(fields), json!({"p.x": 1}));
    }
}
