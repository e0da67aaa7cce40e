//! A start for the layout: the smooth directions of a weighted graph, by Chebyshev-filtered subspace iteration (Zhou,
//! Saad, Tiago, Chelikowsky 2006) on its random walk. Not an eigenvalue solver: a fixed number of sweeps gives coordinates
//! that are good enough to start from, on graphs in one piece and in many.

use rayon::prelude::*;

use crate::error::Result;
use crate::graph::fuzzy::WeightedGraph;
use crate::random::Rng;
use crate::task::Task;

/// Rounds of sweeps, after each of which the columns are made orthogonal again.
const ROUNDS: usize = 4;
/// Degree of the filter of one round, one sweep over the edges each.
const DEGREE: usize = 8;
/// Eigenvalues of the walk below this are damped: twenty sweeps of the filter keep the wanted ones apart from them as
/// well as hundreds of plain steps would.
const DAMPED_BELOW: f32 = 0.9;
/// Columns carried beside the wanted ones, so that close eigenvalues separate sooner.
const EXTRA: usize = 2;
/// Columns that stand side by side in memory: one load per edge reads all of them.
const GROUP: usize = 4;
/// Rows of one block of work.
const BLOCK: usize = 1_024;

/// `n x dims` coordinates of the first non-trivial eigenvectors of `D^-1/2 W D^-1/2`, divided by `D^1/2`.
///
/// # Errors
/// `Cancelled`.
pub fn smooth_directions(graph: &WeightedGraph, dims: usize, seed: u64, task: &Task) -> Result<Vec<f32>> {
    let n = graph.n();
    let root_degree: Vec<f32> = (0..n)
        .into_par_iter()
        .map(|i| graph.edges(i).map(|(_, weight)| weight as f64).sum::<f64>().sqrt().max(1e-12) as f32)
        .collect();
    let mut walk = vec![0f32; graph.ids().len()];
    for i in 0..n {
        for ((step, weight), j) in
            walk[graph.range(i)].iter_mut().zip(&graph.weights()[graph.range(i)]).zip(&graph.ids()[graph.range(i)])
        {
            *step = weight / (root_degree[i] * root_degree[*j as usize]);
        }
    }
    // column 0 is the trivial eigenvector, known in closed form and projected out of the others
    let norm = root_degree.iter().map(|value| (*value as f64).powi(2)).sum::<f64>().sqrt();
    let trivial: Vec<f64> = root_degree.iter().map(|value| *value as f64 / norm).collect();
    let mut groups: Vec<Vec<[f32; GROUP]>> = (0..(dims + EXTRA).div_ceil(GROUP))
        .map(|group| {
            let mut rng = Rng::new(seed, group as u64);
            (0..n).map(|_| std::array::from_fn(|_| rng.normal() as f32)).collect()
        })
        .collect();
    for _ in 0..ROUNDS {
        orthonormalise(&trivial, &mut groups);
        for columns in &mut groups {
            *columns = filtered(graph, &walk, std::mem::take(columns), task)?;
        }
    }
    orthonormalise(&trivial, &mut groups);
    let mut coordinates = vec![0f32; n * dims];
    for (i, row) in coordinates.chunks_exact_mut(dims).enumerate() {
        for (column, value) in row.iter_mut().enumerate() {
            *value = groups[column / GROUP][i][column % GROUP] / root_degree[i];
        }
    }
    Ok(coordinates)
}

/// The Chebyshev polynomial of `DEGREE` that is small on eigenvalues in [-1, `DAMPED_BELOW`], applied to the columns.
fn filtered(graph: &WeightedGraph, walk: &[f32], columns: Vec<[f32; GROUP]>, task: &Task) -> Result<Vec<[f32; GROUP]>> {
    let (middle, half) = ((DAMPED_BELOW - 1.0) / 2.0, (DAMPED_BELOW + 1.0) / 2.0);
    let mut before = columns;
    let mut now = vec![[0f32; GROUP]; before.len()];
    for sweep in 0..DEGREE {
        // T_0 = 1, T_1 = x, T_k+1 = 2 x T_k - T_k-1
        let (from, into) = if sweep == 0 { (&before, &mut now) } else { (&now, &mut before) };
        let (scale, last) = if sweep == 0 { (1.0 / half, 0.0) } else { (2.0 / half, 1.0) };
        into.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, rows)| {
            task.check()?;
            for (offset, row) in rows.iter_mut().enumerate() {
                let i = block * BLOCK + offset;
                let mut sum = [0f32; GROUP];
                for (j, step) in graph.ids()[graph.range(i)].iter().zip(&walk[graph.range(i)]) {
                    let other = &from[*j as usize];
                    for column in 0..GROUP {
                        sum[column] += step * other[column];
                    }
                }
                for column in 0..GROUP {
                    row[column] = scale * (sum[column] - middle * from[i][column]) - last * row[column];
                }
            }
            Ok(())
        })?;
        if sweep > 0 {
            std::mem::swap(&mut before, &mut now);
        }
    }
    Ok(now)
}

/// Modified Gram-Schmidt; sums run in order, so the result does not depend on threads.
fn orthonormalise(trivial: &[f64], groups: &mut [Vec<[f32; GROUP]>]) {
    let n_columns = groups.len() * GROUP;
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(n_columns);
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for position in 0..n_columns {
        let mut column: Vec<f64> = groups[position / GROUP].iter().map(|row| row[position % GROUP] as f64).collect();
        for other in std::iter::once(trivial).chain(done.iter().map(Vec::as_slice)) {
            let share = inner(other, &column);
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
        }
        let length = inner(&column, &column).sqrt();
        // a column that vanishes (fewer points than columns) stays zero
        let scale = if length > 1e-30 { 1.0 / length } else { 0.0 };
        column.iter_mut().for_each(|value| *value *= scale);
        for (row, value) in groups[position / GROUP].iter_mut().zip(&column) {
            row[position % GROUP] = *value as f32;
        }
        done.push(column);
    }
}
