//! Which texts stand for a cluster: the medoid, a diverse set around it, and those most linked within the graph.

use rayon::prelude::*;

use super::members;
use crate::error::{Error, Result};
use crate::graph::{KnnGraph, MISSING};
use crate::kernels::{dot, squared_norm};
use crate::task::Task;
use crate::vectors::Vectors;

/// Candidates of one cluster that diversity is chosen from: those nearest to its centre.
const CANDIDATES: usize = 512;
/// Rows between two looks at the stop flag.
const BLOCK: usize = 4_096;

/// Per cluster the row whose direction is nearest to the weighted mean of its rows; `MISSING` for an empty cluster.
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the rows; `Cancelled`.
pub fn medoids(
    vectors: Vectors<'_>,
    labels: &[i32],
    n_clusters: usize,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<u32>> {
    let chosen = diverse(vectors, labels, n_clusters, 1, weights, 0.0, task)?;
    Ok(chosen.into_iter().map(|rows| rows.first().copied().unwrap_or(MISSING)).collect())
}

/// Per cluster up to `n_representatives` rows by maximal marginal relevance (Carbonell, Goldstein 1998): each next row
/// has the largest `(1 - diversity) * cosine to the centre - diversity * cosine to the nearest chosen one`. The first
/// is the medoid; ties go to the smaller id.
///
/// # Errors
/// As [`medoids`]; also for `diversity` outside [0, 1].
pub fn diverse(
    vectors: Vectors<'_>,
    labels: &[i32],
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&[f32]>,
    diversity: f64,
    task: &Task,
) -> Result<Vec<Vec<u32>>> {
    if !(0.0..=1.0).contains(&diversity) {
        return Err(Error::invalid(format!("diversity must be between 0 and 1: got {diversity}")));
    }
    crate::cluster::kmeans::check_weights(weights, vectors.n(), "weights")?;
    let members = members(labels, n_clusters, vectors.n())?;
    task.start(n_clusters as u64);
    members
        .par_iter()
        .map(|members| {
            task.check()?;
            let chosen = choose(vectors, members, n_representatives, weights, diversity);
            task.advance(1);
            Ok(chosen)
        })
        .collect()
}

/// Per cluster up to `n_representatives` rows most alike the rows of their cluster that the graph links them to: the
/// largest weighted sum of `1 / (1 + distance)` over the edges inside, in both directions. Ties go to the smaller id.
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the graph; `Cancelled`.
pub fn central(
    graph: &KnnGraph,
    labels: &[i32],
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<Vec<u32>>> {
    crate::cluster::kmeans::check_weights(weights, graph.n(), "weights")?;
    let members = members(labels, n_clusters, graph.n())?;
    let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row] as f64);
    let mut sums = vec![0f64; graph.n()];
    task.start(graph.n() as u64);
    for i in 0..graph.n() {
        if i % BLOCK == 0 {
            task.check()?;
            task.advance(BLOCK.min(graph.n() - i) as u64);
        }
        for (j, distance) in graph.neighbors(i) {
            let j = j as usize;
            if labels[i] >= 0 && labels[i] == labels[j] {
                let likeness = 1.0 / (1.0 + distance as f64);
                sums[i] += weight_of(j) * likeness;
                sums[j] += weight_of(i) * likeness;
            }
        }
    }
    Ok(members
        .into_iter()
        .map(|mut rows| {
            rows.sort_by(|a, b| sums[*b as usize].total_cmp(&sums[*a as usize]).then(a.cmp(b)));
            rows.truncate(n_representatives);
            rows
        })
        .collect())
}

fn choose(vectors: Vectors<'_>, members: &[u32], wanted: usize, weights: Option<&[f32]>, diversity: f64) -> Vec<u32> {
    let row = |id: u32| vectors.row(id as usize);
    let mut centre = vec![0f64; vectors.dim()];
    for &id in members {
        let weight = weights.map_or(1.0, |weights| weights[id as usize] as f64);
        for (sum, value) in centre.iter_mut().zip(row(id)) {
            *sum += weight * *value as f64;
        }
    }
    let centre: Vec<f32> = {
        let length = centre.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        centre.iter().map(|value| (value / length) as f32).collect()
    };
    let length = |id: u32| squared_norm(row(id)).sqrt().max(f64::MIN_POSITIVE);
    let mut candidates: Vec<(f64, u32)> = members.iter().map(|&id| (dot(row(id), &centre) / length(id), id)).collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    candidates.truncate(CANDIDATES);
    let mut chosen: Vec<u32> = Vec::with_capacity(wanted.min(candidates.len()));
    // cosine to the nearest chosen row
    let mut nearest = vec![f64::NEG_INFINITY; candidates.len()];
    let mut taken = vec![false; candidates.len()];
    while chosen.len() < wanted.min(candidates.len()) {
        let mut best: Option<(f64, usize)> = None;
        for (position, (relevance, _)) in candidates.iter().enumerate() {
            if taken[position] {
                continue;
            }
            let repeated = if chosen.is_empty() { 0.0 } else { diversity * nearest[position] };
            let score = (1.0 - diversity) * relevance - repeated;
            if best.is_none_or(|(score_so_far, _)| score > score_so_far) {
                best = Some((score, position));
            }
        }
        let Some((_, position)) = best else { break };
        let id = candidates[position].1;
        taken[position] = true;
        chosen.push(id);
        for (other, (_, candidate)) in candidates.iter().enumerate() {
            if !taken[other] {
                nearest[other] = nearest[other].max(dot(row(id), row(*candidate)) / (length(id) * length(*candidate)));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medoid_is_central_and_the_next_is_different() {
        let data = [1.0f32, 0.0, 0.99, 0.1, 0.98, 0.12, 0.6, 0.8, 0.0, 1.0];
        let vectors = Vectors::new(&data, 5, 2).unwrap();
        let labels = [0, 0, 0, 0, 1];
        let chosen = diverse(vectors, &labels, 3, 2, None, 0.7, &Task::new()).unwrap();
        assert_eq!(chosen[0][1], 3);
        assert_eq!(chosen[1], [4]);
        assert!(chosen[2].is_empty());
        assert_eq!(medoids(vectors, &labels, 3, None, &Task::new()).unwrap()[1..], [4, MISSING]);
        assert!(medoids(vectors, &labels, 1, None, &Task::new()).is_err());
    }
    #[test]
    fn the_most_linked_row_is_central() {
        // a star around 0, and a pair; the edge 1 -> 4 leads into another cluster
        let indices = vec![1, 2, 0, 4, 0, MISSING, 0, MISSING, 5, MISSING, 4, MISSING];
        let distances = vec![0.1, 0.2, 0.1, 0.5, 0.2, f32::INFINITY, 0.3, f32::INFINITY, 1.0, f32::INFINITY, 1.0]
            .into_iter()
            .chain([f32::INFINITY])
            .collect();
        let graph = KnnGraph::from_parts(indices, distances, 6, 2).unwrap();
        let labels = [0, 0, 0, 0, 1, 1];
        let found = central(&graph, &labels, 3, 2, None, &Task::new()).unwrap();
        assert_eq!(found, [vec![0, 1], vec![4, 5], vec![]]);
        let heavy = [1.0, 1.0, 9.0, 1.0, 1.0, 9.0];
        assert_eq!(central(&graph, &labels, 2, 1, Some(&heavy), &Task::new()).unwrap(), [vec![0], vec![4]]);
        assert!(central(&graph, &labels, 1, 1, None, &Task::new()).is_err());
    }
}
