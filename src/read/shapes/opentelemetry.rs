//! Spans of OpenTelemetry that hold messages: OTLP/JSON with many spans in a line, or one span per line, with the GenAI
//! conventions (attributes or events, all versions), OpenLLMetry, OpenInference or the Vercel AI SDK. Spans of other
//! work are passed over; a span of a model's call without messages is an error, because its recording was off.

use serde_json::Value;

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, listed, render, role_name, turns, with_content};
use super::super::value::{Fields, get, scalar_text, take, take_text, take_time, unpacked};
use super::exchange::{answered, asked};
use super::spans::{attributes, numbered};
use super::{Outcome, objects};

const NAMES: Names = Names {
    id: &["spanId", "span_id", "context.span_id", "spanID", "SpanId", "id"],
    model: &[],
    language: &[],
    timestamp: &[
        "startTimeUnixNano",
        "start_time_unix_nano",
        "start_time",
        "startTime",
        "start_timestamp",
        "Timestamp",
        "timestamp",
    ],
};
const MODEL: [&str; 6] = [
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "llm.response.model",
    "llm.request.model",
    "ai.model.id",
];
const ATTRIBUTES: [&str; 5] = ["attributes", "span_attributes", "SpanAttributes", "tags", "attrs"];
/// What a resource may say that every span of it repeats, in bytes of JSON; of a larger one only the name.
const MAX_RESOURCE_BYTES: usize = 4_096;

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Outcome {
    let list = |fields: &mut Fields, names: &[&str]| {
        let name = names.iter().find(|name| fields.get(**name).is_some_and(Value::is_array))?;
        fields.remove(*name).map(objects)
    };
    if let Some(resources) = list(&mut fields, &["resourceSpans", "resource_spans", "batches"]) {
        let mut found = Vec::new();
        for resource in resources {
            let mut resource = match resource {
                Ok(resource) => resource,
                Err(why) => {
                    found.push(Err(why));
                    continue;
                }
            };
            let about = about(take(&mut resource, &["resource"]).unwrap_or_default());
            let scopes = ["scopeSpans", "scope_spans", "instrumentationLibrarySpans"];
            for scope in list(&mut resource, &scopes).unwrap_or_default() {
                let spans = scope.map(|mut scope| list(&mut scope, &["spans"]).unwrap_or_default());
                match spans {
                    Ok(spans) => found.extend(read_spans(spans, &about, roles)),
                    Err(why) => found.push(Err(why)),
                }
            }
        }
        return found;
    }
    if let Some(inner) = list(&mut fields, &["spans", "data"]) {
        let mut found = Vec::new();
        for item in inner {
            match item {
                Ok(item) if item.contains_key("spans") => found.extend(read(item, roles)),
                item => found.extend(read_spans(vec![item], &Value::Null, roles)),
            }
        }
        return found;
    }
    read_spans(vec![Ok(fields)], &Value::Null, roles).collect()
}

fn read_spans<'a>(
    spans: Vec<Result<Fields, String>>,
    about: &'a Value,
    roles: &'a Roles,
) -> impl Iterator<Item = Result<Conversation, String>> + use<'a> {
    spans.into_iter().filter_map(move |span| span.and_then(|span| read_span(span, about, roles)).transpose())
}

/// The attributes of a resource, or its name alone if they are many.
fn about(mut resource: Value) -> Value {
    let mut found = attributes(resource.get_mut("attributes").map(Value::take).unwrap_or_default());
    if Value::Object(found.clone()).to_string().len() > MAX_RESOURCE_BYTES {
        found.retain(|name, value| name == "service.name" && value.to_string().len() < MAX_RESOURCE_BYTES);
    }
    if found.is_empty() { Value::Null } else { Value::Object(found) }
}

fn read_span(mut span: Fields, about: &Value, roles: &Roles) -> Result<Option<Conversation>, String> {
    let Some(found) = take(&mut span, &ATTRIBUTES) else {
        let is_span = NAMES.id.iter().any(|name| span.contains_key(*name)) || span.contains_key("context");
        return if is_span { Ok(None) } else { Err(format!("no span: there are {}", listed(&span))) };
    };
    let mut attributes = attributes(found);
    let events = objects(span.remove("events").map(unpacked).unwrap_or_default());
    let mut kept = Vec::new();
    let mut said = Vec::new();
    for event in events.into_iter().flatten() {
        match read_event(event, &mut attributes, roles)? {
            Event::Turns(turns) => said.extend(turns),
            Event::Merged => {}
            Event::Other(event) => kept.push(Value::Object(event)),
        }
    }
    if !kept.is_empty() {
        span.insert("events".into(), Value::Array(kept));
    }
    let mut turns = messages(&mut attributes, roles)?;
    if turns.is_empty() {
        turns = said;
    }
    if turns.is_empty() {
        return if is_model_call(&attributes) {
            Err("a call of a model without its messages: recording of contents was off".into())
        } else {
            Ok(None)
        };
    }
    let model = MODEL.iter().find_map(|name| take_text(&mut attributes, &[*name]));
    if !attributes.is_empty() {
        span.insert("attributes".into(), Value::Object(attributes));
    }
    if !about.is_null() {
        span.insert("resource".into(), about.clone());
    }
    let mut conversation = Conversation::from_fields(turns, Fields::new(), NAMES);
    conversation.id = take_text(&mut span, NAMES.id);
    conversation.timestamp = take_time(&mut span, NAMES.timestamp);
    conversation.model = model;
    conversation.extra = span;
    Ok(Some(conversation))
}

