//! Who says what in one message, whichever API wrote it: OpenAI, Anthropic, Gemini, LangChain, OpenTelemetry, ShareGPT.
//! What has no place in a role and a text stays in the turn's `rest`; nothing is dropped.

use std::collections::HashMap;

use serde_json::Value;

use super::conversation::Turn;
use super::value::{Fields, kind, take};

/// Source role (lower case) to ours: user, assistant, system, tool. Unknown roles are kept as they are.
pub(super) type Roles = HashMap<String, String>;

const ROLE: [&str; 6] = ["role", "author.role", "from", "sender", "speaker", "author"];
const CONTENT: [&str; 6] = ["content", "parts", "value", "text", "message", "refusal"];
/// What LangChain's `type` says where other APIs have a role.
const SPEAKERS: [&str; 8] = ["human", "ai", "system", "tool", "function", "chat", "aimessagechunk", "developer"];

/// The role by the caller's table; without one it stays, in lower case.
pub(super) fn role_name(role: &str, roles: &Roles) -> String {
    let lower = role.trim().to_lowercase();
    roles.get(&lower).cloned().unwrap_or(lower)
}

/// The turn of one message.
///
/// # Errors
/// When the value is no object, or has neither a role nor a text.
pub(super) fn turn(value: Value, roles: &Roles) -> Result<Turn, String> {
    let Value::Object(fields) = value else {
        return Err(format!("need an object with role and content: got {}", kind(&value)));
    };
    let (speaker, mut fields) = opened(fields);
    let speaker = speaker.or_else(|| take(&mut fields, &ROLE).map(|role| render(&role).0));
    let item = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let speaker = match (speaker, item) {
        (Some(speaker), _) => speaker,
        // the items of OpenAI's Responses API
        (None, "function_call_output" | "custom_tool_call_output") => {
            let content = take(&mut fields, &["output"]).unwrap_or_default();
            return Ok(with_content(role_name("tool", roles), &content, fields));
        }
        (None, "function_call" | "reasoning" | "custom_tool_call" | "web_search_call" | "file_search_call") => {
            return Ok(Turn { role: role_name("assistant", roles), content: String::new(), rest: fields });
        }
        (None, _) => return Err(format!("a message without a role: there are {}", listed(&fields))),
    };
    let content = take(&mut fields, &CONTENT);
    if content.is_none() && fields.is_empty() && speaker.is_empty() {
        return Err("an empty message".into());
    }
    if let Some(Value::Object(audio)) = fields.get("audio")
        && content.is_none()
        && let Some(spoken) = audio.get("transcript").and_then(Value::as_str)
    {
        return Ok(Turn { role: role_name(&speaker, roles), content: spoken.to_owned(), rest: fields });
    }
    fields.retain(|name, value| !(value.is_null() || (name == "type" && value == "message")));
    Ok(with_content(role_name(&speaker, roles), &content.unwrap_or_default(), fields))
}

/// The turns of a list of messages. Lists within lists, as LangChain writes batches, are one list.
pub(super) fn turns(messages: Vec<Value>, roles: &Roles) -> Result<Vec<Turn>, String> {
    let mut found = Vec::with_capacity(messages.len());
    for (position, message) in messages.into_iter().enumerate() {
        match message {
            Value::Array(inner) => found.extend(turns(inner, roles)?),
            // LangChain's ["human", "hello"] is written as a list; a bare text is the user's
            Value::String(text) => found.push(Turn::new("user", text)),
            message => found.push(turn(message, roles).map_err(|why| format!("turn {position}: {why}"))?),
        }
    }
    Ok(found)
}

/// Does it look like a message, so that it can be told from any other object?
pub(super) fn is_message(value: &Value) -> bool {
    let Value::Object(fields) = value else { return false };
    let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    (has(&["role", "from", "sender"]) && has(&["content", "parts", "value", "text", "tool_calls", "function_call"]))
        || (fields.contains_key("lc") && fields.contains_key("kwargs"))
        || (SPEAKERS.contains(&kind.to_lowercase().as_str()) && has(&["content", "data"]))
}

/// Messages as a list, or as a list of lists.
pub(super) fn is_messages(value: &Value) -> bool {
    let Value::Array(items) = value else { return false };
    items.first().is_some_and(|first| is_message(first) || is_messages(first))
}

