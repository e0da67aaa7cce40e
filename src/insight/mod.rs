//! What a clustering is like: what stands for a cluster, how well clusters hold together and apart, which rows are odd,
//! which clusters are probably one, whether they come back on other samples; and how good a clustering or a map is.

pub mod anomalies;
pub mod cohesion;
pub mod merging;
pub mod metrics;
pub mod representatives;
pub mod stability;

use crate::cluster::MAX_CLUSTERS;
use crate::error::{Error, Result};
use crate::graph::KnnGraph;

/// Row ids of each cluster `0..n_clusters`, ascending; noise is left out.
///
/// # Errors
/// `InvalidInput` when there is not one label per row, or one is not below `n_clusters`.
fn members(labels: &[i32], n_clusters: usize, n: usize) -> Result<Vec<Vec<u32>>> {
    if labels.len() != n {
        return Err(Error::invalid(format!("labels must have one value per row: {} != {n}", labels.len())));
    }
    if n_clusters > MAX_CLUSTERS {
        return Err(Error::invalid(format!("n_clusters must be at most {MAX_CLUSTERS}: got {n_clusters}")));
    }
    let mut members = vec![Vec::new(); n_clusters];
    for (row, label) in labels.iter().enumerate() {
        if *label >= n_clusters as i32 {
            return Err(Error::invalid(format!(
                "labels must be below n_clusters = {n_clusters}: row {row} has {label}"
            )));
        }
        if *label >= 0 {
            members[*label as usize].push(row as u32);
        }
    }
    Ok(members)
}

fn check_graph(graph: &KnnGraph, n: usize) -> Result<()> {
    if graph.n() != n {
        return Err(Error::invalid(format!("the graph must have one point per row: {} != {n}", graph.n())));
    }
    Ok(())
}
