//! UMAP of a kNN graph (McInnes, Healy, Melville 2018): fuzzy neighborhoods, then a layout by stochastic gradient
//! descent that gives the same bits on any number of threads; and the place of new points in a finished layout.
//!
//! How it stays deterministic in parallel: in one epoch every point moves only itself, and reads the others where
//! they stood before the epoch. A point is pulled along each of its edges once as head and once as tail, so pulling
//! counts twice; random numbers come from (seed, epoch, block of points).

use rayon::prelude::*;

use super::curve::Curve;
use super::forces::{Epoch, LANES, Schedule, move_points};
use super::spectral;
use crate::error::{Error, Result};
use crate::graph::fuzzy::{self, WeightedGraph};
use crate::graph::{KnnGraph, MISSING};
use crate::kernels;
use crate::random::Rng;
use crate::task::Task;

/// Points of one block of work.
const BLOCK: usize = 64 * LANES;
/// Side of the start (McInnes' implementation scales the spectral start to it).
const START_EXTENT: f32 = 10.0;

/// Most dimensions of a layout: it is there to have fewer than the data.
const MAX_COMPONENTS: usize = 1_024;

#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    Spectral,
    Random,
    /// `n x dims`, row-major; must fit the data and `n_components`.
    Positions {
        values: Vec<f32>,
        n: usize,
        dims: usize,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct UmapParams {
    n_components: usize,
    min_dist: f32,
    spread: f32,
    n_epochs: Option<usize>,
    learning_rate: f32,
    negative_sample_rate: usize,
    init: Init,
    random_state: u64,
}

impl UmapParams {
    /// # Errors
    /// `InvalidInput` when a value is out of range: `n_components >= 1`, `0 <= min_dist <= spread`, `spread > 0`,
    /// `learning_rate > 0`.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        n_components: usize,
        min_dist: f32,
        spread: f32,
        n_epochs: Option<usize>,
        learning_rate: f32,
        negative_sample_rate: usize,
        init: Init,
        random_state: u64,
    ) -> Result<Self> {
        if n_components == 0 || n_components > MAX_COMPONENTS {
            return Err(Error::invalid(format!(
                "n_components must be between 1 and {MAX_COMPONENTS}: got {n_components}"
            )));
        }
        if !(spread.is_finite() && spread > 0.0) {
            return Err(Error::invalid(format!("spread must be a finite number > 0: got {spread}")));
        }
        if !(min_dist >= 0.0 && min_dist <= spread) {
            return Err(Error::invalid(format!("min_dist must be between 0 and spread = {spread}: got {min_dist}")));
        }
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            return Err(Error::invalid(format!("learning_rate must be a finite number > 0: got {learning_rate}")));
        }
        Ok(Self { n_components, min_dist, spread, n_epochs, learning_rate, negative_sample_rate, init, random_state })
    }

    /// Passes over the edges of `n` points, by default fewer for large data. The reference takes 500 and 200; points that
    /// move at the same time need somewhat more to untangle large data (decision 0022).
    fn epochs(&self, n: usize) -> usize {
        self.n_epochs.unwrap_or(if n <= 10_000 { 500 } else { 250 })
    }
}

/// Coordinates, `n x n_components` row-major.
///
/// # Errors
/// `InvalidInput` when the start has the wrong shape; `Cancelled`.
pub fn umap(graph: &KnnGraph, params: &UmapParams, task: &Task) -> Result<Vec<f32>> {
    let (n, dims) = (graph.n(), params.n_components);
    if let Init::Positions { n: rows, dims: columns, .. } = &params.init
        && (*rows, *columns) != (n, dims)
    {
        return Err(Error::invalid(format!("init must have shape ({n}, {dims}): got ({rows}, {columns})")));
    }
    if n == 1 {
        return Ok(vec![0.0; dims]);
    }
    let n_epochs = params.epochs(n);
    task.plan((n_epochs * n) as u64);
    let weighted = fuzzy::fuzzy_graph(graph, task)?;
    let start = match &params.init {
        Init::Positions { values, .. } => values.clone(),
        Init::Random => random_start(n, dims, params.random_state),
        Init::Spectral => spectral_start(&weighted, dims, params.random_state, task)?,
    };
    // Points in the order of how often they move: lanes that work side by side then have as much to do.
    let mut order: Vec<u32> = (0..n as u32).collect();
    let degree: Vec<f32> = (0..n).map(|i| weighted.weights()[weighted.range(i)].iter().sum()).collect();
    order.sort_unstable_by(|a, b| degree[*b as usize].total_cmp(&degree[*a as usize]).then(a.cmp(b)));
    let schedule = scheduled(&weighted, &order, n_epochs);
    let mut positions = vec![0f32; n * dims];
    for (place, i) in positions.chunks_exact_mut(dims).zip(&order) {
        place.copy_from_slice(&start[*i as usize * dims..(*i as usize + 1) * dims]);
    }
    let descent = Descent { schedule, curve: Curve::fit(params.spread, params.min_dist), n_epochs, params };
    let moved = descent.run(positions, None, dims, task)?;
    let mut layout = vec![0f32; n * dims];
    for (place, i) in moved.chunks_exact(dims).zip(&order) {
        layout[*i as usize * dims..(*i as usize + 1) * dims].copy_from_slice(place);
    }
    Ok(layout)
}

