//! Which Python exception an error of the core becomes. The classes are defined in `lmsys_rs.errors`.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::import_exception;
use pyo3::prelude::*;

use crate::error::Error;

import_exception!(lmsys_rs.errors, InvalidInputError);
import_exception!(lmsys_rs.errors, ModelError);
import_exception!(lmsys_rs.errors, NotFittedError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidInput { message, hint } => with_hint(InvalidInputError::new_err, message, hint),
            Error::Model { message, hint } => with_hint(ModelError::new_err, message, hint),
            Error::NotFitted { .. } => NotFittedError::new_err(error.to_string()),
            // only a stop flag set by a pending signal cancels a task; its own exception usually comes first
            Error::Cancelled => PyKeyboardInterrupt::new_err("cancelled"),
            Error::Internal { .. } => PyRuntimeError::new_err(error.to_string()),
        }
    }
}

/// The Python classes take the hint as a keyword, so that callers can read it apart.
fn with_hint(make: fn(String) -> PyErr, message: String, hint: Option<String>) -> PyErr {
    let error = make(message.clone());
    let Some(hint) = hint else { return error };
    Python::attach(|py| {
        let build = || -> PyResult<PyErr> {
            let keywords = pyo3::types::PyDict::new(py);
            keywords.set_item("hint", &hint)?;
            let value = error.get_type(py).call((&message,), Some(&keywords))?;
            Ok(PyErr::from_value(value))
        };
        build().unwrap_or(error.clone_ref(py))
    })
}
