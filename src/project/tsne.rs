//! t-SNE of a kNN graph (van der Maaten, Hinton 2008): affinities of a given perplexity among neighbors, then a layout by
//! gradient descent whose repulsion is `repulsion`. The same bits on any number of threads: every point moves itself, and
//! sums are added in a fixed order.

use rayon::prelude::*;

use super::repulsion::Repulsion;
use super::spectral;
use crate::error::{Error, Result};
use crate::graph::fuzzy::WeightedGraph;
use crate::graph::{KnnGraph, MISSING};
use crate::random::Rng;
use crate::task::Task;

/// Rows of one block of work.
const BLOCK: usize = 1_024;
/// Attraction is that many times as strong at first, so that groups find each other (Belkina et al. 2019).
const EARLY_EXAGGERATION: f32 = 12.0;
/// Steps with exaggeration, at most; a third of all where there are fewer.
const EARLY_STEPS: usize = 250;
const MOMENTUM: f32 = 0.8;
/// Step sizes per coordinate adapt (Jacobs 1988): up where the direction stays, down where it turns.
const GAIN_UP: f32 = 0.2;
const GAIN_DOWN: f32 = 0.8;
const LEAST_GAIN: f32 = 0.01;
/// Longest move of a point in one step, as in openTSNE.
const LONGEST_STEP: f32 = 5.0;
/// Deviation of the start along its first axis: small enough that the shape can still form.
const START_DEVIATION: f64 = 1e-4;

#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    Spectral,
    /// Rows of `n_components` values. `rescale` gives them the size that a start should have.
    Positions {
        values: Vec<f32>,
        n: usize,
        dims: usize,
        rescale: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct TsneParams {
    n_components: usize,
    perplexity: Option<f32>,
    n_iter: usize,
    learning_rate: Option<f32>,
    init: Init,
    random_state: u64,
}

impl TsneParams {
    /// # Errors
    /// `InvalidInput` when a value is out of range: `n_components` 1 or 2 (the grid of the repulsion is a plane),
    /// `perplexity >= 1`, `learning_rate > 0`.
    pub fn new(
        n_components: usize,
        perplexity: Option<f32>,
        n_iter: usize,
        learning_rate: Option<f32>,
        init: Init,
        random_state: u64,
    ) -> Result<Self> {
        if !(1..=2).contains(&n_components) {
            return Err(Error::invalid(format!("n_components must be 1 or 2: got {n_components}"))
                .hint("UMAP lays out in any number of dimensions"));
        }
        if perplexity.is_some_and(|value| !(value.is_finite() && value >= 1.0)) {
            let got = perplexity.unwrap_or_default();
            return Err(Error::invalid(format!("perplexity must be a finite number >= 1: got {got}")));
        }
        if learning_rate.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
            let got = learning_rate.unwrap_or_default();
            return Err(Error::invalid(format!("learning_rate must be a finite number > 0: got {got}")));
        }
        Ok(Self { n_components, perplexity, n_iter, learning_rate, init, random_state })
    }
}

/// A finished layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Tsne {
    /// `n x n_components` row-major.
    pub layout: Vec<f32>,
    /// Kullback-Leibler divergence of the layout's affinities from the graph's: what the descent makes small.
    pub kl_divergence: f64,
}

