//! Representatives and measures of clusterings, from Python.

use pyo3::prelude::*;

use super::arrays::{self, Matrix};
use super::boundary::run;
use super::graph::PyKnnGraph;
use crate::insight::{metrics, representatives};

/// The row of each cluster whose direction is nearest to the weighted mean of the cluster.
///
/// Args:
///     X: (n, dim) vectors.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     (n_clusters,) uint32 rows; 4294967295 for an empty cluster.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit X.
#[pyfunction]
#[pyo3(signature = (X, labels, *, n_clusters, weights=None))]
#[allow(non_snake_case)]
pub fn medoids<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let matrix = Matrix::from_python(X, "X")?;
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let (vectors, labels) = (matrix.view()?, labels.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    Ok(arrays::column(py, run(py, None, |task| representatives::medoids(vectors, labels, n_clusters, weights, task))?))
}

/// Rows that show the breadth of each cluster, by maximal marginal relevance (Carbonell, Goldstein 1998).
///
/// Args:
///     X: (n, dim) vectors.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     n_representatives: most rows per cluster.
///     weights: (n,) how often each row occurs.
///     diversity: 0 takes the most central rows, 1 the most different ones.
///
/// Returns:
///     For each cluster a uint32 array of rows; the first is the medoid.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit X, or diversity is outside [0, 1].
#[pyfunction]
#[pyo3(signature = (X, labels, *, n_clusters, n_representatives=10, weights=None, diversity=0.3))]
#[allow(non_snake_case)]
pub fn diverse_representatives<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&Bound<'py, PyAny>>,
    diversity: f64,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let matrix = Matrix::from_python(X, "X")?;
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let (vectors, labels) = (matrix.view()?, labels.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let chosen = run(py, None, |task| {
        representatives::diverse(vectors, labels, n_clusters, n_representatives, weights, diversity, task)
    })?;
    Ok(chosen.into_iter().map(|rows| arrays::column(py, rows)).collect())
}

/// Adjusted Rand index of two labelings (Hubert, Arabie 1985): 1 for equal partitions, about 0 for unrelated ones.
///
/// Args:
///     labels_true: (n,) classes, numbers or strings.
///     labels_pred: (n,) classes; noise (-1) counts as one class.
#[pyfunction]
pub fn adjusted_rand_score(
    py: Python<'_>,
    labels_true: &Bound<'_, PyAny>,
    labels_pred: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let (a, b) = (arrays::classes(labels_true)?, arrays::classes(labels_pred)?);
    run(py, None, |_| metrics::adjusted_rand(&a, &b))
}

/// Mutual information of two labelings over the arithmetic mean of their entropies.
///
/// Args:
///     labels_true: (n,) classes, numbers or strings.
///     labels_pred: (n,) classes; noise (-1) counts as one class.
#[pyfunction]
pub fn normalized_mutual_info_score(
    py: Python<'_>,
    labels_true: &Bound<'_, PyAny>,
    labels_pred: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let (a, b) = (arrays::classes(labels_true)?, arrays::classes(labels_pred)?);
    run(py, None, |_| metrics::normalized_mutual_information(&a, &b))
}

/// V-measure with beta = 1 (Rosenberg, Hirschberg 2007); equal to `normalized_mutual_info_score`.
///
/// Args:
///     labels_true: (n,) classes, numbers or strings.
///     labels_pred: (n,) classes; noise (-1) counts as one class.
#[pyfunction]
pub fn v_measure_score(
    py: Python<'_>,
    labels_true: &Bound<'_, PyAny>,
    labels_pred: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    normalized_mutual_info_score(py, labels_true, labels_pred)
}

/// Trustworthiness of a layout (Venna, Kaski 2001): 1 when no neighbor in the layout was far in the data.
///
/// Args:
///     X: (n, dim) vectors.
///     embedding: (n, d) coordinates.
///     n_neighbors: neighbors looked at, below n / 2.
///     sample: seeded points the mean is taken over.
///     random_state: seed of the sample.
///
/// Raises:
///     InvalidInputError: if the row counts differ or n_neighbors is out of range.
#[pyfunction]
#[pyo3(signature = (X, embedding, *, n_neighbors=15, sample=2000, random_state=0))]
#[allow(non_snake_case)]
pub fn trustworthiness(
    py: Python<'_>,
    X: &Bound<'_, PyAny>,
    embedding: &Bound<'_, PyAny>,
    n_neighbors: usize,
    sample: usize,
    random_state: u64,
) -> PyResult<f64> {
    let (data, layout) = (Matrix::from_python(X, "X")?, Matrix::from_python(embedding, "embedding")?);
    let (data, layout) = (data.view()?, layout.view()?);
    run(py, None, |task| metrics::trustworthiness(data, layout, n_neighbors, sample, random_state, task))
}

/// Share of the nearest neighbors of the data that are among the nearest in a layout: 1 when all are kept.
///
/// Args:
///     X: a KnnGraph, or (n, dim) vectors.
///     embedding: (n, d) coordinates.
///     n_neighbors: neighbors looked at, at most those of the graph.
///     sample: seeded points the mean is taken over.
///     random_state: seed of the sample.
///
/// Raises:
///     InvalidInputError: if the row counts differ or n_neighbors is out of range.
#[pyfunction]
#[pyo3(signature = (X, embedding, *, n_neighbors=10, sample=2000, random_state=0))]
#[allow(non_snake_case)]
pub fn neighbors_kept(
    py: Python<'_>,
    X: &Bound<'_, PyAny>,
    embedding: &Bound<'_, PyAny>,
    n_neighbors: usize,
    sample: usize,
    random_state: u64,
) -> PyResult<f64> {
    let layout = Matrix::from_python(embedding, "embedding")?;
    let layout = layout.view()?;
    let kept = |data: metrics::Data<'_>| {
        run(py, None, |task| metrics::neighbors_kept(&data, layout, n_neighbors, sample, random_state, task))
    };
    if let Ok(graph) = X.cast::<PyKnnGraph>() {
        return kept(metrics::Data::Graph(&graph.get().0));
    }
    let data = Matrix::from_python(X, "X")?;
    kept(metrics::Data::Vectors(data.view()?))
}