/// Coordinates of new points in a finished layout of `n x n_components`, which stays as it is: `m x n_components`.
///
/// `indices` and `distances`, `m x k`, are the nearest points of the layout to each new point, ascending; ids `MISSING`
/// where a list is short. A point starts at the weighted mean of its neighbors (section 6 of the reference
/// implementation's guide: a third of the epochs of a fit) and is pulled and pushed by fixed points only, so it does not
/// matter which others are placed with it, except through random numbers.
///
/// # Errors
/// `InvalidInput` when shapes do not fit or an id is not in the layout; `Cancelled`.
pub fn place(
    layout: &[f32],
    indices: &[u32],
    distances: &[f32],
    k: usize,
    params: &UmapParams,
    task: &Task,
) -> Result<Vec<f32>> {
    let dims = params.n_components;
    let (n, m) = (layout.len() / dims, indices.len() / k.max(1));
    if k == 0 || indices.len() != distances.len() || indices.len() != m * k {
        return Err(Error::invalid("neighbors must be indices and distances of one shape (m, k) with k >= 1"));
    }
    if let Some(wrong) = indices.iter().position(|id| *id != MISSING && *id as usize >= n) {
        let (row, id) = (wrong / k, indices[wrong]);
        return Err(Error::invalid(format!("row {row}: neighbor id must be below {n}, the rows of fit: got {id}")));
    }
    if let Some(wrong) = distances.iter().position(|d| d.is_nan() || *d < 0.0) {
        return Err(Error::invalid(format!("row {}: distances must be >= 0: got {}", wrong / k, distances[wrong])));
    }
    let n_epochs = params.epochs(n) / 3;
    task.plan((n_epochs * m) as u64);
    let weights = fuzzy::memberships(indices, distances, k, task)?;
    let start = weighted_means(layout, indices, &weights, k, dims);
    let (mut offsets, mut targets, mut rates) = (vec![0], Vec::new(), Vec::new());
    for (ids, weights) in indices.chunks_exact(k).zip(weights.chunks_exact(k)) {
        for (id, weight) in ids.iter().zip(weights).filter(|(id, _)| **id != MISSING) {
            targets.push(*id);
            rates.push(rate(*weight));
        }
        offsets.push(targets.len());
    }
    let schedule = Schedule { offsets, targets, rates };
    let descent = Descent { schedule, curve: Curve::fit(params.spread, params.min_dist), n_epochs, params };
    descent.run(start, Some(layout), dims, task)
}

fn weighted_means(layout: &[f32], indices: &[u32], weights: &[f32], k: usize, dims: usize) -> Vec<f32> {
    let mut means = vec![0f32; indices.len() / k * dims];
    let lists = indices.par_chunks_exact(k).zip(weights.par_chunks_exact(k));
    means.par_chunks_exact_mut(dims).zip(lists).for_each(|(mean, (ids, weights))| {
        let total = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        for (id, weight) in ids.iter().zip(weights).filter(|(id, _)| **id != MISSING) {
            for (value, other) in mean.iter_mut().zip(&layout[*id as usize * dims..]) {
                *value += weight / total * other;
            }
        }
    });
    means
}

/// A weight in (0, 1] as units of 2^-32.
fn rate(weight: f32) -> u32 {
    (weight as f64 * 4_294_967_296.0) as u32
}

