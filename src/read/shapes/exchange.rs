//! What was asked and what was answered, where a log has an `input` and an `output` of whatever a program passed on:
//! a text, a message, messages, a request, or an object with one of these inside. Never guesses between two texts.

use serde_json::Value;

use super::super::conversation::Turn;
use super::super::message::{Roles, is_message, is_messages, render, role_name, turn, turns};
use super::super::value::{Fields, unpacked};

/// Names of what a user said, best first.
const ASKED: [&str; 13] = [
    "input",
    "question",
    "query",
    "prompt",
    "user_input",
    "user_message",
    "human_input",
    "text",
    "message",
    "content",
    "inputs",
    "kwargs",
    "body",
];
/// Names of what a model said, best first.
const ANSWERED: [&str; 12] = [
    "output",
    "answer",
    "response",
    "completion",
    "result",
    "message",
    "output_text",
    "generated_text",
    "text",
    "content",
    "outputs",
    "return_values",
];
const HISTORY: [&str; 3] = ["chat_history", "history", "previous_messages"];
const INSTRUCTIONS: [&str; 4] = ["system", "instructions", "system_prompt", "system_instruction"];

/// Turns, and what is left of the value without them (null if nothing).
type Taken = (Vec<Turn>, Value);

/// The turns that went into the model. None, and the whole value, where there is no text in it.
pub(super) fn asked(value: Value, roles: &Roles) -> Result<Taken, String> {
    match opened(value, &["messages", "input", "question", "query", "prompt"]) {
        Value::String(text) if text.trim().is_empty() => Ok((Vec::new(), Value::Null)),
        Value::String(text) => Ok((vec![Turn::new("user", text)], Value::Null)),
        Value::Array(items) => list(items, "user", roles),
        Value::Object(fields) if is_message_of(&fields) => Ok((vec![turn(Value::Object(fields), roles)?], Value::Null)),
        Value::Object(mut fields) => {
            let mut found = Vec::new();
            for name in INSTRUCTIONS {
                if fields.get(name).is_some_and(|value| value.is_string() || value.is_array()) {
                    let text = render(&fields.remove(name).unwrap_or_default()).0;
                    found.push(Turn::new("system", text));
                }
            }
            for name in ["messages"].into_iter().chain(HISTORY) {
                if let Some(messages) = fields.get(name).cloned().map(unpacked).filter(is_messages) {
                    fields.remove(name);
                    found.extend(list(as_list(messages), "user", roles)?.0);
                    if name == "messages" {
                        return Ok((found, left(fields)));
                    }
                }
            }
            let name = ASKED.into_iter().find(|name| fields.get(*name).is_some_and(has_text)).map(str::to_owned);
            let Some(name) = name.or_else(|| only_text(&fields)) else {
                return Ok((found, left(fields)));
            };
            let (more, rest) = asked(fields.remove(&name).unwrap_or_default(), roles)?;
            found.extend(more);
            if !rest.is_null() {
                fields.insert(name, rest);
            }
            Ok((found, left(fields)))
        }
        other => Ok((Vec::new(), other)),
    }
}

/// The turns that came out of the model.
pub(super) fn answered(value: Value, roles: &Roles) -> Result<Taken, String> {
    match opened(value, &["role", "choices", "generations", "messages"]) {
        Value::String(text) if text.is_empty() => Ok((Vec::new(), Value::Null)),
        Value::String(text) => Ok((vec![Turn::new("assistant", text)], Value::Null)),
        Value::Array(items) if items.first().is_some_and(is_generation) => {
            let mut items = items;
            let first = items.remove(0);
            let (found, rest) = answered(first, roles)?;
            if !rest.is_null() {
                items.insert(0, rest);
            }
            Ok((found, if items.is_empty() { Value::Null } else { Value::Array(items) }))
        }
        Value::Array(items) => list(items, "assistant", roles),
        Value::Object(fields) if is_message_of(&fields) => Ok((vec![turn(Value::Object(fields), roles)?], Value::Null)),
        Value::Object(mut fields) => {
            if let Some(messages) = fields.get("messages").cloned().map(unpacked).filter(is_messages) {
                fields.remove("messages");
                return Ok((list(as_list(messages), "assistant", roles)?.0, left(fields)));
            }
            let name = ["choices", "generations", "message", "delta"]
                .into_iter()
                .chain(ANSWERED)
                .find(|name| fields.get(*name).is_some_and(has_text))
                .map(str::to_owned);
            let Some(name) = name.or_else(|| only_text(&fields)) else {
                return Ok((Vec::new(), left(fields)));
            };
            let (found, rest) = answered(fields.remove(&name).unwrap_or_default(), roles)?;
            if !rest.is_null() {
                fields.insert(name, rest);
            }
            Ok((found, left(fields)))
        }
        other => Ok((Vec::new(), other)),
    }
}

/// Both together. An answer that repeats the question, as graphs that return all their messages do, is taken alone.
pub(super) fn joined(mut asked: Vec<Turn>, answered: Vec<Turn>) -> Vec<Turn> {
    let repeats = !asked.is_empty()
        && answered.len() >= asked.len()
        && asked.iter().zip(&answered).all(|(one, other)| one.role == other.role && one.content == other.content);
    if repeats {
        return answered;
    }
    asked.extend(answered);
    asked
}

