//! Exact search: every row is looked at, in tiles. The answer the other engines are measured against.

use rayon::prelude::*;

use super::{Found, Index, check};
use crate::error::Result;
use crate::kernels::tiles::{Columns, Hits, Kernels, Rows, margin, scale_for};
use crate::kernels::{self, Shortlists};
use crate::task::Task;
use crate::vectors::Vectors;

/// Queries of one block of work.
const BLOCK_ROWS: usize = 64;
/// Rows that are looked at between two looks at the task.
const STEP_ROWS: usize = 32_768;

pub struct Exact {
    kernels: Kernels,
    scale: f32,
    rows: Rows,
    data: Vec<f32>,
    dim: usize,
}

impl Exact {
    /// Keeps a copy of the rows.
    pub fn build(vectors: Vectors<'_>) -> Self {
        let (kernels, scale) = (kernels::for_width(vectors.dim()), scale_for(vectors.largest()));
        let rows = Rows::new(kernels, vectors.n(), vectors.dim(), scale, |i| vectors.row(i));
        Self { kernels, scale, rows, data: vectors.data().to_vec(), dim: vectors.dim() }
    }
}

impl Index for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn n(&self) -> usize {
        self.rows.n()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn search(&self, queries: Vectors<'_>, k: usize, pass: Option<&[bool]>, task: &Task) -> Result<Found> {
        check(self, queries, k, pass)?;
        let mut found = Found::empty(queries.n(), k);
        task.start(queries.n() as u64);
        let wanted = k.min(self.n());
        // one scale for both sides; a query that is far longer than the rows is brought down with them
        let scale = self.scale.min(scale_for(queries.largest()));
        let rescaled = (scale != self.scale).then(|| {
            Rows::new(self.kernels, self.n(), self.dim, scale, |i| &self.data[i * self.dim..(i + 1) * self.dim])
        });
        let rows = rescaled.as_ref().unwrap_or(&self.rows);
        let largest = rows.largest();
        found
            .ids
            .par_chunks_mut(BLOCK_ROWS * k)
            .zip(found.distances.par_chunks_mut(BLOCK_ROWS * k))
            .enumerate()
            .try_for_each(|(block, (ids, distances))| {
                let (start, n_queries) = (block * BLOCK_ROWS, ids.len() / k);
                let query = |i: usize| queries.row(start + i);
                let columns = Columns::new(self.kernels, n_queries, self.dim, scale, query);
                let margins = (0..n_queries).map(|i| margin(self.dim, columns.lengths(i), largest)).collect();
                let mut lists = Shortlists::new(wanted, margins);
                let accept = |_: usize, row: u32| pass.is_none_or(|pass| pass[row as usize]);
                let measure = |i: usize, row: u32| {
                    let row = row as usize * self.dim;
                    kernels::squared_distance(query(i), &self.data[row..row + self.dim])
                };
                let mut hits = Hits::default();
                for first in (0..self.n()).step_by(STEP_ROWS) {
                    task.check()?;
                    let range = first..self.n().min(first + STEP_ROWS);
                    let id_of = |row: usize| row as u32;
                    kernels::scan(self.kernels, (rows, range), &columns, id_of, accept, measure, &mut lists, &mut hits);
                }
                for (i, (ids, distances)) in ids.chunks_exact_mut(k).zip(distances.chunks_exact_mut(k)).enumerate() {
                    let nearest = lists.settle(i, |row| measure(i, row));
                    for ((nearest, id), distance) in nearest.iter().zip(ids).zip(distances) {
                        *id = nearest.id;
                        *distance = nearest.squared_distance.sqrt() as f32;
                    }
                }
                task.advance(n_queries as u64);
                Ok(())
            })?;
        Ok(found)
    }
}
