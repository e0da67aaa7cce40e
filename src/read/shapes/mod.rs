//! What an element says whose format is a structure and not only field names: one file per format, one function each
//! from the fields of an element to the conversations in it. Whatever a format has beyond our columns stays in `extra`.

mod alpaca;
mod arena;
mod branches;
mod chatgpt;
mod claude;
mod exchange;
mod hh;
mod langfuse;
mod langsmith;
pub(super) mod oasst;
mod openai;
mod opentelemetry;
mod spans;

use serde_json::Value;

use super::conversation::Conversation;
use super::message::Roles;
use super::value::Fields;

/// A format whose elements are read by a function of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Alpaca,
    Arena,
    ChatGpt,
    Claude,
    Hh,
    Langfuse,
    LangSmith,
    Oasst,
    OpenAi,
    OpenTelemetry,
}

/// The conversations of one element, each with its own reason if it can't be read. None at all: the element is sound
/// and is no conversation (a span of a database call, a run of a tool).
pub(super) type Outcome = Vec<Result<Conversation, String>>;

impl Shape {
    pub const NAMES: [(&'static str, Self); 10] = [
        ("alpaca", Self::Alpaca),
        ("arena", Self::Arena),
        ("chatgpt", Self::ChatGpt),
        ("claude", Self::Claude),
        ("hh", Self::Hh),
        ("langfuse", Self::Langfuse),
        ("langsmith", Self::LangSmith),
        ("oasst", Self::Oasst),
        ("openai", Self::OpenAi),
        ("otel", Self::OpenTelemetry),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
    }
}

/// The conversations of one element.
pub(super) fn read(shape: Shape, fields: Fields, roles: &Roles) -> Outcome {
    match shape {
        Shape::Alpaca => vec![alpaca::read(fields)],
        Shape::Arena => vec![arena::read(fields, roles)],
        Shape::ChatGpt => vec![chatgpt::read(fields, roles)],
        Shape::Claude => vec![claude::read(fields, roles)],
        Shape::Hh => vec![hh::read(fields, roles)],
        Shape::Langfuse => langfuse::read(fields, roles),
        Shape::LangSmith => langsmith::read(fields, roles),
        Shape::Oasst => vec![oasst::read(fields, roles)],
        Shape::OpenAi => vec![openai::read(fields, roles)],
        Shape::OpenTelemetry => opentelemetry::read(fields, roles),
    }
}

/// The objects of a list, which an element only wraps: `{"data": [..]}`.
fn objects(value: Value) -> Vec<Result<Fields, String>> {
    let Value::Array(items) = value else { return Vec::new() };
    items
        .into_iter()
        .enumerate()
        .map(|(position, item)| match item {
            Value::Object(fields) => Ok(fields),
            _ => Err(format!("item {position} is no object")),
        })
        .collect()
}
