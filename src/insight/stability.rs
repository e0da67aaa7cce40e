//! Whether clusters come back when the data is drawn again: clusterwise Jaccard similarity over bootstrap samples
//! (Hennig 2007, "Cluster-wise assessment of cluster stability"). k-means is refitted here; other methods are refitted
//! by the caller, who compares with [`best_jaccard`].

use std::collections::BTreeMap;

use super::cohesion::Centres;
use super::members;
use crate::cluster::kmeans::{Init, KMeansParams, kmeans};
use crate::error::{Error, Result};
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Steps of a refit: it starts next to where it ends.
const MAX_ITER: usize = 50;
const TOL: f64 = 1e-4;

/// Per cluster the mean over `n_boots` samples of the Jaccard similarity to the most similar cluster of a k-means that
/// starts from the centroids of `labels`. Noise is left out. A cluster that no sample holds a row of has 0.
///
/// Below 0.6 a cluster should not be trusted, from 0.75 on it is a valid pattern (Hennig 2007, section 6).
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the rows, or `n_boots` is 0; `Cancelled`.
pub fn bootstrap_stability(
    vectors: Vectors<'_>,
    labels: &[i32],
    n_clusters: usize,
    weights: Option<&[f32]>,
    n_boots: usize,
    seed: u64,
    task: &Task,
) -> Result<Vec<f64>> {
    if n_boots == 0 {
        return Err(Error::invalid("n_boots must be at least 1: got 0"));
    }
    let centres = Centres::new(vectors, labels, n_clusters, weights, task)?;
    let clustered: Vec<u32> = (0..vectors.n() as u32).filter(|row| labels[*row as usize] >= 0).collect();
    let (mut sums, mut counts) = (vec![0f64; n_clusters], vec![0usize; n_clusters]);
    if clustered.is_empty() {
        return Ok(sums);
    }
    for boot in 0..n_boots {
        task.check()?;
        let sample = Sample::draw(&clustered, weights, &mut Rng::new(seed, boot as u64));
        let sampled: Vec<i32> = sample.rows.iter().map(|row| labels[*row as usize]).collect();
        // only clusters that were drawn: no more starts than rows
        let mut drawn = sampled.clone();
        drawn.sort_unstable();
        drawn.dedup();
        let start = drawn.iter().flat_map(|cluster| centres.row(*cluster)).copied().collect();
        let data: Vec<f32> = sample.rows.iter().flat_map(|row| vectors.row(*row as usize)).copied().collect();
        let params = KMeansParams::new(drawn.len(), Init::Centroids(start), 1, MAX_ITER, TOL, 0)?;
        let refit =
            kmeans(Vectors::new(&data, sample.rows.len(), vectors.dim())?, Some(&sample.weights), &params, task)?;
        let own: Option<Vec<f32>> = weights.map(|weights| sample.rows.iter().map(|r| weights[*r as usize]).collect());
        let similar = best_jaccard(&sampled, &refit.labels, n_clusters, own.as_deref())?;
        for (cluster, similar) in similar.into_iter().enumerate() {
            if let Some(similar) = similar {
                sums[cluster] += similar;
                counts[cluster] += 1;
            }
        }
    }
    Ok(sums.into_iter().zip(counts).map(|(sum, count)| if count > 0 { sum / count as f64 } else { 0.0 }).collect())
}

