//! k-means over rows that come in parts: each part moves the centroids towards the means of all rows so far (MacQueen
//! 1967; Sculley 2010, algorithm 1, with the whole part as the batch). One pass, memory for one part.

use rayon::prelude::*;

use super::{Init, KMeansParams, seeding};
use crate::error::{Error, Result};
use crate::kernels;
use crate::kernels::grouped::{Grouped, Scratch};
use crate::kernels::tiles::{Rows, scale_for};
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows between two movements of the centroids, or 4 per cluster where that is more.
const BATCH_ROWS: usize = 16_384;
const BLOCK_ROWS: usize = 512;
/// Groups of 32 centroids that a row looks at: a sixth of the distances for a thousand centroids, and nearly always
/// the nearest.
const N_PROBES: usize = 4;
/// Lloyd steps on the first part, so that the pass begins near a good place.
const FIRST_STEPS: usize = 2;

/// Centroids and how many rows (by weight) each has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Streaming {
    params: KMeansParams,
    centroids: Vec<f32>,
    counts: Vec<f64>,
    dim: usize,
}

impl Streaming {
    /// `params.n_init` and `params.tol` are not used.
    pub fn new(params: KMeansParams) -> Self {
        Self { params, centroids: Vec::new(), counts: Vec::new(), dim: 0 }
    }

    /// Goes on from what an earlier one learned.
    ///
    /// # Errors
    /// `InvalidInput` when the shapes do not fit.
    pub fn resume(params: KMeansParams, centroids: Vectors<'_>, counts: Vec<f64>) -> Result<Self> {
        if centroids.n() != params.n_clusters || counts.len() != params.n_clusters {
            return Err(Error::invalid(format!(
                "centroids and counts must have n_clusters = {} rows: got {} and {}",
                params.n_clusters,
                centroids.n(),
                counts.len()
            )));
        }
        Ok(Self { params, centroids: centroids.data().to_vec(), counts, dim: centroids.dim() })
    }

    /// `n_clusters x dim`; empty before the first rows.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// Weight of the rows that each centroid has seen.
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// Takes the next rows; `weights` count how often each occurs.
    ///
    /// # Errors
    /// `InvalidInput` when the first rows are fewer than `n_clusters`, or later ones have another width; `Cancelled`.
    pub fn feed(&mut self, vectors: Vectors<'_>, weights: Option<&[f32]>, task: &Task) -> Result<()> {
        super::check_weights(weights, vectors.n(), "sample_weight")?;
        if self.centroids.is_empty() {
            self.begin(vectors, weights, task)?;
        } else if vectors.dim() != self.dim {
            return Err(Error::invalid(format!(
                "rows must have {} columns as the first ones: got {}",
                self.dim,
                vectors.dim()
            )));
        }
        task.start(vectors.n() as u64);
        let batch = BATCH_ROWS.max(4 * self.params.n_clusters);
        for first in (0..vectors.n()).step_by(batch) {
            let range = first..vectors.n().min(first + batch);
            self.batch(vectors, weights, range, task)?;
        }
        Ok(())
    }

    fn begin(&mut self, vectors: Vectors<'_>, weights: Option<&[f32]>, task: &Task) -> Result<()> {
        let k = self.params.n_clusters;
        if k > vectors.n() {
            return Err(Error::invalid(format!("the first rows must be at least n_clusters: {} < {k}", vectors.n()))
                .hint("give more rows at a time"));
        }
        self.dim = vectors.dim();
        let seed = Rng::new(self.params.random_state, 0).next_u64();
        let sample = seeding::sample_rows(vectors.n(), (32 * k).max(BATCH_ROWS), seed);
        let data: Vec<f32> = sample.iter().flat_map(|i| vectors.row(*i as usize).iter().copied()).collect();
        let sampled: Option<Vec<f32>> = weights.map(|weights| sample.iter().map(|i| weights[*i as usize]).collect());
        let rows = Vectors::new(&data, sample.len(), self.dim)?;
        let start = match &self.params.init {
            Init::Centroids(start) => {
                super::check_start(start, k, self.dim)?;
                start.clone()
            }
            Init::PlusPlus => seeding::spread(rows, sampled.as_deref(), k, seeding::FEW, seed, task)?,
            Init::Random => seeding::random_rows(rows, sampled.as_deref(), k, seed),
        };
        self.centroids = super::lloyd(rows, sampled.as_deref(), start, FIRST_STEPS, 0.0, task)?.centroids;
        // the rows of the sample come again in their place: the start counts as a small share of a batch
        self.counts = vec![1.0; k];
        Ok(())
    }

