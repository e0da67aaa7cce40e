//! k-means over rows that come in parts, as a Python estimator.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::cluster::init_of;
use super::estimator::{Learned, estimator};
use crate::cluster::kmeans::streaming::Streaming;
use crate::cluster::kmeans::{self, KMeansParams};

/// k-means in one pass, for rows that come in parts or do not fit into memory (MacQueen 1967; Sculley 2010): each part
/// moves the centroids towards the means of all rows so far. The same bits on any number of threads.
///
/// Args:
///     n_clusters: number of clusters, at most the rows of the first part.
///     init: "k-means++", "random" (both on the first part), or an (n_clusters, dim) array of starting centroids.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "MiniBatchKMeans", module = "lmsys_rs._core", frozen)]
pub struct PyMiniBatchKMeans {
    n_clusters: usize,
    init: Py<PyAny>,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyMiniBatchKMeans {
    #[new]
    #[pyo3(signature = (n_clusters=8, *, init=None, random_state=0))]
    fn new(py: Python<'_>, n_clusters: i64, init: Option<Py<PyAny>>, random_state: u64) -> PyResult<Self> {
        let n_clusters = count(n_clusters, "n_clusters")?;
        let init = match init {
            Some(init) => init,
            None => "k-means++".into_pyobject(py)?.into_any().unbind(),
        };
        let this = Self { n_clusters, init, random_state, learned: Learned::new("MiniBatchKMeans") };
        this.to_params(py)?;
        Ok(this)
    }

    /// One pass over X from the beginning, and the nearest centroid of each row.
    ///
    /// Args:
    ///     X: (n, dim) real numbers; a memory-mapped array is read part by part.
    ///     sample_weight: (n,) how often each row occurs, > 0.
    ///     progress: called with (done, total) rows.
    ///
    /// Returns:
    ///     self, with cluster_centers_, counts_, labels_ and inertia_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN or fewer rows than n_clusters.
    #[pyo3(signature = (X, *, sample_weight=None, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let weights = arrays::weights(sample_weight, "sample_weight")?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let mut streaming = Streaming::new(this.to_params(py)?);
        let (streaming, labels, distances) = run(py, progress, |task| {
            task.plan(2 * vectors.n() as u64);
            streaming.feed(vectors, weights, task)?;
            let centroids = crate::Vectors::new(streaming.centroids(), this.n_clusters, vectors.dim())?;
            let (labels, distances) = kmeans::assign(vectors, centroids, task)?;
            Ok((streaming, labels, distances))
        })?;
        let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row] as f64);
        let inertia: f64 = distances.iter().enumerate().map(|(row, d)| (*d as f64).powi(2) * weight_of(row)).sum();
        this.learned.set(
            py,
            [
                ("cluster_centers_", arrays::table(py, streaming.centroids().to_vec(), vectors.dim())?),
                ("counts_", arrays::column(py, streaming.counts().to_vec())),
                ("labels_", arrays::column(py, labels)),
                ("inertia_", inertia.into_pyobject(py)?.into_any()),
            ],
        )?;
        Ok(slf)
    }

    /// Take the next rows. labels_ and inertia_ are not known then: call predict.
    ///
    /// Args:
    ///     X: (m, dim) real numbers; the first part has at least n_clusters rows.
    ///     sample_weight: (m,) how often each row occurs, > 0.
    ///     progress: called with (done, total) rows.
    ///
    /// Returns:
    ///     self, with cluster_centers_ and counts_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN, another width than before, or too few rows at first.
    #[pyo3(signature = (X, *, sample_weight=None, progress=None))]
    #[allow(non_snake_case)]
    fn partial_fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let weights = arrays::weights(sample_weight, "sample_weight")?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let params = this.to_params(py)?;
        let mut streaming = match this.learned.state(py)? {
            None => Streaming::new(params),
            Some(state) => {
                let known = |name: &str| this.learned.get(py, name);
                let centroids = Matrix::from_python(&known("cluster_centers_")?, "cluster_centers_")?;
                drop(state);
                Streaming::resume(params, centroids.view()?, known("counts_")?.extract()?)?
            }
        };
        let streaming = run(py, progress, |task| {
            streaming.feed(vectors, weights, task)?;
            Ok(streaming)
        })?;
        this.learned.set(
            py,
            [
                ("cluster_centers_", arrays::table(py, streaming.centroids().to_vec(), vectors.dim())?),
                ("counts_", arrays::column(py, streaming.counts().to_vec())),
            ],
        )?;
        Ok(slf)
    }

    /// The nearest centroid of each row of X, (n,) int32.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let centroids = Matrix::from_python(&self.learned.get(py, "cluster_centers_")?, "cluster_centers_")?;
        let (matrix, centroids) = (Matrix::from_python(X, "X")?, centroids.view()?);
        let vectors = matrix.view()?;
        let (labels, _) = run(py, progress, |task| kmeans::assign(vectors, centroids, task))?;
        Ok(arrays::column(py, labels))
    }

    /// `fit(X).labels_`.
    #[pyo3(signature = (X, *, sample_weight=None, progress=None))]
    #[allow(non_snake_case)]
    fn fit_predict<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, sample_weight, progress)?.get().learned.get(py, "labels_")
    }

    /// (n_clusters, dim) float32.
    #[getter]
    fn cluster_centers_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "cluster_centers_")
    }

    /// (n_clusters,) float64 weight of the rows that each centroid has seen.
    #[getter]
    fn counts_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "counts_")
    }

    /// (n,) int32 cluster of each row of the last fit.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// Weighted sum of squared distances of the rows of the last fit to their centroids.
    #[getter]
    fn inertia_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "inertia_")
    }
}

impl PyMiniBatchKMeans {
    fn to_params(&self, py: Python<'_>) -> PyResult<KMeansParams> {
        let init = init_of(self.init.bind(py), self.n_clusters)?;
        Ok(KMeansParams::new(self.n_clusters, init, 1, 1, 0.0, self.random_state)?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_clusters", self.n_clusters)?;
        params.set_item("init", &self.init)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyMiniBatchKMeans, "MiniBatchKMeans");
