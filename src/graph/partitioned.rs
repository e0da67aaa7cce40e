//! The kNN graph of many rows. Each row looks for its neighbors in the lists of a partition whose centroids are nearly as
//! near as its own; then in the neighbors of its neighbors. How far to look is learned from a sample of rows whose
//! neighbors are found exactly, and the share of true neighbors that the graph holds is measured on others.

use rayon::prelude::*;

use super::join::join;
use super::partition::{FEW_PROBES, Partition, partition, spaced};
use super::{KnnGraph, MISSING, exact};
use crate::error::{Error, Result};
use crate::kernels::tiles::{Columns, Hits, Kernels, Rows, margin, scale_for};
use crate::kernels::{self, Shortlists};
use crate::task::Task;
use crate::vectors::Vectors;

/// Fewer rows are quicker compared one by one.
const EXACT_ROWS: usize = 8_192;
/// Fewest mean rows of a list: three panels.
const LIST_ROWS: usize = 96;
/// Rows that look into lists together.
const BLOCK_ROWS: usize = 2048;
/// Rows whose neighbors are found exactly: half to learn from, half to measure by.
const SAMPLE_ROWS: usize = 1_024;
/// Share of the neighbors that lists are asked for; the rest is cheaper found by joining.
const FIRST_RECALL: f64 = 0.85;
/// By which share of what may be missing more is aimed for: a sample is only a sample.
const HEADROOM: f64 = 0.25;
/// Most rounds of joining: the first finds half of what is missing, the second less; what is missing then is cheaper found
/// in lists.
const JOINS: usize = 2;

#[derive(Debug, Clone, PartialEq)]
pub struct BuildParams {
    recall: f64,
    random_state: u64,
}

impl BuildParams {
    /// `recall`: which share of the true neighbors the graph is to hold; 1 looks at every pair.
    ///
    /// # Errors
    /// `InvalidInput` for a recall outside (0, 1].
    pub fn new(recall: f64, random_state: u64) -> Result<Self> {
        if !(recall > 0.0 && recall <= 1.0) {
            return Err(Error::invalid(format!("recall must be above 0 and at most 1: got {recall}")));
        }
        Ok(Self { recall, random_state })
    }
}

impl Default for BuildParams {
    fn default() -> Self {
        Self { recall: 0.98, random_state: 0 }
    }
}

/// A graph, and which share of the true neighbors it holds, measured on a sample (1 where every pair was looked at).
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    pub graph: KnnGraph,
    pub recall: f64,
}

/// The `k` nearest other rows of every row, nearly: see [`Built`].
///
/// # Errors
/// `InvalidInput` for `k = 0`; `Cancelled`.
pub fn build(vectors: Vectors<'_>, k: usize, params: &BuildParams, task: &Task) -> Result<Built> {
    let (n, dim) = (vectors.n(), vectors.dim());
    if n <= EXACT_ROWS.max(64 * k) || params.recall == 1.0 || k == 0 {
        return Ok(Built { graph: exact::build(vectors, k, task)?, recall: 1.0 });
    }
    task.start(3 * n as u64);
    let (kernels, scale) = (kernels::for_width(dim), scale_for(vectors.largest()));
    let n_lists = (n / LIST_ROWS).min((4.0 * (n as f64).sqrt()) as usize);
    let parts = partition(vectors, n_lists, kernels, scale, FEW_PROBES, params.random_state, task)?;
    let points = Points::new(vectors, kernels, scale, &parts);
    let sample = spaced(n, SAMPLE_ROWS, params.random_state ^ 1);
    let truth = points.truth(&sample, k, task)?;
    let half = sample.len() / 2;
    let (learn, test) = ((&sample[..half], &truth[..half]), (&sample[half..], &truth[half..]));

    let aim = params.recall + HEADROOM * (1.0 - params.recall);
    let mut near = Near::new(n, k);
    let reach = points.reach(learn, &near, aim.min(FIRST_RECALL));
    points.look((f32::NEG_INFINITY, reach), &mut near, task)?;
    task.advance(n as u64);
    for _ in 0..JOINS {
        if near.recall(learn) >= aim {
            break;
        }
        join(&points, &mut near, task)?;
        task.advance(n as u64);
    }
    if near.recall(learn) < aim {
        // so much is missing that it stands in lists farther away
        let farther = points.reach(learn, &near, aim);
        if farther > reach {
            points.look((reach, farther), &mut near, task)?;
        }
    }
    let recall = near.recall(test);
    Ok(Built { graph: near.into_graph(&parts)?, recall })
}

