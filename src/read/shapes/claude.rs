//! A conversation of a Claude account export: its messages in order, or, where messages name their parents, the path to
//! the current one. Blocks of tools and thinking, attachments and files are kept beside the text.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, listed, render, role_name};
use super::super::value::{Fields, kind, take, take_text};
use super::branches::{Place, other_leaves, path_to};

const NAMES: Names = Names {
    id: &["uuid", "conversation_id", "id"],
    model: &["model"],
    language: &["language", "lang"],
    timestamp: &["created_at", "updated_at"],
};
/// The parent that a first message names.
const ROOT: &str = "00000000-0000-4000-8000-000000000000";

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    let messages = match fields.remove("chat_messages") {
        Some(Value::Array(messages)) => messages,
        Some(Value::Null) => Vec::new(),
        Some(other) => return Err(format!("field 'chat_messages' must be a list: got {}", kind(&other))),
        None => return Err(format!("no field 'chat_messages': there are {}", listed(&fields))),
    };
    let current = take_text(&mut fields, &["current_leaf_message_uuid"]);
    let path = chosen(&messages, current.as_deref());
    let mut turns = Vec::new();
    let mut others = Vec::new();
    let mut on_path = path.as_ref().map(|(path, _)| path.iter().peekable());
    for (position, message) in messages.into_iter().enumerate() {
        let Value::Object(message) = message else {
            return Err(format!("message {position} must be an object: got {}", kind(&message)));
        };
        let turn = turn(message, roles);
        if on_path.as_mut().is_none_or(|path| path.next_if(|at| **at == position).is_some()) {
            turns.push(turn);
        } else {
            others.push(json!({"role": turn.role, "content": turn.content}));
        }
    }
    if !others.is_empty() {
        let n_branches = path.map_or(0, |(_, n_others)| n_others);
        fields.insert("other_branches".into(), json!({"n_branches": n_branches, "turns": others}));
    }
    Ok(Conversation::from_fields(turns, fields, NAMES))
}

/// The positions on the path to the current message, if the messages are a tree in order; None: all of them.
fn chosen(messages: &[Value], current: Option<&str>) -> Option<(Vec<usize>, usize)> {
    let text = |message: &'_ Value, name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
    let ids: Vec<String> = messages.iter().map(|message| text(message, "uuid").unwrap_or_default()).collect();
    let parents: Vec<Option<String>> =
        messages.iter().map(|message| text(message, "parent_message_uuid").filter(|parent| parent != ROOT)).collect();
    if parents.iter().all(Option::is_none) {
        return None;
    }
    let places: Vec<Place<'_>> =
        ids.iter().zip(&parents).map(|(id, parent)| Place { id, parent: parent.as_deref() }).collect();
    let leaf = current.filter(|id| ids.iter().any(|known| known == id)).or(ids.last().map(String::as_str))?;
    let path = path_to(leaf, &places);
    let n_others = other_leaves(&path, &places);
    path.is_sorted().then_some((path, n_others))
}

fn turn(mut message: Fields, roles: &Roles) -> Turn {
    let role = take_text(&mut message, &["sender", "role"]).unwrap_or_default();
    let blocks = take(&mut message, &["content"]).unwrap_or_default();
    let (mut text, mut is_whole) = render(&blocks);
    let plain = message.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if text.is_empty() {
        text = plain;
        message.remove("text");
    } else if plain == text || plain.is_empty() {
        message.remove("text");
    }
    // blocks of text alone say nothing more than the text, but when they were written
    if let Value::Array(blocks) = &blocks {
        is_whole |= blocks.len() == 1 && blocks[0]["type"] == "text" && blocks[0]["text"] == text.as_str();
    }
    if !is_whole {
        message.insert("content".into(), blocks);
    }
    message.retain(|_, value| !value.is_null() && value != &Value::Array(Vec::new()));
    if text.trim().is_empty()
        && let Some(Value::Array(attachments)) = message.get("attachments")
    {
        // long pastes become attachments: then they are all that was said
        let pasted = attachments.iter().filter_map(|attachment| attachment["extracted_content"].as_str());
        text = pasted.collect::<Vec<_>>().join("\n");
    }
    Turn { role: role_name(&role, roles), content: text, rest: message }
}
