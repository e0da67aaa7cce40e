//! The exact kNN graph: every pair of rows is looked at once, in tiles. O(n^2 dim) time, O(n k) memory.

use rayon::prelude::*;

use super::KnnGraph;
use crate::error::{Error, Result};
use crate::kernels::tiles::{Columns, Hits, Rows, margin, scale_for};
use crate::kernels::{self, Nearest, Shortlists};
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
    let (n, dim) = (vectors.n(), vectors.dim());
    let k = k.min(n.saturating_sub(1)).max(1);
    let kernels = kernels::for_width(dim);
    let scale = scale_for(vectors.largest());
    let rows = Rows::new(kernels, n, dim, scale, |i| vectors.row(i));
    let measure = |a: u32, b: u32| kernels::between(vectors.data(), dim, a, b);
    let range = |block: usize| block * BLOCK_ROWS..n.min((block + 1) * BLOCK_ROWS);
    let n_blocks = n.div_ceil(BLOCK_ROWS);
    task.start((n * n / 2).div_ceil(BLOCK_ROWS) as u64);

    let largest = rows.largest();
    let first: Vec<(Columns, Shortlists)> = (0..n_blocks)
        .into_par_iter()
        .map(|block| {
            task.check()?;
            let range = range(block);
            let columns = Columns::new(kernels, range.len(), dim, scale, |i| vectors.row(range.start + i));
            let margins = (0..range.len()).map(|i| margin(dim, columns.lengths(i), largest)).collect();
            let mut lists = Shortlists::new(k, margins);
            let other = |query: usize, row: u32| (range.start + query) as u32 != row;
            let measure = |query: usize, row: u32| measure((range.start + query) as u32, row);
            let all = (&rows, range.clone());
            kernels::scan(kernels, all, &columns, |row| row as u32, other, measure, &mut lists, &mut Hits::default());
            Ok((columns, lists))
        })
        .collect::<Result<_>>()?;
    let (columns, lists): (Vec<Columns>, Vec<Shortlists>) = first.into_iter().unzip();
    let mut lists: Vec<Option<Shortlists>> = lists.into_iter().map(Some).collect();
    for round in 0..n_blocks.next_multiple_of(2).saturating_sub(1) {
        let pairs: Vec<(usize, usize)> = pairs(n_blocks, round).collect();
        let taken: Vec<_> =
            pairs.iter().filter_map(|&(a, b)| Some((a, lists[a].take()?, b, lists[b].take()?))).collect();
        let met = taken.into_par_iter().map_init(Hits::default, |hits, (a, mut of_a, b, mut of_b)| {
            task.check()?;
            let (rows, columns) = ((&rows, range(a)), &columns[b]);
            kernels::scan_both_ways(kernels, rows, columns, b * BLOCK_ROWS, measure, &mut of_a, &mut of_b, hits);
            task.advance(BLOCK_ROWS as u64);
            Ok((a, of_a, b, of_b))
        });
        for (a, of_a, b, of_b) in met.collect::<Result<Vec<_>>>()? {
            (lists[a], lists[b]) = (Some(of_a), Some(of_b));
        }
    }
    let lists: Vec<Shortlists> = lists.into_iter().flatten().collect();
    settle(&lists, BLOCK_ROWS, k, n, measure, task)
}

/// Which blocks meet in a round: in `n` (or, for an odd number, `n`) rounds each block meets every other once, and no
/// block is in two pairs of a round (the circle method of round-robin tournaments).
fn pairs(n_blocks: usize, round: usize) -> impl Iterator<Item = (usize, usize)> {
    let even = n_blocks.next_multiple_of(2);
    let circle = even - 1;
    (0..even / 2)
        .map(move |i| match i {
            0 => (circle, round),
            _ => ((round + i) % circle, (round + circle - i) % circle),
        })
        .filter(move |(a, b)| a.max(b) < &n_blocks)
        .map(|(a, b)| (a.min(b), a.max(b)))
}

/// The graph of what the lists of all blocks hold.
fn settle(
    lists: &[Shortlists],
    block_rows: usize,
    k: usize,
    n: usize,
    measure: impl Fn(u32, u32) -> f64 + Sync,
    task: &Task,
) -> Result<KnnGraph> {
    let (mut indices, mut distances) = (vec![super::MISSING; n * k], vec![f32::INFINITY; n * k]);
    indices
        .par_chunks_mut(block_rows * k)
        .zip(distances.par_chunks_mut(block_rows * k))
        .zip(lists)
        .enumerate()
        .try_for_each(|(block, ((indices, distances), lists))| {
            task.check()?;
            for query in 0..lists.n() {
                let row = (block * block_rows + query) as u32;
                let nearest = lists.settle(query, |other| measure(row, other));
                write(&nearest, &mut indices[query * k..][..k], &mut distances[query * k..][..k]);
            }
            Ok(())
        })?;
    KnnGraph::from_parts(indices, distances, n, k)
}

/// One neighbor list.
pub(super) fn write(nearest: &[Nearest], indices: &mut [u32], distances: &mut [f32]) {
    for ((nearest, id), distance) in nearest.iter().zip(indices).zip(distances) {
        *id = nearest.id;
        *distance = nearest.squared_distance.sqrt() as f32;
    }
}

