//! Which centroid is nearest to each row, step after step, without asking all of them at every step: a row keeps an upper
//! bound on the distance to its own centroid and, for each group of centroids, a lower bound on the distance to the
//! others; bounds are moved by what the centroids moved (Ding and others 2015, "Yinyang k-means", sections 3 and 4). The
//! groups are those columns that the kernels multiply at a time.
//!
//! Products are rounded, so bounds are widened by what they can be off, and close calls are settled by measuring: the
//! labels are those of a search among all distances in f64, ties to the smaller centroid.

use rayon::prelude::*;

use crate::error::Result;
use crate::kernels;
use crate::kernels::tiles::{Columns, GROUP, Kernels, Rows, TopTwos, margin, scale_for};
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows of one block of work.
const BLOCK_ROWS: usize = 512;
/// Widens what was added up in f32.
const WIDER: f32 = 1.0 + 1e-6;
/// No centroid yet.
const NONE: u32 = u32::MAX;

/// A row that has another centroid now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    pub row: u32,
    /// None at first.
    pub from: Option<u32>,
    pub to: u32,
}

/// The nearest centroids of all rows, and what is known of the others. Distances are in units of `1 / scale`.
pub struct Assignment<'a> {
    vectors: Vectors<'a>,
    kernels: Kernels,
    scale: f32,
    /// Centroid of each column of the product: similar ones stand together, so that a whole group is far from most rows.
    order: Vec<u32>,
    column_of: Vec<u32>,
    n_groups: usize,
    labels: Vec<u32>,
    upper: Vec<f32>,
    /// One bound per row and group.
    lower: Vec<f32>,
    /// Centroids of the last step.
    centroids: Vec<f32>,
    /// Whether rows count as progress of the task.
    counts: bool,
}

impl<'a> Assignment<'a> {
    /// For centroids like these; nothing is assigned yet.
    pub fn new(vectors: Vectors<'a>, centroids: &[f32]) -> Self {
        let dim = vectors.dim();
        let order = kernels::order_by_likeness(centroids, dim);
        let mut column_of = vec![0; order.len()];
        order.iter().enumerate().for_each(|(column, centroid)| column_of[*centroid as usize] = column as u32);
        let n_groups = order.len().div_ceil(GROUP);
        let largest = centroids.iter().fold(vectors.largest(), |a, b| a.max(b.abs()));
        Self {
            vectors,
            kernels: kernels::for_width(dim),
            scale: scale_for(largest),
            order,
            column_of,
            n_groups,
            labels: vec![NONE; vectors.n()],
            upper: vec![f32::INFINITY; vectors.n()],
            lower: vec![f32::NEG_INFINITY; vectors.n() * n_groups],
            centroids: centroids.to_vec(),
            counts: true,
        }
    }

    /// The same, for work that was not announced: it can be stopped, and is no progress.
    pub fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }

    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Assigns every row to the nearest of `centroids`; returns the rows that changed, ascending.
    pub fn step(&mut self, centroids: &[f32], task: &Task) -> Result<Vec<Change>> {
        let dim = self.vectors.dim();
        let moved: Vec<f32> = centroids
            .par_chunks(dim)
            .zip(self.centroids.par_chunks(dim))
            .map(|(to, from)| kernels::squared_distance(to, from).sqrt() as f32 * self.scale * WIDER)
            .collect();
        self.centroids.copy_from_slice(centroids);
        let group_moved: Vec<f32> = self
            .order
            .chunks(GROUP)
            .map(|group| group.iter().map(|centroid| moved[*centroid as usize]).fold(0.0, f32::max))
            .collect();
        let columns = Columns::new(self.kernels, self.order.len(), dim, self.scale, |column| {
            let centroid = self.order[column] as usize;
            &centroids[centroid * dim..(centroid + 1) * dim]
        });
        let step = Step {
            vectors: self.vectors,
            kernels: self.kernels,
            scale: self.scale,
            order: &self.order,
            column_of: &self.column_of,
            centroids,
            moved: &moved,
            group_moved: &group_moved,
            columns,
        };
        let counts = self.counts;
        let changes: Vec<Vec<Change>> = self
            .labels
            .par_chunks_mut(BLOCK_ROWS)
            .zip(self.upper.par_chunks_mut(BLOCK_ROWS))
            .zip(self.lower.par_chunks_mut(BLOCK_ROWS * self.n_groups))
            .enumerate()
            .map_init(Scratch::default, |scratch, (block, ((labels, upper), lower))| {
                task.check()?;
                let changes = step.block(block * BLOCK_ROWS, labels, upper, lower, scratch);
                if counts {
                    task.advance(labels.len() as u64);
                }
                Ok(changes)
            })
            .collect::<Result<_>>()?;
        Ok(changes.concat())
    }

    /// Gives a row to a centroid that nobody chose. All is forgotten of the row, so that the next step looks anew.
    pub fn give(&mut self, row: usize, centroid: u32) {
        self.labels[row] = centroid;
        self.upper[row] = f32::INFINITY;
        self.lower[row * self.n_groups..(row + 1) * self.n_groups].fill(f32::NEG_INFINITY);
    }

    /// Squared distance of every row to its centroid, measured.
    pub fn squared_distances(&self) -> Vec<f64> {
        let dim = self.vectors.dim();
        self.labels
            .par_iter()
            .enumerate()
            .map(|(row, label)| {
                let centroid = *label as usize * dim;
                kernels::squared_distance(self.vectors.row(row), &self.centroids[centroid..centroid + dim])
            })
            .collect()
    }
}