/// # Errors
/// `InvalidInput` when the start has the wrong shape, or the perplexity needs more neighbors than the graph has;
/// `Cancelled`.
pub fn tsne(graph: &KnnGraph, params: &TsneParams, task: &Task) -> Result<Tsne> {
    let (n, dims) = (graph.n(), params.n_components);
    if let Init::Positions { n: rows, dims: columns, .. } = &params.init
        && (*rows, *columns) != (n, dims)
    {
        return Err(Error::invalid(format!("init must have shape ({n}, {dims}): got ({rows}, {columns})")));
    }
    // a perplexity of 30 is usually given three times as many neighbors
    let most = graph.k() as f32 / 3.0;
    let perplexity = params.perplexity.unwrap_or(most.max(1.0));
    if perplexity > most.max(1.0) {
        let needed = (3.0 * perplexity).ceil();
        return Err(Error::invalid(format!(
            "perplexity must be at most a third of the graph's {} neighbors: got {perplexity}",
            graph.k()
        ))
        .hint(format!("build the graph with k={needed}")));
    }
    if n == 1 {
        return Ok(Tsne { layout: vec![0.0; dims], kl_divergence: 0.0 });
    }
    task.plan(params.n_iter as u64);
    let affinities = affinities(graph, perplexity, task)?;
    let mut points = vec![[0f32; 2]; n];
    let start = match &params.init {
        Init::Spectral => scaled(spectral::smooth_directions(&affinities, dims, params.random_state, task)?, dims),
        Init::Positions { values, rescale: true, .. } => scaled(values.clone(), dims),
        Init::Positions { values, .. } => values.clone(),
    };
    // one coordinate is two of which the second stays 0: nothing pulls or pushes along it
    let mut rng = Rng::new(params.random_state, u64::MAX - 2);
    for (point, row) in points.iter_mut().zip(start.chunks_exact(dims)) {
        for (value, from) in point.iter_mut().zip(row) {
            // points that the start puts on one spot could never part
            *value = from + (1e-2 * START_DEVIATION * rng.normal()) as f32;
        }
    }
    let kl_divergence = descend(&affinities, &mut points, params, task)?;
    let layout = points.iter().flat_map(|point| point[..dims].iter().copied()).collect();
    Ok(Tsne { layout, kl_divergence })
}

/// Symmetric affinities that sum to 1: for each point a Gaussian over its neighbors whose entropy is the logarithm of the
/// perplexity (section 2 of the paper), then the mean of both directions.
fn affinities(graph: &KnnGraph, perplexity: f32, task: &Task) -> Result<WeightedGraph> {
    let k = graph.k();
    let mut weights = vec![0f32; graph.indices().len()];
    let lists = graph.indices().par_chunks(BLOCK * k).zip(graph.distances().par_chunks(BLOCK * k));
    weights.par_chunks_mut(BLOCK * k).zip(lists).try_for_each(|(weights, (ids, distances))| {
        task.check()?;
        let lists = ids.chunks_exact(k).zip(distances.chunks_exact(k));
        for (weights, (ids, distances)) in weights.chunks_exact_mut(k).zip(lists) {
            let near = ids.iter().zip(distances).take_while(|(id, d)| **id != MISSING && d.is_finite());
            let length = near.count();
            row_affinities(&distances[..length], (perplexity as f64).ln(), &mut weights[..length]);
        }
        Ok(())
    })?;
    let mut graph = WeightedGraph::symmetric(graph.indices(), &weights, k, |a, b| a + b, task)?;
    let total = graph.weights().iter().map(|weight| *weight as f64).sum::<f64>().max(f64::MIN_POSITIVE);
    graph.weights_mut().iter_mut().for_each(|weight| *weight = (*weight as f64 / total) as f32);
    Ok(graph)
}

