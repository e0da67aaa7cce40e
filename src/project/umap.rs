//! UMAP of a kNN graph (McInnes, Healy, Melville 2018): fuzzy neighborhoods, then a layout by stochastic gradient
//! descent that gives the same bits on any number of threads.
//!
//! How it stays deterministic in parallel: in one epoch every point moves only itself, and reads the others where
//! they stood before the epoch. A point is pulled along each of its edges once as head and once as tail, so pulling
//! counts twice; random numbers come from (seed, epoch, point).

use rayon::prelude::*;

use super::spectral;
use crate::error::{Error, Result};
use crate::graph::KnnGraph;
use crate::random::Rng;
use crate::task::Task;

/// Points of one block of work.
const BLOCK: usize = 512;
/// The reference implementation's bound on one coordinate of one step.
const CLIP: f32 = 4.0;
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
    let weighted = fuzzy_graph(graph);
    let start = match &params.init {
        Init::Positions { values, .. } => values.clone(),
        Init::Random => random_start(n, dims, params.random_state),
        Init::Spectral => spectral_start(&weighted, dims, params.random_state, task)?,
    };
    if n == 1 {
        return Ok(vec![0.0; dims]);
    }
    // the reference implementation's default: fewer epochs for large data
    let n_epochs = params.n_epochs.unwrap_or(if n <= 10_000 { 500 } else { 200 });
    let curve = Curve::fit(params.spread, params.min_dist);
    layout(&weighted, start, &curve, n_epochs, params, task)
}

/// Symmetric weighted graph in compressed rows: neighbor ids ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedGraph {
    offsets: Vec<usize>,
    ids: Vec<u32>,
    weights: Vec<f32>,
}

impl WeightedGraph {
    pub fn n(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn edges(&self, i: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = self.offsets[i]..self.offsets[i + 1];
        self.ids[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }
}

/// Fuzzy simplicial set of the graph: memberships per point (section 3.1, smooth kNN distances), then the
/// probabilistic union `a + b - a b` of both directions.
pub fn fuzzy_graph(graph: &KnnGraph) -> WeightedGraph {
    let n = graph.n();
    let mean_distance = {
        let (sum, count) = (0..n)
            .flat_map(|i| graph.neighbors(i))
            .fold((0f64, 0usize), |(sum, count), (_, distance)| (sum + distance as f64, count + 1));
        sum / count.max(1) as f64
    };
    let directed: Vec<Vec<(u32, f32)>> =
        (0..n).into_par_iter().map(|i| memberships(&graph.neighbors(i).collect::<Vec<_>>(), mean_distance)).collect();
    let mut incoming: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n];
    for (i, row) in directed.iter().enumerate() {
        for (j, weight) in row {
            incoming[*j as usize].push((i as u32, *weight));
        }
    }
    let rows: Vec<Vec<(u32, f32)>> = directed
        .into_par_iter()
        .zip(incoming)
        .map(|(outgoing, incoming)| {
            let mut row = outgoing;
            row.sort_unstable_by_key(|(id, _)| *id);
            let own = row.len();
            for (id, back) in incoming {
                match row[..own].binary_search_by_key(&id, |(id, _)| *id) {
                    Ok(position) => {
                        let weight = &mut row[position].1;
                        *weight = *weight + back - *weight * back;
                    }
                    Err(_) => row.push((id, back)),
                }
            }
            row.sort_unstable_by_key(|(id, _)| *id);
            row
        })
        .collect();
    let mut offsets = Vec::with_capacity(n + 1);
    offsets.push(0);
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for row in rows {
        for (id, weight) in row {
            ids.push(id);
            weights.push(weight);
        }
        offsets.push(ids.len());
    }
    WeightedGraph { offsets, ids, weights }
}

/// exp(-(d - rho) / sigma) with rho the nearest distance > 0 and sigma such that the sum is log2(k).
fn memberships(neighbors: &[(u32, f32)], mean_distance: f64) -> Vec<(u32, f32)> {
    if neighbors.is_empty() {
        return Vec::new();
    }
    let rho = neighbors.iter().map(|(_, d)| *d as f64).find(|d| *d > 0.0).unwrap_or(0.0);
    // the reference counts the point itself among the k neighbors
    let target = ((neighbors.len() + 1) as f64).log2();
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        let sum: f64 = neighbors.iter().map(|(_, d)| (-((*d as f64 - rho).max(0.0) / sigma)).exp()).sum();
        if (sum - target).abs() < 1e-5 {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high.is_infinite() { sigma * 2.0 } else { (low + high) / 2.0 };
        }
    }
    let own_mean = neighbors.iter().map(|(_, d)| *d as f64).sum::<f64>() / neighbors.len() as f64;
    let floor = 1e-3 * if rho > 0.0 { own_mean } else { mean_distance };
    let sigma = sigma.max(floor).max(f64::MIN_POSITIVE);
    neighbors.iter().map(|(id, d)| (*id, (-((*d as f64 - rho).max(0.0) / sigma)).exp() as f32)).collect()
}

/// 1 / (1 + a d^2b): the low-dimensional membership.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Curve {
    a: f32,
    b: f32,
}

