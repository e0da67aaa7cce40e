//! PCA and UMAP as Python estimators.

use numpy::{PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use super::graph::PyKnnGraph;
use crate::error::Error;
use crate::graph::partitioned;
use crate::index::{Exact, Index};
use crate::project::pca::{self, Pca};
use crate::project::umap::{self, Init, UmapParams};
use crate::vectors::Vectors;

/// Neighbors of the graph that is built when UMAP is given vectors.
const DEFAULT_NEIGHBORS: usize = 15;

/// Under this name a fit on vectors keeps them for `transform`.
const FITTED: &str = "_fitted";

/// Principal components: the directions of largest variance (Pearson 1901).
///
/// Args:
///     n_components: number of directions, at most min(n, dim).
///     random_state: not used: the result is exact. Kept for the sake of the estimator contract.
///
/// Raises:
///     InvalidInputError: if n_components is 0.
#[pyclass(name = "PCA", module = "lmsys_rs._core", frozen)]
pub struct PyPca {
    n_components: usize,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyPca {
    #[new]
    #[pyo3(signature = (n_components=2, *, random_state=0))]
    fn new(n_components: i64, random_state: u64) -> PyResult<Self> {
        let n_components = count(n_components, "n_components")?;
        if n_components == 0 {
            return Err(Error::invalid("n_components must be at least 1: got 0").into());
        }
        Ok(Self { n_components, random_state, learned: Learned::new("PCA") })
    }

    /// Find the components of X.
    ///
    /// Args:
    ///     X: (n, dim) real numbers.
    ///     progress: called with (rows done, n).
    ///
    /// Returns:
    ///     self, with components_, explained_variance_ and mean_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, or n_components > min(n, dim).
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
        let result = run(py, progress, |task| pca::pca(vectors, this.n_components, task))?;
        this.learned.set(
            py,
            [
                ("components_", arrays::table(py, result.components, vectors.dim())?),
                ("explained_variance_", arrays::column(py, result.explained_variance)),
                ("mean_", arrays::column(py, result.mean)),
            ],
        )?;
        Ok(slf)
    }

    /// (n, n_components) float32 coordinates of the rows of X.
    #[allow(non_snake_case)]
    fn transform<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let components = Matrix::from_python(&self.learned.get(py, "components_")?, "components_")?;
        let (components, n_components, _) = components.parts()?;
        let pca = Pca::from_parts(
            components,
            self.learned.get(py, "explained_variance_")?.extract()?,
            self.learned.get(py, "mean_")?.extract()?,
        );
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        arrays::table(py, run(py, None, |_| pca.transform(vectors))?, n_components)
    }

    /// `fit(X).transform(X)`.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit_transform<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, progress)?.get().transform(py, X)
    }

    /// (n_components, dim) float32 unit rows; the largest entry of each is positive.
    #[getter]
    fn components_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "components_")
    }

    /// (n_components,) float32 variance along each component, descending.
    #[getter]
    fn explained_variance_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "explained_variance_")
    }

    /// (dim,) float32 mean of the rows.
    #[getter]
    fn mean_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "mean_")
    }
}