/// The wrapping that LangChain puts around a message, taken off: who speaks, and the fields.
fn opened(mut fields: Fields) -> (Option<String>, Fields) {
    if fields.contains_key("lc")
        && let Some(Value::Object(inner)) = fields.remove("kwargs")
    {
        let class = match fields.get("id") {
            Some(Value::Array(path)) => path.last().and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let speaker = class.trim_end_matches("Chunk").trim_end_matches("Message").to_lowercase();
        return (speaker_of(speaker, &inner), without_type(inner));
    }
    let Some(kind) = fields.get("type").and_then(Value::as_str).map(str::to_lowercase) else {
        return (None, fields);
    };
    if fields.contains_key("role") || !SPEAKERS.contains(&kind.as_str()) {
        return (None, fields);
    }
    let speaker = kind.trim_end_matches("messagechunk").to_owned();
    match fields.remove("data") {
        Some(Value::Object(inner)) => (speaker_of(speaker, &inner), without_type(inner)),
        Some(other) => {
            fields.insert("data".into(), other);
            (speaker_of(speaker, &fields), without_type(fields))
        }
        None => (speaker_of(speaker, &fields), without_type(fields)),
    }
}

/// "chat" messages carry a role of their own.
fn speaker_of(speaker: String, fields: &Fields) -> Option<String> {
    let own = fields.get("role").and_then(Value::as_str).map(str::to_owned);
    if speaker == "chat" || speaker.is_empty() { own } else { Some(speaker) }
}

fn without_type(mut fields: Fields) -> Fields {
    let is_speaker =
        fields.get("type").and_then(Value::as_str).is_some_and(|kind| SPEAKERS.contains(&kind.to_lowercase().as_str()));
    if is_speaker {
        fields.remove("type");
    }
    fields
}

/// A turn whose content is rendered; content that is more than its text is kept whole beside it.
pub(super) fn with_content(role: String, content: &Value, mut rest: Fields) -> Turn {
    let (text, is_whole) = render(content);
    if !is_whole {
        rest.insert("content".into(), content.clone());
    }
    Turn { role, content: text, rest }
}

/// The readable text of a content, and whether that is all it holds: strings as they are, parts joined by lines,
/// pictures as `[image]`, calls of tools as nothing (their place is `rest`).
pub(super) fn render(value: &Value) -> (String, bool) {
    match value {
        Value::Null => (String::new(), true),
        Value::String(text) => (text.clone(), true),
        Value::Array(parts) => {
            let rendered: Vec<(String, bool)> = parts.iter().map(render).collect();
            let is_whole = rendered.iter().all(|(_, is_whole)| *is_whole);
            let texts: Vec<String> = rendered.into_iter().map(|(text, _)| text).filter(|t| !t.is_empty()).collect();
            (texts.join("\n"), is_whole)
        }
        Value::Object(part) => render_part(part),
        other => (other.to_string(), true),
    }
}

fn render_part(part: &Fields) -> (String, bool) {
    let field = |names: &[&str]| names.iter().find_map(|name| part.get(*name)).filter(|value| !value.is_null());
    let kind = ["type", "content_type"].iter().find_map(|name| part.get(*name)).and_then(Value::as_str);
    let kind = kind.unwrap_or_default().to_lowercase();
    let bare = |names: &[&str]| part.keys().all(|name| names.contains(&name.as_str()));
    match kind.as_str() {
        "text" | "input_text" | "output_text" | "" => {
            if let Some(text) = field(&["text", "content", "value", "answer", "parts"]) {
                let (text, is_whole) = render(text);
                return (text, is_whole && part.len() <= 2 && bare(&["type", "text", "content", "value", "answer"]));
            }
            if kind.is_empty() && !part.is_empty() {
                (Value::Object(part.clone()).to_string(), true)
            } else {
                (String::new(), part.is_empty())
            }
        }
        _ if kind.contains("image") || kind == "blob" => ("[image]".into(), false),
        _ if kind.contains("audio") => match field(&["transcript", "text"]) {
            Some(spoken) => (render(spoken).0, false),
            None => ("[audio]".into(), false),
        },
        _ if kind.contains("video") => ("[video]".into(), false),
        "file" | "input_file" | "document" | "file_data" | "uri" => ("[file]".into(), false),
        "tool_result" | "tool_call_response" | "function_call_output" => (
            field(&["content", "result", "response", "output"]).map_or_else(String::new, |inner| render(inner).0),
            false,
        ),
        "tool_use" | "tool_call" | "function_call" | "server_tool_use" | "thinking" | "reasoning"
        | "redacted_thinking" | "thoughts" => (String::new(), false),
        _ => match field(&["text", "content", "value", "parts"]) {
            Some(inner) => (render(inner).0, false),
            None => (format!("[{kind}]"), false),
        },
    }
}

/// The first names of an object, for a message to the user.
pub(super) fn listed(fields: &Fields) -> String {
    let names: Vec<&str> = fields.keys().take(12).map(String::as_str).collect();
    if names.is_empty() { "no fields".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles() -> Roles {
        [("human", "user"), ("ai", "assistant"), ("model", "assistant")]
            .into_iter()
            .map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()))
            .collect()
    }

    #[test]
    fn every_writers_message_is_a_turn() {
        for (message, role, content) in [
            (json!({"role": "user", "content": "hi"}), "user", "hi"),
            (json!({"role": "model", "parts": [{"text": "hi"}]}), "assistant", "hi"),
            (json!({"role": "user", "parts": [{"type": "text", "content": "hi"}]}), "user", "hi"),
            (json!({"from": "human", "value": "hi"}), "user", "hi"),
            (json!({"type": "human", "content": "hi"}), "user", "hi"),
            (json!({"type": "ai", "data": {"content": "hi", "type": "ai"}}), "assistant", "hi"),
            (
                json!({"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"],
                       "kwargs": {"content": "hi", "type": "human"}}),
                "user",
                "hi",
            ),
            (
                json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}),
                "user",
                "hi",
            ),
            (json!({"type": "function_call_output", "call_id": "c", "output": "42"}), "tool", "42"),
        ] {
            let found = turn(message.clone(), &roles()).unwrap();
            assert_eq!((found.role.as_str(), found.content.as_str()), (role, content), "{message}");
        }
    }

    #[test]
    fn pictures_and_calls_are_kept_whole() {
        let parts = json!([{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": "u"}}]);
        let found = turn(json!({"role": "user", "content": parts}), &roles()).unwrap();
        assert_eq!(found.content, "what is this\n[image]");
        assert_eq!(found.rest["content"], parts);
        let calls = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let found = turn(json!({"role": "assistant", "content": null, "tool_calls": calls}), &roles()).unwrap();
        assert_eq!((found.content.as_str(), &found.rest["tool_calls"]), ("", &calls));
    }

    #[test]
    fn other_objects_are_no_messages() {
        assert!(turn(json!({"content": "hi"}), &roles()).is_err());
        assert!(turn(json!(3), &roles()).is_err());
        assert!(!is_message(&json!({"answer": "hi"})));
        assert!(is_messages(&json!([[{"role": "user", "content": "x"}]])));
    }
}
