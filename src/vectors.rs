//! What a valid matrix of vectors is: `n x dim` float32, row-major, finite, at least one row and one column.
//! The only way into a kernel, so that no kernel checks again. Owns nothing.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Rows of one block of work: a fixed number, so that results do not depend on the thread count. So few are checked without
/// the pool.
pub const BLOCK_ROWS: usize = 4096;

#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    data: &'a [f32],
    n: usize,
    dim: usize,
    largest: f32,
}

impl<'a> Vectors<'a> {
    /// Checks `data` as `n x dim`.
    ///
    /// # Errors
    /// `InvalidInput` when there is no row or column, the length does not fit, there are too many rows for a u32
    /// id, or a value is NaN or infinite (naming the first such row).
    pub fn new(data: &'a [f32], n: usize, dim: usize) -> Result<Self> {
        if n == 0 || dim == 0 {
            return Err(Error::invalid(format!("need at least 1 row and 1 column: got shape ({n}, {dim})")));
        }
        if n >= u32::MAX as usize {
            return Err(Error::invalid(format!("at most 4,294,967,294 rows can be numbered: got {n}")));
        }
        if data.len() != n * dim {
            return Err(Error::invalid(format!("{n} rows of {dim} need {} values: got {}", n * dim, data.len())));
        }
        let measure = |rows: &[f32]| {
            let finite = |(largest, all): (f32, bool), value: &f32| (largest.max(value.abs()), all & value.is_finite());
            rows.iter().fold((0.0, true), finite)
        };
        let blocks: Vec<(f32, bool)> = match n <= BLOCK_ROWS {
            // a single query should not wait for a thread
            true => vec![measure(data)],
            false => data.par_chunks(dim * BLOCK_ROWS).map(measure).collect(),
        };
        if let Some(block) = blocks.iter().position(|(_, finite)| !finite) {
            let rows = data[block * dim * BLOCK_ROWS..].chunks_exact(dim);
            let row = block * BLOCK_ROWS + rows.take_while(|row| row.iter().all(|value| value.is_finite())).count();
            return Err(Error::invalid(format!("all values must be finite: row {row} has NaN or infinity")));
        }
        let largest = blocks.iter().fold(0f32, |a, (b, _)| a.max(*b));
        Ok(Self { data, n, dim, largest })
    }

    /// Largest absolute value.
    pub fn largest(&self) -> f32 {
        self.largest
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// Rows `start..end` as one slice.
    pub fn rows(&self, start: usize, end: usize) -> &'a [f32] {
        &self.data[start * self.dim..end * self.dim]
    }

    /// Squared Euclidean norm of every row.
    pub fn squared_norms(&self) -> Vec<f32> {
        self.data.par_chunks(self.dim).map(|row| crate::kernels::squared_norm(row) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_row_is_named() {
        let mut data = vec![0.5f32; 10_000 * 2];
        data[2 * 9_000 + 1] = f32::NAN;
        data[2 * 4_200] = f32::INFINITY;
        let error = Vectors::new(&data, 10_000, 2).unwrap_err();
        assert!(error.to_string().contains("row 4200"), "{error}");
    }

    #[test]
    fn empty_and_misshapen_input_is_refused() {
        assert!(Vectors::new(&[], 0, 3).is_err());
        assert!(Vectors::new(&[1.0], 1, 0).is_err());
        assert!(Vectors::new(&[1.0; 5], 2, 3).is_err());
    }
}
