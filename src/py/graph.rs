//! The kNN graph from Python.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arrays::{self, Matrix};
use super::boundary::run;
use crate::error::Error;
use crate::graph::{KnnGraph, exact};

/// indices and distances
type Arrays<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The k nearest neighbors of every row, by Euclidean distance; immutable.
#[pyclass(name = "KnnGraph", module = "lmsys_rs._core", frozen)]
pub struct PyKnnGraph(pub Arc<KnnGraph>);

#[pymethods]
impl PyKnnGraph {
    /// Build the exact graph: every pair is looked at.
    ///
    /// Args:
    ///     X: (n, dim) real numbers; numpy, Arrow fixed-size lists or DLPack.
    ///     k: neighbors per row, without the row itself; n - 1 where there are fewer.
    ///     progress: called with (rows done, n).
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN, or k is 0.
    #[staticmethod]
    #[pyo3(signature = (X, k=15, *, progress=None))]
    #[allow(non_snake_case)]
    fn build(py: Python<'_>, X: &Bound<'_, PyAny>, k: usize, progress: Option<Py<PyAny>>) -> PyResult<Self> {
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        Ok(Self(Arc::new(run(py, progress, |task| exact::build(vectors, k, task))?)))
    }

    /// The graph of more rows, equal to one built anew, for the price of the new rows.
    ///
    /// Args:
    ///     X: (m, dim) real numbers: the rows of this graph and new ones.
    ///     positions: (n,) uint32, ascending: which row of X each row of this graph is.
    ///     progress: called with (rows done, m).
    ///
    /// Raises:
    ///     InvalidInputError: if positions do not fit, or this graph has short lists.
    #[pyo3(signature = (X, positions, *, progress=None))]
    #[allow(non_snake_case)]
    fn extend(
        &self,
        py: Python<'_>,
        X: &Bound<'_, PyAny>,
        positions: Vec<u32>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        Ok(Self(Arc::new(run(py, progress, |task| exact::extend(&self.0, &positions, vectors, task))?)))
    }

    /// Take neighbor lists made elsewhere.
    ///
    /// Args:
    ///     indices: (n, k) uint32 ids, 4294967295 where a list is short.
    ///     distances: (n, k) float32, ascending per row, inf where a list is short.
    ///
    /// Raises:
    ///     InvalidInputError: if the shapes differ, or a row is not ascending or names itself.
    #[staticmethod]
    fn from_arrays(indices: &Bound<'_, PyAny>, distances: &Bound<'_, PyAny>) -> PyResult<Self> {
        use numpy::{PyArrayMethods, PyUntypedArrayMethods};
        let ids = arrays::ids(indices, "indices")?;
        let lengths = distances.py().import("numpy")?.call_method1("ascontiguousarray", (distances, "float32"))?;
        let wrong = || PyErr::from(Error::invalid("indices and distances must both be 2-D, of the same shape"));
        let lengths = lengths.cast::<numpy::PyArray2<f32>>().map_err(|_| wrong())?.readonly();
        if ids.shape() != lengths.shape() {
            return Err(wrong());
        }
        let (n, k) = (ids.shape()[0], ids.shape()[1]);
        // copied: the graph is immutable, the caller's arrays are not
        let graph = KnnGraph::from_parts(ids.as_slice()?.to_vec(), lengths.as_slice()?.to_vec(), n, k)?;
        Ok(Self(Arc::new(graph)))
    }

    /// (n, k) uint32 ids, nearest first; 4294967295 where a list is short.
    #[getter]
    fn indices<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let graph = &slf.get().0;
        arrays::borrowed_table(graph.indices(), graph.k(), slf.clone().into_any())
    }

    /// (n, k) float32 Euclidean distances, ascending; inf where a list is short.
    #[getter]
    fn distances<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let graph = &slf.get().0;
        arrays::borrowed_table(graph.distances(), graph.k(), slf.clone().into_any())
    }

    /// Neighbors per row.
    #[getter]
    fn k(&self) -> usize {
        self.0.k()
    }

    /// Rows.
    #[getter]
    fn n_points(&self) -> usize {
        self.0.n()
    }

    /// The graph of the first `k` neighbors of each row.
    fn prefix(&self, k: usize) -> PyResult<Self> {
        Ok(Self(Arc::new(self.0.prefix(k)?)))
    }

    fn __len__(&self) -> usize {
        self.0.n()
    }

    fn __repr__(&self) -> String {
        format!("KnnGraph(n_points={}, k={})", self.0.n(), self.0.k())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Arrays<'py>)> {
        Ok((slf.get_type().getattr("from_arrays")?, (Self::indices(slf)?, Self::distances(slf)?)))
    }
}
