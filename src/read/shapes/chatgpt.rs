//! A conversation of a ChatGPT account export: a tree of messages, of which the path to the current one is read. Texts
//! of the other branches are kept, as are all fields of the messages.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, listed, render, role_name};
use super::super::value::{Fields, get, kind, take, take_text};
use super::branches::{Place, other_leaves, path_to};

const NAMES: Names = Names {
    id: &["conversation_id", "id"],
    model: &["model", "default_model_slug"],
    language: &["language"],
    timestamp: &["create_time", "update_time"],
};
/// Messages of these kinds are instructions that the user has set once, not questions.
const INSTRUCTIONS: [&str; 2] = ["user_editable_context", "model_editable_context"];

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    let mapping = match fields.remove("mapping") {
        Some(Value::Object(mapping)) => mapping,
        Some(other) => return Err(format!("field 'mapping' must be an object: got {}", kind(&other))),
        None => return Err(format!("no field 'mapping': there are {}", listed(&fields))),
    };
    let current = take_text(&mut fields, &["current_node"]);
    let (path, n_others) = chosen(&mapping, current.as_deref());
    let mut model = None;
    let mut nodes = mapping;
    let mut turns = Vec::new();
    for id in &path {
        let Some(mut message) = nodes.remove(id).and_then(message_of) else { continue };
        if let Some(slug) = get(&message, "metadata.model_slug").and_then(Value::as_str) {
            model = Some(slug.to_owned());
        }
        let turn = turn(&mut message, roles);
        if !(turn.content.is_empty() && (turn.role == "system" || is_hidden(&turn.rest))) {
            turns.push(turn);
        }
    }
    let mut others: Vec<(f64, Value)> = Vec::new();
    for (_, node) in nodes {
        let Some(mut message) = message_of(node) else { continue };
        let written = get(&message, "create_time").and_then(Value::as_f64).unwrap_or(0.0);
        let turn = turn(&mut message, roles);
        if !turn.content.is_empty() && turn.role != "system" {
            others.push((written, json!({"role": turn.role, "content": turn.content})));
        }
    }
    if !others.is_empty() {
        others.sort_by(|one, other| one.0.total_cmp(&other.0));
        let texts: Vec<Value> = others.into_iter().map(|(_, text)| text).collect();
        fields.insert("other_branches".into(), json!({"n_branches": n_others, "turns": texts}));
    }
    let mut conversation = Conversation::from_fields(turns, fields, NAMES);
    conversation.model = model.or(conversation.model);
    Ok(conversation)
}

/// The ids on the path, and how many branches end elsewhere. Without a current message the newest leaf is taken.
fn chosen(mapping: &Fields, current: Option<&str>) -> (Vec<String>, usize) {
    let ids: Vec<&String> = mapping.keys().collect();
    let places: Vec<Place<'_>> =
        mapping.iter().map(|(id, node)| Place { id, parent: node.get("parent").and_then(Value::as_str) }).collect();
    let leaf = current.filter(|id| mapping.contains_key(*id)).or_else(|| newest(mapping));
    let path = leaf.map(|leaf| path_to(leaf, &places)).unwrap_or_default();
    let n_others = other_leaves(&path, &places);
    (path.into_iter().map(|at| ids[at].clone()).collect(), n_others)
}

fn newest(mapping: &Fields) -> Option<&str> {
    let written = |node: &Value| node.pointer("/message/create_time").and_then(Value::as_f64).unwrap_or(0.0);
    mapping
        .iter()
        .filter(|(_, node)| node.get("children").and_then(Value::as_array).is_none_or(Vec::is_empty))
        .max_by(|(_, one), (_, other)| written(one).total_cmp(&written(other)))
        .map(|(id, _)| id.as_str())
}

/// The root of a tree has none.
fn message_of(mut node: Value) -> Option<Fields> {
    match node.get_mut("message").map(Value::take) {
        Some(Value::Object(message)) => Some(message),
        _ => None,
    }
}

fn is_hidden(rest: &Fields) -> bool {
    get(rest, "metadata.is_visually_hidden_from_conversation").is_some_and(|hidden| hidden == true)
}

fn turn(message: &mut Fields, roles: &Roles) -> Turn {
    let role = take_text(message, &["author.role", "role"]).unwrap_or_default();
    if message.get("author").is_some_and(|author| author.as_object().is_some_and(is_blank)) {
        message.remove("author");
    }
    let content = take(message, &["content"]).unwrap_or_default();
    let content_type = content.get("content_type").and_then(Value::as_str).unwrap_or("text");
    let mut role = role_name(&role, roles);
    if INSTRUCTIONS.contains(&content_type) {
        role = "system".into();
    }
    let (text, is_whole) = text_of(&content, content_type);
    let mut rest = std::mem::take(message);
    rest.retain(|_, value| !value.is_null());
    if !is_whole {
        rest.insert("content".into(), content);
    }
    Turn { role, content: text, rest }
}

/// Names of an author and its metadata are mostly empty.
fn is_blank(author: &Fields) -> bool {
    author.values().all(|value| value.is_null() || value.as_object().is_some_and(Fields::is_empty))
}

fn text_of(content: &Value, content_type: &str) -> (String, bool) {
    let joined = |names: &[&str]| {
        let texts: Vec<String> =
            names.iter().filter_map(|name| content.get(*name)).map(|text| render(text).0).collect();
        texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    };
    match content {
        Value::Object(fields) => match content_type {
            "text" => {
                let (text, is_whole) = fields.get("parts").map(render).unwrap_or_else(|| (joined(&["text"]), false));
                (text, is_whole && fields.len() <= 2)
            }
            "user_editable_context" => (joined(&["user_profile", "user_instructions"]), false),
            "model_editable_context" => (joined(&["model_set_context"]), false),
            "thoughts" => (String::new(), false),
            "tether_browsing_display" => (joined(&["result"]), false),
            _ => (joined(&["parts", "text", "content", "result"]), false),
        },
        other => render(other),
    }
}
