//! How a partitioned index is searched. The lists whose centroids are nearly as near as the nearest are scanned as bytes;
//! whatever the bytes leave open is measured, so among the rows that were looked at the answer is exact. A filtered search
//! looks at every row that passes: its answer is the true filtered top k.

use std::borrow::Cow;

use rayon::prelude::*;

use super::partitioned::{GONE, Partitioned, check_recall};
use super::{Found, check_shape};
use crate::error::{Error, Result};
use crate::kernels::{self, CodedQuery, Codes, Nearest, Shortlists};
use crate::task::Task;
use crate::vectors::Vectors;

/// Queries that are searched together.
const BLOCK_QUERIES: usize = 64;
/// Rows whose bytes are fetched before the first of them is needed.
const FETCH_ROWS: usize = 16;
/// From this share of rows on (one in ...) that pass it is quicker to scan all lists than to go from row to row.
const PASSING_SHARE: usize = 4;
/// Queries at once from which on the rows that pass are brought together first.
const GATHER_QUERIES: usize = 8;

/// Which rows may be found.
#[derive(Debug, Clone, Copy)]
pub enum Filter<'a> {
    /// One value per id.
    Mask(&'a [bool]),
    /// Ids in any order.
    Ids(&'a [u32]),
}

impl<'a> Filter<'a> {
    /// One value per id, for engines that take no ids.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is not there.
    pub fn mask(self, n_ids: usize) -> Result<Cow<'a, [bool]>> {
        let ids = match self {
            Self::Mask(mask) => return Ok(Cow::Borrowed(mask)),
            Self::Ids(ids) => ids,
        };
        check_ids(ids, n_ids)?;
        let mut mask = vec![false; n_ids];
        ids.iter().for_each(|id| mask[*id as usize] = true);
        Ok(Cow::Owned(mask))
    }
}

fn check_ids(ids: &[u32], n_ids: usize) -> Result<()> {
    match ids.iter().find(|id| **id as usize >= n_ids) {
        Some(id) => Err(Error::invalid(format!("ids of where must be below {n_ids}: got {id}"))),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub k: usize,
    pub reach: f32,
}

/// The rows by id.
#[derive(Clone, Copy)]
struct RowsById<'a> {
    base: &'a [f32],
    more: &'a [f32],
    dim: usize,
}

impl<'a> RowsById<'a> {
    fn row(self, id: u32) -> &'a [f32] {
        let at = id as usize * self.dim;
        match at.checked_sub(self.base.len()) {
            None => &self.base[at..at + self.dim],
            Some(at) => &self.more[at..at + self.dim],
        }
    }
}

