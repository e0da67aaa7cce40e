//! t-SNE as a Python estimator.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use super::graph::PyKnnGraph;
use crate::error::{Error, Result};
use crate::graph::{KnnGraph, partitioned};
use crate::project::pca;
use crate::project::tsne::{self, Init, TsneParams};
use crate::task::Task;
use crate::vectors::Vectors;

/// Perplexity of vectors, as in other implementations; a graph says itself how many neighbors there are.
const DEFAULT_PERPLEXITY: f32 = 30.0;

/// t-SNE (van der Maaten, Hinton 2008) of a kNN graph; the same bits on any number of threads.
///
/// Args:
///     n_components: dimensions of the layout, 1 or 2.
///     perplexity: effective number of neighbors, at most a third of those of the graph; default that third of a given
///         graph, 30 of given vectors (less where there are few).
///     n_iter: steps; the first third, at most 250, with stronger attraction.
///     init: "spectral", "pca" (of given vectors), or an (n, n_components) array, which is taken as it is.
///     learning_rate: size of a step; default n, and n / 12 while attraction is stronger, at least 200.
///     random_state: seed.
///
/// Raises:
///     InvalidInputError: if a parameter is out of range.
#[pyclass(name = "TSNE", module = "lmsys_rs._core", frozen)]
pub struct PyTsne {
    n_components: usize,
    perplexity: Option<f32>,
    n_iter: usize,
    init: Py<PyAny>,
    learning_rate: Option<f32>,
    random_state: u64,
    learned: Learned,
}

enum Start {
    Known(Init),
    Pca,
}

#[pymethods]
impl PyTsne {
    #[new]
    #[pyo3(signature = (n_components=2, *, perplexity=None, n_iter=750, init=None, learning_rate=None, random_state=0))]
    fn new(
        py: Python<'_>,
        n_components: i64,
        perplexity: Option<f32>,
        n_iter: i64,
        init: Option<Py<PyAny>>,
        learning_rate: Option<f32>,
        random_state: u64,
    ) -> PyResult<Self> {
        let n_components = count(n_components, "n_components")?;
        let n_iter = count(n_iter, "n_iter")?;
        let init = match init {
            Some(init) => init,
            None => "spectral".into_pyobject(py)?.into_any().unbind(),
        };
        let learned = Learned::new("TSNE");
        let this = Self { n_components, perplexity, n_iter, init, learning_rate, random_state, learned };
        this.to_params(Init::Spectral)?;
        this.start(py)?;
        Ok(this)
    }

    /// Lay out X.
    ///
    /// Args:
    ///     X: a KnnGraph, or (n, dim) real numbers, of which the exact graph is built.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with embedding_ and kl_divergence_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, the graph has too few neighbors, or init does not fit.
    #[pyo3(signature = (X, *, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let start = this.start(py)?;
        let fit = |graph: &KnnGraph, init: Init, task: &Task| tsne::tsne(graph, &this.to_params(init)?, task);
        let result = if let Ok(graph) = X.cast::<PyKnnGraph>() {
            let Start::Known(init) = start else {
                let error = Error::invalid("init 'pca' needs vectors: got a graph");
                return Err(error.hint("pass PCA(n_components).fit_transform(vectors) as init").into());
            };
            let graph = graph.get().0.clone();
            run(py, progress, |task| fit(&graph, init, task))?
        } else {
            let matrix = Matrix::from_python(X, "X")?;
            let vectors = matrix.view()?;
            let k = (3.0 * this.perplexity.unwrap_or(DEFAULT_PERPLEXITY)).ceil() as usize;
            run(py, progress, |task| {
                let init = match start {
                    Start::Known(init) => init,
                    Start::Pca => components(vectors, this.n_components, task)?,
                };
                fit(&partitioned::build_for_shape(vectors, k, task)?, init, task)
            })?
        };
        let layout = arrays::table(py, result.layout, this.n_components)?;
        let divergence = result.kl_divergence.into_pyobject(py)?.into_any();
        this.learned.set(py, [("embedding_", layout), ("kl_divergence_", divergence)])?;
        Ok(slf)
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

    /// Kullback-Leibler divergence of the layout's affinities from the graph's.
    #[getter]
    fn kl_divergence_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "kl_divergence_")
    }
}

/// The first components, with zeros where the data has fewer.
fn components(vectors: Vectors<'_>, dims: usize, task: &Task) -> Result<Init> {
    let n = vectors.n();
    let reduced = dims.min(n).min(vectors.dim());
    let coordinates = pca::pca(vectors, reduced, task)?.transform(vectors)?;
    let mut values = vec![0f32; n * dims];
    for (row, found) in values.chunks_exact_mut(dims).zip(coordinates.chunks_exact(reduced)) {
        row[..reduced].copy_from_slice(found);
    }
    Ok(Init::Positions { values, n, dims, rescale: true })
}

impl PyTsne {
    fn start(&self, py: Python<'_>) -> PyResult<Start> {
        match self.init.extract::<String>(py) {
            Ok(name) => match name.as_str() {
                "spectral" => Ok(Start::Known(Init::Spectral)),
                "pca" => Ok(Start::Pca),
                other => Err(Error::invalid(format!("init must be spectral, pca or an array: got '{other}'")).into()),
            },
            Err(_) => {
                let (values, n, dims) = Matrix::from_python(self.init.bind(py), "init")?.parts()?;
                Ok(Start::Known(Init::Positions { values, n, dims, rescale: false }))
            }
        }
    }

    fn to_params(&self, init: Init) -> Result<TsneParams> {
        TsneParams::new(self.n_components, self.perplexity, self.n_iter, self.learning_rate, init, self.random_state)
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        // shortest decimal that gives the same f32, so that 0.1 reads 0.1
        let exact = |value: Option<f32>| value.map(|value| value.to_string().parse::<f64>()).transpose();
        params.set_item("n_components", self.n_components)?;
        params.set_item("perplexity", exact(self.perplexity)?)?;
        params.set_item("n_iter", self.n_iter)?;
        params.set_item("init", &self.init)?;
        params.set_item("learning_rate", exact(self.learning_rate)?)?;
        params.set_item("random_state", self.random_state)?;
        Ok(params)
    }
}

estimator!(PyTsne, "TSNE");
