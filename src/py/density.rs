//! Density and Leiden as Python estimators.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use super::graph::PyKnnGraph;
use crate::Result;
use crate::cluster::community::{self, LeidenParams, Objective};
use crate::cluster::density::{self, DensityParams};
use crate::error::Error;
use crate::graph::{KnnGraph, partitioned};
use crate::task::Task;
use crate::vectors::Vectors;

/// Neighbors per row of a graph that is built from an array.
const K: usize = 15;

/// The graph that an array is clustered on.
fn graph_of(vectors: Vectors<'_>, k: usize, task: &Task) -> Result<KnnGraph> {
    partitioned::build_for_shape(vectors, k, task)
}

/// What `fit` was given: a graph, or rows to build one of.
enum Given<'py> {
    Graph(Arc<KnnGraph>),
    Rows(Matrix<'py>),
}

impl<'py> Given<'py> {
    fn from_python(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(match object.cast::<PyKnnGraph>() {
            Ok(graph) => Self::Graph(graph.get().0.clone()),
            Err(_) => Self::Rows(Matrix::from_python(object, "X")?),
        })
    }

    /// Runs `work` on the graph, which is built first where rows were given.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        progress: Option<Py<PyAny>>,
        units_per_row: u64,
        work: impl FnOnce(&KnnGraph, &Task) -> Result<T> + Send,
    ) -> PyResult<T> {
        match self {
            Self::Graph(graph) => run(py, progress, |task| work(graph, task)),
            Self::Rows(matrix) => {
                let vectors = matrix.view()?;
                run(py, progress, |task| {
                    task.plan(units_per_row.saturating_add(1).saturating_mul(vectors.n() as u64));
                    work(&graph_of(vectors, K, task)?, task)
                })
            }
        }
    }
}

/// Clusters without a number of clusters, at several layers: Leiden communities of a kNN graph (Traag, Waltman,
/// van Eck 2019) with fuzzy edge weights (McInnes, Healy, Melville 2018, section 3.1), at the resolution up to which
/// neighbors can tell what a finer split says.
///
/// Args:
///     min_cluster_size: fewest points of a cluster (counted by sample_weight); smaller ones join the cluster they
///         are most linked to, or are noise where they are linked to none.
///     resolution: of modularity; chosen from the graph when None.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "Density", module = "lmsys_rs._core", frozen)]
pub struct PyDensity {
    min_cluster_size: usize,
    resolution: Option<f64>,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyDensity {
    #[new]
    #[pyo3(signature = (*, min_cluster_size=5, resolution=None, random_state=0))]
    fn new(min_cluster_size: i64, resolution: Option<f64>, random_state: u64) -> PyResult<Self> {
        let min_cluster_size = count(min_cluster_size, "min_cluster_size")?;
        let this = Self { min_cluster_size, resolution, random_state, learned: Learned::new("Density") };
        this.to_params()?;
        Ok(this)
    }

    /// Find the clusters of X.
    ///
    /// Args:
    ///     X: a KnnGraph, or (n, dim) real numbers; of those a graph of 15 neighbors is built first.
    ///     sample_weight: (n,) how often each row occurs, > 0.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with labels_, layers_, membership_, nearest_, n_clusters_ and resolution_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, or sample_weight does not fit.
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
        let given = Given::from_python(X)?;
        let found = given
            .run(py, progress, density::UNITS_PER_ROW, |graph, task| density::density(graph, weights, &params, task))?;
        let n = found.labels.len();
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, found.labels)),
                ("layers_", arrays::table(py, found.layers.concat(), n)?),
                ("membership_", arrays::column(py, found.membership)),
                ("nearest_", arrays::column(py, found.nearest)),
                ("n_clusters_", found.n_clusters.into_pyobject(py)?.into_any()),
                ("resolution_", found.resolution.into_pyobject(py)?.into_any()),
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

    /// (n,) int32 cluster of each row, numbered by falling size, -1 for noise; one of the layers.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// (n_layers, n) int32, finest layer first; each cluster lies within one of the next layer, noise is -1 in all.
    #[getter]
    fn layers_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "layers_")
    }

    /// (n,) float32 in [0, 1]: share of the row's edge weight that stays in its nearest_ cluster.
    #[getter]
    fn membership_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "membership_")
    }

    /// (n,) int32: labels_, and for noise the cluster it is linked to; -1 where there is none.
    #[getter]
    fn nearest_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "nearest_")
    }

    /// Number of clusters in labels_.
    #[getter]
    fn n_clusters_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "n_clusters_")
    }

    /// Resolution of modularity of labels_.
    #[getter]
    fn resolution_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "resolution_")
    }
}

