//! k-means: `n_clusters` centroids with the smallest weighted sum of squared distances (Lloyd 1982), seeded, the same
//! bits on any number of threads and any instruction set. Streaming over files larger than memory is not here.

mod assign;
mod seeding;
pub mod streaming;

use rayon::prelude::*;

use self::assign::{Assignment, Change};
use crate::error::{Error, Result};
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows of one block of work; sums are made per block and added in block order.
const BLOCK_ROWS: usize = 256;
/// Blocks whose partial sums are added before the next level: keeps the partial sums few.
const BLOCKS_PER_SUM: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Far apart, by squared distance: k-means|| and greedy k-means++ (see `seeding`).
    PlusPlus,
    /// Distinct rows drawn at random, with weights.
    Random,
    /// `n_clusters x dim` starting centroids, row-major.
    Centroids(Vec<f32>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct KMeansParams {
    n_clusters: usize,
    init: Init,
    n_init: usize,
    max_iter: usize,
    tol: f64,
    random_state: u64,
}

impl KMeansParams {
    /// # Errors
    /// `InvalidInput` for `n_clusters`, `n_init` or `max_iter` of 0, or a `tol` that is negative or not finite.
    pub fn new(
        n_clusters: usize,
        init: Init,
        n_init: usize,
        max_iter: usize,
        tol: f64,
        random_state: u64,
    ) -> Result<Self> {
        for (name, value) in [("n_clusters", n_clusters), ("n_init", n_init), ("max_iter", max_iter)] {
            if value == 0 {
                return Err(Error::invalid(format!("{name} must be at least 1: got 0")));
            }
        }
        if !(tol.is_finite() && tol >= 0.0) {
            return Err(Error::invalid(format!("tol must be a finite number >= 0: got {tol}")));
        }
        Ok(Self { n_clusters, init, n_init, max_iter, tol, random_state })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// n labels in `0..n_clusters`.
    pub labels: Vec<i32>,
    /// n Euclidean distances to the own centroid.
    pub distances: Vec<f32>,
    /// `n_clusters x dim`, row-major.
    pub centroids: Vec<f32>,
    /// Weighted sum of squared distances to the own centroid.
    pub inertia: f64,
    /// Lloyd steps of the best start.
    pub n_iter: usize,
}

/// Runs k-means; `weights` count how often each row occurs (all > 0), 1 when absent.
///
/// Stops when the squared movement of all centroids is at most `tol` times the mean variance of the features (the
/// rule of scikit-learn), when no label changes, or after `max_iter` steps. An empty cluster takes the row that is
/// farthest from its centroid.
///
/// # Errors
/// `InvalidInput` when there are more clusters than rows, or start or weights do not fit; `Cancelled`.
pub fn kmeans(vectors: Vectors<'_>, weights: Option<&[f32]>, params: &KMeansParams, task: &Task) -> Result<KMeans> {
    let (n, dim, k) = (vectors.n(), vectors.dim(), params.n_clusters);
    if k > n {
        return Err(Error::invalid(format!("n_clusters must be <= the number of rows: {k} > {n}"))
            .hint(format!("use n_clusters={} or fewer", n.min((n as f64 / 2.0).sqrt().ceil() as usize).max(1))));
    }
    check_weights(weights, n, "sample_weight")?;
    if let Init::Centroids(start) = &params.init {
        check_start(start, k, dim)?;
    }
    let tolerance = params.tol * mean_variance(vectors);
    // a given start is one start, however often it is repeated
    let n_init = if matches!(params.init, Init::Centroids(_)) { 1 } else { params.n_init };
    task.start((n_init * params.max_iter * n) as u64);
    let mut best: Option<KMeans> = None;
    for attempt in 0..n_init {
        let seed = Rng::new(params.random_state, attempt as u64).next_u64();
        let start = match &params.init {
            Init::Centroids(start) => start.clone(),
            Init::PlusPlus => seeding::spread(vectors, weights, k, seeding::MANY, seed, task)?,
            Init::Random => seeding::random_rows(vectors, weights, k, seed),
        };
        let candidate = lloyd(vectors, weights, start, params.max_iter, tolerance, task)?;
        if best.as_ref().is_none_or(|best| candidate.inertia < best.inertia) {
            best = Some(candidate);
        }
    }
    best.ok_or_else(|| Error::invalid("n_init must be at least 1: got 0"))
}

/// The label of the nearest of `centroids` (`k x dim`) and the distance to it, for every row.
///
/// # Errors
/// `InvalidInput` when the widths differ; `Cancelled`.
pub fn assign(vectors: Vectors<'_>, centroids: Vectors<'_>, task: &Task) -> Result<(Vec<i32>, Vec<f32>)> {
    if vectors.dim() != centroids.dim() {
        return Err(Error::invalid(format!(
            "rows must have {} columns as in fit: got {}",
            centroids.dim(),
            vectors.dim()
        )));
    }
    task.start(vectors.n() as u64);
    let mut assignment = Assignment::new(vectors, centroids.data());
    assignment.step(centroids.data(), task)?;
    Ok((
        assignment.labels().iter().map(|label| *label as i32).collect(),
        assignment.squared_distances().iter().map(|squared| squared.sqrt() as f32).collect(),
    ))
}

fn check_start(start: &[f32], k: usize, dim: usize) -> Result<()> {
    if start.len() != k * dim {
        return Err(Error::invalid(format!(
            "init must have shape (n_clusters, dim) = ({k}, {dim}): got {} values",
            start.len()
        )));
    }
    Vectors::new(start, k, dim).map(drop)
}

/// `name` is the parameter's, for errors.
pub(crate) fn check_weights(weights: Option<&[f32]>, n: usize, name: &str) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != n {
        return Err(Error::invalid(format!("{name} must have one value per row: {} != {n}", weights.len())));
    }
    if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight > 0.0)) {
        return Err(Error::invalid(format!("{name} must be finite and > 0: row {row} has {}", weights[row])));
    }
    Ok(())
}