/// What all blocks of a step share.
struct Step<'a> {
    vectors: Vectors<'a>,
    kernels: Kernels,
    scale: f32,
    order: &'a [u32],
    column_of: &'a [u32],
    centroids: &'a [f32],
    moved: &'a [f32],
    group_moved: &'a [f32],
    columns: Columns,
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    /// Those of the block that the bounds leave open, and those of them that a group of centroids is asked about.
    rows: Option<Rows>,
    gathered: Option<Rows>,
    found: TopTwos,
    /// Per active row: squared distance to the own centroid so far, and which.
    own: Vec<(f64, u32)>,
    active: Vec<usize>,
    chosen: Vec<usize>,
}

impl Step<'_> {
    /// Squared distance in units of the scale.
    fn measure(&self, row: usize, centroid: u32) -> f64 {
        let dim = self.vectors.dim();
        let centroid = &self.centroids[centroid as usize * dim..(centroid as usize + 1) * dim];
        kernels::squared_distance(self.vectors.row(row), centroid) * (self.scale as f64).powi(2)
    }

    fn block(
        &self,
        first: usize,
        labels: &mut [u32],
        upper: &mut [f32],
        lower: &mut [f32],
        scratch: &mut Scratch,
    ) -> Vec<Change> {
        let n_groups = self.group_moved.len();
        let Scratch { rows, gathered, found, own, active, chosen } = scratch;
        active.clear();
        own.clear();
        for (i, (label, upper)) in labels.iter().zip(upper.iter_mut()).enumerate() {
            let lower = &mut lower[i * n_groups..(i + 1) * n_groups];
            let mut nearest_other = f32::INFINITY;
            for (lower, moved) in lower.iter_mut().zip(self.group_moved) {
                *lower = *lower - *moved - (WIDER - 1.0) * lower.abs();
                nearest_other = nearest_other.min(*lower);
            }
            if *label == NONE {
                active.push(i);
                own.push((f64::INFINITY, NONE));
                continue;
            }
            *upper = (*upper + self.moved[*label as usize]) * WIDER;
            if *upper < nearest_other {
                continue;
            }
            let squared = self.measure(first + i, *label);
            *upper = squared.sqrt() as f32 * WIDER;
            if *upper >= nearest_other {
                active.push(i);
                own.push((squared, *label));
            }
        }
        if active.is_empty() {
            return Vec::new();
        }
        let dim = self.vectors.dim();
        let room = || Rows::with_room(self.kernels, BLOCK_ROWS, dim);
        let rows = rows.get_or_insert_with(room);
        let gathered = gathered.get_or_insert_with(room);
        rows.refill(self.kernels, self.scale, active.iter().map(|i| self.vectors.row(first + i)));
        for group in 0..n_groups {
            chosen.clear();
            chosen.extend((0..active.len()).filter(|at| lower[active[*at] * n_groups + group] <= upper[active[*at]]));
            if chosen.is_empty() {
                continue;
            }
            let all = chosen.len() == active.len();
            if !all {
                gathered.gather(rows, chosen.iter().copied());
            }
            let from = if all { &*rows } else { &*gathered };
            self.kernels.top_two(from, chosen.len(), &self.columns, group, 1, found);
            for (i, &at) in chosen.iter().enumerate() {
                let row = active[at];
                let x = -2.0 * rows.half(at) as f64;
                // what a score can be off, and what the squared norm can be
                let margin = 2.0 * margin(dim, rows.lengths(at), self.columns.largest()) as f64
                    + (dim + 8) as f64 * f32::EPSILON as f64 * x;
                let least = |score: f32| (x - 2.0 * score as f64 - margin).max(0.0);
                let (best, second, column) = (least(found.best[i]), least(found.second[i]), found.columns[i]);
                let nearest = &mut own[at];
                let before = *nearest;
                let consider = |nearest: &mut (f64, u32), centroid: u32| {
                    let squared = self.measure(first + row, centroid);
                    if squared < nearest.0 || (squared == nearest.0 && centroid < nearest.1) {
                        *nearest = (squared, centroid);
                    }
                };
                if best <= nearest.0 {
                    consider(nearest, self.order[column as usize]);
                    if second <= nearest.0 {
                        let group = &self.order[group * GROUP..self.order.len().min((group + 1) * GROUP)];
                        group.iter().for_each(|centroid| consider(nearest, *centroid));
                    }
                }
                let bounds = &mut lower[row * n_groups..(row + 1) * n_groups];
                let own_is_best = nearest.1 != NONE && self.column_of[nearest.1 as usize] == column;
                // finite, so that it can be moved
                bounds[group] = ((if own_is_best { second } else { best }).sqrt() as f32 / WIDER).min(f32::MAX);
                if nearest.1 != before.1 {
                    upper[row] = nearest.0.sqrt() as f32 * WIDER;
                    // the centroid that was left counts among the others of its group from now on
                    if before.1 != NONE {
                        let left = &mut bounds[self.column_of[before.1 as usize] as usize / GROUP];
                        *left = left.min(before.0.sqrt() as f32 / WIDER);
                    }
                }
            }
        }
        let mut changes = Vec::new();
        for (&i, (_, centroid)) in active.iter().zip(own.iter()) {
            if labels[i] != *centroid {
                let from = (labels[i] != NONE).then_some(labels[i]);
                changes.push(Change { row: (first + i) as u32, from, to: *centroid });
                labels[i] = *centroid;
            }
        }
        changes
    }
}