/// The graph for a layout or for clusters, where the rest of the neighbors changes nothing (docs/decisions/0023).
///
/// # Errors
/// As [`build`].
pub fn build_for_shape(vectors: Vectors<'_>, k: usize, task: &Task) -> Result<KnnGraph> {
    Ok(build(vectors, k, &BuildParams { recall: 0.95, random_state: 0 }, task)?.graph)
}

/// The neighbors that are known: of each place (a row in the order of the lists), as places, nearest first.
pub struct Near {
    k: usize,
    ids: Vec<u32>,
    distances: Vec<f32>,
}

impl Near {
    fn new(n: usize, k: usize) -> Self {
        Self { k, ids: vec![MISSING; n * k], distances: vec![f32::INFINITY; n * k] }
    }

    pub fn k(&self) -> usize {
        self.k
    }

    pub fn ids(&self, place: usize) -> &[u32] {
        let ids = &self.ids[place * self.k..(place + 1) * self.k];
        match ids[self.k - 1] {
            MISSING => &ids[..ids.iter().position(|id| *id == MISSING).unwrap_or(self.k)],
            _ => ids,
        }
    }

    /// Takes what `improve` finds for each block of places: one list per place, none where it stays as it is.
    pub fn replace(
        &mut self,
        block_rows: usize,
        improve: impl Fn(&Self, std::ops::Range<usize>) -> Result<Vec<Vec<kernels::Nearest>>> + Sync,
    ) -> Result<()> {
        let n = self.ids.len() / self.k;
        // what was known stands until all have looked, so that the result does not depend on the order of blocks; a part
        // of the blocks at a time bounds what is held
        let mut ids = self.ids.clone();
        let mut distances = self.distances.clone();
        ids.par_chunks_mut(block_rows * self.k)
            .zip(distances.par_chunks_mut(block_rows * self.k))
            .enumerate()
            .try_for_each(|(block, (ids, distances))| {
                let first = block * block_rows;
                let found = improve(self, first..n.min(first + block_rows))?;
                for (i, nearest) in found.iter().enumerate() {
                    let at = i * self.k..(i + 1) * self.k;
                    exact::write(nearest, &mut ids[at.clone()], &mut distances[at]);
                }
                Ok(())
            })?;
        (self.ids, self.distances) = (ids, distances);
        Ok(())
    }

    /// Share of the true neighbors of some places.
    fn recall(&self, (sample, truth): (&[u32], &[Vec<u32>])) -> f64 {
        let held = sample.iter().zip(truth).map(|(place, truth)| {
            let known = self.ids(*place as usize);
            truth.iter().filter(|id| known.contains(id)).count()
        });
        held.sum::<usize>() as f64 / truth.iter().map(Vec::len).sum::<usize>().max(1) as f64
    }

    /// In the order of the rows.
    fn into_graph(self, parts: &Partition) -> Result<KnnGraph> {
        let (n, k) = (parts.order.len(), self.k);
        let mut place_of = vec![0u32; n];
        parts.order.iter().enumerate().for_each(|(place, row)| place_of[*row as usize] = place as u32);
        let (mut ids, mut distances) = (vec![MISSING; n * k], vec![f32::INFINITY; n * k]);
        ids.par_chunks_mut(k).zip(distances.par_chunks_mut(k)).zip(place_of).for_each(|((ids, distances), place)| {
            let at = place as usize * k;
            let known = self.ids(place as usize).iter().zip(&self.distances[at..at + k]);
            let mut nearest: Vec<(f32, u32)> = known.map(|(id, d)| (*d, parts.order[*id as usize])).collect();
            // equal distances by row, not by place
            nearest.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for ((distance, row), (id, to)) in nearest.into_iter().zip(ids.iter_mut().zip(distances)) {
                (*id, *to) = (row, distance);
            }
        });
        KnnGraph::from_parts(ids, distances, n, k)
    }
}