/// The graph of `vectors` out of the graph of some of its rows: the same graph as `build` makes where the old one is
/// exact, for the price of the new rows, O(n_new n dim).
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
    let (kernels, scale) = (kernels::for_width(dim), scale_for(vectors.largest()));
    let measure = |a: u32, b: u32| kernels::between(vectors.data(), dim, a, b);
    let all = Rows::new(kernels, n, dim, scale, |i| vectors.row(i));
    let added = Rows::new(kernels, new.len(), dim, scale, |i| vectors.row(new[i] as usize));
    task.start(n as u64);

    // new rows look at all rows; old rows at the new ones, beside the neighbors they have
    let look = |ids: &[u32], among: &Rows, id_of: &(dyn Fn(usize) -> u32 + Sync)| -> Result<Shortlists> {
        task.check()?;
        let columns = Columns::new(kernels, ids.len(), dim, scale, |i| vectors.row(ids[i] as usize));
        let largest = among.largest();
        let mut lists = Shortlists::new(k, (0..ids.len()).map(|i| margin(dim, columns.lengths(i), largest)).collect());
        let mut hits = Hits::default();
        let accept = |query: usize, id: u32| ids[query] != id;
        let measure = |query: usize, id: u32| measure(ids[query], id);
        // in parts, so that a stop takes effect
        for start in (0..among.n()).step_by(64 * BLOCK_ROWS) {
            task.check()?;
            let range = start..among.n().min(start + 64 * BLOCK_ROWS);
            kernels::scan(kernels, (among, range), &columns, id_of, accept, measure, &mut lists, &mut hits);
        }
        task.advance(ids.len() as u64);
        Ok(lists)
    };
    let of_new: Vec<Vec<Nearest>> = new
        .par_chunks(BLOCK_ROWS)
        .map(|ids| {
            let lists = look(ids, &all, &|row| row as u32)?;
            Ok((0..ids.len()).map(|query| lists.settle(query, |row| measure(ids[query], row))).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>>>()?
        .concat();
    let of_old: Vec<Vec<Nearest>> = positions
        .par_chunks(BLOCK_ROWS)
        .enumerate()
        .map(|(block, ids)| {
            let lists = look(ids, &added, &|row| new[row])?;
            Ok((0..ids.len())
                .map(|query| {
                    let mut nearest = lists.settle(query, |id| measure(ids[query], id));
                    // measured again: the stored distances are rounded, and equal ones must fall as they do in `build`
                    nearest.extend(old.neighbors(block * BLOCK_ROWS + query).map(|(id, _)| {
                        let id = positions[id as usize];
                        Nearest { id, squared_distance: measure(ids[query], id) }
                    }));
                    nearest.sort_unstable_by(Nearest::order);
                    nearest.truncate(k);
                    nearest
                })
                .collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>>>()?
        .concat();
    let (mut indices, mut distances) = (vec![0u32; n * k], vec![0f32; n * k]);
    for (ids, lists) in [(&new[..], of_new), (positions, of_old)] {
        for (id, nearest) in ids.iter().zip(&lists) {
            let at = *id as usize * k;
            write(nearest, &mut indices[at..at + k], &mut distances[at..at + k]);
        }
    }
    KnnGraph::from_parts(indices, distances, n, k)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All pairs, measured.
    fn oracle(vectors: Vectors<'_>, k: usize) -> Vec<Vec<(u32, f32)>> {
        let (n, dim) = (vectors.n() as u32, vectors.dim());
        (0..n)
            .map(|i| {
                let measured =
                    |j: u32| Nearest { id: j, squared_distance: kernels::between(vectors.data(), dim, i, j) };
                let mut all: Vec<Nearest> = (0..n).filter(|j| *j != i).map(measured).collect();
                all.sort_by(Nearest::order);
                all.iter().take(k).map(|nearest| (nearest.id, nearest.squared_distance.sqrt() as f32)).collect()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_graph_is_that_of_all_pairs(
            n in 2usize..900, dim in 1usize..70, k in 1usize..20, steps in 1u32..40, seed in 0u64..1000
        ) {
            // few distinct values make ties and duplicates
            let mut rng = crate::random::Rng::new(seed, 0);
            let data: Vec<f32> = (0..n * dim).map(|_| rng.below(steps as usize) as f32 - 3.3).collect();
            let vectors = Vectors::new(&data, n, dim).unwrap();
            let graph = build(vectors, k, &Task::new()).unwrap();
            for (i, want) in oracle(vectors, k.min(n - 1)).iter().enumerate() {
                prop_assert_eq!(&graph.neighbors(i).collect::<Vec<_>>(), want, "row {}", i);
            }
        }

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
    fn every_block_meets_every_other_once() {
        for n in 1..12 {
            let mut met = vec![0; n * n];
            for round in 0..n.next_multiple_of(2) - 1 {
                let mut busy = vec![false; n];
                for (a, b) in pairs(n, round) {
                    met[a * n + b] += 1;
                    assert!(!std::mem::replace(&mut busy[a], true) && !std::mem::replace(&mut busy[b], true));
                }
            }
            assert!((0..n).all(|a| (0..n).all(|b| met[a * n + b] == usize::from(a < b))), "{n}");
        }
    }

    #[test]
    fn rows_whose_squares_are_beyond_float32_have_neighbors() {
        let data: Vec<f32> = (0..300).map(|i| 1e30 * (i * 7 % 300) as f32).collect();
        let vectors = Vectors::new(&data, 300, 1).unwrap();
        let graph = build(vectors, 3, &Task::new()).unwrap();
        for (i, want) in oracle(vectors, 3).iter().enumerate() {
            assert_eq!(&graph.neighbors(i).collect::<Vec<_>>(), want);
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
