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

/// The graph of `vectors` out of the graph of some of its rows: the same graph as `build` makes, for the price of the
/// new rows, O(n_new n dim).
///
/// `positions` says which row of `vectors` each point of `old` is, ascending; the other rows are new. The result has as
/// many neighbors per row as `old`.
///
/// # Errors
/// `InvalidInput` when positions do not ascend or do not fit, or a list of `old` is short; `Cancelled`.
pub fn extend(old: &KnnGraph, positions: &[u32], vectors: Vectors<'_>, task: &Task) -> Result<KnnGraph> {
    let (n, k, dim) = (vectors.n(), old.k(), vectors.dim());
    if positions.len() != old.n() {
        return Err(Error::invalid(format!("positions must have {} entries: got {}", old.n(), positions.len())));
    }
    if positions.windows(2).any(|pair| pair[0] >= pair[1]) || positions.last().is_none_or(|last| *last as usize >= n) {
        return Err(Error::invalid(format!("positions must ascend and be below {n}")));
    }
    if old.indices().contains(&super::MISSING) {
        return Err(Error::invalid("the graph has short lists").hint("build the larger graph anew"));
    }
    let mut is_old = vec![false; n];
    positions.iter().for_each(|position| is_old[*position as usize] = true);
    let new: Vec<u32> = (0..n as u32).filter(|row| !is_old[*row as usize]).collect();
    let row = |i: u32| &vectors.data()[i as usize * dim..(i as usize + 1) * dim];
    let gather = |ids: &[u32]| ids.iter().flat_map(|i| row(*i)).copied().collect::<Vec<f32>>();
    let isa = kernels::isa();
    let squared_norms = vectors.squared_norms();
    let all = Points { rows: vectors.data(), squared_norms: &squared_norms, dim, pass: None };
    let new_rows = gather(&new);
    let new_norms: Vec<f32> = new.iter().map(|i| squared_norms[*i as usize]).collect();
    let added = Points { rows: &new_rows, squared_norms: &new_norms, dim, pass: None };
    let empty = Nearest { id: super::MISSING, squared_distance: f64::INFINITY };
    task.start(n as u64);
    // new rows look at all rows; old rows at the new ones, beside the neighbors they have
    let of_new = new.par_chunks(BLOCK_ROWS).map(|ids| {
        task.check()?;
        let mut found = vec![empty; ids.len() * k];
        kernels::nearest_rows(isa, &gather(ids), all, k, |i| Some(ids[i]), &mut found);
        task.advance(ids.len() as u64);
        Ok(found)
    });
    let of_new: Vec<Vec<Nearest>> = of_new.collect::<Result<_>>()?;
    let of_old = positions.par_chunks(BLOCK_ROWS).enumerate().map(|(block, ids)| {
        task.check()?;
        let rows = gather(ids);
        let mut found = vec![empty; ids.len() * k];
        kernels::nearest_rows(isa, &rows, added, k, |_| None, &mut found);
        let mut merged = Vec::with_capacity(found.len());
        for (i, (own, nearer)) in rows.chunks_exact(dim).zip(found.chunks_exact(k)).enumerate() {
            // measured again: the stored distances are rounded, and equal ones must fall as they do in `build`
            let kept = old.neighbors(block * BLOCK_ROWS + i).map(|(id, _)| {
                let id = positions[id as usize];
                Nearest { id, squared_distance: kernels::squared_distance(own, row(id)) }
            });
            let fresh = nearer.iter().filter(|nearest| nearest.id != super::MISSING);
            let fresh = fresh.map(|nearest| Nearest { id: new[nearest.id as usize], ..*nearest });
            let mut list: Vec<Nearest> = kept.chain(fresh).collect();
            list.sort_unstable_by(|a, b| a.squared_distance.total_cmp(&b.squared_distance).then(a.id.cmp(&b.id)));
            merged.extend_from_slice(&list[..k]);
        }
        task.advance(ids.len() as u64);
        Ok(merged)
    });
    let of_old: Vec<Vec<Nearest>> = of_old.collect::<Result<_>>()?;
    let (mut indices, mut distances) = (vec![0u32; n * k], vec![0f32; n * k]);
    let mut place = |ids: &[u32], lists: &[Vec<Nearest>]| {
        for (i, list) in ids.iter().zip(lists.iter().flat_map(|block| block.chunks_exact(k))) {
            for (j, nearest) in list.iter().enumerate() {
                indices[*i as usize * k + j] = nearest.id;
                distances[*i as usize * k + j] = nearest.squared_distance.sqrt() as f32;
            }
        }
    };
    place(&new, &of_new);
    place(positions, &of_old);
    KnnGraph::from_parts(indices, distances, n, k)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_extended_graph_is_the_graph_built_anew(
            data in prop::collection::vec(-3i8..4, 40..160),
            keep in prop::collection::vec(any::<bool>(), 80),
        ) {
            let data: Vec<f32> = data.iter().map(|value| f32::from(*value)).collect();
            let n = data.len() / 2;
            let positions: Vec<u32> = (0..n as u32).filter(|i| keep[*i as usize]).collect();
            prop_assume!(positions.len() > 4);
            let rows: Vec<f32> = positions.iter().flat_map(|i| &data[*i as usize * 2..*i as usize * 2 + 2]).copied().collect();
            let task = Task::new();
            let old = build(Vectors::new(&rows, positions.len(), 2).unwrap(), 3, &task).unwrap();
            let vectors = Vectors::new(&data[..n * 2], n, 2).unwrap();
            prop_assert_eq!(extend(&old, &positions, vectors, &task).unwrap(), build(vectors, 3, &task).unwrap());
        }
    }

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
