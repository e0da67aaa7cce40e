//! JSON conversations from Python: bytes in, Arrow record batches out.

use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3_arrow::PyRecordBatch;

use super::boundary::run;
use crate::error::Error;
use crate::read::{JsonReader, Layout, Mapping, Shape};

/// Turns bytes of JSON lines, of one JSON array, or of objects one after another into batches of conversations.
///
/// Args:
///     mapping: where the format keeps what. Keys conversation_id, turns, role, content, model, language, timestamp,
///         text, turn_id (the field of the first turn that is the id): a field name or a list of alternatives, dots
///         descend into objects. Key roles: source role to user, assistant, system or tool. Key shape: the name of a
///         format that field names can't describe; named fields then go before its own.
///     layout: "lines", "array", "values" (objects one after another), or "auto" (lines or array, by the first byte).
///
/// Raises:
///     InvalidInputError: if a key, the shape or the layout is unknown, or neither turns nor text nor a shape is named.
#[pyclass(name = "JsonReader", module = "lmsys_rs._core", frozen)]
pub struct PyJsonReader(Mutex<JsonReader>);

#[pymethods]
impl PyJsonReader {
    #[new]
    #[pyo3(signature = (mapping, *, layout="auto"))]
    fn new(mapping: &Bound<'_, PyDict>, layout: &str) -> PyResult<Self> {
        let layout = match layout {
            "auto" => None,
            "lines" => Some(Layout::Lines),
            "array" => Some(Layout::Array),
            "values" => Some(Layout::Values),
            other => {
                return Err(
                    Error::invalid(format!("layout must be auto, lines, array or values: got '{other}'")).into()
                );
            }
        };
        Ok(Self(Mutex::new(JsonReader::new(to_mapping(mapping)?, layout)?)))
    }

    /// Add bytes; returns what is complete: an Arrow record batch in the schema of
    /// `lmsys_rs.records.CONVERSATION_SCHEMA`, and the elements that cannot be read as (line, message), lines from 1.
    ///
    /// Args:
    ///     data: the next bytes of the file, of any size.
    ///     final: True with the last bytes: what is left over is then read too.
    #[pyo3(signature = (data, *, r#final=false))]
    fn feed(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        r#final: bool,
    ) -> PyResult<(PyRecordBatch, Vec<(u64, String)>)> {
        let data = data.as_bytes();
        let (batch, broken) = run(py, None, |_| self.lock()?.feed(data, r#final))?;
        Ok((PyRecordBatch::new(batch), broken.into_iter().map(|broken| (broken.number, broken.message)).collect()))
    }

    /// "lines", "array" or "values"; "auto" until the first byte that is not white space.
    #[getter]
    fn layout(&self) -> PyResult<&'static str> {
        Ok(match self.lock()?.layout() {
            None => "auto",
            Some(Layout::Lines) => "lines",
            Some(Layout::Array) => "array",
            Some(Layout::Values) => "values",
        })
    }
}

impl PyJsonReader {
    fn lock(&self) -> crate::Result<std::sync::MutexGuard<'_, JsonReader>> {
        self.0.lock().map_err(|_| Error::Internal { message: "a reader panicked before".into() })
    }
}

fn to_mapping(dict: &Bound<'_, PyDict>) -> PyResult<Mapping> {
    let mut mapping = Mapping::default();
    for (key, value) in dict.iter() {
        let key: String = key.extract()?;
        if key == "roles" {
            mapping.roles = value.extract::<HashMap<String, String>>()?;
            continue;
        }
        if key == "shape" {
            let name: String = value.extract()?;
            let known = || Shape::NAMES.map(|(name, _)| name).join(", ");
            let unknown = || Error::invalid(format!("shape must be one of {}: got '{name}'", known()));
            mapping.shape = Some(Shape::from_name(&name).ok_or_else(unknown)?);
            continue;
        }
        let names: Vec<String> = match value.extract::<String>() {
            Ok(name) => vec![name],
            Err(_) => value.extract()?,
        };
        let field = match key.as_str() {
            "conversation_id" => &mut mapping.conversation_id,
            "turns" => &mut mapping.turns,
            "role" => &mut mapping.role,
            "content" => &mut mapping.content,
            "model" => &mut mapping.model,
            "language" => &mut mapping.language,
            "timestamp" => &mut mapping.timestamp,
            "text" => &mut mapping.text,
            "turn_id" => &mut mapping.turn_id,
            other => return Err(Error::invalid(format!("mapping has an unknown key '{other}'")).into()),
        };
        *field = names;
    }
    Ok(mapping)
}
