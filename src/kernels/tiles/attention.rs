//! Self-attention of one text and one head: scores of a few rows at a time, their softmax, their mean of the values. The
//! square matrix of scores is never held.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd` holds for whatever calls these

use super::functions::softmax;
use super::product::Plain;
use super::simd::{Epilogue, Simd, Tile};

/// Where the queries, keys and values of one head of one text stand, and where its context goes.
#[derive(Clone, Copy)]
pub struct Head {
    pub queries: *const u32,
    pub keys: *const u32,
    pub values: *const u32,
    /// Words from one token to the next in all three.
    pub stride: usize,
    pub n_tokens: usize,
    /// Columns of the head, a multiple of the panel's width.
    pub width: usize,
    /// Values from one token to the next, and the column where this head begins.
    pub out: *mut u32,
    pub out_stride: usize,
    pub out_column: usize,
    pub scratch: Scratch,
}

/// Memory for one text of `longest` tokens, see `Scratch::words`.
#[derive(Clone, Copy)]
pub struct Scratch {
    pub keys: *mut u32,
    pub values: *mut u32,
    pub scores: *mut f32,
    pub powers: *mut u32,
}

/// Tokens are counted in whole panels of the widest instruction set.
pub const TOKENS_PAD: usize = 32;
/// The most rows of any register tile.
const MOST_ROWS: usize = 12;

/// Words of `keys`, `values`, `scores` and `powers` for texts of up to `longest` tokens.
pub fn scratch_words(longest: usize, width: usize) -> [usize; 4] {
    let padded = longest.next_multiple_of(TOKENS_PAD);
    [padded * width, padded * width, MOST_ROWS * padded, MOST_ROWS * padded]
}

/// softmax(queries . keys^T) . values; the queries are scaled by log2(e) / sqrt(width) already (Vaswani et al. 2017,
/// section 3.2.1).
#[inline(always)]
pub unsafe fn attend<S: Simd>(head: &Head) {
    let panel = S::LANES * S::VECTORS;
    let n_keys = head.n_tokens.next_multiple_of(panel);
    let key_words = head.width / S::PER_WORD;
    let value_words = head.n_tokens.div_ceil(S::PER_WORD);
    pack_keys::<S>(head, key_words);
    if S::PER_WORD > 1 {
        pack_pairs(head);
    }
    // an f32 is a word already: values are multiplied where they stand
    let (values, values_stride) =
        if S::PER_WORD > 1 { (head.scratch.values.cast_const(), head.width) } else { (head.values, head.stride) };
    let row_words = n_keys / S::PER_WORD;
    let mut row = 0;
    while row < head.n_tokens {
        let rows = S::ROWS.min(head.n_tokens - row);
        let scores = Plain { out: head.scratch.scores, stride: n_keys };
        let a = head.queries.add(row * head.stride);
        for column in (0..n_keys).step_by(panel) {
            let vectors = (head.n_tokens - column).div_ceil(S::LANES).min(S::VECTORS);
            let b = head.scratch.keys.add(column * key_words);
            let tile = Tile { a, a_stride: head.stride, b, b_stride: panel, n_words: key_words, row: 0, column };
            S::tile(rows, vectors, tile, &scores);
        }
        let mut shares = [0f32; MOST_ROWS];
        for (r, share) in shares.iter_mut().enumerate().take(rows) {
            let to = head.scratch.powers.add(r * row_words);
            *share = softmax::<S>(head.scratch.scores.add(r * n_keys), head.n_tokens, to);
        }
        let context = Share { out: head.out, stride: head.out_stride, first_row: row, shares: &shares };
        for column in (0..head.width).step_by(panel) {
            let tile = Tile {
                a: head.scratch.powers,
                a_stride: row_words,
                b: values.add(column),
                b_stride: values_stride,
                n_words: value_words,
                row: 0,
                column: head.out_column + column,
            };
            S::tile(rows, S::VECTORS, tile, &context);
        }
        row += rows;
    }
}

/// Sums times the share of their row, as values.
struct Share<'a> {
    out: *mut u32,
    stride: usize,
    first_row: usize,
    shares: &'a [f32; MOST_ROWS],
}

impl<S: Simd> Epilogue<S> for Share<'_> {
    #[inline(always)]
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize) {
        let values = S::mul(sums, S::splat(self.shares[row]));
        S::store_values(self.out, (self.first_row + row) * self.stride + column, values);
    }
}

/// Keys become the columns of panels: the words of a key stand below each other.
#[inline(always)]
unsafe fn pack_keys<S: Simd>(head: &Head, key_words: usize) {
    let panel = S::LANES * S::VECTORS;
    for first in (0..head.n_tokens).step_by(panel) {
        let to = head.scratch.keys.add(first * key_words);
        let n = panel.min(head.n_tokens - first);
        for key in 0..n {
            let from = head.keys.add((first + key) * head.stride);
            for word in 0..key_words {
                *to.add(word * panel + key) = *from.add(word);
            }
        }
        // scores of the padding are computed and thrown away: they must only be numbers
        for key in n..panel {
            for word in 0..key_words {
                *to.add(word * panel + key) = 0;
            }
        }
    }
}

/// Values of two tokens become words, since a product of bf16 takes pairs along the sum; a last odd one pairs with 0.
#[inline(always)]
unsafe fn pack_pairs(head: &Head) {
    for pair in 0..head.n_tokens.div_ceil(2) {
        let first = head.values.add(2 * pair * head.stride).cast::<u16>();
        let to = head.scratch.values.add(pair * head.width);
        if 2 * pair + 1 < head.n_tokens {
            let second = first.add(2 * head.stride);
            for column in 0..head.width {
                *to.add(column) = *first.add(column) as u32 | (*second.add(column) as u32) << 16;
            }
        } else {
            for column in 0..head.width {
                *to.add(column) = *first.add(column) as u32;
            }
        }
    }
}
