//! An index whose rows stand in lists around centroids, as bytes: a query looks into the lists whose centroids are nearly
//! as near as the nearest, and what the bytes leave open is measured on the rows themselves. How far to look for a share
//! of the true neighbors is learned from a sample when it is built. Takes new rows and lets old ones go; never moves rows
//! between lists, so an index that has grown many times over is better built anew.
//!
//! How it is searched: `probing.rs`; how it is saved: `stored.rs`.

use rayon::prelude::*;

use super::probing::Wanted;
use crate::error::{Error, Result};
use crate::graph::partition::{ALL_PROBES, SAMPLE_PER_LIST, partition, spaced};
use crate::kernels::codes::MAX_DIM;
use crate::kernels::tiles::scale_for;
use crate::kernels::{self, CodedQuery, Codes};
use crate::task::Task;
use crate::vectors::Vectors;

/// Fewer rows are one list: to look at all of them takes less than a learned reach could save (docs/decisions/0024).
const ONE_LIST_ROWS: usize = 4_096;
/// Lists per square root of the number of rows.
const LISTS_PER_ROOT: f64 = 4.0;
/// Rows of the sample that the reach is learned from.
const SAMPLE_ROWS: usize = 1_024;
/// The reach is learned for this many neighbors and for these; in between the larger holds.
pub(super) const LEARNED_K: [usize; 2] = [10, 100];
/// Rows that are this much longer than those of the build have no scores in f32.
const LONGEST: f32 = 1e15;

#[derive(Debug, Clone, PartialEq)]
pub struct PartitionedParams {
    recall: f64,
    random_state: u64,
}

impl PartitionedParams {
    /// `recall`: the share of the true neighbors that a search is to find, unless it is told otherwise; 1 looks at every row.
    ///
    /// # Errors
    /// `InvalidInput` for a recall outside (0, 1].
    pub fn new(recall: f64, random_state: u64) -> Result<Self> {
        Ok(Self { recall: check_recall(recall)?, random_state })
    }
}

impl Default for PartitionedParams {
    fn default() -> Self {
        Self { recall: 0.95, random_state: 0 }
    }
}

pub(super) fn check_recall(recall: f64) -> Result<f64> {
    if !(recall > 0.0 && recall <= 1.0) {
        return Err(Error::invalid(format!("recall must be above 0 and at most 1: got {recall}")));
    }
    Ok(recall)
}

/// The rows of one list.
pub(super) struct List {
    pub codes: Codes,
    pub ids: Vec<u32>,
}

/// Where a row stands; `list` is `GONE` for a row that was deleted.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub list: u32,
    pub slot: u32,
}

pub(super) const GONE: u32 = u32::MAX;

/// Rows that were there when the index was made: its own, or those of a mapped file.
pub type BaseRows = Box<dyn AsRef<[f32]> + Send + Sync>;

pub struct Partitioned {
    pub(super) dim: usize,
    /// What all values are multiplied by before they become bytes.
    pub(super) scale: f32,
    pub(super) recall: f64,
    pub(super) centers: Codes,
    pub(super) lists: Vec<List>,
    /// By id; ids are never used again.
    pub(super) places: Vec<Place>,
    pub(super) n: usize,
    /// Largest norm of the rows and of what rounding took away, also of the centroids.
    pub(super) largest: (f32, f32),
    /// Per `LEARNED_K`, ascending: how much lower than the best the score of the list of a neighbor was.
    pub(super) needed: [Vec<f32>; 2],
    pub(super) base: BaseRows,
    pub(super) more: Vec<f32>,
}

impl Partitioned {
    /// Keeps a copy of the rows.
    ///
    /// # Errors
    /// `InvalidInput` for rows wider than 65,536; `Cancelled`.
    pub fn build(vectors: Vectors<'_>, params: &PartitionedParams, task: &Task) -> Result<Self> {
        let mut index = Self::without_rows(vectors, params, task)?;
        index.base = Box::new(vectors.data().to_vec());
        Ok(index)
    }

    /// Reads the rows where they are: `base` holds the values of `vectors`, and nobody writes to it.
    ///
    /// # Errors
    /// As [`Partitioned::build`].
    pub fn build_on(vectors: Vectors<'_>, base: BaseRows, params: &PartitionedParams, task: &Task) -> Result<Self> {
        assert_eq!((*base).as_ref().len(), vectors.data().len());
        let mut index = Self::without_rows(vectors, params, task)?;
        index.base = base;
        Ok(index)
    }

