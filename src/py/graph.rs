//! The kNN graph from Python.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arrays::{self, Matrix};
use super::boundary::run;
use crate::error::Error;
use crate::graph::partitioned::{self, BuildParams};
use crate::graph::{KnnGraph, exact};

/// indices and distances
type Arrays<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The k nearest neighbors of every row, by Euclidean distance; immutable. Beside it the share of true neighbors it
/// holds, where that is known.
#[pyclass(name = "KnnGraph", module = "lmsys_rs._core", frozen)]
pub struct PyKnnGraph(pub Arc<KnnGraph>, pub Option<f64>);

#[pymethods]
impl PyKnnGraph {
    /// Build the graph. Up to 8,192 rows every pair is looked at; of more rows each looks in the lists of a k-means
    /// partition that are nearest to its own, in as many as a sample of rows needed for the share asked for.
    ///
    /// Args:
    ///     X: (n, dim) real numbers; numpy, Arrow fixed-size lists or DLPack.
    ///     k: neighbors per row, without the row itself; n - 1 where there are fewer.
    ///     recall: which share of the true neighbors to find, above 0 and at most 1; 1 looks at every pair.
    ///     random_state: seed of partition and sample.
    ///     progress: called with (units done, units in all).
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN, k is 0 or recall is out of range.
    #[staticmethod]
    #[pyo3(signature = (X, k=15, *, recall=0.98, random_state=0, progress=None))]
    #[allow(non_snake_case)]
    fn build(
        py: Python<'_>,
        X: &Bound<'_, PyAny>,
        k: usize,
        recall: f64,
        random_state: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let params = BuildParams::new(recall, random_state)?;
        let built = run(py, progress, |task| partitioned::build(vectors, k, &params, task))?;
        Ok(Self(Arc::new(built.graph), Some(built.recall)))
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
        let graph = run(py, progress, |task| exact::extend(&self.0, &positions, vectors, task))?;
        // new rows find all of theirs; the share of the others stays as it is at worst
        Ok(Self(Arc::new(graph), self.1))
    }

    /// Take neighbor lists made elsewhere.
    ///
    /// Args:
    ///     indices: (n, k) uint32 ids, 4294967295 where a list is short.
    ///     distances: (n, k) float32, ascending per row, inf where a list is short.
    ///     recall: which share of the true neighbors they hold, where it is known.
    ///
    /// Raises:
    ///     InvalidInputError: if the shapes differ, or a row is not ascending or names itself.
    #[staticmethod]
    #[pyo3(signature = (indices, distances, *, recall=None))]
    fn from_arrays(indices: &Bound<'_, PyAny>, distances: &Bound<'_, PyAny>, recall: Option<f64>) -> PyResult<Self> {
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
        Ok(Self(Arc::new(graph), recall))
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

    /// Which share of the true neighbors the graph holds, measured on a sample; 1 where every pair was looked at, None
    /// where it is not known.
    #[getter]
    fn recall(&self) -> Option<f64> {
        self.1
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
        Ok(Self(Arc::new(self.0.prefix(k)?), self.1))
    }

    fn __len__(&self) -> usize {
        self.0.n()
    }

    fn __repr__(&self) -> String {
        let recall = self.1.map_or(String::new(), |recall| format!(", recall={recall:.4}"));
        format!("KnnGraph(n_points={}, k={}{recall})", self.0.n(), self.0.k())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Arrays<'py>)> {
        let py = slf.py();
        let recall = pyo3::types::PyDict::new(py);
        recall.set_item("recall", slf.get().1)?;
        let from_arrays = slf.get_type().getattr("from_arrays")?;
        let from_arrays = py.import("functools")?.getattr("partial")?.call((from_arrays,), Some(&recall))?;
        Ok((from_arrays, (Self::indices(slf)?, Self::distances(slf)?)))
    }
}
