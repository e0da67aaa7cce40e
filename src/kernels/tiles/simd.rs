//! The vector operations the tiles are written in: one trait, one implementation per instruction set.
//!
//! A *word* is 32 bits of a matrix: one f32, or two bf16 that stand beside each other. A product multiplies words: one
//! multiplication for f32, two for a pair of bf16.

#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)] // one contract for all, stated at the trait

/// # Safety
/// An implementation may use instructions that a CPU does not have. So every function here is only to be called where
/// `Kernels::of` found them, inside a function that is compiled for them; pointers must be good for `LANES` elements.
pub unsafe trait Simd: Copy {
    /// f32 values of a vector.
    const LANES: usize;
    /// Rows of a register tile.
    const ROWS: usize;
    /// Vectors side by side in a register tile.
    const VECTORS: usize;
    /// Values of a word: 1 (f32) or 2 (bf16).
    const PER_WORD: usize;
    /// `LANES` f32 values.
    type F: Copy;
    /// `LANES` words.
    type W: Copy;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, values: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, rounded once where the instruction set can.
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// 2^whole for whole numbers from -126 to 0, times `values`.
    unsafe fn scale_by_power(values: Self::F, whole: Self::F) -> Self::F;
    unsafe fn round(values: Self::F) -> Self::F;
    /// The first `n` lanes of `values`, `fill` in the others.
    unsafe fn first_lanes(values: Self::F, n: usize, fill: f32) -> Self::F;
    /// One bit per lane: a >= b, and not where one is NaN.
    unsafe fn at_least(a: Self::F, b: Self::F) -> u32;
    /// The lanes of `b` where `mask` has a bit, those of `a` elsewhere.
    unsafe fn blend(mask: u32, a: Self::F, b: Self::F) -> Self::F;
    /// Added in a fixed order.
    unsafe fn sum(values: Self::F) -> f32;
    unsafe fn largest(values: Self::F) -> f32;

    unsafe fn load_words(from: *const u32) -> Self::W;
    unsafe fn splat_word(from: *const u32) -> Self::W;
    /// acc + a . b, word by word.
    unsafe fn product(acc: Self::F, a: Self::W, b: Self::W) -> Self::F;
    /// Writes `LANES` values in the format of words, from value `index` of `to` on.
    unsafe fn store_values(to: *mut u32, index: usize, values: Self::F);
    /// Reads what `store_values` wrote.
    unsafe fn load_values(from: *const u32, index: usize) -> Self::F;
    /// Computes the register tile of `rows` x `vectors`: `micro` with constants.
    unsafe fn tile<E: Epilogue<Self>>(rows: usize, vectors: usize, tile: Tile, epilogue: &E);
}

/// What a register tile reads: `rows` rows of `a` and one panel of `b`, and where its result stands.
#[derive(Clone, Copy)]
pub struct Tile {
    pub a: *const u32,
    pub a_stride: usize,
    pub b: *const u32,
    pub b_stride: usize,
    pub n_words: usize,
    pub row: usize,
    pub column: usize,
}

/// What happens to the sums of a register tile.
pub trait Epilogue<S: Simd> {
    /// `sums` are those of column `column` and on, of row `row`.
    unsafe fn finish(&self, sums: S::F, row: usize, column: usize);

    /// All sums of a row of the tile, from `column` on.
    #[inline(always)]
    unsafe fn finish_row<const N: usize>(&self, sums: [S::F; N], row: usize, column: usize) {
        for (n, sums) in sums.into_iter().enumerate() {
            self.finish(sums, row, column + n * S::LANES);
        }
    }
}

/// One register tile: M rows of `a` times N vectors of columns of `b`.
#[inline(always)]
pub unsafe fn micro<S: Simd, const M: usize, const N: usize, E: Epilogue<S>>(tile: Tile, epilogue: &E) {
    let mut sums = [[S::splat(0.0); N]; M];
    let mut b = tile.b;
    // four rows share a base, so that the addresses of all rows fit into the general registers
    let mut bases = [tile.a, tile.a.wrapping_add(4 * tile.a_stride), tile.a.wrapping_add(8 * tile.a_stride)];
    for _ in 0..tile.n_words {
        let mut columns = [S::load_words(b); N];
        for (n, column) in columns.iter_mut().enumerate().skip(1) {
            *column = S::load_words(b.add(n * S::LANES));
        }
        for m in 0..M {
            let value = S::splat_word(bases[m / 4].add((m % 4) * tile.a_stride));
            for n in 0..N {
                sums[m][n] = S::product(sums[m][n], value, columns[n]);
            }
        }
        b = b.add(tile.b_stride);
        for base in &mut bases {
            *base = base.wrapping_add(1);
        }
    }
    for (m, row) in sums.iter().enumerate() {
        epilogue.finish_row(*row, tile.row + m, tile.column);
    }
}

/// `Simd::tile` by a table of constants.
macro_rules! tile_table {
    ($rows:expr, $vectors:expr, $tile:expr, $epilogue:expr, [$($m:literal)*]) => {
        match ($rows, $vectors) {
            $(($m, 1) => $crate::kernels::tiles::simd::micro::<Self, $m, 1, E>($tile, $epilogue),
              ($m, _) => $crate::kernels::tiles::simd::micro::<Self, $m, 2, E>($tile, $epilogue),)*
            _ => unreachable!("tiles have at most Simd::ROWS rows"),
        }
    };
}
pub(crate) use tile_table;