impl Partitioned {
    fn rows(&self) -> RowsById<'_> {
        RowsById { base: (*self.base).as_ref(), more: &self.more, dim: self.dim }
    }

    /// Whether a search takes about a millisecond or less, so that a thread for it would cost more than it helps.
    pub fn is_quick(&self, n_queries: usize, filter: Option<Filter<'_>>) -> bool {
        let rows = match filter {
            None => self.n,
            Some(Filter::Ids(ids)) => 4 * ids.len(),
            Some(Filter::Mask(mask)) => mask.len(),
        };
        n_queries <= 4 && n_queries * rows <= 2_000_000
    }

    /// The `k` nearest rows of each query: the share `recall` of the true ones, nearly (None is what the index was built
    /// for); all of them with a filter.
    ///
    /// # Errors
    /// `InvalidInput` when widths or the filter do not fit, `k` is 0 or recall is outside (0, 1]; `Cancelled`.
    pub fn search(
        &self,
        queries: Vectors<'_>,
        k: usize,
        recall: Option<f64>,
        filter: Option<Filter<'_>>,
        task: &Task,
    ) -> Result<Found> {
        check_shape((self.n_ids(), self.dim), queries, k)?;
        let recall = check_recall(recall.unwrap_or(self.recall))?;
        let passing = filter.map(|filter| self.passing(filter)).transpose()?;
        let mut found = Found::empty(queries.n(), k);
        task.start(queries.n() as u64);
        let n = passing.as_ref().map_or(self.n, Vec::len);
        let wanted = Wanted { k: k.min(n), reach: self.reach(recall, k) };
        if wanted.k == 0 {
            return Ok(found);
        }
        let gathered = match &passing {
            Some(ids) if queries.n() >= GATHER_QUERIES && ids.len() < self.n => Some(self.gather(ids)),
            _ => None,
        };
        let in_reach = self.in_range(queries.largest());
        let search = |(block, (ids, distances)): (usize, (&mut [u32], &mut [f32]))| {
            task.check()?;
            let (first, n_queries) = (block * BLOCK_QUERIES, ids.len() / k);
            let query = |i: usize| queries.row(first + i);
            let rows = self.rows();
            let measure = |i: usize, id: u32| kernels::squared_distance(query(i), rows.row(id));
            let coded = || (0..n_queries).map(|i| CodedQuery::new(query(i), self.scale)).collect::<Vec<_>>();
            let nearest = match &passing {
                _ if !in_reach => self.measure_all(n_queries, wanted.k, passing.as_deref(), measure),
                None => self.probe(&coded(), wanted, |_, _| true, measure, task)?,
                // all pass
                Some(ids) if ids.len() == self.n => {
                    let all = Wanted { reach: f32::INFINITY, ..wanted };
                    self.probe(&coded(), all, |_, _| true, measure, task)?
                }
                Some(ids) => self.scan(&coded(), wanted.k, ids, gathered.as_ref(), measure, task)?,
            };
            let places = ids.chunks_exact_mut(k).zip(distances.chunks_exact_mut(k));
            for ((ids, distances), nearest) in places.zip(nearest) {
                for ((nearest, id), distance) in nearest.iter().zip(ids).zip(distances) {
                    *id = nearest.id;
                    *distance = nearest.squared_distance.sqrt() as f32;
                }
            }
            task.advance(n_queries as u64);
            Ok(())
        };
        if queries.n() <= BLOCK_QUERIES {
            // not in the pool: a quick search has none
            search((0, (&mut found.ids, &mut found.distances)))?;
        } else {
            let distances = found.distances.par_chunks_mut(BLOCK_QUERIES * k);
            found.ids.par_chunks_mut(BLOCK_QUERIES * k).zip(distances).enumerate().try_for_each(search)?;
        }
        Ok(found)
    }

    /// The nearest rows of some queries, of those that `accept`, in the lists within reach.
    pub(super) fn probe(
        &self,
        queries: &[CodedQuery],
        wanted: Wanted,
        accept: impl Fn(usize, u32) -> bool,
        measure: impl Fn(usize, u32) -> f64,
        task: &Task,
    ) -> Result<Vec<Vec<Nearest>>> {
        let (mut sums, mut scores) = (Vec::new(), Vec::new());
        // (order, list, query)
        let mut visits: Vec<(f32, u32, u32)> = Vec::new();
        for (i, query) in queries.iter().enumerate() {
            self.centers.scores(query, &mut sums, &mut scores);
            let lowest = self.lowest(&scores, wanted);
            let within = scores.iter().enumerate().filter(|(_, score)| **score >= lowest);
            // one query begins with the nearest list; many share what they read, so they go from list to list
            let order = |score: f32| if queries.len() == 1 { -score } else { 0.0 };
            visits.extend(within.map(|(list, score)| (order(*score), list as u32, i as u32)));
        }
        visits.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let mut nearest = self.open(queries, wanted.k);
        for (at, (_, number, i)) in visits.iter().enumerate() {
            if at % 1024 == 1023 {
                task.check()?;
            }
            if let Some((_, next, _)) = visits.get(at + 1)
                && next != number
            {
                (0..4).for_each(|row| self.lists[*next as usize].codes.prefetch(row));
            }
            let (list, i) = (&self.lists[*number as usize], *i as usize);
            list.codes.scores(&queries[i], &mut sums, &mut scores);
            for (score, id) in scores.iter().zip(&list.ids) {
                if *score >= nearest.thresholds()[i] && accept(i, *id) {
                    nearest.push(i, *score, *id, |id| measure(i, id));
                }
            }
        }
        Ok((0..queries.len()).map(|i| nearest.settle(i, |id| measure(i, id))).collect())
    }

    /// The lowest score that a list within reach has; low enough that these lists hold `k` rows.
    fn lowest(&self, scores: &[f32], wanted: Wanted) -> f32 {
        let lowest = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)) - wanted.reach;
        let sizes = scores.iter().zip(&self.lists).map(|(score, list)| (*score, list.ids.len()));
        let within: usize = sizes.clone().filter(|(score, _)| *score >= lowest).map(|(_, size)| size).sum();
        if within >= wanted.k {
            return lowest;
        }
        let mut sizes: Vec<(f32, usize)> = sizes.collect();
        sizes.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut held = 0;
        let enough = sizes.iter().find(|(_, size)| {
            held += size;
            held >= wanted.k
        });
        enough.map_or(f32::NEG_INFINITY, |(score, _)| *score)
    }

    /// The nearest of some rows, all of which are looked at.
    fn scan(
        &self,
        queries: &[CodedQuery],
        k: usize,
        ids: &[u32],
        gathered: Option<&Vec<Codes>>,
        measure: impl Fn(usize, u32) -> f64,
        task: &Task,
    ) -> Result<Vec<Vec<Nearest>>> {
        let mut nearest = self.open(queries, k);
        if let Some(gathered) = gathered {
            let (mut sums, mut scores) = (Vec::new(), Vec::new());
            for (codes, ids) in gathered.iter().zip(ids.chunks(GATHERED_ROWS)) {
                task.check()?;
                for (i, query) in queries.iter().enumerate() {
                    codes.scores(query, &mut sums, &mut scores);
                    for (score, id) in scores.iter().zip(ids) {
                        if *score >= nearest.thresholds()[i] {
                            nearest.push(i, *score, *id, |id| measure(i, id));
                        }
                    }
                }
            }
        } else if ids.len() >= self.n / PASSING_SHARE {
            let mut passes = vec![false; self.n_ids()];
            ids.iter().for_each(|id| passes[*id as usize] = true);
            let all = Wanted { k, reach: f32::INFINITY };
            return self.probe(queries, all, |_, id| passes[id as usize], measure, task);
        } else {
            let fetch = |id: &u32| {
                let place = self.places[*id as usize];
                self.lists[place.list as usize].codes.prefetch(place.slot as usize);
            };
            ids.iter().take(FETCH_ROWS).for_each(fetch);
            for (at, id) in ids.iter().enumerate() {
                ids.get(at + FETCH_ROWS).iter().for_each(|id| fetch(id));
                let place = self.places[*id as usize];
                let codes = &self.lists[place.list as usize].codes;
                for (i, query) in queries.iter().enumerate() {
                    let score = codes.score(query, place.slot as usize);
                    nearest.push(i, score, *id, |id| measure(i, id));
                }
            }
        }
        Ok((0..queries.len()).map(|i| nearest.settle(i, |id| measure(i, id))).collect())
    }

    /// The bytes of some rows side by side.
    fn gather(&self, ids: &[u32]) -> Vec<Codes> {
        ids.par_chunks(GATHERED_ROWS)
            .map(|ids| {
                let mut codes = Codes::new(self.dim);
                codes.reserve(ids.len());
                for id in ids {
                    let place = self.places[*id as usize];
                    codes.push_from(&self.lists[place.list as usize].codes, place.slot as usize);
                }
                codes
            })
            .collect()
    }

    /// Without scores, for queries so long that they have none.
    fn measure_all(
        &self,
        n_queries: usize,
        k: usize,
        passing: Option<&[u32]>,
        measure: impl Fn(usize, u32) -> f64,
    ) -> Vec<Vec<Nearest>> {
        let all: Vec<u32>;
        let ids = match passing {
            Some(ids) => ids,
            None => {
                all = (0..self.n_ids() as u32).filter(|id| self.places[*id as usize].list != GONE).collect();
                &all
            }
        };
        let nearest = |i: usize| {
            let measured = ids.iter().map(|id| Nearest { id: *id, squared_distance: measure(i, *id) });
            let mut nearest: Vec<Nearest> = measured.collect();
            nearest.sort_unstable_by(Nearest::order);
            nearest.truncate(k);
            nearest
        };
        (0..n_queries).map(nearest).collect()
    }

    fn open(&self, queries: &[CodedQuery], k: usize) -> Shortlists {
        Shortlists::new(k, queries.iter().map(|query| query.margin(self.dim, self.largest)).collect())
    }

    /// The ids that pass and are not gone, ascending, each once.
    fn passing(&self, filter: Filter<'_>) -> Result<Vec<u32>> {
        let there = |id: &u32| self.places[*id as usize].list != GONE;
        match filter {
            Filter::Mask(mask) => {
                if mask.len() != self.n_ids() {
                    let (got, need) = (mask.len(), self.n_ids());
                    let message = format!("where must have one value per row of the index: {got} != {need}");
                    return Err(Error::invalid(message).hint("deleted rows keep their places in where"));
                }
                let mut ids = Vec::new();
                let mut take = |first: usize, values: &[bool]| {
                    ids.extend((first as u32..).zip(values).filter(|(_, value)| **value).map(|(id, _)| id));
                };
                let (chunks, rest) = mask.as_chunks::<MASK_VALUES>();
                for (chunk, values) in chunks.iter().enumerate() {
                    // most chunks are empty where few rows pass; this becomes one comparison
                    if values.iter().fold(0, |any, value| any | u8::from(*value)) != 0 {
                        take(chunk * MASK_VALUES, values);
                    }
                }
                take(chunks.len() * MASK_VALUES, rest);
                if self.n < self.n_ids() {
                    ids.retain(there);
                }
                Ok(ids)
            }
            Filter::Ids(ids) => {
                check_ids(ids, self.n_ids())?;
                let mut ids: Vec<u32> = ids.iter().copied().filter(there).collect();
                if !ids.is_sorted_by(|a, b| a < b) {
                    ids.sort_unstable();
                    ids.dedup();
                }
                Ok(ids)
            }
        }
    }
}

/// Rows of one piece of what is gathered: their bytes stay in the second-level cache while the queries pass by.
const GATHERED_ROWS: usize = 512;
/// Values of a filter that are looked at together.
const MASK_VALUES: usize = 16;
