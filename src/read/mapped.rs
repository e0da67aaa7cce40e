//! What an element says whose format is only field names: which hold the turns, who speaks, when. Everything that no
//! field of ours takes is kept in `extra`; nothing is guessed.

use serde_json::Value;

use super::conversation::{Conversation, Turn};
use super::message::{Roles, listed, role_name, with_content};
use super::shapes::Shape;
use super::value::{Fields, get, kind, scalar_text, take, take_text, take_time, unpacked};

/// Where a format keeps what: each field is a list of alternative names, dots descend into objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    pub conversation_id: Vec<String>,
    /// The list of turns; empty when `text` or `shape` is used.
    pub turns: Vec<String>,
    pub role: Vec<String>,
    pub content: Vec<String>,
    pub model: Vec<String>,
    pub language: Vec<String>,
    pub timestamp: Vec<String>,
    /// A single text that is the one user turn.
    pub text: Vec<String>,
    /// A field of the first turn that is the conversation's id.
    pub turn_id: Vec<String>,
    /// Source role (lower case) to ours: user, assistant, system, tool. Unknown roles are kept as they are.
    pub roles: Roles,
    /// The structure of a format that field names can't describe; the named fields then go before its own.
    pub shape: Option<Shape>,
}

/// The conversation of one element.
///
/// # Errors
/// What it lacks, in words for the user.
pub(super) fn read(mut fields: Fields, mapping: &Mapping) -> Result<Conversation, String> {
    let mut turns = Vec::new();
    if let Some(found) = take(&mut fields, &mapping.turns) {
        turns = read_turns(unpacked(found), mapping)?;
    } else if let Some(text) = take(&mut fields, &mapping.text) {
        turns.push(with_content("user".into(), &text, Fields::new()));
    } else if named(mapping).any(|name| get(&fields, name).is_some()) {
        // the field is there and null: a conversation without turns, as in the columns of a table
        for name in named(mapping) {
            fields.remove(name);
        }
    } else {
        let wanted: Vec<&str> = named(mapping).map(String::as_str).collect();
        return Err(format!("no field '{}': there are {}", wanted.join("' or '"), listed(&fields)));
    }
    let first = turns.first().and_then(|turn: &Turn| mapping.turn_id.iter().find_map(|name| get(&turn.rest, name)));
    let turn_id = first.map(scalar_text).filter(|id| !id.is_empty());
    let mut conversation = Conversation { turns, ..Conversation::default() };
    conversation.id = match turn_id {
        Some(id) => Some(id),
        None => take_text(&mut fields, &mapping.conversation_id),
    };
    conversation.model = take_text(&mut fields, &mapping.model);
    conversation.language = take_text(&mut fields, &mapping.language);
    conversation.timestamp = take_time(&mut fields, &mapping.timestamp);
    conversation.extra = fields;
    Ok(conversation)
}

fn named(mapping: &Mapping) -> impl Iterator<Item = &String> {
    mapping.turns.iter().chain(&mapping.text)
}

fn read_turns(found: Value, mapping: &Mapping) -> Result<Vec<Turn>, String> {
    let Value::Array(found) = found else {
        let wanted = mapping.turns.join("' or '");
        return Err(format!("field '{wanted}' must be a list of turns: got {}", kind(&found)));
    };
    let mut turns = Vec::with_capacity(found.len());
    for (position, turn) in found.into_iter().enumerate() {
        let Value::Object(mut turn) = turn else {
            return Err(format!("turn {position} must be an object: got {}", kind(&turn)));
        };
        let role = take(&mut turn, &mapping.role).map_or_else(String::new, |role| scalar_text(&role));
        let content = take(&mut turn, &mapping.content).unwrap_or_default();
        turns.push(with_content(role_name(&role, &mapping.roles), &content, turn));
    }
    Ok(turns)
}
