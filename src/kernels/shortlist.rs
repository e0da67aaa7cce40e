//! Which rows are nearest, settled exactly: products make a shortlist, and whatever the rounding of the products leaves
//! open is measured by [`squared_distance`].

use super::squared_distance;
use super::tiles::{Columns, GROUP, Hits, Kernels, Rows};

/// Rows that pass by between two updates of the thresholds.
const ROWS_PER_SCAN: usize = 128;

/// A row id and its squared distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    pub id: u32,
    pub squared_distance: f64,
}

impl Nearest {
    /// Order by distance, then id.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.squared_distance.total_cmp(&other.squared_distance).then(self.id.cmp(&other.id))
    }
}

/// For each query of a block the rows that may be among its `k` nearest, of those that were looked at.
///
/// What comes out does not depend on the order in which rows were looked at: a row is dropped only when `k` others are
/// nearer beyond doubt, or were measured to be.
pub struct Shortlists {
    k: usize,
    capacity: usize,
    /// `capacity` places per query: score and id.
    entries: Vec<(f32, u32)>,
    lens: Vec<usize>,
    /// Lowest score that is of interest; infinite where there is no query.
    thresholds: Vec<f32>,
    margins: Vec<f32>,
}

impl Shortlists {
    /// One list per margin: how far a score of that query can be off.
    pub fn new(k: usize, margins: Vec<f32>) -> Self {
        let n = margins.len();
        let capacity = (3 * k + 16).next_multiple_of(32);
        let mut thresholds = vec![f32::INFINITY; n.next_multiple_of(GROUP)];
        // not minus infinity: the columns of padding have that score
        thresholds[..n].fill(f32::MIN);
        Self { k, capacity, entries: vec![(0.0, 0); n * capacity], lens: vec![0; n], thresholds, margins }
    }

    /// Puts in what is known already: up to `k` rows, with their scores.
    pub fn seed(&mut self, query: usize, known: impl Iterator<Item = (f32, u32)>) {
        let (mut n, mut lowest) = (0, f32::INFINITY);
        for (score, id) in known.take(self.k) {
            self.entries[query * self.capacity + n] = (score, id);
            lowest = lowest.min(score);
            n += 1;
        }
        self.lens[query] = n;
        if n == self.k {
            self.thresholds[query] = lowest - 2.0 * self.margins[query];
        }
    }

    /// Queries.
    pub fn n(&self) -> usize {
        self.margins.len()
    }

    /// Per query, and infinite up to a whole group of columns.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// `measure` is the squared distance of this query to a row.
    pub fn push(&mut self, query: usize, score: f32, id: u32, measure: impl Fn(u32) -> f64) {
        if score < self.thresholds[query] {
            return;
        }
        let len = self.lens[query];
        self.entries[query * self.capacity + len] = (score, id);
        self.lens[query] = len + 1;
        if len + 1 == self.capacity {
            self.shrink(query, measure);
        }
    }

    fn shrink(&mut self, query: usize, measure: impl Fn(u32) -> f64) {
        let entries = &mut self.entries[query * self.capacity..][..self.capacity];
        let margin = 2.0 * self.margins[query];
        entries.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
        let limit = entries[self.k - 1].0 - margin;
        let mut kept = self.k;
        for at in self.k..self.capacity {
            if entries[at].0 >= limit {
                entries[kept] = entries[at];
                kept += 1;
            }
        }
        self.lens[query] = kept;
        self.thresholds[query] = limit;
        if kept <= self.capacity - self.capacity / 4 {
            return;
        }
        // so many are equally near that scores can't tell: the nearest of these are found by measuring
        let mut measured: Vec<(Nearest, f32)> = entries[..kept]
            .iter()
            .map(|(score, id)| (Nearest { id: *id, squared_distance: measure(*id) }, *score))
            .collect();
        measured.select_nth_unstable_by(self.k - 1, |a, b| a.0.order(&b.0));
        let mut lowest = f32::INFINITY;
        for (entry, (nearest, score)) in entries.iter_mut().zip(&measured[..self.k]) {
            *entry = (*score, nearest.id);
            lowest = lowest.min(*score);
        }
        self.lens[query] = self.k;
        self.thresholds[query] = limit.max(lowest - margin);
    }