impl PyDensity {
    fn to_params(&self) -> PyResult<DensityParams> {
        Ok(DensityParams::new(self.min_cluster_size, self.resolution, self.random_state)?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("min_cluster_size", self.min_cluster_size)?;
        params.set_item("resolution", self.resolution)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyDensity, "Density");

/// Communities of a kNN graph with fuzzy edge weights: the Leiden algorithm (Traag, Waltman, van Eck 2019, algorithm
/// A.2). Every community is connected, and every point is in one.
///
/// Args:
///     objective: "modularity" (Reichardt, Bornholdt 2006), or "cpm", the constant Potts model (Traag, Van Dooren,
///         Nesterov 2011).
///     resolution: higher gives more communities; for cpm the weight that each pair of points inside must have.
///     n_iterations: most iterations; it stops earlier when one changes nothing.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "Leiden", module = "lmsys_rs._core", frozen)]
pub struct PyLeiden {
    objective: String,
    resolution: f64,
    n_iterations: usize,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyLeiden {
    #[new]
    #[pyo3(signature = (*, objective="modularity".to_owned(), resolution=1.0, n_iterations=2, random_state=0))]
    fn new(objective: String, resolution: f64, n_iterations: i64, random_state: u64) -> PyResult<Self> {
        let n_iterations = count(n_iterations, "n_iterations")?;
        let this = Self { objective, resolution, n_iterations, random_state, learned: Learned::new("Leiden") };
        this.to_params()?;
        Ok(this)
    }

    /// Find the communities of X.
    ///
    /// Args:
    ///     X: a KnnGraph, or (n, dim) real numbers; of those a graph of 15 neighbors is built first.
    ///     sample_weight: (n,) how often each row occurs, > 0; towards the numbering, and the sizes in cpm.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with labels_, quality_, modularity_ and n_clusters_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, or sample_weight does not fit.
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
        let given = Given::from_python(X)?;
        let units_per_row = params.units_per_row();
        let found =
            given.run(py, progress, units_per_row, |graph, task| community::leiden(graph, weights, &params, task))?;
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, found.labels)),
                ("quality_", found.quality.into_pyobject(py)?.into_any()),
                ("modularity_", found.modularity.into_pyobject(py)?.into_any()),
                ("n_clusters_", found.n_clusters.into_pyobject(py)?.into_any()),
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

    /// (n,) int32 community of each row, numbered by falling size.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// What the objective says of labels_: modularity at the resolution, or for cpm the edge weight inside
    /// communities less resolution times their pairs of points.
    #[getter]
    fn quality_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "quality_")
    }

    /// Modularity of labels_ at resolution 1, in [-0.5, 1].
    #[getter]
    fn modularity_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "modularity_")
    }

    /// Number of communities.
    #[getter]
    fn n_clusters_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "n_clusters_")
    }
}

impl PyLeiden {
    fn to_params(&self) -> PyResult<LeidenParams> {
        let objective = match self.objective.as_str() {
            "modularity" => Objective::Modularity,
            "cpm" => Objective::Cpm,
            other => {
                return Err(Error::invalid(format!("objective must be modularity or cpm: got '{other}'")).into());
            }
        };
        Ok(LeidenParams::new(objective, self.resolution, self.n_iterations, self.random_state)?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("objective", &self.objective)?;
        params.set_item("resolution", self.resolution)?;
        params.set_item("n_iterations", self.n_iterations)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyLeiden, "Leiden");
