//! Points in the format of the kernels, and the scans over their products. One side is [`Rows`], as they stand in memory;
//! the other [`Columns`], packed into panels that stay in the cache while rows pass by.
//!
//! Scores are rounded; [`margin`] bounds by how much. What a scan decides within that margin is to be settled by
//! measuring the points themselves.

use rayon::prelude::*;

use super::aligned::Aligned;
use super::product::Product;
use super::scan::{Above, Hit, Scores, TopTwo};
use super::{Kernels, PANEL, ROWS, Values, padded};

pub use super::scan::GROUP;

/// Points that are converted at a time.
const BLOCK: usize = 512;

/// What is known of the points of one side: all of it scaled.
struct Lengths {
    /// Minus half the squared norms.
    halves: Vec<f32>,
    /// Norms.
    norms: Vec<f32>,
    /// Norms of what rounding took away.
    lost: Vec<f32>,
}

impl Lengths {
    fn new(measured: impl Iterator<Item = (f32, f32)>) -> Self {
        let mut lengths = Self { halves: Vec::new(), norms: Vec::new(), lost: Vec::new() };
        measured.for_each(|measured| lengths.push(measured));
        lengths
    }

    fn push(&mut self, (squared_norm, squared_lost): (f32, f32)) {
        self.halves.push(-0.5 * squared_norm);
        self.norms.push(squared_norm.sqrt());
        self.lost.push(squared_lost.sqrt());
    }

    fn clear(&mut self) {
        self.halves.clear();
        self.norms.clear();
        self.lost.clear();
    }

    fn largest(&self) -> (f32, f32) {
        let largest = |values: &[f32]| values.iter().fold(0f32, |a, b| a.max(*b));
        (largest(&self.norms), largest(&self.lost))
    }
}

/// The power of two that brings numbers of this size near 1, so that no square is beyond f32.
pub fn scale_for(largest: f32) -> f32 {
    if !(largest.is_finite() && largest > 0.0) {
        return 1.0;
    }
    let exponent = (largest.to_bits() >> 23) as i32 - 127;
    f32::from_bits(((127 - exponent.clamp(-126, 126)) as u32) << 23)
}

/// Points as rows of the left side of a product.
pub struct Rows {
    values: Values,
    lengths: Lengths,
}

impl Rows {
    /// Takes `n` points of `dim` values, each times `scale`.
    pub fn new<'a>(
        kernels: Kernels,
        n: usize,
        dim: usize,
        scale: f32,
        point: impl Fn(usize) -> &'a [f32] + Sync,
    ) -> Self {
        // a tile may begin at any row, and reads whole tiles
        let mut values = Values::zeros(kernels, n + ROWS, dim);
        let row_words = values.row_words();
        let measured: Vec<Vec<(f32, f32)>> = values.data.words_mut()[..n * row_words]
            .par_chunks_mut(row_words * BLOCK)
            .enumerate()
            .map(|(block, words)| {
                let points = words.chunks_exact_mut(row_words).enumerate();
                points.map(|(i, words)| kernels.convert(point(block * BLOCK + i), scale, words)).collect()
            })
            .collect();
        Self { values, lengths: Lengths::new(measured.into_iter().flatten()) }
    }

    /// Rows with room for `n` points of `dim` values, and none in it yet.
    pub fn with_room(kernels: Kernels, n: usize, dim: usize) -> Self {
        Self { values: Values::zeros(kernels, n + ROWS, dim), lengths: Lengths::new(std::iter::empty()) }
    }

    /// Takes other points in place of those it has; there is room for them.
    pub fn refill<'a>(&mut self, kernels: Kernels, scale: f32, points: impl Iterator<Item = &'a [f32]>) {
        self.lengths.clear();
        let words = self.values.row_words();
        for (row, point) in points.enumerate() {
            assert!(row < self.values.n_rows - ROWS, "room for {} rows", self.values.n_rows - ROWS);
            let words = &mut self.values.data.words_mut()[row * words..(row + 1) * words];
            self.lengths.push(kernels.convert(point, scale, words));
        }
    }

    pub fn n(&self) -> usize {
        self.lengths.norms.len()
    }

    /// Copies of some of the rows, into `self`, which has room for them.
    pub fn gather(&mut self, from: &Rows, chosen: impl Iterator<Item = usize>) {
        self.lengths.clear();
        let Lengths { halves, norms, lost } = &mut self.lengths;
        let words = from.values.row_words();
        assert_eq!(words, self.values.row_words());
        for (to, row) in chosen.enumerate() {
            assert!(to < self.values.n_rows - ROWS, "room for {} rows", self.values.n_rows - ROWS);
            self.values.data.words_mut()[to * words..(to + 1) * words]
                .copy_from_slice(&from.values.data.words()[row * words..(row + 1) * words]);
            halves.push(from.lengths.halves[row]);
            norms.push(from.lengths.norms[row]);
            lost.push(from.lengths.lost[row]);
        }
    }

    /// Norm of a row and of what rounding took away: for [`margin`].
    pub fn lengths(&self, row: usize) -> (f32, f32) {
        (self.lengths.norms[row], self.lengths.lost[row])
    }

    /// Minus half the squared norm of a row, scaled.
    pub fn half(&self, row: usize) -> f32 {
        self.lengths.halves[row]
    }

    /// Largest norm of the rows, and largest norm of what rounding took away: for [`margin`].
    pub fn largest(&self) -> (f32, f32) {
        self.lengths.largest()
    }
}

