//! Gaussian mixtures, DBSCAN and OPTICS through `linfa-clustering`, for low-dimensional data (a layout or PCA of the
//! vectors). The only file that sees linfa and the older ndarray it is built on.
//!
//! linfa cannot be interrupted: a cancelled caller leaves it behind to finish by itself.

use linfa::prelude::*;
use linfa_clustering::{Dbscan, GaussianMixtureModel, Optics};
use linfa_linalg::cholesky::Cholesky;
use linfa_nn::CommonNearestNeighbour;
use linfa_nn::distance::L2Dist;
use ndarray016::Array2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use rayon::prelude::*;

use super::NOISE;
use crate::error::{Error, Result};
use crate::task::{Task, leave_behind_when_cancelled};
use crate::vectors::Vectors;

#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixtureParams {
    pub n_components: usize,
    pub max_iter: usize,
    pub tol: f64,
    pub reg_covar: f64,
    pub random_state: u64,
}

impl GaussianMixtureParams {
    /// # Errors
    /// `InvalidInput` for counts of 0, or `tol` or `reg_covar` that are not finite and > 0.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("n_components", self.n_components), ("max_iter", self.max_iter)] {
            if value == 0 {
                return Err(Error::invalid(format!("{name} must be at least 1: got 0")));
            }
        }
        for (name, value) in [("tol", self.tol), ("reg_covar", self.reg_covar)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::invalid(format!("{name} must be a finite number > 0: got {value}")));
            }
        }
        Ok(())
    }
}

/// Gaussians with full covariances.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    pub dim: usize,
    /// `n_components x dim`.
    pub means: Vec<f64>,
    /// Share of each component.
    pub weights: Vec<f64>,
    /// Inverse covariances, `n_components x dim x dim`.
    pub precisions: Vec<f64>,
}

/// Fits a mixture by expectation-maximisation, started from linfa's k-means; returns it with the labels of the rows.
///
/// # Errors
/// `InvalidInput` for parameters out of range, more components than rows, or data whose covariance is singular.
pub fn gaussian_mixture(
    vectors: Vectors<'_>,
    params: &GaussianMixtureParams,
    task: &Task,
) -> Result<(GaussianMixture, Vec<i32>)> {
    params.check()?;
    let (n, dim) = (vectors.n(), vectors.dim());
    let params = params.clone();
    if params.n_components > n {
        return Err(Error::invalid(format!(
            "n_components must be <= the number of rows: {} > {n}",
            params.n_components
        )));
    }
    let data = to_f64(vectors)?;
    let mixture = leave_behind_when_cancelled(task, "linfa-clustering", move || {
        let dataset = DatasetBase::from(data);
        let rng = Xoshiro256Plus::seed_from_u64(params.random_state);
        let model = GaussianMixtureModel::params_with_rng(params.n_components, rng)
            .max_n_iterations(params.max_iter as u64)
            .tolerance(params.tol)
            .reg_covariance(params.reg_covar)
            .fit(&dataset)
            .map_err(|error| {
                Error::invalid(format!("the mixture of {} components cannot be fitted: {error}", params.n_components))
                    .hint("use fewer components, a larger reg_covar, or data of fewer dimensions")
            })?;
        Ok(GaussianMixture {
            dim,
            means: model.means().iter().copied().collect(),
            weights: model.weights().to_vec(),
            precisions: model.precisions().iter().copied().collect(),
        })
    })?;
    let labels = mixture.predict(vectors)?;
    Ok((mixture, labels))
}

impl GaussianMixture {
    /// The most probable component of each row; ties go to the smaller one.
    ///
    /// # Errors
    /// `InvalidInput` when the width differs from that of fit.
    pub fn predict(&self, vectors: Vectors<'_>) -> Result<Vec<i32>> {
        let dim = self.dim;
        if vectors.dim() != dim {
            return Err(Error::invalid(format!("rows must have {dim} columns as in fit: got {}", vectors.dim())));
        }
        // log weight + half the log-determinant of the precision
        let constants: Vec<f64> = self
            .precisions
            .chunks_exact(dim * dim)
            .zip(&self.weights)
            .map(|(precision, weight)| {
                let matrix = Array2::from_shape_fn((dim, dim), |(i, j)| precision[i * dim + j]);
                let factor = matrix
                    .cholesky()
                    .map_err(|error| Error::invalid(format!("a precision is not positive definite: {error}")))?;
                Ok(weight.ln() + factor.diag().iter().map(|value| value.ln()).sum::<f64>())
            })
            .collect::<Result<_>>()?;
        let labels = (0..vectors.n()).into_par_iter().map(|i| {
            let mut best = (f64::NEG_INFINITY, 0);
            for (component, constant) in constants.iter().enumerate() {
                let mean = &self.means[component * dim..(component + 1) * dim];
                let centred: Vec<f64> =
                    vectors.row(i).iter().zip(mean).map(|(value, mean)| *value as f64 - mean).collect();
                let precision = &self.precisions[component * dim * dim..(component + 1) * dim * dim];
                let distance: f64 = precision
                    .chunks_exact(dim)
                    .zip(&centred)
                    .map(|(row, value)| value * row.iter().zip(&centred).map(|(p, c)| p * c).sum::<f64>())
                    .sum();
                let log_probability = constant - 0.5 * distance;
                if log_probability > best.0 {
                    best = (log_probability, component as i32);
                }
            }
            best.1
        });
        Ok(labels.collect())
    }
}