/// The edges of the points in `order`, with the points' places in it as targets. Edges that are due less than once in
/// all epochs are left out, as in the reference.
fn scheduled(graph: &WeightedGraph, order: &[u32], n_epochs: usize) -> Schedule {
    let heaviest = graph.weights().iter().fold(0f32, |a, b| a.max(*b)).max(f32::MIN_POSITIVE);
    let least = heaviest / n_epochs.max(1) as f32;
    let mut places = vec![0u32; order.len()];
    for (place, i) in order.iter().enumerate() {
        places[*i as usize] = place as u32;
    }
    let mut offsets = Vec::with_capacity(order.len() + 1);
    let (mut targets, mut rates) = (Vec::with_capacity(graph.ids().len()), Vec::with_capacity(graph.ids().len()));
    offsets.push(0);
    for i in order {
        for (j, weight) in graph.edges(*i as usize).filter(|(_, weight)| *weight >= least) {
            targets.push(places[j as usize]);
            rates.push(rate(weight / heaviest));
        }
        offsets.push(targets.len());
    }
    Schedule { offsets, targets, rates }
}

struct Descent<'a> {
    schedule: Schedule,
    curve: Curve,
    n_epochs: usize,
    params: &'a UmapParams,
}

impl Descent<'_> {
    /// Moves points of `dims` coordinates; `fixed` are the others, or None where they move each other.
    fn run(&self, points: Vec<f32>, fixed: Option<&[f32]>, dims: usize, task: &Task) -> Result<Vec<f32>> {
        // one piece of code per width; coordinates that are only there to fill it stay 0
        match dims {
            1 => self.epochs::<1>(points, fixed, dims, task),
            2 => self.epochs::<2>(points, fixed, dims, task),
            3 => self.epochs::<3>(points, fixed, dims, task),
            4..=5 => self.epochs::<5>(points, fixed, dims, task),
            6..=8 => self.epochs::<8>(points, fixed, dims, task),
            9..=16 => self.epochs::<16>(points, fixed, dims, task),
            17..=64 => self.epochs::<64>(points, fixed, dims, task),
            _ => self.epochs::<MAX_COMPONENTS>(points, fixed, dims, task),
        }
    }

    fn epochs<const D: usize>(
        &self,
        points: Vec<f32>,
        fixed: Option<&[f32]>,
        dims: usize,
        task: &Task,
    ) -> Result<Vec<f32>> {
        let mut points = widened::<D>(points, dims);
        let n = points.len() / D;
        let n_others = fixed.map_or(n, |fixed| fixed.len() / dims);
        let mut others = fixed.map_or_else(Vec::new, |fixed| widened::<D>(fixed.to_vec(), dims));
        let mut columns = columns::<D>(&others);
        task.start((self.n_epochs * n) as u64);
        for epoch in 0..self.n_epochs {
            if fixed.is_none() {
                others.clear();
                others.extend_from_slice(&points);
                columns = self::columns::<D>(&others);
            }
            let push_rate = self.params.learning_rate * (1.0 - epoch as f32 / self.n_epochs as f32);
            let now = Epoch {
                schedule: &self.schedule,
                others: &others,
                columns: &columns,
                n_others,
                curve: self.curve,
                epoch,
                push_rate,
                pull_rate: if fixed.is_none() { 2.0 * push_rate } else { push_rate },
                n_negatives: self.params.negative_sample_rate,
                is_own: fixed.is_none(),
                seed: self.params.random_state ^ 0x5851_F42D_4C95_7F2D,
            };
            points.par_chunks_mut(BLOCK * D).enumerate().try_for_each(|(block, rows)| {
                task.check()?;
                kernels::widest(
                    #[inline(always)]
                    || {
                        let mut due = std::array::from_fn(|_| Vec::new());
                        for (sixteen, own) in rows.chunks_mut(LANES * D).enumerate() {
                            move_points::<D>(own, block * BLOCK + sixteen * LANES, &now, &mut due);
                        }
                    },
                );
                task.advance((rows.len() / D) as u64);
                Ok(())
            })?;
        }
        Ok(points.chunks_exact(D).flat_map(|row| row[..dims].iter().copied()).collect())
    }
}

/// Rows of `dims` values, filled with zeros to `D`.
fn widened<const D: usize>(rows: Vec<f32>, dims: usize) -> Vec<f32> {
    if dims == D {
        return rows;
    }
    let mut wide = vec![0f32; rows.len() / dims * D];
    for (wide, row) in wide.chunks_exact_mut(D).zip(rows.chunks_exact(dims)) {
        wide[..dims].copy_from_slice(row);
    }
    wide
}

/// Rows as columns, in each the first values repeated behind the last, so that `LANES` can be read from any.
fn columns<const D: usize>(rows: &[f32]) -> Vec<f32> {
    let n = rows.len() / D;
    let mut columns = Vec::with_capacity((n + LANES) * D);
    for axis in 0..D {
        columns.extend(rows.iter().skip(axis).step_by(D));
        let start = columns.len() - n;
        for i in 0..LANES * usize::from(n > 0) {
            columns.push(columns[start + i % n]);
        }
    }
    columns
}