/// Points as columns of the right side of a product.
pub struct Columns {
    data: Aligned,
    halves: Aligned,
    lengths: Lengths,
    n_words: usize,
    largest: (f32, f32),
}

impl Columns {
    /// Takes `n` points of `dim` values, each times `scale`.
    pub fn new<'a>(kernels: Kernels, n: usize, dim: usize, scale: f32, point: impl Fn(usize) -> &'a [f32]) -> Self {
        let super::Table { panel, per_word, .. } = *kernels.table;
        let (n_words, n_columns) = (padded(dim) / per_word, padded(n));
        let mut data = Aligned::zeros(n_words * n_columns);
        let mut halves = Aligned::zeros(n_columns);
        halves.floats_mut().fill(f32::NEG_INFINITY);
        let mut words = vec![0u32; n_words];
        let packed = data.words_mut();
        let measured = (0..n).map(|column| {
            let measured = kernels.convert(point(column), scale, &mut words);
            let (first, lane) = (column / panel * panel * n_words, column % panel);
            for (i, word) in words.iter().enumerate() {
                packed[first + i * panel + lane] = *word;
            }
            measured
        });
        let lengths = Lengths::new(measured);
        halves.floats_mut()[..n].copy_from_slice(&lengths.halves);
        let largest = lengths.largest();
        Self { data, halves, lengths, n_words, largest }
    }

    pub fn n(&self) -> usize {
        self.lengths.norms.len()
    }

    /// Groups of [`GROUP`] columns.
    pub fn n_groups(&self) -> usize {
        self.n().div_ceil(GROUP)
    }

    /// Minus half the squared norm of a column, scaled.
    pub fn half(&self, column: usize) -> f32 {
        self.lengths.halves[column]
    }

    /// Largest norm of the columns, and largest norm of what rounding took away: for [`margin`].
    pub fn largest(&self) -> (f32, f32) {
        self.largest
    }

    /// Norm of a column and of what rounding took away: for [`margin`].
    pub fn lengths(&self, column: usize) -> (f32, f32) {
        (self.lengths.norms[column], self.lengths.lost[column])
    }
}

/// Most that a score of two points of `dim` values can be off, by the norms of the points and of what rounding took away
/// (of many points, the largest of them).
///
/// Both factors are rounded: |x.c - x'.c'| <= |x - x'| |c| + |x'| |c - c'| (Cauchy-Schwarz). Then come the sums: at most
/// one rounding per term (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
pub fn margin(dim: usize, (norm, lost): (f32, f32), (other_norm, other_lost): (f32, f32)) -> f32 {
    let products = lost * other_norm + (norm + lost) * other_lost;
    let sums = (dim + 8) as f32 * f32::EPSILON * (norm * other_norm + norm.max(other_norm).powi(2));
    1.01 * (products + sums) + f32::MIN_POSITIVE
}

/// Results of [`Kernels::top_two`]: one entry per row and group of columns.
#[derive(Default)]
pub struct TopTwos {
    pub best: Vec<f32>,
    pub second: Vec<f32>,
    /// Column of the best.
    pub columns: Vec<u32>,
}

impl TopTwos {
    fn resize(&mut self, len: usize) {
        self.best.resize(len, f32::NEG_INFINITY);
        self.second.resize(len, f32::NEG_INFINITY);
        self.columns.resize(len, 0);
    }
}

/// Results of [`Kernels::above`], with room that is kept from one call to the next.
#[derive(Default)]
pub struct Hits {
    hits: Vec<Hit>,
    n: usize,
}

impl Hits {
    pub fn iter(&self) -> impl Iterator<Item = Hit> + '_ {
        self.hits[..self.n].iter().copied()
    }
}

