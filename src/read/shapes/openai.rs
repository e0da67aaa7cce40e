//! OpenAI's requests and answers: fine-tuning and log lines with `messages`, batch requests and results, the Responses
//! API; also what other servers write in this shape. The answer, wherever it stands, is the last turn.

use serde_json::Value;

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, is_messages, listed, render, turn, turns, with_content};
use super::super::value::{Fields, take, unpacked};
use super::exchange::{answered, joined, put_back};

const NAMES: Names = Names {
    id: &[
        "conversation_id",
        "conversation_hash",
        "id",
        "uid",
        "response.body.id",
        "response.id",
        "request_id",
        "custom_id",
    ],
    model: &[
        "model",
        "model_id",
        "model_name",
        "response.body.model",
        "response.model",
        "body.model",
        "request.body.model",
        "request.model",
    ],
    language: &["language", "lang"],
    timestamp: &[
        "timestamp",
        "tstamp",
        "created_at",
        "create_time",
        "created",
        "response.body.created",
        "response.body.created_at",
        "response.created",
        "response.created_at",
    ],
};
/// Where a request may be wrapped, and where its answer may stand.
const REQUESTS: [&str; 3] = ["request", "body", "input"];
const ANSWERS: [&str; 7] = ["response", "completion", "choices", "output", "preferred_output", "answer", "output_text"];

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    for name in ["messages", "request", "response", "body", "input", "choices", "output"] {
        if let Some(value) = fields.remove(name) {
            fields.insert(name.into(), opened(name, value));
        }
    }
    let mut asked = request(&mut fields, roles)?;
    for name in REQUESTS {
        if let Some(Value::Object(mut inner)) = fields.remove(name) {
            if asked.is_empty() {
                if let Some(Value::Object(mut body)) = inner.remove("body") {
                    asked = request(&mut body, roles)?;
                    inner.insert("body".into(), Value::Object(body));
                } else {
                    asked = request(&mut inner, roles)?;
                }
            }
            fields.insert(name.into(), Value::Object(inner));
        }
    }
    let mut found = Vec::new();
    for name in ANSWERS {
        if let Some(value) = fields.remove(name).filter(|_| found.is_empty()) {
            let (answer, rest) = answer(value, roles)?;
            found = answer;
            put_back(&mut fields, name, rest);
        }
    }
    if asked.is_empty() && found.is_empty() {
        let is_there = ["messages", "choices"].iter().any(|name| fields.get(*name).is_some_and(Value::is_array));
        if !is_there {
            return Err(format!("no messages and no answer: there are {}", listed(&fields)));
        }
        fields.retain(|_, value| value != &Value::Array(Vec::new()));
    }
    Ok(Conversation::from_fields(joined(asked, found), fields, NAMES))
}

/// A table's column may hold JSON as text; a plain text is the question or the answer itself.
fn opened(name: &str, value: Value) -> Value {
    match unpacked(value.clone()) {
        inner @ Value::Array(_) if name == "messages" || is_messages(&inner) => inner,
        inner @ Value::Object(_) if name != "output" => inner,
        _ => value,
    }
}

/// The turns of a request, taken out of it.
fn request(fields: &mut Fields, roles: &Roles) -> Result<Vec<Turn>, String> {
    let mut found = Vec::new();
    let is_request = ["messages", "input", "prompt"].iter().any(|name| fields.get(*name).is_some_and(is_said));
    if !is_request {
        return Ok(found);
    }
    if let Some(text) = take(fields, &["instructions", "system"]) {
        found.push(with_content("system".into(), &text, Fields::new()));
    }
    if fields.get("messages").is_some_and(Value::is_array) {
        if let Some(Value::Array(messages)) = fields.remove("messages") {
            found.extend(messages_of(messages, roles)?);
        }
        return Ok(found);
    }
    match take(fields, &["input", "prompt"]) {
        Some(Value::Array(items)) => found.extend(messages_of(items, roles)?),
        Some(text) => found.push(Turn::new("user", render(&text).0)),
        None => {}
    }
    Ok(found)
}

fn is_said(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Array(_))
}

/// Every item must be a message here: a list that holds something else is broken.
fn messages_of(messages: Vec<Value>, roles: &Roles) -> Result<Vec<Turn>, String> {
    turns(messages, roles)
}

fn answer(value: Value, roles: &Roles) -> Result<(Vec<Turn>, Value), String> {
    match value {
        Value::Null => Ok((Vec::new(), Value::Null)),
        Value::Object(mut fields) => {
            if let Some(body) = fields.remove("body") {
                let (found, rest) = answer(unpacked(body), roles)?;
                put_back(&mut fields, "body", rest);
                return Ok((found, Value::Object(fields)));
            }
            // items of the Responses API
            if let Some(Value::Array(items)) = fields.get_mut("output").map(Value::take) {
                fields.remove("output");
                return Ok((turns(items, roles)?, Value::Object(fields)));
            }
            answered(Value::Object(fields), roles)
        }
        Value::Array(items) if items.iter().all(|item| item.get("type").is_some() && item.get("text").is_none()) => {
            let found = items.into_iter().map(|item| turn(item, roles)).collect::<Result<Vec<_>, _>>()?;
            Ok((found, Value::Null))
        }
        other => answered(other, roles),
    }
}