    fn without_rows(vectors: Vectors<'_>, params: &PartitionedParams, task: &Task) -> Result<Self> {
        let (n, dim) = (vectors.n(), vectors.dim());
        if dim > MAX_DIM {
            return Err(Error::invalid(format!("at most {MAX_DIM} columns can be indexed: got {dim}"))
                .hint("engine=\"exact\" takes wider rows"));
        }
        task.start(2 * n as u64);
        let scale = scale_for(vectors.largest());
        let n_lists = if n <= ONE_LIST_ROWS { 1 } else { (LISTS_PER_ROOT * (n as f64).sqrt()) as usize };
        let kernels = kernels::for_width(dim);
        let parts = partition(vectors, n_lists, kernels, scale, ALL_PROBES, params.random_state, task)?;
        task.advance(n as u64);
        let made: Vec<(List, (f32, f32))> = (0..parts.n_lists())
            .into_par_iter()
            .map(|list| {
                task.check()?;
                let ids = &parts.order[parts.range(list)];
                let (mut codes, mut largest) = (Codes::new(dim), (0f32, 0f32));
                codes.reserve(ids.len());
                ids.iter().for_each(|id| widen(&mut largest, codes.push(vectors.row(*id as usize), scale)));
                Ok((List { codes, ids: ids.to_vec() }, largest))
            })
            .collect::<Result<_>>()?;
        let (mut centers, mut largest) = (Codes::new(dim), (0f32, 0f32));
        centers.reserve(parts.n_lists());
        for center in parts.centroids.chunks_exact(dim) {
            centers.push(center, scale);
        }
        made.iter().for_each(|(_, of_list)| widen(&mut largest, *of_list));
        let mut index = Self {
            dim,
            scale,
            recall: params.recall,
            centers,
            lists: made.into_iter().map(|(list, _)| list).collect(),
            places: Vec::new(),
            n,
            largest,
            needed: [Vec::new(), Vec::new()],
            base: Box::new(Vec::new()),
            more: Vec::new(),
        };
        index.places = index.find_places(n)?;
        if index.lists.len() > 1 {
            index.learn(vectors, n_lists, params.random_state, task)?;
        }
        task.advance(n as u64);
        Ok(index)
    }

    /// Where each id stands, by the lists.
    pub(super) fn find_places(&self, n_ids: usize) -> Result<Vec<Place>> {
        let mut places = vec![Place { list: GONE, slot: 0 }; n_ids];
        for (number, list) in self.lists.iter().enumerate() {
            for (slot, id) in list.ids.iter().enumerate() {
                match places.get_mut(*id as usize) {
                    Some(place) if place.list == GONE => *place = Place { list: number as u32, slot: slot as u32 },
                    _ => return Err(Error::invalid(format!("row {id} stands in two lists, or is not there"))),
                }
            }
        }
        Ok(places)
    }

    /// Learns how far to look from rows whose neighbors are found exactly. A row of the index is not its own neighbor here,
    /// as an unseen query is not in the index.
    fn learn(&mut self, vectors: Vectors<'_>, n_lists: usize, seed: u64, task: &Task) -> Result<()> {
        const BLOCK: usize = 64;
        // rows that moved no centroid towards them, where there are enough, as unseen queries did not
        let seen = (n_lists * SAMPLE_PER_LIST).min(vectors.n().saturating_sub(SAMPLE_ROWS));
        let sample = spaced(vectors.n(), seen + SAMPLE_ROWS, seed).split_off(seen);
        let most = LEARNED_K[1].min(vectors.n() - 1);
        let index = &*self;
        let found: Vec<[Vec<f32>; 2]> = sample
            .par_chunks(BLOCK)
            .map(|ids| {
                task.check()?;
                let query = |i: usize| vectors.row(ids[i] as usize);
                let coded: Vec<CodedQuery> = (0..ids.len()).map(|i| CodedQuery::new(query(i), index.scale)).collect();
                let measure = |i: usize, id: u32| kernels::squared_distance(query(i), vectors.row(id as usize));
                let accept = |i: usize, id: u32| id != ids[i];
                let wanted = Wanted { k: most, reach: f32::INFINITY };
                let nearest = index.probe(&coded, wanted, accept, measure, task)?;
                let mut needed = [Vec::new(), Vec::new()];
                let (mut sums, mut scores) = (Vec::new(), Vec::new());
                for (coded, nearest) in coded.iter().zip(nearest) {
                    index.centers.scores(coded, &mut sums, &mut scores);
                    let best = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
                    let lower =
                        nearest.iter().map(|nearest| best - scores[index.places[nearest.id as usize].list as usize]);
                    let lower: Vec<f32> = lower.collect();
                    for (needed, k) in needed.iter_mut().zip(LEARNED_K) {
                        needed.extend(&lower[..k.min(lower.len())]);
                    }
                }
                Ok(needed)
            })
            .collect::<Result<_>>()?;
        for (at, needed) in self.needed.iter_mut().enumerate() {
            needed.extend(found.iter().flat_map(|found| &found[at]));
            needed.sort_unstable_by(f32::total_cmp);
        }
        Ok(())
    }

