//! What one conversation is in the core, and how many of them become one Arrow record batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, LargeListBuilder, LargeStringBuilder, RecordBatch, StructBuilder, TimestampMicrosecondBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Fields as ArrowFields, Schema, TimeUnit};
use serde_json::Value;

use super::value::{Fields, take_text, take_time};
use crate::error::{Error, Result};

/// Where the fields of turns that are neither role nor content stand in `extra`: one entry per turn.
pub(super) const TURN_FIELDS: &str = "turn_fields";

/// One message; `rest` is what the source says beyond role and text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Turn {
    pub role: String,
    pub content: String,
    pub rest: Fields,
}

impl Turn {
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), rest: Fields::new() }
    }
}

/// A conversation while it is read: `extra` still holds values.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub id: Option<String>,
    pub model: Option<String>,
    pub language: Option<String>,
    /// Microseconds since 1970, UTC.
    pub timestamp: Option<i64>,
    pub turns: Vec<Turn>,
    pub extra: Fields,
}

/// The names under which a format keeps the four values that every conversation may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub id: &'static [&'static str],
    pub model: &'static [&'static str],
    pub language: &'static [&'static str],
    pub timestamp: &'static [&'static str],
}

impl Conversation {
    /// The turns, and all fields that are left: those with the four common values are taken out of them.
    pub fn from_fields(turns: Vec<Turn>, mut fields: Fields, names: Names) -> Self {
        Self {
            id: take_text(&mut fields, names.id),
            model: take_text(&mut fields, names.model),
            language: take_text(&mut fields, names.language),
            timestamp: take_time(&mut fields, names.timestamp),
            turns,
            extra: fields,
        }
    }

    /// Done: the rest of the turns goes to `extra`, and that becomes text.
    pub fn seal(mut self, line: u64) -> Sealed {
        let mut turns = Vec::with_capacity(self.turns.len());
        let mut rests = Vec::with_capacity(self.turns.len());
        for turn in self.turns {
            turns.push((turn.role, turn.content));
            rests.push(if turn.rest.is_empty() { Value::Null } else { Value::Object(turn.rest) });
        }
        if rests.iter().any(|rest| !rest.is_null()) {
            self.extra.insert(TURN_FIELDS.into(), Value::Array(rests));
        }
        let extra = (!self.extra.is_empty()).then(|| Value::Object(self.extra).to_string());
        Sealed {
            id: self.id,
            model: self.model,
            language: self.language,
            timestamp: self.timestamp,
            turns,
            extra,
            line,
        }
    }
}

/// A conversation as it stands in a batch.
#[derive(Debug)]
pub(super) struct Sealed {
    id: Option<String>,
    model: Option<String>,
    language: Option<String>,
    timestamp: Option<i64>,
    turns: Vec<(String, String)>,
    extra: Option<String>,
    line: u64,
}

/// conversation_id, model, language, timestamp, turns (role, content), extra, line.
pub fn conversation_schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::LargeUtf8, true);
    Schema::new(vec![
        text("conversation_id"),
        text("model"),
        text("language"),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("turns", DataType::LargeList(Arc::new(turn_field())), true),
        text("extra"),
        Field::new("line", DataType::UInt64, true),
    ])
}

fn turn_columns() -> ArrowFields {
    ArrowFields::from(vec![
        Field::new("role", DataType::LargeUtf8, true),
        Field::new("content", DataType::LargeUtf8, true),
    ])
}

fn turn_field() -> Field {
    Field::new("item", DataType::Struct(turn_columns()), true)
}

pub(super) fn to_batch(conversations: &[Sealed]) -> Result<RecordBatch> {
    let column = |field: fn(&Sealed) -> Option<&String>| -> ArrayRef {
        let mut builder = LargeStringBuilder::new();
        conversations.iter().for_each(|conversation| builder.append_option(field(conversation)));
        Arc::new(builder.finish())
    };
    let mut timestamp = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut line = UInt64Builder::new();
    let mut turns = LargeListBuilder::new(StructBuilder::new(
        turn_columns(),
        vec![Box::new(LargeStringBuilder::new()), Box::new(LargeStringBuilder::new())],
    ))
    .with_field(turn_field());
    for conversation in conversations {
        timestamp.append_option(conversation.timestamp);
        line.append_value(conversation.line);
        for (role, content) in &conversation.turns {
            let turn = turns.values();
            for (position, text) in [role, content].into_iter().enumerate() {
                if let Some(builder) = turn.field_builder::<LargeStringBuilder>(position) {
                    builder.append_value(text);
                }
            }
            turn.append(true);
        }
        turns.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        column(|conversation| conversation.id.as_ref()),
        column(|conversation| conversation.model.as_ref()),
        column(|conversation| conversation.language.as_ref()),
        Arc::new(timestamp.finish()),
        Arc::new(turns.finish()),
        column(|conversation| conversation.extra.as_ref()),
        Arc::new(line.finish()),
    ];
    RecordBatch::try_new(Arc::new(conversation_schema()), columns)
        .map_err(|error| Error::Internal { message: error.to_string() })
}