/// Per cluster of `labels` the Jaccard similarity to the most similar cluster of `others`, rows counted by weight; None
/// where a cluster has no row. Noise of `others` is no cluster.
///
/// # Errors
/// `InvalidInput` when the lengths differ, or a label is not below `n_clusters`.
pub fn best_jaccard(
    labels: &[i32],
    others: &[i32],
    n_clusters: usize,
    weights: Option<&[f32]>,
) -> Result<Vec<Option<f64>>> {
    crate::cluster::kmeans::check_weights(weights, labels.len(), "weights")?;
    if others.len() != labels.len() {
        return Err(Error::invalid(format!(
            "both labelings need the same length: got {} and {}",
            labels.len(),
            others.len()
        )));
    }
    let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row] as f64);
    let clusters = members(labels, n_clusters, labels.len())?;
    let mut sizes: BTreeMap<i32, f64> = BTreeMap::new();
    for (row, other) in others.iter().enumerate() {
        *sizes.entry(*other).or_default() += weight_of(row);
    }
    let best = |rows: &Vec<u32>| {
        let mut shared: BTreeMap<i32, f64> = BTreeMap::new();
        let mut size = 0.0;
        for &row in rows {
            size += weight_of(row as usize);
            *shared.entry(others[row as usize]).or_default() += weight_of(row as usize);
        }
        let similar = shared.iter().filter(|(other, _)| **other >= 0);
        similar.map(|(other, both)| both / (size + sizes[other] - both)).fold(0.0, f64::max)
    };
    Ok(clusters.iter().map(|rows| (!rows.is_empty()).then(|| best(rows))).collect())
}

/// As many draws with replacement as there are rows: the different rows, ascending, and how often each counts.
struct Sample {
    rows: Vec<u32>,
    weights: Vec<f32>,
}

impl Sample {
    fn draw(rows: &[u32], weights: Option<&[f32]>, rng: &mut Rng) -> Self {
        let mut draws = vec![0u32; rows.len()];
        for _ in 0..rows.len() {
            draws[rng.below(rows.len())] += 1;
        }
        let drawn = || rows.iter().zip(&draws).filter(|(_, draws)| **draws > 0);
        Self {
            rows: drawn().map(|(row, _)| *row).collect(),
            weights: drawn().map(|(row, n)| *n as f32 * weights.map_or(1.0, |w| w[*row as usize])).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jaccard_is_that_of_the_most_similar_cluster() {
        let found = best_jaccard(&[0, 0, 0, 1, 1, -1], &[5, 5, 7, 7, -1, 5], 3, None).unwrap();
        assert_eq!(found, [Some(0.5), Some(1.0 / 3.0), None]);
        let weighted = best_jaccard(&[0, 0, 1], &[0, 1, 1], 2, Some(&[3.0, 1.0, 1.0])).unwrap();
        assert_eq!(weighted, [Some(0.75), Some(0.5)]);
        assert!(best_jaccard(&[0], &[0, 1], 1, None).is_err());
        assert!(best_jaccard(&[1], &[0], 1, None).is_err());
    }

    #[test]
    fn balls_are_stable_and_halves_of_a_ball_are_not() {
        let mut rng = Rng::new(1, 0);
        let data: Vec<f32> = (0..400)
            .flat_map(|i| [rng.normal() as f32 + if i < 200 { 0.0 } else { 40.0 }, rng.normal() as f32])
            .collect();
        let vectors = Vectors::new(&data, 400, 2).unwrap();
        let stable =
            |labels: &[i32], k, boots| bootstrap_stability(vectors, labels, k, None, boots, 0, &Task::new()).unwrap();
        let balls: Vec<i32> = (0..400).map(|i| (i >= 200) as i32).collect();
        assert_eq!(stable(&balls, 2, 5), [1.0, 1.0]);
        // three clusters, of which two are random halves of one ball
        let halves: Vec<i32> = (0..400).map(|i| if i < 200 { i % 2 } else { 2 }).collect();
        let found = stable(&halves, 4, 5);
        assert!(found[0] < 0.6 && found[1] < 0.6 && found[2] == 1.0 && found[3] == 0.0, "{found:?}");
    }

    #[test]
    fn noise_single_rows_and_equal_rows_are_measured() {
        let data = [1f32; 6];
        let vectors = Vectors::new(&data, 6, 1).unwrap();
        for labels in [[-1; 6], [0, 1, 2, 3, 4, 5], [0; 6], [0, 0, 0, 1, 1, -1]] {
            let found = bootstrap_stability(vectors, &labels, 6, None, 3, 0, &Task::new()).unwrap();
            assert!(found.iter().all(|value| (0.0..=1.0).contains(value)), "{found:?}");
        }
        assert!(bootstrap_stability(vectors, &[0; 6], 1, None, 0, 0, &Task::new()).is_err());
    }
}
