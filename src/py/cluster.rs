//! k-means and HDBSCAN as Python estimators.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use super::graph::PyKnnGraph;
use crate::cluster::hdbscan::{self, HdbscanParams};
use crate::cluster::kmeans::{self, Init, KMeansParams};
use crate::cluster::tree::Selection;
use crate::error::Error;

/// k-means clustering (Lloyd 1982), seeded; the same bits on any number of threads.
///
/// Args:
///     n_clusters: number of clusters, at most the number of rows.
///     init: "k-means++", "random", or an (n_clusters, dim) array of starting centroids.
///     n_init: starts; the one with the smallest inertia wins.
///     max_iter: most Lloyd steps per start.
///     tol: stop when the squared movement of all centroids is at most tol times the mean variance of the columns.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "KMeans", module = "lmsys_rs._core", frozen)]
pub struct PyKMeans {
    n_clusters: usize,
    init: Py<PyAny>,
    n_init: usize,
    max_iter: usize,
    tol: f64,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyKMeans {
    #[new]
    #[pyo3(signature = (n_clusters=8, *, init=None, n_init=1, max_iter=300, tol=1e-4, random_state=0))]
    fn new(
        py: Python<'_>,
        n_clusters: i64,
        init: Option<Py<PyAny>>,
        n_init: i64,
        max_iter: i64,
        tol: f64,
        random_state: u64,
    ) -> PyResult<Self> {
        let n_clusters = count(n_clusters, "n_clusters")?;
        let (n_init, max_iter) = (count(n_init, "n_init")?, count(max_iter, "max_iter")?);
        let init = match init {
            Some(init) => init,
            None => "k-means++".into_pyobject(py)?.into_any().unbind(),
        };
        let this = Self { n_clusters, init, n_init, max_iter, tol, random_state, learned: Learned::new("KMeans") };
        this.to_params(py)?;
        Ok(this)
    }

    /// Find the clusters of X.
    ///
    /// Args:
    ///     X: (n, dim) real numbers; numpy, Arrow fixed-size lists or DLPack.
    ///     sample_weight: (n,) how often each row occurs, > 0.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with labels_, cluster_centers_, distances_, inertia_ and n_iter_.
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
        let params = this.to_params(py)?;
        let result = run(py, progress, |task| kmeans::kmeans(vectors, weights, &params, task))?;
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, result.labels)),
                ("distances_", arrays::column(py, result.distances)),
                ("cluster_centers_", arrays::table(py, result.centroids, vectors.dim())?),
                ("inertia_", result.inertia.into_pyobject(py)?.into_any()),
                ("n_iter_", result.n_iter.into_pyobject(py)?.into_any()),
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

    /// (n,) int32 cluster of each row.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// (n,) float32 Euclidean distance of each row to its own centroid.
    #[getter]
    fn distances_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "distances_")
    }

    /// (n_clusters, dim) float32.
    #[getter]
    fn cluster_centers_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "cluster_centers_")
    }

    /// Weighted sum of squared distances of the rows to their centroids.
    #[getter]
    fn inertia_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "inertia_")
    }

    /// Lloyd steps of the best start.
    #[getter]
    fn n_iter_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "n_iter_")
    }
}

