//! What all estimators share: results that appear on fit, errors before it, parameters, repr and pickling. The
//! contract is scikit-learn's, without depending on it.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays;
use crate::error::Error;

/// The learned results of one estimator by name (`labels_`, ...), replaced as a whole by each fit.
pub struct Learned {
    what: &'static str,
    results: Mutex<Option<Py<PyDict>>>,
}

impl Learned {
    pub fn new(what: &'static str) -> Self {
        Self { what, results: Mutex::new(None) }
    }

    /// # Errors
    /// `NotFittedError` before the first fit.
    pub fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let results = self.state(py)?.ok_or(Error::NotFitted { what: self.what })?;
        results.get_item(name)?.ok_or_else(|| Error::NotFitted { what: self.what }.into())
    }

    /// Arrays are made read-only.
    pub fn set<'py>(
        &self,
        py: Python<'py>,
        results: impl IntoIterator<Item = (&'static str, Bound<'py, PyAny>)>,
    ) -> PyResult<()> {
        let dict = PyDict::new(py);
        for (name, value) in results {
            let value = if value.hasattr("setflags")? { arrays::read_only(value)? } else { value };
            dict.set_item(name, value)?;
        }
        self.replace(Some(dict.unbind()))
    }

    /// A copy of the dictionary of results, None before the first fit.
    pub fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let results = self.lock()?;
        results.as_ref().map(|results| results.bind(py).copy()).transpose()
    }

    /// What unpickling hands in; arrays become read-only again.
    pub fn restore(&self, py: Python<'_>, state: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        let Some(state) = state else { return self.replace(None) };
        let dict = PyDict::new(py);
        for (name, value) in state.iter() {
            let value = if value.hasattr("setflags")? { arrays::read_only(value)? } else { value };
            dict.set_item(name, value)?;
        }
        self.replace(Some(dict.unbind()))
    }

    fn replace(&self, results: Option<Py<PyDict>>) -> PyResult<()> {
        *self.lock()? = results;
        Ok(())
    }

    fn lock(&self) -> PyResult<std::sync::MutexGuard<'_, Option<Py<PyDict>>>> {
        self.results.lock().map_err(|_| Error::Internal { message: "a result lock is poisoned".into() }.into())
    }
}

/// "Name(a=1, b='x')".
pub fn repr(name: &str, params: &Bound<'_, PyDict>) -> PyResult<String> {
    let mut parts = Vec::new();
    for (key, value) in params.iter() {
        parts.push(format!("{key}={}", value.repr()?));
    }
    Ok(format!("{name}({})", parts.join(", ")))
}

/// The methods every estimator has; the type gives `params(py) -> dict` and the field `learned`.
macro_rules! estimator {
    ($class:ident, $name:literal) => {
        #[pymethods]
        impl $class {
            /// The constructor's parameters by name.
            #[pyo3(signature = (deep=true))]
            fn get_params<'py>(&self, py: Python<'py>, deep: bool) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
                // no parameter is an estimator itself
                let _ = deep;
                self.params(py)
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                crate::py::estimator::repr($name, &self.params(py)?)
            }

            fn __getnewargs_ex__<'py>(
                &self,
                py: Python<'py>,
            ) -> PyResult<(Bound<'py, pyo3::types::PyTuple>, Bound<'py, pyo3::types::PyDict>)> {
                Ok((pyo3::types::PyTuple::empty(py), self.params(py)?))
            }

            fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, pyo3::types::PyDict>>> {
                self.learned.state(py)
            }

            fn __setstate__(&self, py: Python<'_>, state: Option<Bound<'_, pyo3::types::PyDict>>) -> PyResult<()> {
                self.learned.restore(py, state)
            }
        }
    };
}

pub(crate) use estimator;
