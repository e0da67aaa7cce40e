//! How strongly neighbors belong together: the fuzzy simplicial set of a kNN graph (McInnes, Healy, Melville 2018,
//! section 3.1), symmetric, in compressed rows. It weighs edges; it groups nothing.

use rayon::prelude::*;

use super::KnnGraph;
use crate::error::Result;
use crate::task::Task;

/// Rows between two looks at the stop flag.
const BLOCK: usize = 4_096;
/// Least share of the mean distance that a bandwidth may be, as in the reference implementation.
const LEAST_BANDWIDTH: f64 = 1e-3;

/// (id, weight) of one list after another.
type List = Vec<(u32, f32)>;

/// Symmetric weighted graph in compressed rows: neighbor ids ascending, weights in (0, 1], no loops.
#[derive(Debug, Clone, PartialEq)]
pub struct FuzzyGraph {
    pub offsets: Vec<usize>,
    pub ids: Vec<u32>,
    pub weights: Vec<f32>,
}

/// Memberships of every neighbor list, joined by the probabilistic union `a + b - a b` of both directions.
///
/// # Errors
/// `Cancelled`.
pub fn fuzzy(graph: &KnnGraph, task: &Task) -> Result<FuzzyGraph> {
    let (n, k) = (graph.n(), graph.k());
    // outgoing lists by ascending id; a missing neighbor sorts last
    let mut outgoing = vec![(u32::MAX, 0f32); n * k];
    outgoing.par_chunks_mut(BLOCK * k).enumerate().try_for_each(|(block, rows)| {
        task.check()?;
        for (offset, row) in rows.chunks_mut(k).enumerate() {
            memberships(graph, block * BLOCK + offset, row);
        }
        Ok(())
    })?;
    let (starts, incoming) = transpose(&outgoing, n, k, task)?;
    let (mut offsets, mut ids, mut weights) = (Vec::with_capacity(n + 1), Vec::new(), Vec::new());
    ids.reserve(2 * n * k);
    weights.reserve(2 * n * k);
    offsets.push(0);
    for i in 0..n {
        if i % BLOCK == 0 {
            task.check()?;
        }
        let mut out = outgoing[i * k..(i + 1) * k].iter().filter(|(_, weight)| *weight > 0.0).peekable();
        let mut back = incoming[starts[i]..starts[i + 1]].iter().peekable();
        loop {
            let (id, weight) = match (out.peek().copied(), back.peek().copied()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.0 == b.0 => {
                    out.next();
                    back.next();
                    (a.0, a.1 + b.1 - a.1 * b.1)
                }
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => *out.next().unwrap_or(a),
                (_, Some(b)) => *back.next().unwrap_or(b),
                (Some(a), None) => *out.next().unwrap_or(a),
            };
            ids.push(id);
            weights.push(weight);
        }
        offsets.push(ids.len());
    }
    Ok(FuzzyGraph { offsets, ids, weights })
}

/// Who names each point, ascending: starts of n lists, and the lists.
fn transpose(outgoing: &[(u32, f32)], n: usize, k: usize, task: &Task) -> Result<(Vec<usize>, List)> {
    let mut starts = vec![0usize; n + 1];
    for rows in outgoing.chunks(BLOCK * k) {
        task.check()?;
        for (id, _) in rows.iter().filter(|(_, weight)| *weight > 0.0) {
            starts[*id as usize + 1] += 1;
        }
    }
    for i in 0..n {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut incoming = vec![(0u32, 0f32); starts[n]];
    for (i, row) in outgoing.chunks(k).enumerate() {
        if i % BLOCK == 0 {
            task.check()?;
        }
        for (id, weight) in row.iter().filter(|(_, weight)| *weight > 0.0) {
            incoming[next[*id as usize]] = (i as u32, *weight);
            next[*id as usize] += 1;
        }
    }
    Ok((starts, incoming))
}

/// exp(-(d - rho) / sigma) with rho the nearest distance > 0 and sigma such that the sum is log2(k + 1).
fn memberships(graph: &KnnGraph, i: usize, row: &mut [(u32, f32)]) {
    let distances: Vec<f64> = graph.neighbors(i).map(|(_, d)| d as f64).collect();
    let Some(rho) = distances.iter().copied().find(|d| *d > 0.0).or(distances.first().copied()) else { return };
    let target = ((distances.len() + 1) as f64).log2();
    let beyond = |d: f64| (d - rho).max(0.0);
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, if mean > rho { mean - rho } else { 1.0 });
    for _ in 0..48 {
        let sum: f64 = distances.iter().map(|d| (-beyond(*d) / sigma).exp()).sum();
        if (sum - target).abs() < 1e-4 {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high.is_infinite() { sigma * 2.0 } else { (low + high) / 2.0 };
        }
    }
    let sigma = sigma.max(LEAST_BANDWIDTH * mean).max(f64::MIN_POSITIVE);
    for (slot, (id, d)) in row.iter_mut().zip(graph.neighbors(i)) {
        *slot = (id, (-beyond(d as f64) / sigma).exp() as f32);
    }
    row.sort_unstable_by_key(|(id, _)| *id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::vectors::Vectors;

    #[test]
    fn the_graph_is_symmetric_and_its_weights_lie_in_0_to_1() {
        let mut rng = crate::random::Rng::new(1, 0);
        let data: Vec<f32> = (0..200 * 3).map(|_| rng.normal() as f32).collect();
        let knn = exact::build(Vectors::new(&data, 200, 3).unwrap(), 7, &Task::new()).unwrap();
        let graph = fuzzy(&knn, &Task::new()).unwrap();
        let row = |i: usize| graph.offsets[i]..graph.offsets[i + 1];
        for i in 0..200 {
            assert!(graph.ids[row(i)].is_sorted());
            for (j, weight) in graph.ids[row(i)].iter().zip(&graph.weights[row(i)]) {
                assert!(*weight > 0.0 && *weight <= 1.0);
                let at = graph.ids[row(*j as usize)].binary_search(&(i as u32)).unwrap();
                assert_eq!(graph.weights[row(*j as usize)][at], *weight);
            }
        }
    }
}
