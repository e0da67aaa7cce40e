//! Open Assistant: trees of messages, whole (`prompt` with `replies`) or as single messages that name their parents.
//! The path of the best-ranked replies is the conversation; texts of the other replies are kept.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Names, Turn};
use super::super::message::{Roles, listed, render, role_name};
use super::super::value::{Fields, kind, scalar_text, take, take_text};

const NAMES: Names = Names {
    id: &["message_tree_id", "conversation_id", "id"],
    model: &["model", "model_name"],
    language: &["language", "lang"],
    timestamp: &["created_date", "created_at", "timestamp"],
};

/// A whole tree.
pub(super) fn read(mut fields: Fields, roles: &Roles) -> Result<Conversation, String> {
    let mut message = match fields.remove("prompt") {
        Some(Value::Object(prompt)) => prompt,
        Some(other) => return Err(format!("field 'prompt' must be a message: got {}", kind(&other))),
        None => return Err(format!("no field 'prompt': there are {}", listed(&fields))),
    };
    let language = message.get("lang").and_then(Value::as_str).map(language_name);
    for name in ["created_date", "model_name"] {
        if let Some(value) = message.get(name).filter(|_| !fields.contains_key(name)).cloned() {
            fields.insert(name.into(), value);
        }
    }
    let mut turns = Vec::new();
    let mut others = Vec::new();
    loop {
        let replies = match message.remove("replies") {
            Some(Value::Array(replies)) => replies,
            _ => Vec::new(),
        };
        turns.push(turn(message, roles));
        let best = (0..replies.len()).filter(|at| replies[*at].is_object()).min_by_key(|at| (rank(&replies[*at]), *at));
        let mut next = None;
        for (position, reply) in replies.into_iter().enumerate() {
            match reply {
                Value::Object(reply) if Some(position) == best => next = Some(reply),
                reply => collect_texts(&reply, &mut others),
            }
        }
        match next {
            Some(reply) => message = reply,
            None => break,
        }
    }
    keep_others(&mut fields, others);
    let mut conversation = Conversation::from_fields(turns, fields, NAMES);
    conversation.language = language.or(conversation.language);
    Ok(conversation)
}

/// One message that stands alone in the file.
#[derive(Debug)]
pub(in super::super) struct Message {
    tree: String,
    id: String,
    parent: Option<String>,
    fields: Fields,
}

impl Message {
    pub fn is_one(fields: &Fields) -> bool {
        fields.contains_key("message_id") && fields.contains_key("text") && !fields.contains_key("prompt")
    }

    pub fn read(mut fields: Fields) -> Result<Self, String> {
        let Some(id) = take_text(&mut fields, &["message_id"]) else {
            return Err("field 'message_id' is empty".into());
        };
        let tree = take_text(&mut fields, &["message_tree_id"]).unwrap_or_else(|| id.clone());
        let parent = take_text(&mut fields, &["parent_id"]);
        Ok(Self { tree, id, parent, fields })
    }
}

/// Messages of one tree, in the order in which they stand in the file.
#[derive(Debug)]
pub(in super::super) struct Tree {
    id: String,
    last_number: u64,
    messages: Vec<Message>,
}

impl Tree {
    pub fn new(number: u64, first: Message) -> Self {
        Self { id: first.tree.clone(), last_number: number, messages: vec![first] }
    }

    pub fn takes(&self, message: &Message) -> bool {
        self.id == message.tree
    }

    pub fn add(&mut self, number: u64, message: Message) {
        self.last_number = number;
        self.messages.push(message);
    }

    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// The path from the root along the best replies.
    pub fn conversation(self, roles: &Roles) -> Result<Conversation, String> {
        let known: HashSet<&str> = self.messages.iter().map(|message| message.id.as_str()).collect();
        let mut replies: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut root = None;
        for (at, message) in self.messages.iter().enumerate() {
            match message.parent.as_deref() {
                Some(parent) if known.contains(parent) => replies.entry(parent).or_default().push(at),
                _ => root = root.or(Some(at)),
            }
        }
        // messages in a circle have no root: the first of them is one as good as any
        let root = root.unwrap_or(0);
        let mut path = vec![root];
        let mut seen = HashSet::from([root]);
        let rank_of = |at: usize| rank_value(self.messages[at].fields.get("rank"));
        while let Some(next) = path.last().and_then(|at| {
            let answers = replies.get(self.messages[*at].id.as_str())?;
            answers.iter().copied().min_by_key(|answer| (rank_of(*answer), *answer))
        }) {
            if !seen.insert(next) {
                break;
            }
            path.push(next);
        }
        // a tree in two pieces: the second one is named after its first message
        let is_whole = self.messages[root].parent.is_none();
        let id = if is_whole { self.id } else { format!("{}:{}", self.id, self.messages[root].id) };
        let mut slots: Vec<Option<Message>> = self.messages.into_iter().map(Some).collect();
        let mut turns = Vec::with_capacity(path.len());
        let mut extra = Fields::new();
        let mut language = None;
        for at in path {
            let Some(mut message) = slots[at].take() else { continue };
            if turns.is_empty() {
                language = message.fields.get("lang").and_then(Value::as_str).map(language_name);
                for name in NAMES.timestamp.iter().chain(NAMES.model).chain(&["tree_state"]) {
                    if let Some(value) = message.fields.get(*name) {
                        extra.insert((*name).into(), value.clone());
                    }
                }
            }
            message.fields.insert("message_id".into(), message.id.into());
            turns.push(turn(message.fields, roles));
        }
        let others: Vec<Value> = slots
            .into_iter()
            .flatten()
            .map(|mut message| json!({"role": said_by(&mut message.fields), "content": said(&mut message.fields)}))
            .collect();
        keep_others(&mut extra, others);
        let mut conversation = Conversation::from_fields(turns, extra, NAMES);
        conversation.id = Some(id);
        conversation.language = language;
        Ok(conversation)
    }
}

