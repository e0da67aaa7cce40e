//! How strongly do neighbors belong together: the fuzzy simplicial set of a kNN graph (McInnes, Healy, Melville 2018,
//! section 3.1), as a symmetric weighted graph. It groups nothing and places nothing.

use rayon::prelude::*;

use super::{KnnGraph, MISSING};
use crate::error::Result;
use crate::task::Task;

/// Rows of one block of work.
const BLOCK: usize = 1_024;

/// Symmetric weighted graph in compressed rows: neighbor ids ascending, weights above 0.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedGraph {
    offsets: Vec<usize>,
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl WeightedGraph {
    /// The sum of a directed graph and its transpose, each pair of weights joined by `join`: `k` (id, weight) per row,
    /// ids `MISSING` where a list is short.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn symmetric(
        indices: &[u32],
        weights: &[f32],
        k: usize,
        join: impl Fn(f32, f32) -> f32 + Sync,
        task: &Task,
    ) -> Result<Self> {
        let n = indices.len() / k;
        let mut starts = vec![0usize; n + 1];
        for id in indices.iter().filter(|id| **id != MISSING) {
            starts[*id as usize + 1] += 1;
        }
        for i in 0..n {
            starts[i + 1] += starts[i];
        }
        // rows are passed in order, so the ids of what comes in ascend
        let mut incoming = vec![(0u32, 0f32); starts[n]];
        let mut next = starts.clone();
        for (block, (ids, weights)) in indices.chunks(BLOCK * k).zip(weights.chunks(BLOCK * k)).enumerate() {
            task.check()?;
            for (i, (ids, weights)) in ids.chunks_exact(k).zip(weights.chunks_exact(k)).enumerate() {
                for (id, weight) in ids.iter().zip(weights).take_while(|(id, _)| **id != MISSING) {
                    incoming[next[*id as usize]] = ((block * BLOCK + i) as u32, *weight);
                    next[*id as usize] += 1;
                }
            }
        }
        let blocks: Vec<(Vec<usize>, Vec<u32>, Vec<f32>)> = (0..n.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                task.check()?;
                let rows = block * BLOCK..((block + 1) * BLOCK).min(n);
                let most = rows.len() * k + starts[rows.end] - starts[rows.start];
                let mut lengths = Vec::with_capacity(rows.len());
                let (mut ids, mut joined) = (Vec::with_capacity(most), Vec::with_capacity(most));
                let mut own: Vec<(u32, f32)> = Vec::with_capacity(k);
                for i in rows {
                    own.clear();
                    let listed = indices[i * k..(i + 1) * k].iter().copied().zip(weights[i * k..].iter().copied());
                    own.extend(listed.take_while(|(id, _)| *id != MISSING));
                    own.sort_unstable_by_key(|(id, _)| *id);
                    let before = ids.len();
                    merge(&own, &incoming[starts[i]..starts[i + 1]], |id, a, b| {
                        let weight = join(a, b);
                        if weight > 0.0 {
                            ids.push(id);
                            joined.push(weight);
                        }
                    });
                    lengths.push(ids.len() - before);
                }
                Ok((lengths, ids, joined))
            })
            .collect::<Result<_>>()?;
        let total = blocks.iter().map(|(_, ids, _)| ids.len()).sum();
        let (mut offsets, mut ids, mut weights) =
            (Vec::with_capacity(n + 1), Vec::with_capacity(total), Vec::with_capacity(total));
        offsets.push(0);
        for (lengths, block_ids, block_weights) in blocks {
            let mut end = ids.len();
            offsets.extend(lengths.into_iter().map(|length| {
                end += length;
                end
            }));
            ids.extend_from_slice(&block_ids);
            weights.extend_from_slice(&block_weights);
        }
        Ok(Self { offsets, ids, weights })
    }

    /// Offsets of the rows, ids and weights.
    pub fn into_parts(self) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        (self.offsets, self.ids, self.weights)
    }

    pub fn n(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn edges(&self, i: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = self.range(i);
        self.ids[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// Where the edges of point `i` stand in `ids` and `weights`.
    pub fn range(&self, i: usize) -> std::ops::Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }
}

/// Calls `visit(id, a, b)` for the ids of two ascending lists; a weight that is missing is 0. An id listed twice in a
/// list is visited twice.
fn merge(left: &[(u32, f32)], right: &[(u32, f32)], mut visit: impl FnMut(u32, f32, f32)) {
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let a = left.get(i).map_or(u32::MAX, |(id, _)| *id);
        let b = right.get(j).map_or(u32::MAX, |(id, _)| *id);
        visit(a.min(b), if a <= b { left[i].1 } else { 0.0 }, if b <= a { right[j].1 } else { 0.0 });
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
}

/// Memberships of the graph's neighbors, joined by the probabilistic union `a + b - a b` of both directions.
///
/// # Errors
/// `Cancelled`.
pub fn fuzzy_graph(graph: &KnnGraph, task: &Task) -> Result<WeightedGraph> {
    let weights = memberships(graph.indices(), graph.distances(), graph.k(), task)?;
    WeightedGraph::symmetric(graph.indices(), &weights, graph.k(), |a, b| a + b - a * b, task)
}

/// `exp(-(d - rho) / sigma)` for lists of `k` ascending distances, with `rho` the nearest distance above 0 and `sigma` such
/// that a list sums to `log2(k + 1)`: the reference counts the point itself among its neighbors. 0 where an id is missing.
///
/// # Errors
/// `Cancelled`.
pub fn memberships(indices: &[u32], distances: &[f32], k: usize, task: &Task) -> Result<Vec<f32>> {
    // in blocks, because a sum over a million distances is not that of one thread otherwise
    let sums: Vec<(f64, usize)> = distances
        .par_chunks(BLOCK * k)
        .map(|block| {
            let finite = block.iter().filter(|distance| distance.is_finite());
            finite.fold((0.0, 0), |(sum, count), distance| (sum + *distance as f64, count + 1))
        })
        .collect();
    let (sum, count) = sums.iter().fold((0.0, 0), |(sum, count), block| (sum + block.0, count + block.1));
    let mean_distance = sum / count.max(1) as f64;
    let mut weights = vec![0f32; indices.len()];
    weights
        .par_chunks_mut(BLOCK * k)
        .zip(indices.par_chunks(BLOCK * k).zip(distances.par_chunks(BLOCK * k)))
        .try_for_each(|(weights, (indices, distances))| {
            task.check()?;
            let lists = indices.chunks_exact(k).zip(distances.chunks_exact(k));
            for (weights, (indices, distances)) in weights.chunks_exact_mut(k).zip(lists) {
                let near = indices.iter().zip(distances).take_while(|(id, d)| **id != MISSING && d.is_finite());
                let length = near.count();
                row_memberships(&distances[..length], mean_distance, &mut weights[..length]);
            }
            Ok(())
        })?;
    Ok(weights)
}

fn row_memberships(distances: &[f32], mean_distance: f64, weights: &mut [f32]) {
    if distances.is_empty() {
        return;
    }
    let rho = distances.iter().copied().find(|d| *d > 0.0).unwrap_or(0.0) as f64;
    let beyond = |d: f32| (d as f64 - rho).max(0.0);
    let own_mean = distances.iter().map(|d| *d as f64).sum::<f64>() / distances.len() as f64;
    let smallest = (1e-3 * if rho > 0.0 { own_mean } else { mean_distance }).max(f64::MIN_POSITIVE);
    let target = ((distances.len() + 1) as f64).log2();
    // The sum is convex and falls with 1 / sigma, so Newton's steps from 0 come nearer from one side; where more
    // distances are equal to rho than the target allows they go on for ever, and the floor of the reference holds.
    let mut inverse = 0.0;
    for _ in 0..64 {
        let (mut sum, mut slope) = (0.0, 0.0);
        for d in distances {
            let weight = (-beyond(*d) * inverse).exp();
            sum += weight;
            slope += beyond(*d) * weight;
        }
        if sum - target < 1e-5 || slope <= 0.0 || inverse * smallest > 1.0 {
            break;
        }
        inverse += (sum - target) / slope;
    }
    let inverse = inverse.min(1.0 / smallest);
    for (weight, d) in weights.iter_mut().zip(distances) {
        *weight = (-beyond(*d) * inverse).exp() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::exact;
    use super::*;
    use crate::random::Rng;
    use crate::vectors::Vectors;

    fn graph(n: usize) -> KnnGraph {
        let mut rng = Rng::new(3, 0);
        let data: Vec<f32> = (0..n * 3).map(|_| rng.normal() as f32).collect();
        exact::build(Vectors::new(&data, n, 3).unwrap(), 8, &Task::new()).unwrap()
    }

    #[test]
    fn memberships_of_a_row_sum_to_the_logarithm_of_its_neighbors() {
        let graph = graph(300);
        let weights = memberships(graph.indices(), graph.distances(), 8, &Task::new()).unwrap();
        for row in weights.chunks_exact(8) {
            assert_eq!(row[0], 1.0);
            assert!((row.iter().sum::<f32>() - 9f32.log2()).abs() < 1e-4, "{row:?}");
        }
    }

    #[test]
    fn the_graph_is_symmetric_and_joins_both_directions() {
        let graph = graph(200);
        let fuzzy = fuzzy_graph(&graph, &Task::new()).unwrap();
        let weights = memberships(graph.indices(), graph.distances(), 8, &Task::new()).unwrap();
        let directed = |i: usize, j: u32| {
            let place = graph.indices()[i * 8..(i + 1) * 8].iter().position(|id| *id == j);
            place.map_or(0.0, |place| weights[i * 8 + place])
        };
        for i in 0..200 {
            let row: Vec<_> = fuzzy.edges(i).collect();
            assert!(row.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (j, weight) in row {
                let (a, b) = (directed(i, j), directed(j as usize, i as u32));
                assert!((weight - (a + b - a * b)).abs() < 1e-6);
                assert!(fuzzy.edges(j as usize).any(|(back, same)| back == i as u32 && (same - weight).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn equal_distances_weigh_one() {
        let mut weights = [0.0; 4];
        row_memberships(&[0.0; 4], 1.0, &mut weights);
        assert_eq!(weights, [1.0; 4]);
        row_memberships(&[0.0, 0.0, 0.0, 0.5], 1.0, &mut weights);
        assert_eq!(weights, [1.0; 4]);
        row_memberships(&[0.5, 0.5, 0.5, 0.6], 1.0, &mut weights);
        assert!(weights[3] < 1e-6 && weights[2] == 1.0, "{weights:?}");
    }
}