impl PyKMeans {
    fn to_params(&self, py: Python<'_>) -> PyResult<KMeansParams> {
        let init = init_of(self.init.bind(py), self.n_clusters)?;
        Ok(KMeansParams::new(self.n_clusters, init, self.n_init, self.max_iter, self.tol, self.random_state)?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_clusters", self.n_clusters)?;
        params.set_item("init", &self.init)?;
        params.set_item("n_init", self.n_init)?;
        params.set_item("max_iter", self.max_iter)?;
        params.set_item("tol", self.tol)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyKMeans, "KMeans");

/// What `init` says: a name or an array of centroids.
pub(super) fn init_of(init: &Bound<'_, PyAny>, n_clusters: usize) -> PyResult<Init> {
    if let Ok(name) = init.extract::<String>() {
        return match name.as_str() {
            "k-means++" => Ok(Init::PlusPlus),
            "random" => Ok(Init::Random),
            other => Err(Error::invalid(format!("init must be k-means++, random or an array: got '{other}'")).into()),
        };
    }
    let (values, n, _) = Matrix::from_python(init, "init")?.parts()?;
    if n != n_clusters {
        return Err(Error::invalid(format!("init must have n_clusters = {n_clusters} rows: got {n}")).into());
    }
    Ok(Init::Centroids(values))
}

/// HDBSCAN: clusters of varying density, and noise (Campello, Moulavi, Sander 2013), as in the `hdbscan` package.
///
/// Args:
///     min_cluster_size: fewest points of a cluster (counted by sample_weight).
///     min_samples: neighbors that make a point dense, itself not counted; default min_cluster_size.
///     cluster_selection_epsilon: clusters that part below this distance are kept as one.
///     cluster_selection_method: "eom" or "leaf".
///     allow_single_cluster: whether all points may be one cluster.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "HDBSCAN", module = "lmsys_rs._core", frozen)]
pub struct PyHdbscan {
    min_cluster_size: usize,
    min_samples: Option<usize>,
    cluster_selection_epsilon: f64,
    cluster_selection_method: String,
    allow_single_cluster: bool,
    learned: Learned,
}

#[pymethods]
impl PyHdbscan {
    #[new]
    #[pyo3(signature = (*, min_cluster_size=15, min_samples=None, cluster_selection_epsilon=0.0, cluster_selection_method="eom".to_owned(), allow_single_cluster=false))]
    fn new(
        min_cluster_size: i64,
        min_samples: Option<i64>,
        cluster_selection_epsilon: f64,
        cluster_selection_method: String,
        allow_single_cluster: bool,
    ) -> PyResult<Self> {
        let min_cluster_size = count(min_cluster_size, "min_cluster_size")?;
        let min_samples = min_samples.map(|value| count(value, "min_samples")).transpose()?;
        let this = Self {
            min_cluster_size,
            min_samples,
            cluster_selection_epsilon,
            cluster_selection_method,
            allow_single_cluster,
            learned: Learned::new("HDBSCAN"),
        };
        this.to_params()?;
        Ok(this)
    }

    /// Find the clusters of X.
    ///
    /// Args:
    ///     X: a KnnGraph (its edges only: fast), or (n, dim) real numbers (exact, O(n^2 dim) time).
    ///     sample_weight: (n,) how often each row occurs, > 0.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with labels_, probabilities_, outlier_scores_ and n_clusters_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, or min_samples is more than the graph's k.
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
        let weights = arrays::weights(sample_weight, "sample_weight")?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let params = this.to_params()?;
        let found = if let Ok(graph) = X.cast::<PyKnnGraph>() {
            let graph = graph.get().0.clone();
            run(py, progress, |task| hdbscan::hdbscan_of_graph(&graph, weights, &params, task))?
        } else {
            let matrix = Matrix::from_python(X, "X")?;
            let vectors = matrix.view()?;
            run(py, progress, |task| hdbscan::hdbscan_of_vectors(vectors, weights, &params, task))?
        };
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, found.flat.labels)),
                ("probabilities_", arrays::column(py, found.flat.probabilities)),
                ("outlier_scores_", arrays::column(py, found.outlier_scores)),
                ("n_clusters_", found.flat.n_clusters.into_pyobject(py)?.into_any()),
            ],
        )?;
        Ok(slf)
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

    /// (n,) int32 cluster of each row, -1 for noise.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// (n,) float32 strength of membership in [0, 1]; 0 for noise.
    #[getter]
    fn probabilities_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "probabilities_")
    }

    /// (n,) float32 GLOSH scores in [0, 1] (Campello and others 2015): 1 - the density at which a row leaves its cluster
    /// by the highest density within that cluster. Equal rows count as no density.
    #[getter]
    fn outlier_scores_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "outlier_scores_")
    }

    /// Number of clusters found.
    #[getter]
    fn n_clusters_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "n_clusters_")
    }
}

impl PyHdbscan {
    fn to_params(&self) -> PyResult<HdbscanParams> {
        let selection = match self.cluster_selection_method.as_str() {
            "eom" => Selection::Eom,
            "leaf" => Selection::Leaf,
            other => {
                return Err(
                    Error::invalid(format!("cluster_selection_method must be eom or leaf: got '{other}'")).into()
                );
            }
        };
        Ok(HdbscanParams::new(
            self.min_cluster_size,
            self.min_samples,
            self.cluster_selection_epsilon,
            selection,
            self.allow_single_cluster,
        )?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("min_cluster_size", self.min_cluster_size)?;
        params.set_item("min_samples", self.min_samples)?;
        params.set_item("cluster_selection_epsilon", self.cluster_selection_epsilon)?;
        params.set_item("cluster_selection_method", &self.cluster_selection_method)?;
        params.set_item("allow_single_cluster", self.allow_single_cluster)?;
        Ok(params)
    }
}

estimator!(PyHdbscan, "HDBSCAN");