fn row_affinities(distances: &[f32], entropy: f64, weights: &mut [f32]) {
    let Some(nearest) = distances.first() else { return };
    // relative to the nearest: the weights only count up to a factor
    let squares: Vec<f64> = distances.iter().map(|d| (*d as f64).powi(2) - (*nearest as f64).powi(2)).collect();
    let widest = squares.last().copied().unwrap_or(0.0);
    let (mut low, mut high) = (0.0, f64::INFINITY);
    // in units of the widest square, so that any scale of the data is a fair start
    let mut beta = if widest > 0.0 { 1.0 / widest } else { 0.0 };
    let mut found = vec![1.0; squares.len()];
    for _ in 0..64 {
        let (mut sum, mut moment) = (0.0, 0.0);
        for (weight, square) in found.iter_mut().zip(&squares) {
            *weight = (-beta * square).exp();
            sum += *weight;
            moment += *weight * square;
        }
        let excess = sum.ln() + beta * moment / sum - entropy;
        // equal distances have one entropy whatever the width
        if excess.abs() < 1e-5 || widest == 0.0 || beta * widest > 1e12 {
            break;
        }
        if excess > 0.0 {
            low = beta;
            beta = if high.is_finite() { (low + high) / 2.0 } else { beta * 2.0 };
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
    }
    let sum: f64 = found.iter().sum();
    for (weight, found) in weights.iter_mut().zip(&found) {
        *weight = (found / sum) as f32;
    }
}

/// Columns around 0, the first with `START_DEVIATION`, none larger.
fn scaled(mut start: Vec<f32>, dims: usize) -> Vec<f32> {
    let n = start.len() / dims;
    let column = |start: &[f32], axis: usize| -> Vec<f64> {
        start.iter().skip(axis).step_by(dims).map(|value| *value as f64).collect()
    };
    for axis in 0..dims {
        let values = column(&start, axis);
        let mean = values.iter().sum::<f64>() / n as f64;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        for value in start.iter_mut().skip(axis).step_by(dims) {
            // islands stand far out in a spectral start: three deviations keep them on the map
            let scaled = ((*value as f64 - mean) / deviation.max(1e-30)).clamp(-3.0, 3.0);
            *value = (scaled * START_DEVIATION) as f32;
        }
    }
    start
}

/// Moves the points; gives the divergence at the end.
fn descend(affinities: &WeightedGraph, points: &mut [[f32; 2]], params: &TsneParams, task: &Task) -> Result<f64> {
    let n = points.len();
    let early = EARLY_STEPS.min(params.n_iter / 3);
    let mut repulsion = Repulsion::default();
    let mut forces = vec![[0f32; 2]; n];
    let mut moves = vec![[0f32; 2]; n];
    let mut gains = vec![[1f32; 2]; n];
    task.start(params.n_iter as u64);
    for step in 0..params.n_iter {
        task.check()?;
        let exaggeration = if step < early { EARLY_EXAGGERATION } else { 1.0 };
        // n over the exaggeration (Belkina et al. 2019), with a floor for small data
        let rate = params.learning_rate.unwrap_or((n as f32 / exaggeration).max(200.0));
        if step == early {
            moves.fill([0.0; 2]);
            gains.fill([1.0; 2]);
        }
        let z = repulsion.sums(points, &mut forces);
        let from = &*points;
        let repel = (1.0 / z) as f32;
        let blocks = forces.par_chunks_mut(BLOCK).zip(moves.par_chunks_mut(BLOCK).zip(gains.par_chunks_mut(BLOCK)));
        blocks.enumerate().try_for_each(|(block, (forces, (moves, gains)))| {
            task.check()?;
            for (offset, force) in forces.iter_mut().enumerate() {
                let attraction = attraction(affinities, from, block * BLOCK + offset);
                let (motion, gain) = (&mut moves[offset], &mut gains[offset]);
                for axis in 0..2 {
                    let gradient = exaggeration * attraction[axis] - repel * force[axis];
                    let turned = (gradient > 0.0) == (motion[axis] > 0.0);
                    gain[axis] = if turned { gain[axis] * GAIN_DOWN } else { gain[axis] + GAIN_UP }.max(LEAST_GAIN);
                    motion[axis] = MOMENTUM * motion[axis] - rate * gain[axis] * gradient;
                }
                let length = (motion[0] * motion[0] + motion[1] * motion[1]).sqrt();
                let shorten = if length > LONGEST_STEP { LONGEST_STEP / length } else { 1.0 };
                *motion = motion.map(|value| value * shorten);
            }
            Ok(())
        })?;
        points.par_chunks_mut(BLOCK).zip(moves.par_chunks(BLOCK)).for_each(|(points, moves)| {
            for (point, motion) in points.iter_mut().zip(moves) {
                *point = [point[0] + motion[0], point[1] + motion[1]];
            }
        });
        task.advance(1);
    }
    let z = repulsion.sums(points, &mut forces);
    Ok(divergence(affinities, points, z))
}

/// `sum_j p_ij (y_i - y_j) / (1 + d_ij^2)`.
#[inline]
fn attraction(affinities: &WeightedGraph, points: &[[f32; 2]], i: usize) -> [f32; 2] {
    let own = points[i];
    let range = affinities.range(i);
    let mut sum = [0f32; 2];
    for (j, p) in affinities.ids()[range.clone()].iter().zip(&affinities.weights()[range]) {
        let other = points[*j as usize];
        let away = [own[0] - other[0], own[1] - other[1]];
        let near = p / (1.0 + away[0] * away[0] + away[1] * away[1]);
        sum = [sum[0] + near * away[0], sum[1] + near * away[1]];
    }
    sum
}

/// `sum p ln(p / q)` with `q = 1 / (1 + d^2) / z`.
fn divergence(affinities: &WeightedGraph, points: &[[f32; 2]], z: f64) -> f64 {
    let sums: Vec<f64> = (0..points.len())
        .into_par_iter()
        .map(|i| {
            let edges = affinities.edges(i).filter(|(_, p)| *p > 0.0);
            edges
                .map(|(j, p)| {
                    let other = points[j as usize];
                    let (x, y) = ((points[i][0] - other[0]) as f64, (points[i][1] - other[1]) as f64);
                    p as f64 * (p as f64 * z * (1.0 + x * x + y * y)).ln()
                })
                .sum()
        })
        .collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::vectors::Vectors;

    fn params(n_components: usize, n_iter: usize) -> TsneParams {
        TsneParams::new(n_components, None, n_iter, None, Init::Spectral, 0).unwrap()
    }

    fn graph(n: usize, k: usize) -> KnnGraph {
        let mut rng = Rng::new(4, 0);
        let data: Vec<f32> =
            (0..n * 5).map(|i| if i % 5 == i / 5 % 4 { 8.0 } else { 0.0 } + rng.normal() as f32).collect();
        exact::build(Vectors::new(&data, n, 5).unwrap(), k, &Task::new()).unwrap()
    }

    #[test]
    fn affinities_have_the_perplexity_asked_for() {
        let mut weights = [0f32; 30];
        let distances: Vec<f32> = (0..30).map(|i| 1.0 + i as f32 * 0.05).collect();
        row_affinities(&distances, 7f64.ln(), &mut weights);
        let entropy: f64 = weights.iter().map(|p| -(*p as f64) * (*p as f64).ln()).sum();
        assert!((entropy.exp() - 7.0).abs() < 1e-3, "{}", entropy.exp());
    }

    #[test]
    fn groups_stay_together_and_the_divergence_falls() {
        let graph = graph(400, 15);
        let early = tsne(&graph, &params(2, 60), &Task::new()).unwrap();
        let late = tsne(&graph, &params(2, 500), &Task::new()).unwrap();
        assert!(late.kl_divergence < early.kl_divergence, "{} {}", late.kl_divergence, early.kl_divergence);
        let shown = exact::build(Vectors::new(&late.layout, 400, 2).unwrap(), 5, &Task::new()).unwrap();
        let same = (0..400)
            .flat_map(|i| shown.neighbors(i).map(move |(j, _)| usize::from(i % 4 == j as usize % 4)))
            .sum::<usize>();
        assert!(same > 1_950, "{same} of 2000 neighbors in the same group");
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let graph = graph(2_500, 9);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| tsne(&graph, &params(2, 20), &Task::new()).unwrap());
            (found.layout.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), found.kl_divergence.to_bits())
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(7));
    }

    #[test]
    fn equal_and_few_points_have_finite_places() {
        for (n, dims) in [(1, 1), (2, 2), (3, 1), (3, 2), (60, 1), (60, 2)] {
            let data = vec![1f32; n * 2];
            let graph = exact::build(Vectors::new(&data, n, 2).unwrap(), 9, &Task::new()).unwrap();
            let found = tsne(&graph, &params(dims, 100), &Task::new()).unwrap();
            assert_eq!(found.layout.len(), n * dims);
            assert!(found.layout.iter().all(|value| value.is_finite()), "{n} {dims}");
        }
    }

    #[test]
    fn a_perplexity_beyond_the_graph_is_refused() {
        let params = TsneParams::new(2, Some(6.0), 10, None, Init::Spectral, 0).unwrap();
        let error = tsne(&graph(100, 15), &params, &Task::new()).unwrap_err().to_string();
        assert!(error.contains("a third of the graph's 15 neighbors: got 6"), "{error}");
    }
}