    /// The up to `k` nearest of what was pushed for a query, ascending by distance, then id.
    pub fn settle(&self, query: usize, measure: impl Fn(u32) -> f64) -> Vec<Nearest> {
        let mut entries = self.entries[query * self.capacity..][..self.lens[query]].to_vec();
        if entries.len() > self.k {
            entries.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
            let limit = entries[self.k - 1].0 - 2.0 * self.margins[query];
            entries.retain(|(score, _)| *score >= limit);
        }
        entries.sort_unstable_by_key(|(_, id)| *id);
        entries.dedup_by_key(|(_, id)| *id);
        let mut nearest: Vec<Nearest> =
            entries.iter().map(|(_, id)| Nearest { id: *id, squared_distance: measure(*id) }).collect();
        nearest.sort_unstable_by(Nearest::order);
        nearest.truncate(self.k);
        nearest
    }
}

/// Looks for the nearest of some rows for each query, which are the columns: those that `accept(query, id)`.
///
/// `id_of(row)` is what they are called; `measure(query, id)` is their squared distance.
#[allow(clippy::too_many_arguments)]
pub fn scan(
    kernels: Kernels,
    (rows, range): (&Rows, std::ops::Range<usize>),
    queries: &Columns,
    id_of: impl Fn(usize) -> u32,
    accept: impl Fn(usize, u32) -> bool,
    measure: impl Fn(usize, u32) -> f64,
    lists: &mut Shortlists,
    hits: &mut Hits,
) {
    let never = [f32::INFINITY; ROWS_PER_SCAN];
    for first in range.clone().step_by(ROWS_PER_SCAN) {
        let n_rows = ROWS_PER_SCAN.min(range.end - first);
        kernels.above(rows, first, n_rows, queries, &never[..n_rows], lists.thresholds(), hits);
        for hit in hits.iter() {
            let (query, row) = (hit.column as usize, first + hit.row as usize);
            let id = id_of(row);
            if accept(query, id) {
                lists.push(query, hit.product + rows.half(row), id, |id| measure(query, id));
            }
        }
    }
}

/// As [`scan`], and from the rows' side at once: rows and columns are two blocks of the same points, and each looks for
/// its nearest in the other. `measure(row, column)` counts rows from the beginning of the range.
#[allow(clippy::too_many_arguments)]
pub fn scan_both_ways(
    kernels: Kernels,
    (rows, range): (&Rows, std::ops::Range<usize>),
    columns: &Columns,
    first_column: usize,
    measure: impl Fn(u32, u32) -> f64,
    of_rows: &mut Shortlists,
    of_columns: &mut Shortlists,
    hits: &mut Hits,
) {
    for first in range.clone().step_by(ROWS_PER_SCAN) {
        let n_rows = ROWS_PER_SCAN.min(range.end - first);
        let own = first - range.start;
        let row_thresholds = &of_rows.thresholds()[own..own + n_rows];
        kernels.above(rows, first, n_rows, columns, row_thresholds, of_columns.thresholds(), hits);
        for hit in hits.iter() {
            let (row, column) = (first as u32 + hit.row, first_column as u32 + hit.column);
            of_columns
                .push(hit.column as usize, hit.product + rows.half(row as usize), row, |row| measure(row, column));
            let score = hit.product + columns.half(hit.column as usize);
            of_rows.push(own + hit.row as usize, score, column, |column| measure(row, column));
        }
    }
}

/// Squared distances of two rows of one matrix.
pub fn between(data: &[f32], dim: usize, a: u32, b: u32) -> f64 {
    let row = |i: u32| &data[i as usize * dim..(i as usize + 1) * dim];
    squared_distance(row(a), row(b))
}
