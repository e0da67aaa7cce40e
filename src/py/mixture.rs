//! Gaussian mixtures, DBSCAN and OPTICS as Python estimators, for data of few dimensions.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use crate::cluster::mixture::{self, GaussianMixture, GaussianMixtureParams};

/// Gaussian mixture with full covariances, by expectation-maximisation (`linfa-clustering`).
///
/// Args:
///     n_components: number of Gaussians, at most the number of rows.
///     max_iter: most steps.
///     tol: stop when the mean log-likelihood gains less than this.
///     reg_covar: added to the diagonal of every covariance.
///     random_state: seed of the start.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "GaussianMixture", module = "lmsys_rs._core", frozen)]
pub struct PyGaussianMixture {
    params: GaussianMixtureParams,
    learned: Learned,
}

#[pymethods]
impl PyGaussianMixture {
    #[new]
    #[pyo3(signature = (n_components=8, *, max_iter=100, tol=1e-3, reg_covar=1e-6, random_state=0))]
    fn new(n_components: i64, max_iter: i64, tol: f64, reg_covar: f64, random_state: u64) -> PyResult<Self> {
        let (n_components, max_iter) = (count(n_components, "n_components")?, count(max_iter, "max_iter")?);
        let params = GaussianMixtureParams { n_components, max_iter, tol, reg_covar, random_state };
        params.check()?;
        Ok(Self { params, learned: Learned::new("GaussianMixture") })
    }

    /// Fit the mixture to X.
    ///
    /// Args:
    ///     X: (n, dim) real numbers, of few dimensions.
    ///     progress: not called: linfa tells nothing.
    ///
    /// Returns:
    ///     self, with labels_, means_, weights_ and precisions_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN, fewer rows than components, or a singular covariance.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let (mixture, labels) = run(py, progress, |task| mixture::gaussian_mixture(vectors, &this.params, task))?;
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, labels)),
                ("means_", arrays::table(py, mixture.means, mixture.dim)?),
                ("weights_", arrays::column(py, mixture.weights)),
                ("precisions_", arrays::table(py, mixture.precisions, mixture.dim * mixture.dim)?),
            ],
        )?;
        Ok(slf)
    }

    /// The most probable component of each row of X, (n,) int32.
    #[allow(non_snake_case)]
    fn predict<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let means: Vec<Vec<f64>> = self.learned.get(py, "means_")?.extract()?;
        let precisions: Vec<Vec<f64>> = self.learned.get(py, "precisions_")?.extract()?;
        let mixture = GaussianMixture {
            dim: means.first().map_or(0, Vec::len),
            means: means.concat(),
            weights: self.learned.get(py, "weights_")?.extract()?,
            precisions: precisions.concat(),
        };
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        Ok(arrays::column(py, run(py, None, |_| mixture.predict(vectors))?))
    }

    /// `fit(X).labels_`.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit_predict<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, progress)?.get().learned.get(py, "labels_")
    }

    /// (n,) int32 most probable component of each row.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// (n_components, dim) float64.
    #[getter]
    fn means_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "means_")
    }

    /// (n_components,) float64 share of each component.
    #[getter]
    fn weights_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "weights_")
    }

    /// (n_components, dim * dim) float64 inverse covariances, row-major.
    #[getter]
    fn precisions_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "precisions_")
    }
}

impl PyGaussianMixture {
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_components", self.params.n_components)?;
        params.set_item("max_iter", self.params.max_iter)?;
        params.set_item("tol", self.params.tol)?;
        params.set_item("reg_covar", self.params.reg_covar)?;
        params.set_item("random_state", self.params.random_state)?;
        Ok(params)
    }
}

estimator!(PyGaussianMixture, "GaussianMixture");

/// DBSCAN (Ester et al. 1996; `linfa-clustering`): what is connected through dense points is a cluster.
///
/// Args:
///     eps: radius of a neighborhood.
///     min_samples: points (itself included) that make a point dense, at least 2.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "DBSCAN", module = "lmsys_rs._core", frozen)]
pub struct PyDbscan {
    eps: f64,
    min_samples: usize,
    learned: Learned,
}

#[pymethods]
impl PyDbscan {
    #[new]
    #[pyo3(signature = (*, eps=0.5, min_samples=5))]
    fn new(eps: f64, min_samples: i64) -> PyResult<Self> {
        let min_samples = count(min_samples, "min_samples")?;
        mixture::check_dbscan(eps, min_samples)?;
        Ok(Self { eps, min_samples, learned: Learned::new("DBSCAN") })
    }

    /// Find the clusters of X.
    ///
    /// Args:
    ///     X: (n, dim) real numbers, of few dimensions.
    ///     progress: not called: linfa tells nothing.
    ///
    /// Returns:
    ///     self, with labels_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let labels = run(py, progress, |task| mixture::dbscan(vectors, this.eps, this.min_samples, task))?;
        this.learned.set(py, [("labels_", arrays::column(py, labels))])?;
        Ok(slf)
    }

    /// `fit(X).labels_`.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit_predict<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, progress)?.get().learned.get(py, "labels_")
    }

    /// (n,) int32 cluster of each row, -1 for noise.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }
}

impl PyDbscan {
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("eps", self.eps)?;
        params.set_item("min_samples", self.min_samples)?;
        Ok(params)
    }
}

estimator!(PyDbscan, "DBSCAN");

/// OPTICS (Ankerst et al. 1999; `linfa-clustering`): the order in which density connects points.
///
/// Args:
///     min_samples: points (itself included) that make a point dense, at least 2.
///     max_eps: largest radius looked at; finite values are much faster.
///     eps: where labels are cut; default max_eps, or the 90th percentile of the finite reachability distances.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "OPTICS", module = "lmsys_rs._core", frozen)]
pub struct PyOptics {
    min_samples: usize,
    max_eps: f64,
    eps: Option<f64>,
    learned: Learned,
}

#[pymethods]
impl PyOptics {
    #[new]
    #[pyo3(signature = (*, min_samples=5, max_eps=f64::INFINITY, eps=None))]
    fn new(min_samples: i64, max_eps: f64, eps: Option<f64>) -> PyResult<Self> {
        let min_samples = count(min_samples, "min_samples")?;
        mixture::check_optics(min_samples, max_eps, eps)?;
        Ok(Self { min_samples, max_eps, eps, learned: Learned::new("OPTICS") })
    }

    /// Order the rows of X and find its clusters.
    ///
    /// Args:
    ///     X: (n, dim) real numbers, of few dimensions.
    ///     progress: not called: linfa tells nothing.
    ///
    /// Returns:
    ///     self, with labels_, ordering_ and reachability_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let result =
            run(py, progress, |task| mixture::optics(vectors, this.min_samples, this.max_eps, this.eps, task))?;
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, result.labels)),
                ("ordering_", arrays::column(py, result.ordering)),
                ("reachability_", arrays::column(py, result.reachability)),
            ],
        )?;
        Ok(slf)
    }

    /// `fit(X).labels_`.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit_predict<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, progress)?.get().learned.get(py, "labels_")
    }

    /// (n,) int32 cluster of each row, -1 for noise.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// (n,) uint32 rows in the order of the reachability plot.
    #[getter]
    fn ordering_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "ordering_")
    }

    /// (n,) float32 reachability distance of each row; inf where a component starts.
    #[getter]
    fn reachability_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "reachability_")
    }
}

impl PyOptics {
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("min_samples", self.min_samples)?;
        params.set_item("max_eps", self.max_eps)?;
        params.set_item("eps", self.eps)?;
        Ok(params)
    }
}

estimator!(PyOptics, "OPTICS");