fn turn(mut fields: Fields, roles: &Roles) -> Turn {
    let role = said_by(&mut fields);
    let content = said(&mut fields);
    fields.retain(|name, value| !value.is_null() && name != "parent_id" && name != "message_tree_id");
    Turn { role: role_name(&role, roles), content, rest: fields }
}

fn said_by(fields: &mut Fields) -> String {
    take(fields, &["role"]).map_or_else(String::new, |role| scalar_text(&role))
}

fn said(fields: &mut Fields) -> String {
    take(fields, &["text", "content"]).map_or_else(String::new, |text| render(&text).0)
}

fn rank(reply: &Value) -> u64 {
    rank_value(reply.get("rank"))
}

/// Ranks are 0 (best), 1, 2; a reply without one comes last. Tables hold them as floats, or as text.
fn rank_value(rank: Option<&Value>) -> u64 {
    let number = |rank: &Value| rank.as_f64().or_else(|| rank.as_str()?.parse().ok());
    match rank.and_then(number) {
        Some(rank) if rank >= 0.0 => (rank * 1000.0) as u64,
        _ => u64::MAX,
    }
}

fn collect_texts(reply: &Value, texts: &mut Vec<Value>) {
    let text = reply.get("text").map(|text| render(text).0).unwrap_or_default();
    texts.push(json!({"role": reply.get("role").cloned().unwrap_or_default(), "content": text}));
    for inner in reply.get("replies").and_then(Value::as_array).into_iter().flatten() {
        collect_texts(inner, texts);
    }
}

fn keep_others(fields: &mut Fields, others: Vec<Value>) {
    if !others.is_empty() {
        fields.insert("other_replies".into(), json!({"n_replies": others.len(), "turns": others}));
    }
}

/// The English name of a language code; the code itself if it is not among the 35 of Open Assistant and some more.
fn language_name(code: &str) -> String {
    let name = match code.split(['-', '_']).next().unwrap_or_default().to_lowercase().as_str() {
        "ar" => "Arabic",
        "bg" => "Bulgarian",
        "bn" => "Bengali",
        "ca" => "Catalan",
        "cs" => "Czech",
        "da" => "Danish",
        "de" => "German",
        "el" => "Greek",
        "en" => "English",
        "eo" => "Esperanto",
        "es" => "Spanish",
        "et" => "Estonian",
        "eu" => "Basque",
        "fa" => "Persian",
        "fi" => "Finnish",
        "fr" => "French",
        "gl" => "Galician",
        "he" => "Hebrew",
        "hi" => "Hindi",
        "hr" => "Croatian",
        "hu" => "Hungarian",
        "id" => "Indonesian",
        "it" => "Italian",
        "ja" => "Japanese",
        "ko" => "Korean",
        "lt" => "Lithuanian",
        "lv" => "Latvian",
        "ms" => "Malay",
        "nb" | "nn" | "no" => "Norwegian",
        "nl" => "Dutch",
        "pl" => "Polish",
        "pt" => "Portuguese",
        "ro" => "Romanian",
        "ru" => "Russian",
        "sk" => "Slovak",
        "sl" => "Slovenian",
        "sr" => "Serbian",
        "sv" => "Swedish",
        "sw" => "Swahili",
        "ta" => "Tamil",
        "te" => "Telugu",
        "th" => "Thai",
        "tl" => "Tagalog",
        "tr" => "Turkish",
        "uk" => "Ukrainian",
        "ur" => "Urdu",
        "vi" => "Vietnamese",
        "zh" => "Chinese",
        _ => return code.to_owned(),
    };
    name.to_owned()
}
