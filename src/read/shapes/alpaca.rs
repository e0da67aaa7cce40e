//! Pairs of an instruction and its answer, as Alpaca, Dolly and prompt/completion files write them: two turns, before
//! them the earlier ones where the file has a history.

use serde_json::Value;

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{listed, render};
use super::super::value::{Fields, take};

const NAMES: Names = Names {
    id: &["conversation_id", "id", "uid"],
    model: &["model", "model_id", "model_name"],
    language: &["language", "lang"],
    timestamp: &["timestamp", "tstamp", "created_at", "create_time", "created"],
};

pub(super) fn read(mut fields: Fields) -> Result<Conversation, String> {
    let mut found = Vec::new();
    if let Some(text) = text(&mut fields, &["system", "system_prompt"]) {
        found.push(Turn::new("system", text));
    }
    if let Some(Value::Array(history)) = fields.get("history")
        && let Some(turns) = earlier(history)
    {
        found.extend(turns);
        fields.remove("history");
    }
    if !["instruction", "prompt", "question"].iter().any(|name| fields.contains_key(*name)) {
        return Err(format!("no field 'instruction' or 'prompt': there are {}", listed(&fields)));
    }
    let instruction = text(&mut fields, &["instruction", "prompt", "question"]).unwrap_or_default();
    let asked = match text(&mut fields, &["input", "context"]) {
        Some(input) if instruction.is_empty() => input,
        Some(input) => format!("{instruction}\n\n{input}"),
        None => instruction,
    };
    if !asked.is_empty() {
        found.push(Turn::new("user", asked));
    }
    if let Some(answer) = text(&mut fields, &["output", "response", "completion", "answer"]) {
        found.push(Turn::new("assistant", answer));
    }
    fields.retain(|name, value| {
        !(["instruction", "input", "context", "output", "response", "prompt", "completion", "system", "history"]
            .contains(&name.as_str())
            && (value.is_null() || value == "" || value == &Value::Array(Vec::new())))
    });
    Ok(Conversation::from_fields(found, fields, NAMES))
}

/// The first of the fields that says something. White space around it is part of it.
fn text(fields: &mut Fields, names: &[&str]) -> Option<String> {
    let name = names.iter().find(|name| fields.get(**name).is_some_and(|value| !render(value).0.trim().is_empty()))?;
    take(fields, &[*name]).map(|value| render(&value).0)
}

/// Pairs of question and answer.
fn earlier(history: &[Value]) -> Option<Vec<Turn>> {
    let mut turns = Vec::new();
    for pair in history {
        let [asked, answer] = pair.as_array()?.as_slice() else { return None };
        turns.push(Turn::new("user", asked.as_str()?));
        turns.push(Turn::new("assistant", answer.as_str()?));
    }
    Some(turns)
}
