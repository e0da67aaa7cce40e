//! Representatives and measures of clusterings, from Python.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix};
use super::boundary::run;
use super::graph::PyKnnGraph;
use crate::insight::{anomalies, cohesion, merging, metrics, representatives, stability};

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

/// Rows most alike the rows of their cluster that the graph links them to: the largest weighted sum of 1 / (1 + distance)
/// over the edges inside the cluster.
///
/// Args:
///     graph: a KnnGraph of the rows.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     n_representatives: most rows per cluster.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     For each cluster a uint32 array of rows, the most central first.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit the graph.
#[pyfunction]
#[pyo3(signature = (graph, labels, *, n_clusters, n_representatives=10, weights=None))]
pub fn central_representatives<'py>(
    py: Python<'py>,
    graph: &Bound<'py, PyKnnGraph>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let graph = graph.get().0.clone();
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let labels = labels.as_slice()?;
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let chosen =
        run(py, None, |task| representatives::central(&graph, labels, n_clusters, n_representatives, weights, task))?;
    Ok(chosen.into_iter().map(|rows| arrays::column(py, rows)).collect())
}

/// Rows that together cover each cluster: weighted facility location over the edges of the graph inside it, by lazy
/// greedy choice (Minoux 1978).
///
/// Args:
///     graph: a KnnGraph of the rows.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     n_representatives: most rows per cluster.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     For each cluster a uint32 array of rows, those that cover most first.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit the graph.
#[pyfunction]
#[pyo3(signature = (graph, labels, *, n_clusters, n_representatives=10, weights=None))]
pub fn covering_representatives<'py>(
    py: Python<'py>,
    graph: &Bound<'py, PyKnnGraph>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let graph = graph.get().0.clone();
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let labels = labels.as_slice()?;
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let chosen =
        run(py, None, |task| representatives::covering(&graph, labels, n_clusters, n_representatives, weights, task))?;
    Ok(chosen.into_iter().map(|rows| arrays::column(py, rows)).collect())
}

/// How well each cluster holds together and stands apart.
///
/// Args:
///     X: (n, dim) vectors.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     graph: a KnnGraph of the rows, for spillover.
///     weights: (n,) how often each row occurs.
///     progress: called with (done, total) units of work.
///
/// Returns:
///     Arrays by name: size, cohesion (mean cosine to the centroid), distance (mean, to the centroid), separation
///     (distance to the nearest other centroid, inf where there is none), nearest (its cluster, -1 where there is
///     none), silhouette (simplified: Hruschka, de Castro, Campello 2004), spillover (share of neighbors outside; only
///     with a graph), one value per cluster; row_silhouette, one value per row, 0 for noise.
///
/// Raises:
///     InvalidInputError: if labels, weights or graph do not fit X.
#[pyfunction]
#[pyo3(signature = (X, labels, *, n_clusters, graph=None, weights=None, progress=None))]
#[allow(non_snake_case)]
pub fn cluster_quality<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    graph: Option<&Bound<'py, PyKnnGraph>>,
    weights: Option<&Bound<'py, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let matrix = Matrix::from_python(X, "X")?;
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let (vectors, labels) = (matrix.view()?, labels.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let graph = graph.map(|graph| graph.get().0.clone());
    let found =
        run(py, progress, |task| cohesion::cohesion(vectors, labels, n_clusters, graph.as_deref(), weights, task))?;
    let columns = PyDict::new(py);
    columns.set_item("size", arrays::column(py, found.sizes))?;
    columns.set_item("cohesion", arrays::column(py, found.cosine))?;
    columns.set_item("distance", arrays::column(py, found.distance))?;
    columns.set_item("separation", arrays::column(py, found.separation))?;
    columns.set_item("nearest", arrays::column(py, found.nearest))?;
    columns.set_item("silhouette", arrays::column(py, found.silhouette))?;
    if graph.is_some() {
        columns.set_item("spillover", arrays::column(py, found.spillover))?;
    }
    columns.set_item("row_silhouette", arrays::column(py, found.row_silhouette))?;
    Ok(columns)
}