fn lloyd(
    vectors: Vectors<'_>,
    weights: Option<&[f32]>,
    mut centroids: Vec<f32>,
    max_iter: usize,
    tolerance: f64,
    task: &Task,
) -> Result<KMeans> {
    let n = vectors.n();
    let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row] as f64);
    let mut assignment = Assignment::new(vectors, &centroids);
    let mut sums = Sums::new(centroids.len() / vectors.dim(), vectors.dim());
    let mut n_iter = 0;
    let mut converged = false;
    loop {
        let mut changes = assignment.step(&centroids, task)?;
        if n_iter == max_iter || converged || (changes.is_empty() && n_iter > 0) {
            break;
        }
        n_iter += 1;
        sums.follow(vectors, weights, &changes);
        changes.clear();
        fill_empty(&mut assignment, &mut sums, weight_of, &mut changes);
        sums.follow(vectors, weights, &changes);
        // one more assignment after the last movement, so that labels and centroids belong together
        converged = sums.move_centroids(&mut centroids) <= tolerance;
    }
    let squared = assignment.squared_distances();
    let inertia = (0..n).map(|row| squared[row] * weight_of(row)).sum();
    Ok(KMeans {
        labels: assignment.labels().iter().map(|label| *label as i32).collect(),
        distances: squared.iter().map(|squared| squared.sqrt() as f32).collect(),
        centroids,
        inertia,
        n_iter,
    })
}

/// Gives each cluster without rows the row that is farthest from its centroid, of a cluster that has others.
fn fill_empty(
    assignment: &mut Assignment<'_>,
    sums: &mut Sums,
    weight_of: impl Fn(usize) -> f64,
    changes: &mut Vec<Change>,
) {
    let empty: Vec<u32> = (0..sums.n_rows.len() as u32).filter(|cluster| sums.n_rows[*cluster as usize] == 0).collect();
    if empty.is_empty() {
        return;
    }
    let squared = assignment.squared_distances();
    let mut order: Vec<u32> = (0..squared.len() as u32).collect();
    let far = |row: u32| squared[row as usize] * weight_of(row as usize);
    order.sort_by(|a, b| far(*b).total_cmp(&far(*a)).then(a.cmp(b)));
    let mut donors = order.into_iter();
    let mut n_rows = sums.n_rows.clone();
    for cluster in empty {
        let alone = |row: &u32| n_rows[assignment.labels()[*row as usize] as usize] < 2;
        let Some(row) = donors.by_ref().find(|row| !alone(row)) else { break };
        let from = assignment.labels()[row as usize];
        n_rows[from as usize] -= 1;
        assignment.give(row as usize, cluster);
        changes.push(Change { row, from: Some(from), to: cluster });
    }
    // those that were given away stand in no order
    changes.sort_unstable_by_key(|change| change.row);
}

/// Weighted sums of the rows of each cluster, kept from step to step: only rows that change are added and taken away.
struct Sums {
    dim: usize,
    sums: Vec<f64>,
    weights: Vec<f64>,
    n_rows: Vec<usize>,
}

impl Sums {
    fn new(k: usize, dim: usize) -> Self {
        Self { dim, sums: vec![0.0; k * dim], weights: vec![0.0; k], n_rows: vec![0; k] }
    }

