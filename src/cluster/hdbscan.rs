//! HDBSCAN: clusters of varying density and noise, without a number of clusters (Campello, Moulavi, Sander 2013).
//! From a kNN graph (its edges only: fast) or exactly from vectors (all pairs). Parameters follow the `hdbscan`
//! package: `min_samples` does not count the point itself.

use super::tree::{self, Flat, Selection};
use crate::error::{Error, Result};
use crate::graph::{KnnGraph, exact, forest, spanning};
use crate::task::Task;
use crate::vectors::Vectors;

#[derive(Debug, Clone, PartialEq)]
pub struct HdbscanParams {
    min_cluster_size: usize,
    min_samples: usize,
    epsilon: f64,
    selection: Selection,
    allow_single_cluster: bool,
}

impl HdbscanParams {
    /// `min_samples` is `min_cluster_size` when absent; `epsilon` is `cluster_selection_epsilon`, a distance.
    ///
    /// # Errors
    /// `InvalidInput` for `min_cluster_size < 2`, `min_samples < 1`, or an `epsilon` that is negative or not finite.
    pub fn new(
        min_cluster_size: usize,
        min_samples: Option<usize>,
        epsilon: f64,
        selection: Selection,
        allow_single_cluster: bool,
    ) -> Result<Self> {
        if min_cluster_size < 2 {
            return Err(Error::invalid(format!("min_cluster_size must be at least 2: got {min_cluster_size}")));
        }
        let min_samples = min_samples.unwrap_or(min_cluster_size);
        if min_samples == 0 {
            return Err(Error::invalid("min_samples must be at least 1: got 0"));
        }
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(Error::invalid(format!(
                "cluster_selection_epsilon must be a finite number >= 0: got {epsilon}"
            )));
        }
        Ok(Self { min_cluster_size, min_samples, epsilon, selection, allow_single_cluster })
    }

    pub fn min_samples(&self) -> usize {
        self.min_samples
    }
}

/// Flat clusters, and how much of an outlier each point is (GLOSH), in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct Hdbscan {
    pub flat: Flat,
    pub outlier_scores: Vec<f32>,
}

/// Clusters of a kNN graph. `weights` count how often a point occurs, towards `min_cluster_size`.
///
/// # Errors
/// `InvalidInput` when `min_samples` is more than the graph's k; `Cancelled`.
pub fn hdbscan_of_graph(
    graph: &KnnGraph,
    weights: Option<&[f32]>,
    params: &HdbscanParams,
    task: &Task,
) -> Result<Hdbscan> {
    super::kmeans::check_weights(weights, graph.n(), "sample_weight")?;
    // a graph over fewer points than min_samples can't have more neighbors
    if params.min_samples > graph.k() && graph.k() + 1 < graph.n() {
        return Err(Error::invalid(format!(
            "min_samples must be <= the graph's k: {} > {}",
            params.min_samples,
            graph.k()
        ))
        .hint(format!("build the graph with k={}", params.min_samples)));
    }
    task.start(graph.n() as u64);
    let core = forest::core_distances(graph, params.min_samples);
    let spanning = forest::spanning_tree_of_graph(graph, &core, task)?;
    task.advance(graph.n() as u64);
    Ok(flatten(&spanning, graph.n(), weights, params))
}

/// Exact HDBSCAN of vectors: O(n^2 dim) time, O(n) memory beside the kNN graph.
///
/// # Errors
/// `Cancelled`; `InvalidInput` when the weights do not fit.
pub fn hdbscan_of_vectors(
    vectors: Vectors<'_>,
    weights: Option<&[f32]>,
    params: &HdbscanParams,
    task: &Task,
) -> Result<Hdbscan> {
    super::kmeans::check_weights(weights, vectors.n(), "sample_weight")?;
    task.plan(2 * vectors.n() as u64);
    let graph = exact::build(vectors, params.min_samples, task)?;
    let core = forest::core_distances(&graph, params.min_samples);
    let spanning = spanning::spanning_tree(vectors, &graph, &core, task)?;
    Ok(flatten(&spanning, vectors.n(), weights, params))
}

fn flatten(spanning: &[forest::Edge], n: usize, weights: Option<&[f32]>, params: &HdbscanParams) -> Hdbscan {
    let condensed = tree::condense(spanning, n, weights, params.min_cluster_size as f64);
    Hdbscan {
        flat: tree::select(&condensed, params.selection, params.epsilon, params.allow_single_cluster),
        outlier_scores: tree::outlier_scores(&condensed),
    }
}
