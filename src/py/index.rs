//! Nearest rows of unseen vectors, from Python.

use pyo3::prelude::*;

use super::arrays::{self, Matrix};
use super::boundary::run;
use crate::error::Error;
use crate::index::{Exact, Hnsw, HnswParams, Index};

/// An index over the rows of a matrix; ids are row numbers.
#[pyclass(name = "Index", module = "lmsys_rs._core", frozen)]
pub struct PyIndex(Box<dyn Index>);

#[pymethods]
impl PyIndex {
    /// Build an index.
    ///
    /// Args:
    ///     X: (n, dim) real numbers.
    ///     engine: "exact" (every row is looked at) or "hnsw" (approximate; Malkov, Yashunin 2016).
    ///     ef_construction: candidates kept while building (hnsw).
    ///     ef_search: candidates kept while searching (hnsw): the recall knob.
    ///     random_state: seed of the layers (hnsw).
    ///     progress: called with (done, total).
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, or the engine is unknown.
    #[staticmethod]
    #[pyo3(signature = (X, *, engine="exact", ef_construction=200, ef_search=100, random_state=0, progress=None))]
    #[allow(non_snake_case, clippy::too_many_arguments)]
    fn build(
        py: Python<'_>,
        X: &Bound<'_, PyAny>,
        engine: &str,
        ef_construction: usize,
        ef_search: usize,
        random_state: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let index: Box<dyn Index> = match engine {
            "exact" => Box::new(run(py, progress, |_| Ok(Exact::build(vectors)))?),
            "hnsw" => {
                let params = HnswParams { ef_construction, ef_search, random_state };
                Box::new(run(py, progress, |task| Hnsw::build(vectors, &params, task))?)
            }
            other => return Err(Error::invalid(format!("engine must be exact or hnsw: got '{other}'")).into()),
        };
        Ok(Self(index))
    }

    /// The engine's name.
    #[getter]
    fn engine(&self) -> &'static str {
        self.0.name()
    }

    /// Columns of the rows.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// The k nearest rows of each query.
    ///
    /// Args:
    ///     Q: (m, dim) queries.
    ///     k: rows per query.
    ///     where: (n,) bool; only rows that are True are ranked, so a filtered search gives the true filtered top k.
    ///     progress: called with (queries done, m).
    ///
    /// Returns:
    ///     (m, k) uint32 ids and (m, k) float32 Euclidean distances, ascending; where fewer than k rows pass, the
    ///     rest is 4294967295 and inf.
    #[pyo3(signature = (Q, k=10, *, r#where=None, progress=None))]
    #[allow(non_snake_case)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        Q: &Bound<'py, PyAny>,
        k: usize,
        r#where: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let matrix = Matrix::from_python(Q, "Q")?;
        let queries = matrix.view()?;
        let mask = arrays::mask(r#where)?;
        let pass = mask.as_ref().map(|mask| mask.as_slice()).transpose()?;
        let found = run(py, progress, |task| self.0.search(queries, k, pass, task))?;
        Ok((arrays::table(py, found.ids, k)?, arrays::table(py, found.distances, k)?))
    }

    fn __len__(&self) -> usize {
        self.0.n()
    }

    fn __repr__(&self) -> String {
        format!("Index(engine='{}', n={}, dim={})", self.0.name(), self.0.n(), self.0.dim())
    }
}