    /// Adds in the order of the rows, cluster by cluster, so that the sums do not depend on threads.
    fn follow(&mut self, vectors: Vectors<'_>, weights: Option<&[f32]>, changes: &[Change]) {
        let mut of_cluster: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.n_rows.len()];
        for change in changes {
            of_cluster[change.to as usize].push((change.row, 1.0));
            self.n_rows[change.to as usize] += 1;
            if let Some(from) = change.from {
                of_cluster[from as usize].push((change.row, -1.0));
                self.n_rows[from as usize] -= 1;
            }
        }
        let clusters = self.sums.par_chunks_mut(self.dim).zip(&mut self.weights).zip(of_cluster);
        clusters.for_each(|((sums, total), changes)| {
            for (row, sign) in changes {
                let weight = sign * weights.map_or(1.0, |weights| weights[row as usize] as f64);
                *total += weight;
                for (sum, value) in sums.iter_mut().zip(vectors.row(row as usize)) {
                    *sum += weight * *value as f64;
                }
            }
        });
    }

    /// Moves every centroid to the mean of its rows; returns the sum of squared movements.
    fn move_centroids(&self, centroids: &mut [f32]) -> f64 {
        let clusters = centroids.par_chunks_mut(self.dim).zip(self.sums.par_chunks(self.dim));
        let moved: Vec<f64> = clusters
            .zip(self.weights.par_iter().zip(&self.n_rows))
            .map(|((centroid, sums), (total, n_rows))| {
                if *n_rows == 0 {
                    return 0.0;
                }
                let mut moved = 0f64;
                for (value, sum) in centroid.iter_mut().zip(sums) {
                    let mean = (sum / total) as f32;
                    moved += (mean as f64 - *value as f64).powi(2);
                    *value = mean;
                }
                moved
            })
            .collect();
        moved.iter().sum()
    }
}