/// The turns in the attributes, by the first convention that has any.
fn messages(attributes: &mut Fields, roles: &Roles) -> Result<Vec<Turn>, String> {
    let mut found = Vec::new();
    let conventions: [(&str, &[&str]); 5] = [
        ("gen_ai.input.messages", &["gen_ai.output.messages"]),
        ("ai.prompt.messages", &["ai.response.messages", "ai.response.text", "ai.response.object"]),
        ("gen_ai.prompt", &["gen_ai.completion"]),
        ("gen_ai.request.messages", &["gen_ai.response.messages"]),
        ("ai.prompt", &["ai.response.text"]),
    ];
    for (input, outputs) in conventions {
        for (names, is_input) in [(&[input][..], true), (outputs, false)] {
            let Some(name) = names.iter().find(|name| get(attributes, name).is_some_and(|value| !value.is_null()))
            else {
                continue;
            };
            let value = take(attributes, &[*name]).unwrap_or_default();
            let (turns, rest) = if is_input { asked(value, roles)? } else { answered(value, roles)? };
            if !rest.is_null() {
                attributes.insert((*name).into(), rest);
            }
            found.extend(turns);
        }
        if !found.is_empty() {
            break;
        }
    }
    if let Some(system) = take(attributes, &["gen_ai.system_instructions"]).map(unpacked) {
        found.insert(0, with_content("system".into(), &system, Fields::new()));
    }
    for (input, output, wrapper) in [
        ("gen_ai.prompt", "gen_ai.completion", ""),
        ("llm.input_messages", "llm.output_messages", "message."),
        ("llm.prompts", "llm.completions", ""),
    ] {
        if found.is_empty() {
            let asked = numbered(attributes, input, wrapper).into_iter().map(|entry| ("user", entry));
            let asked: Vec<_> = asked.collect();
            let answers = numbered(attributes, output, wrapper).into_iter().map(|entry| ("assistant", entry));
            found.extend(asked.into_iter().chain(answers).map(|(role, entry)| numbered_turn(role, entry, roles)));
        }
    }
    let is_chat = attributes.get("openinference.span.kind").is_some_and(|kind| kind == "LLM");
    if found.is_empty() && is_chat {
        if let Some(value) = take(attributes, &["input.value"]) {
            found.extend(asked(value, roles)?.0);
        }
        if let Some(value) = take(attributes, &["output.value"]) {
            found.extend(answered(value, roles)?.0);
        }
    }
    Ok(found)
}

/// A message whose fields are attributes: `role`, `content`, `contents.0.message_content.text`, `tool_calls.0.name`.
fn numbered_turn(role: &str, mut entry: Fields, roles: &Roles) -> Turn {
    let role = take_text(&mut entry, &["role"]).unwrap_or_else(|| role.to_owned());
    let content = match take(&mut entry, &["content"]) {
        Some(content) => match unpacked(content.clone()) {
            parts @ Value::Array(_) if parts.get(0).is_some_and(|part| part.get("type").is_some()) => parts,
            _ => content,
        },
        None => {
            let parts = numbered(&mut entry, "contents", "message_content.");
            Value::Array(parts.into_iter().map(Value::Object).collect())
        }
    };
    with_content(role_name(&role, roles), &content, entry)
}

enum Event {
    Turns(Vec<Turn>),
    /// Its attributes are now those of the span.
    Merged,
    Other(Fields),
}

fn read_event(mut event: Fields, span: &mut Fields, roles: &Roles) -> Result<Event, String> {
    let name = event.get("name").or(event.get("event_name")).map(scalar_text).unwrap_or_default();
    let role = match name.as_str() {
        "gen_ai.system.message" => "system",
        "gen_ai.user.message" => "user",
        "gen_ai.assistant.message" | "gen_ai.choice" => "assistant",
        "gen_ai.tool.message" => "tool",
        "gen_ai.client.inference.operation.details" | "gen_ai.content.prompt" | "gen_ai.content.completion" => "",
        _ => return Ok(Event::Other(event)),
    };
    let mut said = attributes(event.remove("attributes").unwrap_or_default());
    if let Some(Value::Object(body)) = event.remove("body").map(unpacked) {
        said.extend(body);
    }
    if role.is_empty() {
        span.extend(said);
        return Ok(Event::Merged);
    }
    if let Some(message) = said.remove("message").map(unpacked) {
        return match message {
            Value::Object(mut message) => {
                message.entry("role").or_insert_with(|| role.into());
                Ok(Event::Turns(turns(vec![Value::Object(message)], roles)?))
            }
            other => Ok(Event::Turns(vec![Turn::new(role, render(&other).0)])),
        };
    }
    let role = take_text(&mut said, &["role"]).unwrap_or_else(|| role.to_owned());
    let content = take(&mut said, &["content", "gen_ai.event.content"]).unwrap_or_default();
    Ok(Event::Turns(vec![with_content(role_name(&role, roles), &content, said)]))
}

fn is_model_call(attributes: &Fields) -> bool {
    let operation = attributes.get("gen_ai.operation.name").or(attributes.get("llm.request.type"));
    match operation.and_then(Value::as_str) {
        Some(operation) => ["chat", "text_completion", "generate_content", "completion"].contains(&operation),
        None => {
            attributes.get("openinference.span.kind").is_some_and(|kind| kind == "LLM")
                || attributes.contains_key("gen_ai.request.model")
        }
    }
}
