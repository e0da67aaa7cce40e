//! Files of Chatbot Arena and its benchmarks: battles of two models, questions with `turns`, answers with `choices`.
//! Of a battle the first conversation is read; the other one is kept.

use serde_json::Value;

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, listed, render, turns};
use super::super::value::{Fields, kind, unpacked};

const NAMES: Names = Names {
    id: &["conversation_id", "answer_id", "ans_id", "question_id", "uid", "id"],
    model: &["model_a", "model_id", "model", "model_name"],
    language: &["language", "lang"],
    timestamp: &["timestamp", "tstamp", "created_at", "created"],
};

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    let found = if let Some(battle) = fields.remove("conversation_a").map(unpacked) {
        match battle {
            Value::Array(messages) => turns(messages, roles)?,
            Value::Null => Vec::new(),
            other => return Err(format!("field 'conversation_a' must be a list of turns: got {}", kind(&other))),
        }
    } else if let Some(questions) = fields.remove("turns").map(unpacked) {
        said("user", questions)?
    } else if let Some(choices) = fields.remove("choices").map(unpacked) {
        let Value::Array(mut choices) = choices else {
            return Err(format!("field 'choices' must be a list: got {}", kind(&choices)));
        };
        let first = if choices.is_empty() { Value::Null } else { choices.remove(0) };
        let Value::Object(mut first) = first else {
            return Err("field 'choices' holds no object".into());
        };
        let answers = first.remove("turns").unwrap_or_default();
        if !choices.is_empty() || first.keys().any(|name| name != "index") {
            choices.insert(0, Value::Object(first));
            fields.insert("choices".into(), Value::Array(choices));
        }
        said("assistant", answers)?
    } else {
        return Err(format!("no field 'turns', 'choices' or 'conversation_a': there are {}", listed(&fields)));
    };
    Ok(Conversation::from_fields(found, fields, NAMES))
}

/// Texts, or objects with a text, of one speaker.
fn said(role: &str, texts: Value) -> Result<Vec<Turn>, String> {
    match texts {
        Value::Null => Ok(Vec::new()),
        Value::Array(texts) => Ok(texts.iter().map(|text| Turn::new(role, render(text).0)).collect()),
        other => Err(format!("field 'turns' must be a list of texts: got {}", kind(&other))),
    }
}