/// Puts what is left of a field back, if there is anything.
pub(super) fn put_back(fields: &mut Fields, name: &str, rest: Value) {
    if !rest.is_null() {
        fields.insert(name.into(), rest);
    }
}

fn list(items: Vec<Value>, role: &str, roles: &Roles) -> Result<Taken, String> {
    if items.first().is_some_and(|item| is_message(item) || is_messages(item)) {
        return Ok((turns(items, roles)?, Value::Null));
    }
    // the parts of one content, or texts
    let is_parts = items.iter().all(|item| {
        item.is_string() || item.as_object().is_some_and(|part| part.contains_key("text") || part.contains_key("type"))
    });
    if items.is_empty() || !is_parts {
        return Ok((Vec::new(), Value::Array(items)));
    }
    let items = Value::Array(items);
    let content = super::super::message::with_content(role_name(role, roles), &items, Fields::new());
    Ok((vec![content], Value::Null))
}

/// JSON within a string is opened only if it looks like a log's and not like what a person or a model wrote.
fn opened(value: Value, names: &[&str]) -> Value {
    let Value::String(_) = &value else { return value };
    match unpacked(value.clone()) {
        inner @ Value::Array(_) if is_messages(&inner) => inner,
        Value::Object(fields) if names.iter().any(|name| fields.contains_key(*name)) || is_message_of(&fields) => {
            Value::Object(fields)
        }
        _ => value,
    }
}

fn is_message_of(fields: &Fields) -> bool {
    // the borrowed check needs a value; messages are small
    fields.contains_key("role") && ["content", "parts", "tool_calls"].iter().any(|name| fields.contains_key(*name))
        || ["lc", "type"].iter().any(|name| fields.contains_key(*name)) && is_message(&Value::Object(fields.clone()))
}

/// A choice of OpenAI's or a generation of LangChain's, not a message itself.
fn is_generation(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            (fields.contains_key("message") || fields.contains_key("text") || fields.contains_key("delta"))
                && !is_message(value)
                && !fields.get("type").is_some_and(|kind| kind == "text" || kind == "output_text")
        }
        Value::Array(items) => items.first().is_some_and(is_generation),
        _ => false,
    }
}

fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

/// The name of the one text field of an object that has no other text.
fn only_text(fields: &Fields) -> Option<String> {
    let mut texts = fields.iter().filter(|(_, value)| value.as_str().is_some_and(|text| !text.trim().is_empty()));
    let first = texts.next()?;
    texts.next().is_none().then(|| first.0.clone())
}

fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}

fn left(fields: Fields) -> Value {
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contents(turns: &[Turn]) -> Vec<(&str, &str)> {
        turns.iter().map(|turn| (turn.role.as_str(), turn.content.as_str())).collect()
    }

    #[test]
    fn the_question_is_found_wherever_it_lies() {
        let roles = Roles::from([("human".into(), "user".into()), ("ai".into(), "assistant".into())]);
        for input in [
            json!("hi"),
            json!({"input": "hi"}),
            json!({"question": "hi", "k": 3}),
            json!({"whatever": "hi"}),
            json!({"messages": [{"role": "user", "content": "hi"}], "model": "m"}),
            json!({"messages": [[{"lc": 1, "id": ["x", "HumanMessage"], "kwargs": {"content": "hi"}}]]}),
            json!("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}"),
            json!([{"type": "human", "data": {"content": "hi"}}]),
            json!({"input": {"query": "hi"}}),
        ] {
            let (turns, _) = asked(input.clone(), &roles).unwrap();
            assert_eq!(contents(&turns), [("user", "hi")], "{input}");
        }
        let history = json!({"input": "b", "chat_history": [{"type": "human", "content": "a"}]});
        assert_eq!(contents(&asked(history, &roles).unwrap().0), [("user", "a"), ("user", "b")]);
        assert_eq!(asked(json!({"n": 1, "a": "x", "b": "y"}), &roles).unwrap().0, []);
    }

    #[test]
    fn the_answer_is_found_wherever_it_lies() {
        let roles = Roles::from([("ai".into(), "assistant".into())]);
        for output in [
            json!("yo"),
            json!({"output": "yo"}),
            json!({"role": "assistant", "content": "yo"}),
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "yo"}}], "usage": {}}),
            json!({"generations": [[{"text": "yo", "message": {"lc": 1, "id": ["AIMessage"], "kwargs": {"content": "yo"}}}]]}),
            json!({"generations": [[{"text": "yo"}]], "llm_output": null}),
            json!("{\"role\": \"assistant\", \"content\": \"yo\"}"),
        ] {
            assert_eq!(contents(&answered(output.clone(), &roles).unwrap().0), [("assistant", "yo")], "{output}");
        }
        assert_eq!(
            contents(&answered(json!("{\"a\": 1}"), &roles).unwrap().0),
            [("assistant", "{\"a\": 1}")],
            "what a model wrote as JSON stays text"
        );
    }
}