impl PyPca {
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_components", self.n_components)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyPca, "PCA");

/// UMAP (McInnes, Healy, Melville 2018) of a kNN graph; the same bits on any number of threads.
///
/// Args:
///     n_components: dimensions of the layout.
///     n_neighbors: neighbors used; default all of a given graph, 15 of given vectors.
///     min_dist: how close points may lie.
///     spread: scale of the layout.
///     n_epochs: passes over the graph; default 500 up to 10,000 points, then 250.
///     learning_rate: size of the first step.
///     negative_sample_rate: points pushed away per point pulled.
///     init: "spectral", "random", or an (n, n_components) array.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "UMAP", module = "lmsys_rs._core", frozen)]
pub struct PyUmap {
    n_components: usize,
    n_neighbors: Option<usize>,
    min_dist: f32,
    spread: f32,
    n_epochs: Option<usize>,
    learning_rate: f32,
    negative_sample_rate: usize,
    init: Py<PyAny>,
    random_state: u64,
    learned: Learned,
}

#[pymethods]
impl PyUmap {
    #[new]
    #[pyo3(signature = (n_components=2, *, n_neighbors=None, min_dist=0.1, spread=1.0, n_epochs=None, learning_rate=1.0, negative_sample_rate=5, init=None, random_state=0))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        n_components: i64,
        n_neighbors: Option<i64>,
        min_dist: f32,
        spread: f32,
        n_epochs: Option<i64>,
        learning_rate: f32,
        negative_sample_rate: i64,
        init: Option<Py<PyAny>>,
        random_state: u64,
    ) -> PyResult<Self> {
        let n_components = count(n_components, "n_components")?;
        let n_neighbors = n_neighbors.map(|value| count(value, "n_neighbors")).transpose()?;
        let n_epochs = n_epochs.map(|value| count(value, "n_epochs")).transpose()?;
        let negative_sample_rate = count(negative_sample_rate, "negative_sample_rate")?;
        let init = match init {
            Some(init) => init,
            None => "spectral".into_pyobject(py)?.into_any().unbind(),
        };
        let this = Self {
            n_components,
            n_neighbors,
            min_dist,
            spread,
            n_epochs,
            learning_rate,
            negative_sample_rate,
            init,
            random_state,
            learned: Learned::new("UMAP"),
        };
        this.to_params(py)?;
        Ok(this)
    }

    /// Lay out X.
    ///
    /// Args:
    ///     X: a KnnGraph, or (n, dim) real numbers, of which the exact graph is built.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with embedding_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, n_neighbors is more than the graph's k, or init does not fit.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let params = this.to_params(py)?;
        let (layout, fitted) = if let Ok(graph) = X.cast::<PyKnnGraph>() {
            let graph = graph.get().0.clone();
            let layout = run(py, progress, |task| match this.n_neighbors {
                Some(k) if k != graph.k() => umap::umap(&graph.prefix(k)?, &params, task),
                _ => umap::umap(&graph, &params, task),
            })?;
            (layout, py.None().into_bound(py))
        } else {
            let matrix = Matrix::from_python(X, "X")?;
            let vectors = matrix.view()?;
            let k = this.n_neighbors.unwrap_or(DEFAULT_NEIGHBORS);
            let layout =
                run(py, progress, |task| umap::umap(&partitioned::build_for_shape(vectors, k, task)?, &params, task))?;
            (layout, matrix.to_numpy(py)?)
        };
        let embedding = arrays::table(py, layout, this.n_components)?;
        this.learned.set(py, [("embedding_", embedding), (FITTED, fitted)])?;
        Ok(slf)
    }

    /// Places new rows in the layout; those of fit stay where they are.
    ///
    /// Each row starts at the weighted mean of its nearest rows of fit and settles among them.
    ///
    /// Args:
    ///     X: (m, dim) real numbers, if fit was given vectors, which are kept by reference for it; or, after any fit, a
    ///         tuple (indices, distances) of the nearest rows of fit: both (m, k), ascending, 4294967295 and inf where a
    ///         list is short.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     (m, n_components) float32 coordinates.
    ///
    /// Raises:
    ///     NotFittedError: before fit.
    ///     InvalidInputError: if X has NaN or another width, or fit was given a graph and X is not such a tuple.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn transform<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let params = self.to_params(py)?;
        let layout = Matrix::from_python(&self.learned.get(py, "embedding_")?, "embedding_")?;
        let layout = layout.view()?;
        if let Ok((indices, distances)) = X.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()
            && X.is_instance_of::<PyTuple>()
        {
            return placed(py, layout, (&indices, &distances), &params, progress);
        }
        let fitted = self.learned.get(py, FITTED)?;
        if fitted.is_none() {
            return Err(Error::invalid("UMAP was fitted on a graph, which says nothing about new vectors")
                .hint("pass (indices, distances) of their nearest rows of fit, as Index.search gives them")
                .into());
        }
        let (fitted, new) = (Matrix::from_python(&fitted, "the rows of fit")?, Matrix::from_python(X, "X")?);
        let (fitted, new) = (fitted.view()?, new.view()?);
        if fitted.dim() != new.dim() {
            let (want, got) = (fitted.dim(), new.dim());
            return Err(Error::invalid(format!("X must have {want} columns as in fit: got {got}")).into());
        }
        let k = self.n_neighbors.unwrap_or(DEFAULT_NEIGHBORS).min(fitted.n());
        let places = run(py, progress, |task| {
            let found = Exact::build(fitted).search(new, k, None, task)?;
            umap::place(layout.data(), &found.ids, &found.distances, k, &params, task)
        })?;
        arrays::table(py, places, self.n_components)
    }

    /// `fit(X).embedding_`.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit_transform<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, progress)?.get().learned.get(py, "embedding_")
    }

    /// (n, n_components) float32 coordinates.
    #[getter]
    fn embedding_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "embedding_")
    }
}

