//! Which texts stand for a cluster: the medoid, and a diverse set around it.

use rayon::prelude::*;

use crate::cluster::MAX_CLUSTERS;
use crate::error::{Error, Result};
use crate::graph::MISSING;
use crate::kernels::{dot, squared_norm};
use crate::task::Task;
use crate::vectors::Vectors;

/// Candidates of one cluster that diversity is chosen from: those nearest to its centre.
const CANDIDATES: usize = 512;

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

/// Row ids of each cluster `0..n_clusters`, ascending; noise is left out.
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
}