/// The rows by their places, and the lists packed.
pub struct Points<'a> {
    pub vectors: Vectors<'a>,
    pub kernels: Kernels,
    pub scale: f32,
    parts: &'a Partition,
    lists: Vec<Columns>,
    centers: Columns,
    largest: (f32, f32),
    list_of: Vec<u32>,
}

impl<'a> Points<'a> {
    fn new(vectors: Vectors<'a>, kernels: Kernels, scale: f32, parts: &'a Partition) -> Self {
        let dim = vectors.dim();
        let lists: Vec<Columns> = (0..parts.n_lists())
            .into_par_iter()
            .map(|list| {
                let places = &parts.order[parts.range(list)];
                Columns::new(kernels, places.len(), dim, scale, |i| vectors.row(places[i] as usize))
            })
            .collect();
        let centers =
            Columns::new(kernels, parts.n_lists(), dim, scale, |list| &parts.centroids[list * dim..(list + 1) * dim]);
        let largest = lists.iter().map(Columns::largest).fold((0f32, 0f32), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let mut list_of = vec![0u32; vectors.n()];
        (0..parts.n_lists()).for_each(|list| list_of[parts.range(list)].fill(list as u32));
        Self { vectors, kernels, scale, parts, lists, centers, largest, list_of }
    }

    pub fn n(&self) -> usize {
        self.vectors.n()
    }

    pub fn row(&self, place: usize) -> &'a [f32] {
        self.vectors.row(self.parts.order[place] as usize)
    }

    pub fn measure(&self, a: usize, b: usize) -> f64 {
        kernels::squared_distance(self.row(a), self.row(b))
    }

    /// How far a score of a point with these lengths can be off.
    pub fn margin(&self, lengths: (f32, f32)) -> f32 {
        margin(self.vectors.dim(), lengths, self.largest)
    }

    /// Lists for the rows at some places that begin with what is known; `half` is minus half the squared norm of the i-th.
    pub fn open(
        &self,
        near: &Near,
        places: std::ops::Range<usize>,
        lengths: impl Fn(usize) -> (f32, f32),
        half: impl Fn(usize) -> f32,
    ) -> Shortlists {
        let margins = (0..places.len()).map(|i| self.margin(lengths(i))).collect();
        let mut lists = Shortlists::new(near.k, margins);
        for (i, place) in places.enumerate() {
            let known = near.ids(place);
            let distances = &near.distances[place * near.k..];
            let half = half(i);
            // what the product would give: d^2 = -2 half - 2 score
            let score = |distance: f32| -half - 0.5 * (distance * self.scale).powi(2);
            lists.seed(i, known.iter().zip(distances).map(|(id, distance)| (score(*distance), *id)));
        }
        lists
    }