/// Labels of DBSCAN (Ester et al. 1996): clusters are what is connected through points with at least `min_samples`
/// points (themselves included) within `eps`; the rest is noise (-1).
///
/// # Errors
/// `InvalidInput` for `eps <= 0` or `min_samples < 2` (linfa's bound).
pub fn dbscan(vectors: Vectors<'_>, eps: f64, min_samples: usize, task: &Task) -> Result<Vec<i32>> {
    check_dbscan(eps, min_samples)?;
    let data = to_f64(vectors)?;
    leave_behind_when_cancelled(task, "linfa-clustering", move || dbscan_labels(&data, eps, min_samples))
}

fn dbscan_labels(data: &Array2<f64>, eps: f64, min_samples: usize) -> Result<Vec<i32>> {
    let labels = Dbscan::params_with(min_samples, L2Dist, CommonNearestNeighbour::KdTree)
        .tolerance(eps)
        .transform(data)
        .map_err(|error| Error::invalid(format!("DBSCAN refused its parameters: {error}")))?;
    Ok(labels.iter().map(|label| label.map_or(NOISE, |label| label as i32)).collect())
}

#[derive(Debug, Clone, PartialEq)]
pub struct OpticsResult {
    /// Labels of DBSCAN at `eps`, which the reachability plot cut at that height shows (Ankerst et al. 1999,
    /// section 4.2.1).
    pub labels: Vec<i32>,
    /// Row ids in the order of the reachability plot.
    pub ordering: Vec<u32>,
    /// Reachability distance of each row (by row id; infinite where a new component starts).
    pub reachability: Vec<f32>,
    /// Where the labels were cut.
    pub eps: f64,
}

/// OPTICS (Ankerst et al. 1999). `eps` is where labels are cut: by default `max_eps`, or, where that is infinite, the
/// 90th percentile of the finite reachability distances.
///
/// # Errors
/// `InvalidInput` for `max_eps <= 0`, `eps <= 0` or above `max_eps`, `min_samples < 2`.
pub fn optics(
    vectors: Vectors<'_>,
    min_samples: usize,
    max_eps: f64,
    eps: Option<f64>,
    task: &Task,
) -> Result<OpticsResult> {
    check_optics(min_samples, max_eps, eps)?;
    let n = vectors.n();
    let data = to_f64(vectors)?;
    leave_behind_when_cancelled(task, "linfa-clustering", move || {
        let analysis = Optics::params_with(min_samples, L2Dist, CommonNearestNeighbour::KdTree)
            .tolerance(max_eps)
            .transform(data.view())
            .map_err(|error| Error::invalid(format!("OPTICS refused its parameters: {error}")))?;
        let mut reachability = vec![f32::INFINITY; n];
        let mut core = vec![f64::INFINITY; n];
        let mut ordering = Vec::with_capacity(n);
        for sample in analysis.iter() {
            ordering.push(sample.index() as u32);
            reachability[sample.index()] = sample.reachability_distance().map_or(f32::INFINITY, |d| d as f32);
            core[sample.index()] = sample.core_distance().unwrap_or(f64::INFINITY);
        }
        let component = if max_eps.is_finite() { dbscan_labels(&data, max_eps, min_samples)? } else { vec![0; n] };
        start_first(&mut ordering, &mut reachability, &core, &component, &data);
        let eps = eps.unwrap_or_else(|| if max_eps.is_finite() { max_eps } else { high_percentile(&reachability) });
        let labels = dbscan_labels(&data, eps, min_samples)?;
        Ok(OpticsResult { labels, ordering, reachability, eps })
    })
}

