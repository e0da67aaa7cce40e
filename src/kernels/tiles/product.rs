//! Matrix products with packed weights, and what is fused onto them. Panels of columns on the outside, so that each stays
//! in the first-level cache while all rows pass by; sums are added along the row in one order, so that a row's result
//! does not depend on the rows beside it.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd` holds for whatever calls these

use super::functions::gelu;
use super::simd::{Epilogue, Simd, Tile};

/// A product as the inner loops see it: rows of words times panels of `S::LANES * S::VECTORS` columns.
#[derive(Clone, Copy)]
pub struct Product {
    pub a: *const u32,
    /// Words from one row to the next.
    pub a_stride: usize,
    pub n_rows: usize,
    /// Panels one after the other, each `n_words` rows of columns.
    pub b: *const u32,
    pub n_words: usize,
    /// A multiple of the panel's width.
    pub n_columns: usize,
}

/// sums + bias, through GELU or not, as values.
pub struct Store<const GELU: bool> {
    pub out: *mut u32,
    /// Values from one row to the next.
    pub stride: usize,
    pub bias: *const f32,
}

impl<S: Simd, const GELU: bool> Epilogue<S> for Store<GELU> {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        let sums = S::add(sums, S::load(self.bias.add(column)));
        let sums = if GELU { gelu::<S>(sums) } else { sums };
        S::store_values(self.out, row * self.stride + column, sums);
    }
}

/// x + sums + bias, in f32 and in place: the residual connection.
pub struct Add {
    pub x: *mut f32,
    pub stride: usize,
    pub bias: *const f32,
}

impl<S: Simd> Epilogue<S> for Add {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        let to = self.x.add(row * self.stride + column);
        S::store(to, S::add(S::load(to), S::add(sums, S::load(self.bias.add(column)))));
    }
}

/// Sums as f32, as they are.
pub struct Plain {
    pub out: *mut f32,
    pub stride: usize,
}

impl<S: Simd> Epilogue<S> for Plain {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        S::store(self.out.add(row * self.stride + column), sums);
    }
}

#[inline(always)]
pub unsafe fn product<S: Simd, E: Epilogue<S>>(job: &Product, epilogue: &E) {
    let width = S::LANES * S::VECTORS;
    for column in (0..job.n_columns).step_by(width) {
        let b = job.b.add(column * job.n_words);
        let mut row = 0;
        while row < job.n_rows {
            let rows = S::ROWS.min(job.n_rows - row);
            let a = job.a.add(row * job.a_stride);
            let tile = Tile { a, a_stride: job.a_stride, b, b_stride: width, n_words: job.n_words, row, column };
            S::tile(rows, S::VECTORS, tile, epilogue);
            row += rows;
        }
    }
}