    /// The true neighbors of some places.
    fn truth(&self, sample: &[u32], k: usize, task: &Task) -> Result<Vec<Vec<u32>>> {
        let found = sample.par_chunks(SAMPLE_ROWS / 8).map(|sample| {
            let mut rows = Rows::with_room(self.kernels, sample.len(), self.vectors.dim());
            rows.refill(self.kernels, self.scale, sample.iter().map(|place| self.row(*place as usize)));
            let margins = (0..sample.len()).map(|i| self.margin(rows.lengths(i))).collect();
            let mut lists = Shortlists::new(k, margins);
            let (all, mut hits): (Vec<usize>, _) = ((0..sample.len()).collect(), Hits::default());
            for list in 0..self.lists.len() {
                task.check()?;
                self.visit(list, &rows, &all, |i| sample[i] as usize, None, &mut lists, &mut hits);
            }
            let settle = |i: usize| {
                let nearest = lists.settle(i, |other| self.measure(sample[i] as usize, other as usize));
                nearest.iter().map(|nearest| nearest.id).collect()
            };
            Ok((0..sample.len()).map(settle).collect::<Vec<Vec<u32>>>())
        });
        Ok(found.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Shows the rows of a list to visitors: `visitors[row]` is the position in `lists` of a row of `rows`.
    #[allow(clippy::too_many_arguments)]
    fn visit(
        &self,
        list: usize,
        rows: &Rows,
        visitors: &[usize],
        place_of: impl Fn(usize) -> usize,
        known: Option<&Near>,
        lists: &mut Shortlists,
        hits: &mut Hits,
    ) {
        const ROWS_PER_SCAN: usize = 128;
        let columns = &self.lists[list];
        let first_place = self.parts.range(list).start;
        let never = vec![f32::INFINITY; columns.n_groups() * kernels::tiles::GROUP];
        for first in (0..visitors.len()).step_by(ROWS_PER_SCAN) {
            let part = &visitors[first..visitors.len().min(first + ROWS_PER_SCAN)];
            let thresholds: Vec<f32> = part.iter().map(|i| lists.thresholds()[*i]).collect();
            self.kernels.above(rows, first, part.len(), columns, &thresholds, &never, hits);
            for hit in hits.iter() {
                let visitor = part[hit.row as usize];
                let (place, other) = (place_of(visitor), first_place + hit.column as usize);
                // what is known stands in the list already: twice, it would count as two
                if place != other && known.is_none_or(|near| !near.ids(place).contains(&(other as u32))) {
                    let score = hit.product + columns.half(hit.column as usize);
                    lists.push(visitor, score, other as u32, |other| self.measure(place, other as usize));
                }
            }
        }
    }

    /// How much lower than that of the nearest centroid the score of a list may be, so that the lists of the sample hold
    /// this share of its neighbors; those that are known count as held.
    fn reach(&self, (sample, truth): (&[u32], &[Vec<u32>]), near: &Near, recall: f64) -> f32 {
        let mut rows = Rows::with_room(self.kernels, sample.len(), self.vectors.dim());
        rows.refill(self.kernels, self.scale, sample.iter().map(|place| self.row(*place as usize)));
        let mut scores = Vec::new();
        self.kernels.scores(&rows, sample.len(), &self.centers, &mut scores);
        let width = scores.len() / sample.len();
        let mut needed = Vec::new();
        for ((scores, place), truth) in scores.chunks_exact(width).zip(sample).zip(truth) {
            let known = near.ids(*place as usize);
            let best = scores[..self.lists.len()].iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            needed.extend(truth.iter().map(|id| match known.contains(id) {
                true => 0.0,
                false => best - scores[self.list_of[*id as usize] as usize],
            }));
        }
        needed.sort_unstable_by(f32::total_cmp);
        needed[((needed.len() as f64 * recall).ceil() as usize).clamp(1, needed.len()) - 1]
    }

    /// Every row looks into the lists whose score is lower than that of the nearest by more than `above` and at most
    /// `reach`.
    fn look(&self, (above, reach): (f32, f32), near: &mut Near, task: &Task) -> Result<()> {
        let dim = self.vectors.dim();
        near.replace(BLOCK_ROWS, |near, places| {
            let mut rows = Rows::with_room(self.kernels, places.len(), dim);
            rows.refill(self.kernels, self.scale, places.clone().map(|place| self.row(place)));
            let visitors = self.visitors(&rows, places.start, above, reach);
            let mut lists = self.open(near, places.clone(), |i| rows.lengths(i), |i| rows.half(i));
            let mut gathered = Rows::with_room(self.kernels, places.len(), dim);
            let mut hits = Hits::default();
            for (list, visitors) in visitors.iter().enumerate().filter(|(_, visitors)| !visitors.is_empty()) {
                task.check()?;
                gathered.gather(&rows, visitors.iter().copied());
                self.visit(list, &gathered, visitors, |i| places.start + i, Some(near), &mut lists, &mut hits);
            }
            Ok(settle(self, &lists, places))
        })
    }

    /// Per list the rows that look into it.
    fn visitors(&self, rows: &Rows, first_place: usize, above: f32, reach: f32) -> Vec<Vec<usize>> {
        let n_lists = self.lists.len();
        let mut visitors = vec![Vec::new(); n_lists];
        let mut scores = Vec::new();
        self.kernels.scores(rows, rows.n(), &self.centers, &mut scores);
        let width = scores.len() / rows.n();
        for (row, scores) in scores.chunks_exact(width).enumerate() {
            let best = scores[..n_lists].iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            let own = self.list_of[first_place + row] as usize;
            for (list, score) in scores[..n_lists].iter().enumerate() {
                let lower = best - score;
                if (lower > above && lower <= reach) || (list == own && above == f32::NEG_INFINITY) {
                    visitors[list].push(row);
                }
            }
        }
        visitors
    }
}

/// What the lists of some places hold, as places.
pub fn settle(points: &Points<'_>, lists: &Shortlists, places: std::ops::Range<usize>) -> Vec<Vec<kernels::Nearest>> {
    let settle = |(i, place): (usize, usize)| lists.settle(i, |other| points.measure(place, other as usize));
    places.enumerate().map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    /// Points around many centres, some alone, some twice.
    fn points(n: usize, dim: usize) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let twin = i - usize::from(i % 50 == 1);
                let (mut of_center, mut own) = (Rng::new(1, (twin % 97) as u64), Rng::new(2, twin as u64));
                (0..dim).map(move |_| (of_center.normal() + 0.7 * own.normal()) as f32)
            })
            .collect()
    }

    #[test]
    fn the_share_that_is_asked_for_is_found_and_measured() {
        let (n, dim, k) = (9_000, 48, 10);
        let data = points(n, dim);
        let vectors = Vectors::new(&data, n, dim).unwrap();
        let built = build(vectors, k, &BuildParams::new(0.95, 0).unwrap(), &Task::new()).unwrap();
        let exact = exact::build(vectors, k, &Task::new()).unwrap();
        let held = |row: usize| {
            let known: Vec<u32> = built.graph.neighbors(row).map(|(id, _)| id).collect();
            exact.neighbors(row).filter(|(id, _)| known.contains(id)).count()
        };
        let recall = (0..n).map(held).sum::<usize>() as f64 / (n * k) as f64;
        assert!(recall > 0.93, "{recall}");
        assert!((built.recall - recall).abs() < 0.03, "{} {recall}", built.recall);
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let (n, dim) = (9_000, 20);
        let data = points(n, dim);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let vectors = Vectors::new(&data, n, dim).unwrap();
            pool.install(|| build(vectors, 8, &BuildParams::new(0.97, 3).unwrap(), &Task::new()).unwrap())
        };
        let one = run(1);
        assert!([2, 7].into_iter().all(|threads| run(threads) == one));
    }

    #[test]
    fn thousands_of_equal_rows_are_each_others_neighbors() {
        let n = 9_000;
        let data: Vec<f32> = (0..n * 3).map(|i| if i / 3 < 6_000 { 0.5 } else { (i % 7_919) as f32 }).collect();
        let vectors = Vectors::new(&data, n, 3).unwrap();
        let graph = build(vectors, 5, &BuildParams::default(), &Task::new()).unwrap().graph;
        assert!((0..6_000).all(|row| graph.neighbors(row).all(|(id, distance)| id < 6_000 && distance == 0.0)));
        let two: Vec<f32> = (0..n * 3).map(|i| if i / 3 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let graph = build(Vectors::new(&two, n, 3).unwrap(), 5, &BuildParams::default(), &Task::new()).unwrap().graph;
        assert!((0..n).all(|row| graph.neighbors(row).all(|(id, _)| id as usize % 2 == row % 2)));
    }
}
