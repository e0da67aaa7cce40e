//! A start for the layout: the smooth directions of a weighted graph, by subspace iteration on its random walk.
//! Not an eigenvalue solver: a fixed number of sweeps gives coordinates that are good enough to start from, on
//! graphs in one piece and in many.

use rayon::prelude::*;

use super::umap::WeightedGraph;
use crate::error::Result;
use crate::random::Rng;
use crate::task::Task;

/// Sweeps of the walk: enough for the coarse shape; the layout does the rest.
const SWEEPS: usize = 120;
/// Columns carried beside the wanted ones, so that close eigenvalues separate sooner.
const EXTRA: usize = 3;

/// `n x dims` coordinates of the first non-trivial eigenvectors of `(I + D^-1/2 W D^-1/2) / 2`.
pub fn smooth_directions(graph: &WeightedGraph, dims: usize, seed: u64, task: &Task) -> Result<Vec<f32>> {
    let n = graph.n();
    let width = dims + EXTRA;
    let root_degree: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| graph.edges(i).map(|(_, weight)| weight as f64).sum::<f64>().sqrt().max(1e-12))
        .collect();
    // column 0 is the trivial eigenvector, known in closed form and projected out of the others
    let norm = root_degree.iter().map(|value| value * value).sum::<f64>().sqrt();
    let trivial: Vec<f64> = root_degree.iter().map(|value| value / norm).collect();
    let mut columns: Vec<Vec<f64>> = (0..width)
        .map(|column| {
            let mut rng = Rng::new(seed, column as u64);
            (0..n).map(|_| rng.normal()).collect()
        })
        .collect();
    for sweep in 0..SWEEPS {
        task.check()?;
        columns = columns
            .iter()
            .map(|column| {
                (0..n)
                    .into_par_iter()
                    .map(|i| {
                        let walk: f64 = graph
                            .edges(i)
                            .map(|(j, weight)| weight as f64 * column[j as usize] / root_degree[j as usize])
                            .sum();
                        0.5 * (column[i] + walk / root_degree[i])
                    })
                    .collect()
            })
            .collect();
        // orthogonal columns need not be kept at every sweep
        if sweep % 5 == 4 || sweep + 1 == SWEEPS {
            orthonormalise(&trivial, &mut columns);
        }
    }
    let mut coordinates = vec![0f32; n * dims];
    for (i, row) in coordinates.chunks_exact_mut(dims).enumerate() {
        for (value, column) in row.iter_mut().zip(&columns) {
            *value = (column[i] / root_degree[i]) as f32;
        }
    }
    Ok(coordinates)
}

/// Modified Gram-Schmidt; sums run in order, so the result does not depend on threads.
fn orthonormalise(trivial: &[f64], columns: &mut [Vec<f64>]) {
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for position in 0..columns.len() {
        let (before, rest) = columns.split_at_mut(position);
        let column = &mut rest[0];
        for other in std::iter::once(trivial).chain(before.iter().map(Vec::as_slice)) {
            let share = inner(other, column);
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
        }
        let length = inner(column, column).sqrt();
        // a column that vanishes (fewer points than columns) stays zero
        let scale = if length > 1e-150 { 1.0 / length } else { 0.0 };
        column.iter_mut().for_each(|value| *value *= scale);
    }
}