impl PyUmap {
    fn to_params(&self, py: Python<'_>) -> PyResult<UmapParams> {
        let init = match self.init.extract::<String>(py) {
            Ok(name) => match name.as_str() {
                "spectral" => Init::Spectral,
                "random" => Init::Random,
                other => {
                    return Err(
                        Error::invalid(format!("init must be spectral, random or an array: got '{other}'")).into()
                    );
                }
            },
            Err(_) => {
                let (values, n, dims) = Matrix::from_python(self.init.bind(py), "init")?.parts()?;
                Init::Positions { values, n, dims }
            }
        };
        if self.n_neighbors == Some(0) {
            return Err(Error::invalid("n_neighbors must be at least 1: got 0").into());
        }
        Ok(UmapParams::new(
            self.n_components,
            self.min_dist,
            self.spread,
            self.n_epochs,
            self.learning_rate,
            self.negative_sample_rate,
            init,
            self.random_state,
        )?)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_components", self.n_components)?;
        params.set_item("n_neighbors", self.n_neighbors)?;
        // shortest decimal that gives the same f32, so that 0.1 reads 0.1
        let exact = |value: f32| value.to_string().parse::<f64>();
        params.set_item("min_dist", exact(self.min_dist)?)?;
        params.set_item("spread", exact(self.spread)?)?;
        params.set_item("n_epochs", self.n_epochs)?;
        params.set_item("learning_rate", exact(self.learning_rate)?)?;
        params.set_item("negative_sample_rate", self.negative_sample_rate)?;
        params.set_item("init", &self.init)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyUmap, "UMAP");

/// Places new points in a layout made earlier, whose own points stay where they are.
///
/// Args:
///     embedding: (n, n_components) coordinates of the layout, made by UMAP with the same min_dist.
///     indices: (m, k) nearest rows of the layout to each new point; 4294967295 where a list is short.
///     distances: (m, k) their distances, ascending, inf where a list is short.
///     min_dist: how close points may lie.
///     random_state: seed.
///     progress: called with (done, total) units of work.
///
/// Returns:
///     (m, n_components) float32 coordinates.
///
/// Raises:
///     InvalidInputError: if shapes or ids do not fit.
#[pyfunction]
#[pyo3(signature = (embedding, indices, distances, *, min_dist=0.1, random_state=0, progress=None))]
pub fn place_in_layout<'py>(
    py: Python<'py>,
    embedding: &Bound<'py, PyAny>,
    indices: &Bound<'py, PyAny>,
    distances: &Bound<'py, PyAny>,
    min_dist: f32,
    random_state: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let layout = Matrix::from_python(embedding, "embedding")?;
    let layout = layout.view()?;
    let params = UmapParams::new(layout.dim(), min_dist, 1.0, None, 1.0, 5, Init::Spectral, random_state)?;
    placed(py, layout, (indices, distances), &params, progress)
}

fn placed<'py>(
    py: Python<'py>,
    layout: Vectors<'_>,
    (indices, distances): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
    params: &UmapParams,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let ids = arrays::ids(indices, "indices")?;
    let lengths = py.import("numpy")?.call_method1("ascontiguousarray", (distances, "float32"))?;
    let wrong = || PyErr::from(Error::invalid("indices and distances must both be 2-D, of the same shape"));
    let lengths = lengths.cast::<numpy::PyArray2<f32>>().map_err(|_| wrong())?.readonly();
    if ids.shape() != lengths.shape() {
        return Err(wrong());
    }
    let (ids, k, lengths) = (ids.as_slice()?, ids.shape()[1], lengths.as_slice()?);
    let places = run(py, progress, |task| umap::place(layout.data(), ids, lengths, k, params, task))?;
    arrays::table(py, places, layout.dim())
}
