//! Langfuse's exported traces and observations: `input` and `output` of each. Traces, generations and the first
//! observation of a trace are conversations; inner steps and events are not.

use serde_json::Value;

use super::super::conversation::{Conversation, Names};
use super::super::message::{Roles, listed};
use super::super::value::{Fields, get};
use super::exchange::{answered, asked, joined, put_back};
use super::{Outcome, objects};

const NAMES: Names = Names {
    id: &["id", "observation_id", "trace_id", "traceId"],
    model: &["model", "providedModelName", "provided_model_name", "internalModel", "modelId", "model_id"],
    language: &["language", "metadata.language"],
    timestamp: &["startTime", "start_time", "timestamp", "createdAt", "created_at"],
};
/// Fields of a trace that its generations inherit.
const INHERITED: [&str; 8] =
    ["sessionId", "session_id", "userId", "user_id", "environment", "release", "version", "tags"];
/// Longer values stay with the trace: a copy for each generation would multiply them.
const MAX_INHERITED_CHARS: usize = 1_000;

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Outcome {
    if let Some(name) = ["data", "traces"].into_iter().find(|name| fields.get(*name).is_some_and(Value::is_array)) {
        let items = objects(fields.remove(name).unwrap_or_default());
        return items
            .into_iter()
            .flat_map(|item| match item {
                Ok(item) => read_item(item, roles),
                Err(why) => vec![Err(why)],
            })
            .collect();
    }
    if let Some(Value::Object(mut trace)) = fields.remove("trace") {
        trace.extend(fields);
        return read_item(trace, roles);
    }
    read_item(fields, roles)
}

fn read_item(mut fields: Fields, roles: &Roles) -> Outcome {
    let has_text = ["input", "output"].iter().any(|name| fields.get(*name).is_some_and(|value| !value.is_null()));
    let has_parts = fields
        .get("observations")
        .and_then(Value::as_array)
        .is_some_and(|parts| parts.iter().any(|part| part.get("input").or(part.get("output")).is_some()));
    if has_text || !has_parts {
        return read_one(fields, roles).transpose().into_iter().collect();
    }
    let parts = objects(fields.remove("observations").unwrap_or_default());
    let inherited: Vec<(&str, Value)> = INHERITED
        .iter()
        .filter_map(|name| fields.get(*name).map(|value| (*name, value.clone())))
        .filter(|(_, value)| !value.is_null() && value.to_string().len() <= MAX_INHERITED_CHARS)
        .collect();
    let read_part = |part: Result<Fields, String>| {
        part.and_then(|mut part| {
            for (name, value) in &inherited {
                part.entry(*name).or_insert_with(|| value.clone());
            }
            read_one(part, roles)
        })
        .transpose()
    };
    parts.into_iter().filter_map(read_part).collect()
}

fn read_one(mut fields: Fields, roles: &Roles) -> Result<Option<Conversation>, String> {
    let of = |names: &[&str]| names.iter().find_map(|name| get(&fields, name)).filter(|value| !value.is_null());
    let kind = of(&["type"]).and_then(Value::as_str).unwrap_or_default().to_uppercase();
    let is_inner = of(&["parentObservationId", "parent_observation_id"]).is_some_and(|parent| parent != "");
    if kind == "EVENT" || (is_inner && !kind.is_empty() && kind != "GENERATION") {
        return Ok(None);
    }
    if !fields.contains_key("input") && !fields.contains_key("output") {
        return Err(format!("no field 'input' or 'output': there are {}", listed(&fields)));
    }
    let (question, rest) = asked(unpacked_text(fields.remove("input").unwrap_or_default()), roles)?;
    put_back(&mut fields, "input", rest);
    let (answer, rest) = answered(unpacked_text(fields.remove("output").unwrap_or_default()), roles)?;
    put_back(&mut fields, "output", rest);
    if question.is_empty() && answer.is_empty() {
        return Err("no text in 'input' or 'output'".into());
    }
    Ok(Some(Conversation::from_fields(joined(question, answer), fields, NAMES)))
}

/// Exports write every input as JSON: a text in quotation marks is a text.
fn unpacked_text(value: Value) -> Value {
    if let Value::String(text) = &value
        && text.starts_with('"')
        && let Ok(Value::String(inner)) = serde_json::from_str(text)
    {
        return Value::String(inner);
    }
    value
}
