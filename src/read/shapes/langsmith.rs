//! LangSmith's exported runs: `inputs` and `outputs` of each. Runs of models and the first run of a trace are
//! conversations; runs of tools, retrievers and the like, and inner chains, are not.

use serde_json::Value;

use super::super::conversation::{Conversation, Names};
use super::super::message::{Roles, listed};
use super::super::value::{Fields, unpacked};
use super::exchange::{answered, asked, joined, put_back};
use super::{Outcome, objects};

const NAMES: Names = Names {
    id: &["id", "run_id", "conversation_id"],
    model: &[
        "extra.metadata.ls_model_name",
        "metadata.ls_model_name",
        "extra.invocation_params.model",
        "extra.invocation_params.model_name",
        "outputs.llm_output.model_name",
        "outputs.model",
        "inputs.model",
        "model",
    ],
    language: &["language", "extra.metadata.language"],
    timestamp: &["start_time", "created_at"],
};
const PASSED_OVER: [&str; 5] = ["tool", "retriever", "embedding", "parser", "prompt"];

pub(super) fn read(mut fields: Fields, roles: &Roles) -> Outcome {
    match ["runs", "data"].into_iter().find(|name| fields.get(*name).is_some_and(Value::is_array)) {
        Some(name) => {
            let runs = objects(fields.remove(name).unwrap_or_default());
            runs.into_iter().filter_map(|run| run.and_then(|run| read_run(run, roles)).transpose()).collect()
        }
        None => read_run(fields, roles).transpose().into_iter().collect(),
    }
}

fn read_run(mut fields: Fields, roles: &Roles) -> Result<Option<Conversation>, String> {
    let run_type = fields.get("run_type").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let is_inner = fields.get("parent_run_id").is_some_and(|parent| !parent.is_null() && parent != "");
    if PASSED_OVER.contains(&run_type.as_str()) || (is_inner && !run_type.is_empty() && run_type != "llm") {
        return Ok(None);
    }
    if !fields.contains_key("inputs") && !fields.contains_key("outputs") {
        return Err(format!("no field 'inputs' or 'outputs': there are {}", listed(&fields)));
    }
    for name in ["extra", "metadata"] {
        if let Some(value) = fields.remove(name) {
            fields.insert(name.into(), unpacked(value));
        }
    }
    let (question, rest) = asked(unpacked(fields.remove("inputs").unwrap_or_default()), roles)?;
    put_back(&mut fields, "inputs", rest);
    let (answer, rest) = answered(unpacked(fields.remove("outputs").unwrap_or_default()), roles)?;
    put_back(&mut fields, "outputs", rest);
    if question.is_empty() && answer.is_empty() {
        return Err("no text in 'inputs' or 'outputs'".into());
    }
    Ok(Some(Conversation::from_fields(joined(question, answer), fields, NAMES)))
}
