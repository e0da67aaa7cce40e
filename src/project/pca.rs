//! PCA: the directions of largest variance of the rows (Pearson 1901), from the eigenvectors of the covariance.

use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::kernels;
use crate::task::{Task, leave_behind_when_cancelled};
use crate::vectors::Vectors;

/// Rows of one block of the covariance; blocks are added in order.
const BLOCK_ROWS: usize = 1024;
/// Blocks computed at once: bounds memory at `BLOCKS x dim^2` values.
const BLOCKS: usize = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    /// `n_components x dim` unit rows; the largest entry of each is positive.
    pub components: Vec<f32>,
    /// Variance along each component, descending.
    pub explained_variance: Vec<f32>,
    /// Mean of the rows.
    pub mean: Vec<f32>,
    dim: usize,
}

/// # Errors
/// `InvalidInput` for `n_components` of 0 or above `min(n, dim)`; `Cancelled`.
pub fn pca(vectors: Vectors<'_>, n_components: usize, task: &Task) -> Result<Pca> {
    let (n, dim) = (vectors.n(), vectors.dim());
    if n_components == 0 || n_components > n.min(dim) {
        return Err(Error::invalid(format!(
            "n_components must be between 1 and min(n, dim) = {}: got {n_components}",
            n.min(dim)
        )));
    }
    task.start(n as u64);
    let mean = mean(vectors);
    let mut covariance = vec![0f64; dim * dim];
    for group in (0..n).step_by(BLOCK_ROWS * BLOCKS) {
        task.check()?;
        let end = (group + BLOCK_ROWS * BLOCKS).min(n);
        let products: Vec<Vec<f32>> = vectors
            .rows(group, end)
            .par_chunks(BLOCK_ROWS * dim)
            .map(|rows| {
                let m = rows.len() / dim;
                // dim x m, centred: the product of the block with itself is then one call of the kernel
                let mut transposed = vec![0f32; rows.len()];
                for (i, row) in rows.chunks_exact(dim).enumerate() {
                    for (column, value) in row.iter().enumerate() {
                        transposed[column * m + i] = (*value as f64 - mean[column]) as f32;
                    }
                }
                let mut product = vec![0f32; dim * dim];
                kernels::dots(kernels::isa(), &transposed, &transposed, m, &mut product);
                product
            })
            .collect();
        for product in products {
            for (sum, value) in covariance.iter_mut().zip(product) {
                *sum += value as f64;
            }
        }
        task.advance((end - group) as u64);
    }
    let scale = 1.0 / (n.max(2) - 1) as f64;
    let symmetric =
        DMatrix::from_fn(dim, dim, |i, j| 0.5 * scale * (covariance[i * dim + j] + covariance[j * dim + i]));
    if symmetric.iter().any(|value| !value.is_finite()) {
        return Err(Error::invalid("the squares of the values are beyond float32: scale the data down"));
    }
    let eigen = leave_behind_when_cancelled(task, "nalgebra", move || Ok(symmetric.symmetric_eigen()))?;
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]).then(a.cmp(b)));
    order.truncate(n_components);
    let mut components = Vec::with_capacity(n_components * dim);
    for column in &order {
        let direction = eigen.eigenvectors.column(*column);
        // the sign of an eigenvector is arbitrary: fixed here, so that results can be compared
        let largest = direction.iter().fold(0f64, |a, b| if b.abs() > a.abs() { *b } else { a });
        components.extend(direction.iter().map(|value| (value * largest.signum()) as f32));
    }
    Ok(Pca {
        components,
        explained_variance: order.iter().map(|column| eigen.eigenvalues[*column].max(0.0) as f32).collect(),
        mean: mean.iter().map(|value| *value as f32).collect(),
        dim,
    })
}

impl Pca {
    /// Takes components (`k x dim`), their variances (k) and the mean (dim) of an earlier fit.
    pub fn from_parts(components: Vec<f32>, explained_variance: Vec<f32>, mean: Vec<f32>) -> Self {
        let dim = mean.len();
        Self { components, explained_variance, mean, dim }
    }

    /// Coordinates of `vectors` along the components, `n x n_components`.
    ///
    /// # Errors
    /// `InvalidInput` when the width differs from that of fit.
    pub fn transform(&self, vectors: Vectors<'_>) -> Result<Vec<f32>> {
        if vectors.dim() != self.dim {
            return Err(Error::invalid(format!(
                "rows must have {} columns as in fit: got {}",
                self.dim,
                vectors.dim()
            )));
        }
        let width = self.explained_variance.len();
        let offsets: Vec<f64> =
            self.components.chunks_exact(self.dim).map(|row| kernels::dot(row, &self.mean)).collect();
        let mut coordinates = vec![0f32; vectors.n() * width];
        coordinates.par_chunks_mut(width).enumerate().for_each(|(i, coordinates)| {
            for (component, (value, offset)) in coordinates.iter_mut().zip(&offsets).enumerate() {
                let direction = &self.components[component * self.dim..(component + 1) * self.dim];
                *value = (kernels::dot(direction, vectors.row(i)) - offset) as f32;
            }
        });
        Ok(coordinates)
    }
}

fn mean(vectors: Vectors<'_>) -> Vec<f64> {
    let dim = vectors.dim();
    let blocks: Vec<Vec<f64>> = vectors
        .data()
        .par_chunks(BLOCK_ROWS * dim)
        .map(|rows| {
            let mut sum = vec![0f64; dim];
            for row in rows.chunks_exact(dim) {
                for (sum, value) in sum.iter_mut().zip(row) {
                    *sum += *value as f64;
                }
            }
            sum
        })
        .collect();
    let mut mean = vec![0f64; dim];
    for block in blocks {
        for (sum, value) in mean.iter_mut().zip(block) {
            *sum += value;
        }
    }
    mean.iter_mut().for_each(|value| *value /= vectors.n() as f64);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    #[test]
    fn the_long_axis_comes_first() {
        let mut rng = Rng::new(1, 1);
        let data: Vec<f32> = (0..2_000)
            .flat_map(|_| [0.1 * rng.normal() as f32, 3.0 * rng.normal() as f32, rng.normal() as f32])
            .collect();
        let vectors = Vectors::new(&data, 2_000, 3).unwrap();
        let pca = pca(vectors, 2, &Task::new()).unwrap();
        assert!(pca.components[1] > 0.99);
        assert!((pca.explained_variance[0] - 9.0).abs() < 0.7, "{:?}", pca.explained_variance);
        let coordinates = pca.transform(vectors).unwrap();
        let mean: f32 = coordinates.iter().step_by(2).sum::<f32>() / 2_000.0;
        assert!(mean.abs() < 1e-3);
    }
}