fn mean_variance(vectors: Vectors<'_>) -> f64 {
    let (n, dim) = (vectors.n(), vectors.dim());
    let sums: Vec<(Vec<f64>, Vec<f64>)> = vectors
        .data()
        .par_chunks(dim * BLOCK_ROWS * BLOCKS_PER_SUM)
        .map(|rows| {
            let (mut sum, mut squares) = (vec![0f64; dim], vec![0f64; dim]);
            for row in rows.chunks_exact(dim) {
                for ((value, sum), square) in row.iter().zip(&mut sum).zip(&mut squares) {
                    *sum += *value as f64;
                    *square += (*value as f64).powi(2);
                }
            }
            (sum, squares)
        })
        .collect();
    (0..dim)
        .map(|column| {
            let mean = sums.iter().map(|(sum, _)| sum[column]).sum::<f64>() / n as f64;
            let square = sums.iter().map(|(_, squares)| squares[column]).sum::<f64>() / n as f64;
            (square - mean * mean).max(0.0)
        })
        .sum::<f64>()
        / dim as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(n: usize, dim: usize) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let mut rng = Rng::new(11, i as u64);
                (0..dim).map(move |column| (if column == i % 4 { 5.0 } else { 0.0 }) + 0.1 * rng.normal() as f32)
            })
            .collect()
    }

    fn fit(data: &[f32], n: usize, dim: usize, weights: Option<&[f32]>, params: &KMeansParams) -> KMeans {
        kmeans(Vectors::new(data, n, dim).unwrap(), weights, params, &Task::new()).unwrap()
    }

    fn params(k: usize) -> KMeansParams {
        KMeansParams::new(k, Init::PlusPlus, 1, 50, 1e-4, 0).unwrap()
    }

    #[test]
    fn blobs_are_found() {
        let data = blobs(400, 8);
        let result = fit(&data, 400, 8, None, &params(4));
        for i in 0..400 {
            assert_eq!(result.labels[i], result.labels[i % 4]);
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let data = blobs(3_000, 16);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(&data, 3_000, 16, None, &params(13)))
        };
        let one = run(1);
        for threads in [2, 7] {
            let other = run(threads);
            assert_eq!(one.labels, other.labels);
            assert_eq!(one.inertia.to_bits(), other.inertia.to_bits());
            assert_eq!(
                one.centroids.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                other.centroids.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_weight_of_three_is_a_row_three_times() {
        let data = blobs(60, 4);
        let weights: Vec<f32> = (0..60).map(|i| (1 + i % 3) as f32).collect();
        let start = Init::Centroids(data[..3 * 4].to_vec());
        let repeated: Vec<f32> =
            (0..60).flat_map(|i| std::iter::repeat_n(data[i * 4..(i + 1) * 4].to_vec(), 1 + i % 3)).flatten().collect();
        let params = KMeansParams::new(3, start, 1, 50, 0.0, 0).unwrap();
        let weighted = fit(&data, 60, 4, Some(&weights), &params);
        let plain = fit(&repeated, repeated.len() / 4, 4, None, &params);
        assert!((weighted.inertia - plain.inertia).abs() < 1e-6 * plain.inertia);
        for (a, b) in weighted.centroids.iter().zip(&plain.centroids) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    /// Lloyd's steps as they stand in the paper, all distances in f64, ties to the smaller centroid; None where a cluster
    /// loses all rows.
    fn plain_lloyd(data: &[f32], dim: usize, mut centroids: Vec<f32>, steps: usize) -> Option<(Vec<i32>, Vec<f32>)> {
        let k = centroids.len() / dim;
        let nearest = |row: &[f32], centroids: &[f32]| {
            let far = |c: &usize| crate::kernels::squared_distance(row, &centroids[c * dim..(c + 1) * dim]);
            (0..k).min_by(|a, b| far(a).total_cmp(&far(b)).then(a.cmp(b))).unwrap() as i32
        };
        let assign = |centroids: &[f32]| data.chunks_exact(dim).map(|row| nearest(row, centroids)).collect::<Vec<_>>();
        for _ in 0..steps {
            let labels = assign(&centroids);
            for c in 0..k {
                let rows: Vec<&[f32]> =
                    data.chunks_exact(dim).zip(&labels).filter(|(_, l)| **l == c as i32).map(|(row, _)| row).collect();
                if rows.is_empty() {
                    return None;
                }
                for column in 0..dim {
                    let sum: f64 = rows.iter().map(|row| row[column] as f64).sum();
                    centroids[c * dim + column] = (sum / rows.len() as f64) as f32;
                }
            }
        }
        Some((assign(&centroids), centroids))
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

        #[test]
        fn bounds_and_bf16_change_no_label(
            n in 150usize..700, k in 2usize..120, dim in 1usize..80, steps in 1usize..8, seed in 0u64..1000
        ) {
            let mut rng = Rng::new(seed, 0);
            // centres with rows around them; equal rows too
            let data: Vec<f32> = (0..n)
                .flat_map(|i| {
                    let mut center = Rng::new(seed, 1 + (i % 9) as u64);
                    let twin = i % 11 == 0;
                    let noise: Vec<f64> = (0..dim).map(|_| if twin { 0.0 } else { rng.normal() }).collect();
                    noise.into_iter().map(move |noise| (center.normal() + 0.4 * noise) as f32)
                })
                .collect();
            let distinct = data.chunks_exact(dim).enumerate().filter(|(i, _)| i % 11 != 0).take(k);
            let start: Vec<f32> = distinct.flat_map(|(_, row)| row.iter().copied()).collect();
            let plain = plain_lloyd(&data, dim, start.clone(), steps);
            proptest::prop_assume!(plain.is_some());
            let (labels, centroids) = plain.unwrap();
            let params = KMeansParams::new(k, Init::Centroids(start), 1, steps, 0.0, 0).unwrap();
            let found = fit(&data, n, dim, None, &params);
            proptest::prop_assert!(found.n_iter <= steps);
            proptest::prop_assert_eq!(found.labels, labels);
            for (a, b) in found.centroids.iter().zip(&centroids) {
                proptest::prop_assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()));
            }
        }
    }

    #[test]
    fn squares_beyond_float32_are_clustered() {
        let data: Vec<f32> = (0..60).map(|i| if i % 2 == 0 { 1e25 } else { -2e25 }).collect();
        let result = fit(&data, 60, 1, None, &params(2));
        assert!((0..60).all(|i| result.labels[i] == result.labels[i % 2]));
        assert_ne!(result.labels[0], result.labels[1]);
    }

    #[test]
    fn a_start_among_two_distinct_points_ends() {
        let data: Vec<f32> = (0..40).map(|i| (i % 2) as f32).collect();
        let result = fit(&data, 40, 1, None, &params(5));
        assert_eq!(result.inertia, 0.0);
        assert_eq!(result.centroids.len(), 5);
    }

    #[test]
    fn all_rows_equal_gives_zero_inertia() {
        let result = fit(&[1.0; 30], 10, 3, None, &params(4));
        assert_eq!(result.inertia, 0.0);
    }

    #[test]
    fn more_clusters_than_rows_is_refused_with_a_hint() {
        let error = kmeans(Vectors::new(&[0.0; 6], 3, 2).unwrap(), None, &params(4), &Task::new()).unwrap_err();
        assert!(error.to_string().contains("4 > 3") && error.to_string().contains("hint"), "{error}");
    }

    #[test]
    fn no_cluster_stays_empty() {
        let mut data = vec![0f32; 40];
        data[39] = 9.0;
        let start = Init::Centroids(vec![0.0, 100.0, 200.0]);
        let result = fit(&data, 40, 1, None, &KMeansParams::new(3, start, 1, 20, 0.0, 0).unwrap());
        assert!(result.labels.contains(&1) || result.labels.contains(&2));
    }
}