impl Curve {
    /// Least squares (Gauss-Newton with damping) against 1 below `min_dist` and exp(-(d - min_dist) / spread) above,
    /// on 300 points of (0, 3 spread), as the reference does.
    fn fit(spread: f32, min_dist: f32) -> Self {
        let (spread, min_dist) = (spread as f64, min_dist as f64);
        let points: Vec<(f64, f64)> = (1..300)
            .map(|i| {
                let d = 3.0 * spread * i as f64 / 299.0;
                (d, if d < min_dist { 1.0 } else { (-(d - min_dist) / spread).exp() })
            })
            .collect();
        let error = |a: f64, b: f64| -> f64 {
            points.iter().map(|(d, want)| (1.0 / (1.0 + a * d.powf(2.0 * b)) - want).powi(2)).sum()
        };
        let (mut a, mut b, mut damping) = (1.0f64, 1.0f64, 1e-3f64);
        for _ in 0..200 {
            let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (d, want) in &points {
                let power = d.powf(2.0 * b);
                let value = 1.0 / (1.0 + a * power);
                let by_a = -power * value * value;
                let by_b = -a * power * 2.0 * d.ln() * value * value;
                let residual = value - want;
                aa += by_a * by_a;
                ab += by_a * by_b;
                bb += by_b * by_b;
                ga += by_a * residual;
                gb += by_b * residual;
            }
            let (daa, dbb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let determinant = daa * dbb - ab * ab;
            let (step_a, step_b) = ((dbb * ga - ab * gb) / determinant, (daa * gb - ab * ga) / determinant);
            let (next_a, next_b) = ((a - step_a).max(1e-6), (b - step_b).max(1e-6));
            if error(next_a, next_b) < error(a, b) {
                let small = (next_a - a).abs() + (next_b - b).abs() < 1e-10;
                (a, b, damping) = (next_a, next_b, damping / 3.0);
                if small {
                    break;
                }
            } else {
                damping *= 4.0;
            }
        }
        Self { a: a as f32, b: b as f32 }
    }
}

fn layout(
    graph: &WeightedGraph,
    mut positions: Vec<f32>,
    curve: &Curve,
    n_epochs: usize,
    params: &UmapParams,
    task: &Task,
) -> Result<Vec<f32>> {
    let (n, dims) = (graph.n(), params.n_components);
    let heaviest = graph.weights.iter().fold(0f32, |a, b| a.max(*b)).max(f32::MIN_POSITIVE);
    let negatives = params.negative_sample_rate;
    let mut next = positions.clone();
    task.start((n_epochs * n) as u64);
    for epoch in 0..n_epochs {
        let alpha = params.learning_rate * (1.0 - epoch as f32 / n_epochs as f32);
        next.par_chunks_mut(BLOCK * dims).enumerate().try_for_each(|(block, rows)| {
            task.check()?;
            let n_rows = rows.len() / dims;
            for (offset, own) in rows.chunks_exact_mut(dims).enumerate() {
                let i = block * BLOCK + offset;
                own.copy_from_slice(&positions[i * dims..(i + 1) * dims]);
                let mut rng = Rng::new(params.random_state ^ 0x5851_F42D_4C95_7F2D, (epoch * n + i) as u64);
                for (j, weight) in graph.edges(i) {
                    // an edge is due every heaviest / weight epochs
                    let rate = (weight / heaviest) as f64;
                    let due = ((epoch + 1) as f64 * rate) as u64 > (epoch as f64 * rate) as u64;
                    if !due {
                        continue;
                    }
                    let other = &positions[j as usize * dims..(j as usize + 1) * dims];
                    pull(own, other, curve, 2.0 * alpha);
                    for _ in 0..negatives {
                        let k = rng.below(n);
                        if k != i {
                            push(own, &positions[k * dims..(k + 1) * dims], curve, alpha);
                        }
                    }
                }
            }
            task.advance(n_rows as u64);
            Ok(())
        })?;
        std::mem::swap(&mut positions, &mut next);
    }
    Ok(positions)
}

fn squared(own: &[f32], other: &[f32]) -> f32 {
    own.iter().zip(other).map(|(x, y)| (x - y) * (x - y)).sum()
}

fn pull(own: &mut [f32], other: &[f32], curve: &Curve, alpha: f32) {
    let d2 = squared(own, other);
    if d2 <= 0.0 {
        return;
    }
    let power = d2.powf(curve.b);
    let factor = -2.0 * curve.a * curve.b * power / (d2 * (1.0 + curve.a * power));
    for (value, other) in own.iter_mut().zip(other) {
        // never past the other point: both ends of an edge may move in one epoch
        let step = (alpha * (factor * (*value - other)).clamp(-CLIP, CLIP))
            .clamp(-(*value - other).abs(), (*value - other).abs());
        *value += step;
    }
}

fn push(own: &mut [f32], other: &[f32], curve: &Curve, alpha: f32) {
    let d2 = squared(own, other);
    let factor = 2.0 * curve.b / ((0.001 + d2) * (1.0 + curve.a * d2.powf(curve.b)));
    for (value, other) in own.iter_mut().zip(other) {
        let gradient = if d2 > 0.0 { (factor * (*value - other)).clamp(-CLIP, CLIP) } else { CLIP };
        *value += alpha * gradient;
    }
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
    fn the_curve_is_that_of_the_reference() {
        // umap-learn 0.5: find_ab_params(1.0, 0.1) = (1.576943, 0.895061)
        let curve = Curve::fit(1.0, 0.1);
        assert!((curve.a - 1.576943).abs() < 2e-3 && (curve.b - 0.895061).abs() < 2e-3, "{curve:?}");
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
}
