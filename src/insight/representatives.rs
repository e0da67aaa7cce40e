//! Which texts stand for a cluster: the medoid, a diverse set around it, those most linked within the graph, and those
//! that together cover it.

use std::collections::BinaryHeap;

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

/// Per cluster up to `n_representatives` rows that together cover it: weighted facility location over the edges of the
/// graph inside, `sum of weight(i) * max over chosen j of likeness(i, j)` with likeness `1 / (1 + distance)` along an
/// edge of either direction, 1 to itself, 0 elsewhere. Greedy, at least 1 - 1/e of the best (Nemhauser, Wolsey, Fisher
/// 1978), and lazy: a gain is computed anew only while it leads (Minoux 1978). Ties go to the smaller id.
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the graph; `Cancelled`.
pub fn covering(
    graph: &KnnGraph,
    labels: &[i32],
    n_clusters: usize,
    n_representatives: usize,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<Vec<u32>>> {
    crate::cluster::kmeans::check_weights(weights, graph.n(), "weights")?;
    let members = members(labels, n_clusters, graph.n())?;
    task.start(n_clusters as u64);
    members
        .par_iter()
        .map(|rows| {
            task.check()?;
            let chosen = cover(graph, labels, rows, n_representatives, weights);
            task.advance(1);
            Ok(chosen)
        })
        .collect()
}

/// A row by what it would add; the heap's largest is the best, and of equals the smaller row.
#[derive(PartialEq)]
struct Gain {
    gain: f64,
    row: usize,
    /// Rows that were chosen when the gain was computed.
    n_chosen: usize,
}

impl Eq for Gain {}

impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Gain {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.gain.total_cmp(&other.gain).then(other.row.cmp(&self.row))
    }
}

/// `rows` are ascending; inside, a row is its position among them.
fn cover(graph: &KnnGraph, labels: &[i32], rows: &[u32], wanted: usize, weights: Option<&[f32]>) -> Vec<u32> {
    let likenesses = likenesses(graph, labels, rows);
    let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[rows[row] as usize] as f64);
    let mut covered = vec![0f64; rows.len()];
    let gain_of = |row: usize, covered: &[f64]| -> f64 {
        likenesses[row].iter().map(|(i, likeness)| weight_of(*i) * (likeness - covered[*i]).max(0.0)).sum()
    };
    let mut heap: BinaryHeap<Gain> =
        (0..rows.len()).map(|row| Gain { gain: gain_of(row, &covered), row, n_chosen: 0 }).collect();
    let mut chosen: Vec<u32> = Vec::with_capacity(wanted.min(rows.len()));
    while chosen.len() < wanted {
        let Some(best) = heap.pop() else { break };
        if best.n_chosen < chosen.len() {
            heap.push(Gain { gain: gain_of(best.row, &covered), row: best.row, n_chosen: chosen.len() });
            continue;
        }
        chosen.push(rows[best.row]);
        for (i, likeness) in &likenesses[best.row] {
            covered[*i] = covered[*i].max(*likeness);
        }
    }
    chosen
}

/// Of each row those it covers, itself first, with the larger likeness where both directions have an edge.
fn likenesses(graph: &KnnGraph, labels: &[i32], rows: &[u32]) -> Vec<Vec<(usize, f64)>> {
    let mut linked: Vec<Vec<(usize, f64)>> = (0..rows.len()).map(|row| vec![(row, 1.0)]).collect();
    for (row, id) in rows.iter().enumerate() {
        for (neighbor, distance) in graph.neighbors(*id as usize) {
            if labels[neighbor as usize] == labels[*id as usize]
                && let Ok(other) = rows.binary_search(&neighbor)
            {
                let likeness = 1.0 / (1.0 + distance as f64);
                linked[row].push((other, likeness));
                linked[other].push((row, likeness));
            }
        }
    }
    for row in &mut linked {
        row.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        row.dedup_by_key(|(other, _)| *other);
    }
    linked
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
    fn lazy_greedy_covers_as_greedy_over_all_sets_does() {
        use rand_xoshiro::Xoshiro256PlusPlus;
        use rand_xoshiro::rand_core::{RngCore, SeedableRng};

        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        for case in 0..60 {
            let (n, k) = (7usize, 3usize);
            let (mut indices, mut distances) = (Vec::new(), Vec::new());
            for i in 0..n {
                let mut others: Vec<u32> = (0..n as u32).filter(|j| *j != i as u32).collect();
                (0..k).for_each(|at| {
                    let other = at + rng.next_u32() as usize % (others.len() - at);
                    others.swap(at, other);
                });
                let mut lengths: Vec<f32> = (0..k).map(|_| (rng.next_u32() % 8) as f32 / 4.0).collect();
                lengths.sort_by(f32::total_cmp);
                indices.extend(&others[..k]);
                distances.extend(lengths);
            }
            let graph = KnnGraph::from_parts(indices, distances, n, k).unwrap();
            let labels: Vec<i32> = (0..n).map(|i| if case % 3 == 0 { 0 } else { (i % 2) as i32 }).collect();
            let weights: Vec<f32> = (0..n).map(|_| 1.0 + (rng.next_u32() % 4) as f32).collect();
            let found = covering(&graph, &labels, 2, 3, Some(&weights), &Task::new()).unwrap();

            let likeness = |i: usize, j: usize| -> f64 {
                let along = |a: usize, b: usize| graph.neighbors(a).find(|(other, _)| *other == b as u32);
                if i == j {
                    return 1.0;
                }
                [along(i, j), along(j, i)]
                    .into_iter()
                    .flatten()
                    .map(|(_, d)| 1.0 / (1.0 + d as f64))
                    .fold(0.0, f64::max)
            };
            for (cluster, rows) in found.iter().enumerate() {
                let members: Vec<usize> = (0..n).filter(|i| labels[*i] == cluster as i32).collect();
                let value = |chosen: &[u32]| -> f64 {
                    let nearest = |i: usize| chosen.iter().map(|j| likeness(i, *j as usize)).fold(0.0, f64::max);
                    members.iter().map(|i| weights[*i] as f64 * nearest(*i)).sum()
                };
                assert_eq!(rows.len(), members.len().min(3));
                for taken in 0..rows.len() {
                    let with = |j: usize| value(&[&rows[..taken], &[j as u32]].concat());
                    let best = members.iter().map(|j| with(*j)).fold(0.0, f64::max);
                    assert!(with(rows[taken] as usize) >= best - 1e-9, "case {case}: {rows:?}");
                }
                // the bound against the best of all sets of that size
                let mut best = 0f64;
                for mask in 0u32..1 << n {
                    let set: Vec<u32> = (0..n as u32).filter(|i| mask >> i & 1 == 1).collect();
                    if set.len() == rows.len() && set.iter().all(|i| labels[*i as usize] == cluster as i32) {
                        best = best.max(value(&set));
                    }
                }
                assert!(value(rows) >= (1.0 - 1.0 / std::f64::consts::E) * best - 1e-9);
            }
        }
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
