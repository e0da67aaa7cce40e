//! Exact search: every row is looked at, in tiles. The answer the other engines are measured against.

use rayon::prelude::*;

use super::{Found, Index, check};
use crate::error::Result;
use crate::kernels::{self, Nearest, Points};
use crate::task::Task;
use crate::vectors::Vectors;

/// Queries of one block of work.
const BLOCK_ROWS: usize = 64;

pub struct Exact {
    data: Vec<f32>,
    squared_norms: Vec<f32>,
    dim: usize,
}

impl Exact {
    /// Keeps a copy of the rows.
    pub fn build(vectors: Vectors<'_>) -> Self {
        Self { data: vectors.data().to_vec(), squared_norms: vectors.squared_norms(), dim: vectors.dim() }
    }
}

impl Index for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn n(&self) -> usize {
        self.squared_norms.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn search(&self, queries: Vectors<'_>, k: usize, pass: Option<&[bool]>, task: &Task) -> Result<Found> {
        check(self, queries, k, pass)?;
        let mut found = Found::empty(queries.n(), k);
        task.start(queries.n() as u64);
        let isa = kernels::isa();
        let points = Points { rows: &self.data, squared_norms: &self.squared_norms, dim: self.dim, pass };
        found
            .ids
            .par_chunks_mut(BLOCK_ROWS * k)
            .zip(found.distances.par_chunks_mut(BLOCK_ROWS * k))
            .enumerate()
            .try_for_each(|(block, (ids, distances))| {
                task.check()?;
                let (start, rows) = (block * BLOCK_ROWS, ids.len() / k);
                let mut nearest = vec![Nearest { id: 0, squared_distance: 0.0 }; rows * k];
                let queries = queries.rows(start, start + rows);
                kernels::nearest_rows(isa, queries, points, k, |_| None, &mut nearest);
                for ((nearest, id), distance) in nearest.iter().zip(ids).zip(distances) {
                    *id = nearest.id;
                    *distance = nearest.squared_distance.sqrt() as f32;
                }
                task.advance(rows as u64);
                Ok(())
            })?;
        Ok(found)
    }
}