/// linfa expands the first core point of a component at once but lists it later, with its own core distance: put first,
/// and reached from nowhere, as the definition has it (Ankerst et al. 1999, figure 5).
fn start_first(ordering: &mut Vec<u32>, reachability: &mut [f32], core: &[f64], component: &[i32], data: &Array2<f64>) {
    let is_core = |point: usize| core[point].is_finite();
    let mut starts: std::collections::BTreeMap<i32, usize> = std::collections::BTreeMap::new();
    for point in (0..component.len()).filter(|point| is_core(*point)) {
        starts.entry(component[point]).or_insert(point);
    }
    let distance =
        |a: usize, b: usize| data.row(a).iter().zip(data.row(b)).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    for (label, start) in starts {
        let in_component = |point: u32| is_core(point as usize) && component[point as usize] == label;
        let Some(mut first) = ordering.iter().position(|point| in_component(*point)) else { continue };
        // border points may have been listed before the first core point: those that the start itself reached
        while first > 0 {
            let before = ordering[first - 1] as usize;
            let from_start = distance(before, start).max(core[start]);
            if is_core(before) || (reachability[before] as f64 - from_start).abs() > 1e-6 * from_start {
                break;
            }
            first -= 1;
        }
        if let Some(listed) = ordering.iter().position(|point| *point as usize == start) {
            ordering.remove(listed);
            ordering.insert(first, start as u32);
        }
        reachability[start] = f32::INFINITY;
    }
}

/// # Errors
/// `InvalidInput` for what [`dbscan`] refuses.
pub fn check_dbscan(eps: f64, min_samples: usize) -> Result<()> {
    if !(eps.is_finite() && eps > 0.0) {
        return Err(Error::invalid(format!("eps must be a finite number > 0: got {eps}")));
    }
    check_min_samples(min_samples)
}

/// # Errors
/// `InvalidInput` for what [`optics`] refuses.
pub fn check_optics(min_samples: usize, max_eps: f64, eps: Option<f64>) -> Result<()> {
    if max_eps.is_nan() || max_eps <= 0.0 {
        return Err(Error::invalid(format!("max_eps must be > 0: got {max_eps}")));
    }
    if let Some(eps) = eps
        && !(eps > 0.0 && eps <= max_eps)
    {
        return Err(Error::invalid(format!("eps must be > 0 and <= max_eps = {max_eps}: got {eps}")));
    }
    check_min_samples(min_samples)
}

fn check_min_samples(min_samples: usize) -> Result<()> {
    if min_samples < 2 {
        return Err(Error::invalid(format!("min_samples must be at least 2: got {min_samples}")));
    }
    Ok(())
}

fn high_percentile(reachability: &[f32]) -> f64 {
    let mut finite: Vec<f32> = reachability.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_by(f32::total_cmp);
    finite.get(finite.len() * 9 / 10).map_or(f64::MIN_POSITIVE, |value| (*value as f64).max(f64::MIN_POSITIVE))
}

fn to_f64(vectors: Vectors<'_>) -> Result<Array2<f64>> {
    let values = vectors.data().iter().map(|value| *value as f64).collect();
    Array2::from_shape_vec((vectors.n(), vectors.dim()), values)
        .map_err(|error| Error::Internal { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn blobs() -> Vec<f32> {
        let mut rng = Rng::new(5, 0);
        (0..300).flat_map(|i| [(i % 3) as f32 * 10.0 + 0.3 * rng.normal() as f32, 0.3 * rng.normal() as f32]).collect()
    }

    fn agrees_with_blobs(labels: &[i32]) -> bool {
        (0..300).filter(|i| labels[*i] >= 0).all(|i| {
            (3..300)
                .step_by(3)
                .all(|j| labels[i % 3 + j - 3] < 0 || labels[i % 3 + j - 3] == labels[i % 3] || labels[i % 3] < 0)
        })
    }

    #[test]
    fn all_three_methods_find_blobs() {
        let data = blobs();
        let vectors = Vectors::new(&data, 300, 2).unwrap();
        let task = Task::new();
        let params =
            GaussianMixtureParams { n_components: 3, max_iter: 100, tol: 1e-3, reg_covar: 1e-6, random_state: 0 };
        let (_, labels) = gaussian_mixture(vectors, &params, &task).unwrap();
        for labels in [
            labels,
            dbscan(vectors, 1.0, 5, &task).unwrap(),
            optics(vectors, 5, 20.0, Some(1.0), &task).unwrap().labels,
        ] {
            assert!(agrees_with_blobs(&labels));
            assert_eq!(labels.iter().max(), Some(&2), "{labels:?}");
        }
    }

    #[test]
    fn a_cancelled_caller_returns() {
        let task = Task::new();
        task.stop();
        let data: Vec<f32> = (0..40_000).map(|i| (i * 37 % 1013) as f32).collect();
        assert_eq!(dbscan(Vectors::new(&data, 20_000, 2).unwrap(), 1e-3, 5, &task), Err(Error::Cancelled));
    }
}