    /// How much lower than the best the score of a list may be, to find this share of the `k` nearest.
    pub(super) fn reach(&self, recall: f64, k: usize) -> f32 {
        let needed = &self.needed[usize::from(k > LEARNED_K[0])];
        if recall >= 1.0 || needed.is_empty() || k > 4 * LEARNED_K[1] {
            return f32::INFINITY;
        }
        needed[((needed.len() as f64 * recall).ceil() as usize).clamp(1, needed.len()) - 1]
    }

    /// Rows that can be found.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Ids that were given so far; those of deleted rows are among them.
    pub fn n_ids(&self) -> usize {
        self.places.len()
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The share of true neighbors that a search finds unless it is told otherwise.
    pub fn recall(&self) -> f64 {
        self.recall
    }

    /// Adds rows to the lists of their nearest centroids; they get the next ids.
    ///
    /// # Errors
    /// `InvalidInput` for rows of another width, too many of them, or too long ones; nothing is added then.
    pub fn insert(&mut self, vectors: Vectors<'_>) -> Result<std::ops::Range<u32>> {
        let first = self.n_ids();
        if vectors.dim() != self.dim {
            let (need, got) = (self.dim, vectors.dim());
            return Err(Error::invalid(format!("X must have {need} columns as the index: got {got}")));
        }
        if first + vectors.n() >= u32::MAX as usize {
            let total = first + vectors.n();
            return Err(Error::invalid(format!("at most 4,294,967,294 rows can be numbered: got {total}")));
        }
        if !self.in_range(vectors.largest()) {
            let (longest, got) = (LONGEST / self.scale, vectors.largest());
            return Err(Error::invalid(format!("values must be at most {longest:e} for this index: got {got:e}"))
                .hint("build a new index of all rows"));
        }
        let scale = self.scale;
        let nearest: Vec<u32> = (0..vectors.n())
            .into_par_iter()
            .map_init(
                || (Vec::new(), Vec::new()),
                |(sums, scores), i| {
                    self.centers.scores(&CodedQuery::new(vectors.row(i), scale), sums, scores);
                    let best = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
                    (0..scores.len()).fold(0, best) as u32
                },
            )
            .collect();
        for (i, number) in nearest.into_iter().enumerate() {
            let list = &mut self.lists[number as usize];
            self.places.push(Place { list: number, slot: list.ids.len() as u32 });
            list.ids.push((first + i) as u32);
            widen(&mut self.largest, list.codes.push(vectors.row(i), scale));
        }
        self.more.extend_from_slice(vectors.data());
        self.n += vectors.n();
        Ok(first as u32..self.n_ids() as u32)
    }

    /// Lets rows go: they are never found again, nor are their ids given to others. Those that are gone already don't count.
    /// Returns how many went.
    ///
    /// # Errors
    /// `InvalidInput` for an id that was never given; nothing is deleted then.
    pub fn delete(&mut self, ids: &[u32]) -> Result<usize> {
        let n_ids = self.n_ids();
        if let Some(id) = ids.iter().find(|id| **id as usize >= n_ids) {
            return Err(Error::invalid(format!("ids must be below {n_ids}: got {id}")));
        }
        let before = self.n;
        for id in ids {
            let place = std::mem::replace(&mut self.places[*id as usize], Place { list: GONE, slot: 0 });
            if place.list == GONE {
                continue;
            }
            let (list, slot) = (&mut self.lists[place.list as usize], place.slot as usize);
            list.codes.swap_remove(slot);
            list.ids.swap_remove(slot);
            if let Some(moved) = list.ids.get(slot) {
                self.places[*moved as usize].slot = place.slot;
            }
            self.n -= 1;
        }
        Ok(before - self.n)
    }

    /// Whether values of this size have scores in f32.
    pub(super) fn in_range(&self, largest: f32) -> bool {
        largest * self.scale <= LONGEST
    }
}

fn widen(largest: &mut (f32, f32), lengths: (f32, f32)) {
    *largest = (largest.0.max(lengths.0), largest.1.max(lengths.1));
}
