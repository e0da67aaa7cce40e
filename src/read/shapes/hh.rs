//! Pairs of a chosen and a rejected conversation, as HH-RLHF and files for preference tuning have them: transcripts
//! with "Human:" and "Assistant:" before each turn, lists of messages, or a prompt with two answers. The chosen one is
//! the conversation; the rejected one is kept as it is.

use serde_json::Value;

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, is_messages, listed, render, turns};
use super::super::value::{Fields, kind, take, unpacked};

const NAMES: Names = Names {
    id: &["conversation_id", "id", "uid", "prompt_id"],
    model: &["model", "chosen_model", "chosen-model"],
    language: &["language", "lang"],
    timestamp: &["timestamp", "tstamp", "created_at", "created"],
};
const MARKS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    let Some(chosen) = fields.remove("chosen") else {
        return Err(format!("no field 'chosen': there are {}", listed(&fields)));
    };
    let chosen = match unpacked(chosen.clone()) {
        messages if is_messages(&messages) => messages,
        _ => chosen,
    };
    let found = match chosen {
        Value::String(text) => match transcript(&text) {
            Some(turns) => turns,
            None => prompted(&mut fields, text)?,
        },
        Value::Array(messages) => turns(messages, roles)?,
        Value::Object(_) if is_messages(&Value::Array(vec![chosen.clone()])) => {
            let mut found = prompt(&mut fields);
            found.extend(turns(vec![chosen], roles)?);
            found
        }
        other => return Err(format!("field 'chosen' must be a text or a list of messages: got {}", kind(&other))),
    };
    Ok(Conversation::from_fields(found, fields, NAMES))
}

/// The turns of a transcript; None if no mark stands in it. What comes before the first mark is the system's.
fn transcript(text: &str) -> Option<Vec<Turn>> {
    let owned;
    let text = if MARKS.iter().any(|(mark, _)| text.starts_with(mark.trim_start())) {
        owned = format!("\n\n{text}");
        owned.as_str()
    } else {
        text
    };
    let mut marks: Vec<(usize, usize, &str)> = Vec::new();
    for (mark, role) in MARKS {
        marks.extend(text.match_indices(mark).map(|(at, _)| (at, at + mark.len(), role)));
    }
    marks.sort_unstable();
    let before = text[..marks.first().map_or(text.len(), |(at, _, _)| *at)].trim();
    let mut turns = Vec::with_capacity(marks.len() + 1);
    if !before.is_empty() {
        turns.push(Turn::new("system", before));
    }
    for (position, (_, start, role)) in marks.iter().enumerate() {
        let end = marks.get(position + 1).map_or(text.len(), |(at, _, _)| *at);
        turns.push(Turn::new(role, text[*start..end].trim()));
    }
    turns.iter().any(|turn| turn.role != "system").then_some(turns)
}

fn prompted(fields: &mut Fields, answer: String) -> Result<Vec<Turn>, String> {
    let mut found = prompt(fields);
    if found.iter().all(|turn| turn.role != "user") {
        return Err("field 'chosen' has no \"Human:\" and \"Assistant:\" marks, and there is no field 'prompt'".into());
    }
    found.push(Turn::new("assistant", answer));
    Ok(found)
}

fn prompt(fields: &mut Fields) -> Vec<Turn> {
    let mut found = Vec::new();
    for (names, role) in [(&["system"][..], "system"), (&["prompt", "question", "instruction", "input"][..], "user")] {
        if let Some(text) = take(fields, names).map(|value| render(&value).0).filter(|text| !text.is_empty()) {
            match transcript(&text) {
                Some(turns) => found.extend(turns.into_iter().filter(|turn| !turn.content.is_empty())),
                None => found.push(Turn::new(role, text)),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_part_the_turns() {
        let turns = transcript("\n\nHuman: hi\nthere\n\nAssistant: yo\n\nHuman: bye\n\nAssistant:").unwrap();
        let found: Vec<_> = turns.iter().map(|turn| (turn.role.as_str(), turn.content.as_str())).collect();
        assert_eq!(found, [("user", "hi\nthere"), ("assistant", "yo"), ("user", "bye"), ("assistant", "")]);
        assert_eq!(transcript("Human: hi").unwrap()[0].content, "hi");
        assert_eq!(transcript("no marks"), None);
        assert_eq!(transcript("be kind\n\nHuman: hi").unwrap()[0], Turn::new("system", "be kind"));
    }
}
