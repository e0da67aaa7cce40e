//! Rows in lists around centroids, so that what is near is looked for in few of them. The centroids are those of a quick
//! k-means on a sample: good enough to sort by, not a clustering.

use rayon::prelude::*;

use crate::error::Result;
use crate::kernels;
use crate::kernels::grouped::{Grouped, Scratch};
use crate::kernels::tiles::{Kernels, Rows};
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows of the sample per list. What [`spaced`] gives after these with the same seed, no centroid has seen.
pub const SAMPLE_PER_LIST: usize = 32;
/// Steps of the quick k-means.
const STEPS: usize = 5;
/// Groups of 32 centroids that a row looks at, where nearly the nearest will do.
pub const FEW_PROBES: usize = 4;
/// All groups: a row stands in the list of its nearest centroid.
pub const ALL_PROBES: usize = usize::MAX;
const BLOCK_ROWS: usize = 512;

#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// `n_lists x dim`.
    pub centroids: Vec<f32>,
    /// Row ids, list by list, ascending within each.
    pub order: Vec<u32>,
    /// Where each list begins in `order`, and the end of the last.
    pub offsets: Vec<usize>,
}

impl Partition {
    pub fn n_lists(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Places of a list in `order`.
    pub fn range(&self, list: usize) -> std::ops::Range<usize> {
        self.offsets[list]..self.offsets[list + 1]
    }
}

/// Parts the rows into up to `n_lists` lists, none of them empty; each row looks at `n_probes` groups of centroids for its
/// nearest.
///
/// # Errors
/// `Cancelled`.
pub fn partition(
    vectors: Vectors<'_>,
    n_lists: usize,
    kernels: Kernels,
    scale: f32,
    n_probes: usize,
    seed: u64,
    task: &Task,
) -> Result<Partition> {
    let (n, dim) = (vectors.n(), vectors.dim());
    let n_lists = n_lists.clamp(1, n);
    let sample = spaced(n, n_lists * SAMPLE_PER_LIST, seed);
    let row_of = |i: usize| vectors.row(sample[i] as usize);
    // the rows of the sample stand in random order
    let mut centroids: Vec<f32> = (0..n_lists).flat_map(|i| row_of(i).iter().copied()).collect();
    for _ in 0..STEPS {
        let nearest = nearest(&centroids, dim, kernels, scale, FEW_PROBES, sample.len(), row_of, task)?;
        let (_, members) = lists(&nearest, n_lists);
        centroids.par_chunks_mut(dim).zip(members).for_each(|(centroid, members)| {
            if members.is_empty() {
                return;
            }
            let mut sum = vec![0f64; dim];
            for i in &members {
                sum.iter_mut().zip(row_of(*i as usize)).for_each(|(sum, value)| *sum += *value as f64);
            }
            centroid.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / members.len() as f64) as f32);
        });
    }
    let nearest = nearest(&centroids, dim, kernels, scale, n_probes, n, |i| vectors.row(i), task)?;
    let (_, members) = lists(&nearest, n_lists);
    // lists that are near stand near each other, so that what is read together is together in memory
    let near = kernels::order_by_likeness(&centroids, dim).into_iter().map(|list| list as usize);
    let kept: Vec<usize> = near.filter(|list| !members[*list].is_empty()).collect();
    let mut offsets = vec![0];
    for list in &kept {
        offsets.push(offsets[offsets.len() - 1] + members[*list].len());
    }
    Ok(Partition {
        centroids: kept.iter().flat_map(|list| centroids[list * dim..(list + 1) * dim].iter().copied()).collect(),
        order: kept.iter().flat_map(|list| members[*list].iter().copied()).collect(),
        offsets,
    })
}

/// Up to `wanted` distinct rows of `n` in random order.
pub fn spaced(n: usize, wanted: usize, seed: u64) -> Vec<u32> {
    let mut keys: Vec<(u64, u32)> = (0..n as u32).map(|row| (Rng::new(seed, u64::from(row)).next_u64(), row)).collect();
    if wanted < n {
        keys.select_nth_unstable(wanted);
        keys.truncate(wanted);
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, row)| row).collect()
}

#[allow(clippy::too_many_arguments)]
fn nearest<'a>(
    centroids: &[f32],
    dim: usize,
    kernels: Kernels,
    scale: f32,
    n_probes: usize,
    n: usize,
    row: impl Fn(usize) -> &'a [f32] + Sync,
    task: &Task,
) -> Result<Vec<u32>> {
    let grouped = Grouped::new(kernels, centroids, dim, scale);
    let room = || (Rows::with_room(kernels, BLOCK_ROWS, dim), grouped.scratch(BLOCK_ROWS, dim));
    let mut nearest = vec![0u32; n];
    nearest.par_chunks_mut(BLOCK_ROWS).enumerate().try_for_each_init(
        room,
        |(rows, scratch): &mut (Rows, Scratch), (block, nearest)| {
            task.check()?;
            let first = block * BLOCK_ROWS;
            rows.refill(kernels, scale, (first..first + nearest.len()).map(&row));
            let mut found = vec![(0f32, 0u32); nearest.len()];
            grouped.nearest(rows, n_probes, scratch, &mut found);
            nearest.iter_mut().zip(found).for_each(|(to, (_, centroid))| *to = centroid);
            Ok(())
        },
    )?;
    Ok(nearest)
}

/// How many rows each list has, and which.
fn lists(nearest: &[u32], n_lists: usize) -> (Vec<usize>, Vec<Vec<u32>>) {
    let mut sizes = vec![0; n_lists];
    nearest.iter().for_each(|list| sizes[*list as usize] += 1);
    let mut members: Vec<Vec<u32>> = sizes.iter().map(|size| Vec::with_capacity(*size)).collect();
    nearest.iter().enumerate().for_each(|(row, list)| members[*list as usize].push(row as u32));
    (sizes, members)
}
