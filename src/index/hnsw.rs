//! Approximate search on a hierarchical navigable small world graph (Malkov, Yashunin 2016), by `instant-distance`.
//! It can't filter inside the walk: a filtered search widens its candidates, and falls back to looking at every
//! passing row when few pass, so that a filter never hides an answer.

use instant_distance::{Builder, HnswMap, Point, Search};
use rayon::prelude::*;

use super::{Found, Index, check};
use crate::error::{Error, Result};
use crate::kernels::squared_distance;
use crate::task::{Task, leave_behind_when_cancelled};
use crate::vectors::Vectors;

#[derive(Debug, Clone, PartialEq)]
pub struct HnswParams {
    pub ef_construction: usize,
    pub ef_search: usize,
    pub random_state: u64,
}

pub struct Hnsw {
    map: HnswMap<Row, u32>,
    rows: Vec<Row>,
    dim: usize,
    ef_search: usize,
}

#[derive(Clone)]
struct Row(std::sync::Arc<[f32]>);

impl Point for Row {
    fn distance(&self, other: &Self) -> f32 {
        squared_distance(&self.0, &other.0).sqrt() as f32
    }
}

impl Hnsw {
    /// # Errors
    /// `InvalidInput` for `ef_construction` or `ef_search` of 0.
    pub fn build(vectors: Vectors<'_>, params: &HnswParams, task: &Task) -> Result<Self> {
        for (name, value) in [("ef_construction", params.ef_construction), ("ef_search", params.ef_search)] {
            if value == 0 {
                return Err(Error::invalid(format!("{name} must be at least 1: got 0")));
            }
        }
        let rows: Vec<Row> = vectors.data().chunks_exact(vectors.dim()).map(|row| Row(row.into())).collect();
        let (points, params) = (rows.clone(), params.clone());
        let ef_search = params.ef_search;
        // the rows are shared, not copied: both lists hold pointers
        let map = leave_behind_when_cancelled(task, "instant-distance", move || {
            let ids = (0..points.len() as u32).collect();
            let builder = Builder::default().ef_construction(params.ef_construction).ef_search(params.ef_search);
            Ok(builder.seed(params.random_state).build(points, ids))
        })?;
        Ok(Self { map, rows, dim: vectors.dim(), ef_search })
    }

    fn walk(&self, query: &Row, k: usize, pass: Option<&[bool]>, ids: &mut [u32], distances: &mut [f32]) {
        let mut search = Search::default();
        let passing =
            self.map.search(query, &mut search).filter(|item| pass.is_none_or(|pass| pass[*item.value as usize]));
        for ((item, id), distance) in passing.take(k).zip(ids).zip(distances) {
            *id = *item.value;
            *distance = item.distance;
        }
    }

    fn look_at_all(&self, query: &Row, pass: Option<&[bool]>, ids: &mut [u32], distances: &mut [f32]) {
        let mut all: Vec<(f64, u32)> = (0..self.rows.len() as u32)
            .filter(|id| pass.is_none_or(|pass| pass[*id as usize]))
            .map(|id| (squared_distance(&self.rows[id as usize].0, &query.0), id))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for ((found, id), distance) in all.into_iter().zip(ids).zip(distances) {
            *id = found.1;
            *distance = found.0.sqrt() as f32;
        }
    }
}

impl Index for Hnsw {
    fn name(&self) -> &'static str {
        "hnsw"
    }

    fn n(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn search(&self, queries: Vectors<'_>, k: usize, pass: Option<&[bool]>, task: &Task) -> Result<Found> {
        check(self, queries, k, pass)?;
        let passing = pass.map_or(self.n(), |pass| pass.iter().filter(|pass| **pass).count());
        let want = k.min(passing);
        let mut found = Found::empty(queries.n(), k);
        task.start(queries.n() as u64);
        found.ids.par_chunks_mut(k).zip(found.distances.par_chunks_mut(k)).enumerate().try_for_each(
            |(i, (ids, distances))| {
                task.check()?;
                let query = Row(queries.row(i).into());
                // the walk returns ef_search rows at most: more are wanted, or too few of them would pass
                if want <= self.ef_search {
                    self.walk(&query, k, pass, ids, distances);
                }
                if want > 0 && ids[want - 1] == crate::graph::MISSING {
                    self.look_at_all(&query, pass, ids, distances);
                }
                task.advance(1);
                Ok(())
            },
        )?;
        Ok(found)
    }
}