impl Kernels {
    /// The best score, the second best and the best column of the first `n_rows` rows, in `n_groups` groups of columns
    /// from group `first_group` on; row by row into `out`.
    pub fn top_two(
        self,
        rows: &Rows,
        n_rows: usize,
        columns: &Columns,
        first_group: usize,
        n_groups: usize,
        out: &mut TopTwos,
    ) {
        assert!(n_rows <= rows.n() && first_group + n_groups <= columns.n_groups());
        out.resize(n_rows * n_groups);
        let job = self.product(rows, 0, n_rows, columns, first_group, n_groups);
        let epilogue = TopTwo {
            halves: columns.halves.floats()[first_group * GROUP..].as_ptr(),
            best: out.best.as_mut_ptr(),
            second: out.second.as_mut_ptr(),
            columns: out.columns.as_mut_ptr(),
            stride: n_groups,
        };
        // SAFETY: `product` checked what is read; the results have one place per row and group; this CPU has the
        // instructions (`Kernels::of`)
        unsafe { (self.table.top_two)(&job, &epilogue) }
        if first_group > 0 {
            out.columns[..n_rows * n_groups].iter_mut().for_each(|column| *column += (first_group * GROUP) as u32);
        }
    }

    /// All scores of the first `n_rows` rows, row by row into `out`, columns of padding included (minus infinity).
    pub fn scores(self, rows: &Rows, n_rows: usize, columns: &Columns, out: &mut Vec<f32>) {
        let stride = columns.n_groups() * GROUP;
        out.resize(n_rows * stride, 0.0);
        let job = self.product(rows, 0, n_rows, columns, 0, columns.n_groups());
        let epilogue = Scores { halves: columns.halves.floats().as_ptr(), out: out.as_mut_ptr(), stride };
        // SAFETY: `product` checked what is read; there is room for every pair
        unsafe { (self.table.scores)(&job, &epilogue) }
    }

    /// Pairs of rows `first..first + n_rows` and columns whose score reaches `column_thresholds` of the column, or
    /// `row_thresholds` of the row (as looked for from that side). `hits` count rows from `first`.
    ///
    /// `row_thresholds` has one value per row; `column_thresholds` one per column, padded columns included. None is
    /// minus infinity, which the columns of padding would reach.
    #[allow(clippy::too_many_arguments)]
    pub fn above(
        self,
        rows: &Rows,
        first: usize,
        n_rows: usize,
        columns: &Columns,
        row_thresholds: &[f32],
        column_thresholds: &[f32],
        hits: &mut Hits,
    ) {
        assert!(first + n_rows <= rows.n() && row_thresholds.len() == n_rows);
        assert_eq!(column_thresholds.len(), columns.n_groups() * GROUP);
        let most = n_rows * columns.n_groups() * GROUP;
        if hits.hits.len() < most {
            hits.hits.resize(most, Hit { row: 0, column: 0, product: 0.0 });
        }
        hits.n = 0;
        let job = self.product(rows, first, n_rows, columns, 0, columns.n_groups());
        let epilogue = Above {
            row_halves: rows.lengths.halves[first..].as_ptr(),
            column_halves: columns.halves.floats().as_ptr(),
            row_thresholds: row_thresholds.as_ptr(),
            column_thresholds: column_thresholds.as_ptr(),
            hits: hits.hits.as_mut_ptr(),
            n_hits: &raw mut hits.n,
        };
        // SAFETY: as above; there is room for every pair, and a pair is found once
        unsafe { (self.table.above)(&job, &epilogue) }
    }

    /// One point times `scale` into the words of a row; squared norms of what was read and of what rounding took away.
    fn convert(self, point: &[f32], scale: f32, words: &mut [u32]) -> (f32, f32) {
        let columns = words.len() * self.table.per_word;
        assert!(point.len() <= columns && columns.is_multiple_of(PANEL));
        // SAFETY: `point` is read as far as it goes, `words` have room for the padded columns
        unsafe { (self.table.convert)(point.as_ptr(), point.len(), columns, scale, words.as_mut_ptr()) }
    }

    fn product(
        self,
        rows: &Rows,
        first: usize,
        n_rows: usize,
        columns: &Columns,
        first_group: usize,
        n_groups: usize,
    ) -> Product {
        let row_words = rows.values.row_words();
        assert!(rows.values.per_word == self.table.per_word && row_words == columns.n_words);
        assert!(first + n_rows + ROWS <= rows.values.n_rows);
        Product {
            a: rows.values.data.words()[first * row_words..].as_ptr(),
            a_stride: row_words,
            n_rows,
            b: columns.data.words()[first_group * GROUP * columns.n_words..].as_ptr(),
            n_words: columns.n_words,
            n_columns: n_groups * GROUP,
        }
    }
}