    fn batch(
        &mut self,
        vectors: Vectors<'_>,
        weights: Option<&[f32]>,
        range: std::ops::Range<usize>,
        task: &Task,
    ) -> Result<()> {
        let dim = self.dim;
        let kernels = kernels::for_width(dim);
        let largest = self.centroids.iter().fold(vectors.largest(), |a, b| a.max(b.abs()));
        let scale = scale_for(largest);
        let grouped = Grouped::new(kernels, &self.centroids, dim, scale);
        let mut nearest = vec![(0f32, 0u32); range.len()];
        let room = || (Rows::with_room(kernels, BLOCK_ROWS, dim), grouped.scratch(BLOCK_ROWS, dim));
        nearest.par_chunks_mut(BLOCK_ROWS).enumerate().try_for_each_init(
            room,
            |(rows, scratch): &mut (Rows, Scratch), (block, nearest)| {
                task.check()?;
                let first = range.start + block * BLOCK_ROWS;
                rows.refill(kernels, scale, (first..first + nearest.len()).map(|i| vectors.row(i)));
                grouped.nearest(rows, N_PROBES, scratch, nearest);
                task.advance(nearest.len() as u64);
                Ok(())
            },
        )?;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.params.n_clusters];
        for (i, (_, centroid)) in nearest.iter().enumerate() {
            members[*centroid as usize].push((range.start + i) as u32);
        }
        self.centroids.par_chunks_mut(dim).zip(&mut self.counts).zip(members).for_each(
            |((centroid, count), members)| {
                let mut sum: Vec<f64> = centroid.iter().map(|value| *value as f64 * *count).collect();
                for row in &members {
                    let weight = weights.map_or(1.0, |weights| weights[*row as usize] as f64);
                    *count += weight;
                    for (sum, value) in sum.iter_mut().zip(vectors.row(*row as usize)) {
                        *sum += weight * *value as f64;
                    }
                }
                if !members.is_empty() {
                    centroid.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / *count) as f32);
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize, dim: usize) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let (mut center, mut own) = (Rng::new(7, (i * 31 % 60) as u64), Rng::new(8, i as u64));
                (0..dim).map(move |_| (center.normal() + 0.5 * own.normal()) as f32)
            })
            .collect()
    }

    fn params(k: usize) -> KMeansParams {
        KMeansParams::new(k, Init::PlusPlus, 1, 1, 0.0, 0).unwrap()
    }

    #[test]
    fn one_pass_is_nearly_as_good_as_many() {
        let (n, dim, k) = (20_000, 24, 60);
        let data = rows(n, dim);
        let vectors = Vectors::new(&data, n, dim).unwrap();
        let mut streaming = Streaming::new(params(k));
        for part in data.chunks(5_000 * dim) {
            streaming.feed(Vectors::new(part, part.len() / dim, dim).unwrap(), None, &Task::new()).unwrap();
        }
        let centroids = Vectors::new(streaming.centroids(), k, dim).unwrap();
        let (_, distances) = super::super::assign(vectors, centroids, &Task::new()).unwrap();
        let inertia: f64 = distances.iter().map(|d| (*d as f64).powi(2)).sum();
        let full = KMeansParams::new(k, Init::PlusPlus, 1, 30, 0.0, 0).unwrap();
        let full = super::super::kmeans(vectors, None, &full, &Task::new()).unwrap();
        assert!(inertia < 1.05 * full.inertia, "{inertia} {}", full.inertia);
        // all rows, and the one per cluster that the start counts for
        assert_eq!(streaming.counts().iter().sum::<f64>(), (n + k) as f64);
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let data = rows(6_000, 50);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut streaming = Streaming::new(params(300));
            pool.install(|| {
                for part in data.chunks(2_000 * 50) {
                    streaming.feed(Vectors::new(part, 2_000, 50).unwrap(), None, &Task::new()).unwrap();
                }
            });
            streaming.centroids().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let one = run(1);
        assert!([2, 7].into_iter().all(|threads| run(threads) == one));
    }

    #[test]
    fn parts_of_another_width_and_a_first_part_too_small_are_refused() {
        let data = rows(100, 4);
        let mut streaming = Streaming::new(params(60));
        let small = streaming.feed(Vectors::new(&data[..40], 10, 4).unwrap(), None, &Task::new()).unwrap_err();
        assert!(small.to_string().contains("10 < 60"), "{small}");
        streaming.feed(Vectors::new(&data, 100, 4).unwrap(), None, &Task::new()).unwrap();
        let wide = streaming.feed(Vectors::new(&data, 80, 5).unwrap(), None, &Task::new()).unwrap_err();
        assert!(wide.to_string().contains("4 columns"), "{wide}");
    }
}
