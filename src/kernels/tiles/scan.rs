//! What is fused onto products of points with points: the two largest scores of each group of columns, and the products
//! that reach a threshold. Nothing else of the product is written to memory.
//!
//! The score of two points is their product minus half the squared norm of the one that is looked for: among many it is
//! largest for the nearest.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd` holds for whatever calls these

use super::simd::{Epilogue, Simd};

/// Columns of a group: the widest panel.
pub const GROUP: usize = super::PANEL;

/// The largest and the second largest score of each row in each group of columns, and the column of the largest.
pub struct TopTwo {
    /// Minus half the squared norm of each column; minus infinity for columns of padding.
    pub halves: *const f32,
    pub best: *mut f32,
    pub second: *mut f32,
    pub columns: *mut u32,
    /// Groups from one row to the next.
    pub stride: usize,
}

impl<S: Simd> Epilogue<S> for TopTwo {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        Epilogue::<S>::finish_row(self, [sums], row, column);
    }

    #[inline(always)]
    unsafe fn finish_row<const N: usize>(&self, sums: [S::F; N], row: usize, column: usize) {
        let mut scores = sums;
        for (n, score) in scores.iter_mut().enumerate() {
            *score = S::add(*score, S::load(self.halves.add(column + n * S::LANES)));
        }
        let best = scores.iter().skip(1).fold(scores[0], |a, b| S::max(a, *b));
        let best = S::largest(best);
        let splat = S::splat(best);
        // the lane of the first largest score is taken out; NaN never is one
        let (mut at, mut rest) = (N * S::LANES, scores);
        for n in (0..N).rev() {
            let mask = S::at_least(scores[n], splat);
            if mask != 0 {
                at = n * S::LANES + mask.trailing_zeros() as usize;
            }
        }
        let infinite = S::splat(f32::NEG_INFINITY);
        for (n, score) in rest.iter_mut().enumerate() {
            if at / S::LANES == n {
                *score = S::blend(1 << (at % S::LANES), *score, infinite);
            }
        }
        let second = rest.iter().skip(1).fold(rest[0], |a, b| S::max(a, *b));
        let second = S::largest(second);
        let to = row * self.stride + column / GROUP;
        if column.is_multiple_of(GROUP) {
            *self.best.add(to) = best;
            *self.second.add(to) = second;
            *self.columns.add(to) = (column + at) as u32;
        } else {
            // the second panel of a group, where panels are narrower
            let known = *self.best.add(to);
            *self.second.add(to) = (*self.second.add(to)).max(second).max(known.min(best));
            if best > known {
                *self.best.add(to) = best;
                *self.columns.add(to) = (column + at) as u32;
            }
        }
    }
}

/// All scores, row by row.
pub struct Scores {
    pub halves: *const f32,
    pub out: *mut f32,
    pub stride: usize,
}

impl<S: Simd> Epilogue<S> for Scores {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        S::store(self.out.add(row * self.stride + column), S::add(sums, S::load(self.halves.add(column))));
    }
}

/// A pair of points whose score reaches a threshold, and their product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub row: u32,
    pub column: u32,
    pub product: f32,
}

/// Pairs whose score reaches the threshold of the column, or that of the row.
pub struct Above {
    /// Minus half the squared norms.
    pub row_halves: *const f32,
    pub column_halves: *const f32,
    pub row_thresholds: *const f32,
    pub column_thresholds: *const f32,
    /// Has room for every pair.
    pub hits: *mut Hit,
    pub n_hits: *mut usize,
}

impl<S: Simd> Epilogue<S> for Above {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        let for_column = S::add(sums, S::splat(*self.row_halves.add(row)));
        let for_row = S::add(sums, S::load(self.column_halves.add(column)));
        let mask = S::at_least(for_column, S::load(self.column_thresholds.add(column)))
            | S::at_least(for_row, S::splat(*self.row_thresholds.add(row)));
        if mask != 0 {
            self.push::<S>(mask, sums, row, column);
        }
    }
}

impl Above {
    #[inline(always)]
    unsafe fn push<S: Simd>(&self, mut mask: u32, sums: S::F, row: usize, column: usize) {
        let mut products = [0f32; GROUP];
        S::store(products.as_mut_ptr(), sums);
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let hit = Hit { row: row as u32, column: (column + lane) as u32, product: products[lane] };
            self.hits.add(*self.n_hits).write(hit);
            *self.n_hits += 1;
        }
    }
}

/// Writes `n` values times `scale` as `padded` values, the rest zeros; returns the squared norm of what was read (scaled)
/// and of what rounding took away.
#[inline(always)]
pub unsafe fn convert<S: Simd>(from: *const f32, n: usize, padded: usize, scale: f32, to: *mut u32) -> (f32, f32) {
    let (mut norm, mut lost) = (S::splat(0.0), S::splat(0.0));
    let factor = S::splat(scale);
    let mut tail = [0f32; GROUP];
    for at in (0..padded).step_by(S::LANES) {
        let values = if at + S::LANES <= n {
            S::load(from.add(at))
        } else {
            for (lane, value) in tail.iter_mut().enumerate().take(S::LANES) {
                *value = if at + lane < n { *from.add(at + lane) } else { 0.0 };
            }
            S::load(tail.as_ptr())
        };
        let values = S::mul(values, factor);
        S::store_values(to, at, values);
        let difference = S::sub(values, S::load_values(to, at));
        norm = S::mul_add(values, values, norm);
        lost = S::mul_add(difference, difference, lost);
    }
    (S::sum(norm), S::sum(lost))
}
