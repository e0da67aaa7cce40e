//! The exact kNN graph: every pair of rows is looked at, in tiles. O(n^2 dim) time, O(n k) memory.

use rayon::prelude::*;

use super::KnnGraph;
use crate::error::{Error, Result};
use crate::kernels::{self, Nearest, Points};
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows of one block of work: big enough for the product to be compute-bound, small enough for a quick stop.
const BLOCK_ROWS: usize = 256;

/// The `k` nearest other rows of every row.
///
/// With fewer than `k` other rows the graph has `k = max(1, n - 1)`.
///
/// # Errors
/// `InvalidInput` for `k = 0`; `Cancelled`.
pub fn build(vectors: Vectors<'_>, k: usize, task: &Task) -> Result<KnnGraph> {
    if k == 0 {
        return Err(Error::invalid("k must be at least 1: got 0"));
    }
    let n = vectors.n();
    let k = k.min(n.saturating_sub(1)).max(1);
    let isa = kernels::isa();
    let squared_norms = vectors.squared_norms();
    let points = Points { rows: vectors.data(), squared_norms: &squared_norms, dim: vectors.dim(), pass: None };
    let (mut indices, mut distances) = (vec![0u32; n * k], vec![0f32; n * k]);
    task.start(n as u64);
    indices.par_chunks_mut(BLOCK_ROWS * k).zip(distances.par_chunks_mut(BLOCK_ROWS * k)).enumerate().try_for_each(
        |(block, (indices, distances))| {
            task.check()?;
            let start = block * BLOCK_ROWS;
            let n_rows = indices.len() / k;
            let mut found = vec![Nearest { id: super::MISSING, squared_distance: f64::INFINITY }; n_rows * k];
            let rows = vectors.rows(start, start + n_rows);
            kernels::nearest_rows(isa, rows, points, k, |i| Some((start + i) as u32), &mut found);
            for ((nearest, id), distance) in found.iter().zip(indices).zip(distances) {
                *id = nearest.id;
                *distance = nearest.squared_distance.sqrt() as f32;
            }
            task.advance(n_rows as u64);
            Ok(())
        },
    )?;
    KnnGraph::from_parts(indices, distances, n, k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_are_ascending_and_never_the_point_itself() {
        let data: Vec<f32> = (0..50).map(|i| (i * i % 17) as f32).collect();
        let graph = build(Vectors::new(&data, 50, 1).unwrap(), 5, &Task::new()).unwrap();
        for i in 0..50 {
            let neighbors: Vec<_> = graph.neighbors(i).collect();
            assert_eq!(neighbors.len(), 5);
            assert!(neighbors.iter().all(|(id, _)| *id as usize != i));
            assert!(neighbors.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
    }

    #[test]
    fn one_point_has_no_neighbor() {
        let graph = build(Vectors::new(&[1.0, 2.0], 1, 2).unwrap(), 15, &Task::new()).unwrap();
        assert_eq!(graph.neighbors(0).count(), 0);
    }

    #[test]
    fn prefix_is_the_smaller_graph() {
        let data: Vec<f32> = (0..40).map(|i| (i * 7 % 31) as f32).collect();
        let vectors = Vectors::new(&data, 20, 2).unwrap();
        let large = build(vectors, 8, &Task::new()).unwrap();
        assert_eq!(large.prefix(3).unwrap(), build(vectors, 3, &Task::new()).unwrap());
        assert!(large.prefix(9).is_err());
    }

    #[test]
    fn a_stopped_task_stops_the_build() {
        let task = Task::new();
        task.stop();
        assert_eq!(build(Vectors::new(&[0.0; 64], 32, 2).unwrap(), 3, &task), Err(Error::Cancelled));
    }
}