fn random_start(n: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, u64::MAX);
    (0..n * dims).map(|_| START_EXTENT * (2.0 * rng.unit() as f32 - 1.0)).collect()
}

fn spectral_start(graph: &WeightedGraph, dims: usize, seed: u64, task: &Task) -> Result<Vec<f32>> {
    let mut start = spectral::smooth_directions(graph, dims, seed, task)?;
    // Islands and hubs give coordinates of very different size: keep each axis within three deviations.
    let n = graph.n();
    for axis in 0..dims {
        let column = || start.iter().skip(axis).step_by(dims).map(|value| *value as f64);
        let mean = column().sum::<f64>() / n as f64;
        let deviation = (column().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64).sqrt().max(1e-30);
        for value in start.iter_mut().skip(axis).step_by(dims) {
            let scaled = ((*value as f64 - mean) / deviation).clamp(-3.0, 3.0) as f32;
            *value = scaled / 3.0 * START_EXTENT;
        }
    }
    // points that the start puts on one spot could never part
    let mut rng = Rng::new(seed, u64::MAX - 1);
    for value in &mut start {
        *value += 1e-4 * START_EXTENT * rng.normal() as f32;
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::vectors::Vectors;

    fn params(epochs: usize) -> UmapParams {
        UmapParams::new(2, 0.1, 1.0, Some(epochs), 1.0, 5, Init::Spectral, 0).unwrap()
    }

    fn blobs(n: usize) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let mut rng = Rng::new(2, i as u64);
                (0..5).map(move |c| if c == i % 4 { 8.0 } else { 0.0 } + rng.normal() as f32)
            })
            .collect()
    }

    #[test]
    fn blobs_stay_together_and_apart() {
        let data = blobs(400);
        let graph = exact::build(Vectors::new(&data, 400, 5).unwrap(), 15, &Task::new()).unwrap();
        let xy = umap(&graph, &params(200), &Task::new()).unwrap();
        let layout_graph = exact::build(Vectors::new(&xy, 400, 2).unwrap(), 5, &Task::new()).unwrap();
        let same = (0..400)
            .flat_map(|i| layout_graph.neighbors(i).map(move |(j, _)| (i % 4 == j as usize % 4) as usize))
            .sum::<usize>();
        assert!(same > 1_950, "{same} of 2000 neighbors in the same blob");
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let data = blobs(600);
        let graph = exact::build(Vectors::new(&data, 600, 5).unwrap(), 10, &Task::new()).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| umap(&graph, &params(30), &Task::new()).unwrap())
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(7));
    }

    #[test]
    fn equal_points_and_single_points_have_finite_places() {
        let graph = exact::build(Vectors::new(&[1.0; 60], 30, 2).unwrap(), 5, &Task::new()).unwrap();
        assert!(umap(&graph, &params(50), &Task::new()).unwrap().iter().all(|value| value.is_finite()));
        let graph = exact::build(Vectors::new(&[1.0; 2], 1, 2).unwrap(), 5, &Task::new()).unwrap();
        assert_eq!(umap(&graph, &params(50), &Task::new()).unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn new_points_are_placed_among_their_neighbors() {
        let data = blobs(400);
        let vectors = Vectors::new(&data, 400, 5).unwrap();
        let graph = exact::build(vectors, 15, &Task::new()).unwrap();
        let layout = umap(&graph, &params(200), &Task::new()).unwrap();
        // every point again, as if it were new
        let placed = place(&layout, graph.indices(), graph.distances(), 15, &params(200), &Task::new()).unwrap();
        let near = placed.chunks_exact(2).zip(layout.chunks_exact(2));
        let near = near.filter(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]) < 2.0).count();
        assert!(near > 350, "{near} of 400 points near their twins");
        let error = place(&layout, &[400], &[1.0], 1, &params(9), &Task::new()).unwrap_err().to_string();
        assert!(error.contains("below 400, the rows of fit: got 400"), "{error}");
    }

    #[test]
    fn any_number_of_components_has_code() {
        let data = blobs(40);
        let graph = exact::build(Vectors::new(&data, 40, 5).unwrap(), 5, &Task::new()).unwrap();
        for dims in [1, 3, 4, 7, 11, 40, 100] {
            let params = UmapParams::new(dims, 0.1, 1.0, Some(20), 1.0, 5, Init::Spectral, 0).unwrap();
            let layout = umap(&graph, &params, &Task::new()).unwrap();
            assert_eq!(layout.len(), 40 * dims);
            assert!(layout.iter().all(|value| value.is_finite()));
        }
    }
}