/// Pairs of clusters that are probably one, best first.
///
/// Args:
///     X: (n, dim) vectors.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     graph: a KnnGraph of the rows.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     Arrays by name, one value per pair: a < b (clusters), distance (between the centroids), relative_distance (by
///     the sum of the mean distances of the rows to their centroids), mixing (edges between the two, by those to be
///     expected if their rows lay mixed), score (geometric mean of mixing and 1 - relative_distance, above 0, at most
///     1).
///
/// Raises:
///     InvalidInputError: if labels, weights or graph do not fit X.
#[pyfunction]
#[pyo3(signature = (X, labels, graph, *, n_clusters, weights=None))]
#[allow(non_snake_case)]
pub fn merge_suggestions<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    graph: &Bound<'py, PyKnnGraph>,
    n_clusters: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let matrix = Matrix::from_python(X, "X")?;
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let (vectors, labels) = (matrix.view()?, labels.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let graph = graph.get().0.clone();
    let found = run(py, None, |task| merging::merge_suggestions(vectors, labels, n_clusters, &graph, weights, task))?;
    let columns = PyDict::new(py);
    columns.set_item("a", arrays::column(py, found.iter().map(|pair| pair.a as i32).collect()))?;
    columns.set_item("b", arrays::column(py, found.iter().map(|pair| pair.b as i32).collect()))?;
    columns.set_item("distance", arrays::column(py, found.iter().map(|pair| pair.distance).collect()))?;
    let relative = found.iter().map(|pair| pair.relative_distance).collect();
    columns.set_item("relative_distance", arrays::column(py, relative))?;
    columns.set_item("mixing", arrays::column(py, found.iter().map(|pair| pair.mixing).collect()))?;
    columns.set_item("score", arrays::column(py, found.iter().map(|pair| pair.score).collect()))?;
    Ok(columns)
}

/// How odd each row is for its cluster: the mean distance to its neighbors as a robust z-score (median, median absolute
/// deviation) of the cluster; noise is compared with all rows. Above 3.5 it is odd (Iglewicz, Hoaglin 1993).
///
/// Args:
///     graph: a KnnGraph of the rows.
///     labels: (n,) integers; -1 is noise.
///     n_clusters: clusters are 0..n_clusters-1.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     (n,) float32; 0 where the rows of a cluster are equally far from their neighbors.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit the graph.
#[pyfunction]
#[pyo3(signature = (graph, labels, *, n_clusters, weights=None))]
pub fn knn_outlier_scores<'py>(
    py: Python<'py>,
    graph: &Bound<'py, PyKnnGraph>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let graph = graph.get().0.clone();
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let labels = labels.as_slice()?;
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let scores = run(py, None, |task| anomalies::knn_outlier_scores(&graph, labels, n_clusters, weights, task))?;
    Ok(arrays::column(py, scores))
}

/// Clusterwise stability (Hennig 2007): mean Jaccard similarity of each cluster to the most similar one of k-means
/// refitted on bootstrap samples, from the centroids of the labels.
///
/// Args:
///     X: (n, dim) vectors.
///     labels: (n,) integers; -1 is noise, which is left out.
///     n_clusters: clusters are 0..n_clusters-1.
///     n_boots: samples.
///     weights: (n,) how often each row occurs.
///     random_state: seed of the samples.
///     progress: called with (done, total) units of work.
///
/// Returns:
///     (n_clusters,) float64 in [0, 1]; 0 for a cluster that no sample holds a row of.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit X, or n_boots is 0.
#[pyfunction]
#[pyo3(signature = (X, labels, *, n_clusters, n_boots=20, weights=None, random_state=0, progress=None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub fn bootstrap_stability<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    n_clusters: usize,
    n_boots: i64,
    weights: Option<&Bound<'py, PyAny>>,
    random_state: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let n_boots = arrays::count(n_boots, "n_boots")?;
    let matrix = Matrix::from_python(X, "X")?;
    let (labels, weights) = (arrays::labels(labels, "labels")?, arrays::weights(weights, "weights")?);
    let (vectors, labels) = (matrix.view()?, labels.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let found = run(py, progress, |task| {
        stability::bootstrap_stability(vectors, labels, n_clusters, weights, n_boots, random_state, task)
    })?;
    Ok(arrays::column(py, found))
}

/// Jaccard similarity of each cluster to the most similar cluster of another labeling of the same rows.
///
/// Args:
///     labels: (n,) integers; -1 is noise.
///     others: (n,) integers; -1 is no cluster.
///     n_clusters: clusters of labels are 0..n_clusters-1.
///     weights: (n,) how often each row occurs.
///
/// Returns:
///     (n_clusters,) float64 in [0, 1]; -1 for a cluster without rows.
///
/// Raises:
///     InvalidInputError: if the lengths differ or a label is not below n_clusters.
#[pyfunction]
#[pyo3(signature = (labels, others, *, n_clusters, weights=None))]
pub fn best_jaccard<'py>(
    py: Python<'py>,
    labels: &Bound<'py, PyAny>,
    others: &Bound<'py, PyAny>,
    n_clusters: usize,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (labels, others) = (arrays::labels(labels, "labels")?, arrays::labels(others, "others")?);
    let weights = arrays::weights(weights, "weights")?;
    let (labels, others) = (labels.as_slice()?, others.as_slice()?);
    let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
    let found = run(py, None, |_| stability::best_jaccard(labels, others, n_clusters, weights))?;
    Ok(arrays::column(py, found.into_iter().map(|similar| similar.unwrap_or(-1.0)).collect()))
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
