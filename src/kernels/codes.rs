//! Points as bytes, and their products with a query: a quarter of what f32 takes to read, and a fourth of the products.
//! Sums of whole numbers have no rounding, so scores are the same bits on every instruction set.
//!
//! A point is a scale times whole numbers from -127 to 127, stored plus 128: the instruction that multiplies bytes
//! (VNNI) wants one side without a sign. What that adds to a sum is the same for all points of a query.

use std::sync::OnceLock;

use super::tiles::margin;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Added to the whole numbers of points.
const BIAS: i32 = 128;
/// Largest whole number.
const LARGEST: f32 = 127.0;
/// Widest points whose sums fit into an i32: 255 * 127 * this.
pub const MAX_DIM: usize = 65_536;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Points, one after the other, that can grow.
#[derive(Clone)]
pub struct Codes {
    lines: Vec<Line>,
    lines_per_point: usize,
    dim: usize,
    /// What the whole numbers are multiplied by, and minus half the squared norm of the point.
    factors: Vec<[f32; 2]>,
}

/// A point that others are compared with.
pub struct CodedQuery {
    lines: Vec<Line>,
    scale: f32,
    bias: i32,
    lengths: (f32, f32),
}

fn lines_of(dim: usize) -> usize {
    dim.div_ceil(LINE)
}

/// The scale of a point, and its norm and that of what rounding takes away.
fn encode(point: &[f32], scale: f32, mut put: impl FnMut(usize, i32)) -> (f32, f32, f32) {
    let largest = point.iter().fold(0f32, |a, b| a.max((b * scale).abs()));
    let step = largest / LARGEST;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    // a step so small that its inverse is infinite: what is taken away is the point itself
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let (mut norm, mut lost) = (0f64, 0f64);
    for (i, value) in point.iter().enumerate() {
        let value = value * scale;
        let code = (value * inverse).round_ties_even().clamp(-LARGEST, LARGEST);
        put(i, code as i32);
        norm += value as f64 * value as f64;
        lost += (value as f64 - code as f64 * step as f64).powi(2);
    }
    (step, norm.sqrt() as f32, lost.sqrt() as f32)
}

impl CodedQuery {
    /// `point` times `scale`.
    pub fn new(point: &[f32], scale: f32) -> Self {
        let mut lines = vec![Line([0; LINE]); lines_of(point.len())];
        let mut sum = 0;
        let (step, norm, lost) = encode(point, scale, |i, code| {
            lines[i / LINE].0[i % LINE] = code as i8 as u8;
            sum += code;
        });
        Self { lines, scale: step, bias: BIAS * sum, lengths: (norm, lost) }
    }

    /// How far a score can be off, for points up to these lengths (norm, norm of what rounding took away).
    pub fn margin(&self, dim: usize, largest: (f32, f32)) -> f32 {
        margin(dim, self.lengths, largest)
    }
}

impl Codes {
    pub fn new(dim: usize) -> Self {
        assert!(dim <= MAX_DIM);
        Self { lines: Vec::new(), lines_per_point: lines_of(dim), dim, factors: Vec::new() }
    }

    pub fn n(&self) -> usize {
        self.factors.len()
    }

    pub fn reserve(&mut self, n: usize) {
        self.lines.reserve_exact(n * self.lines_per_point);
        self.factors.reserve_exact(n);
    }

    /// Adds `point` times `scale`; returns its norm and that of what rounding took away.
    pub fn push(&mut self, point: &[f32], scale: f32) -> (f32, f32) {
        let first = self.lines.len();
        self.lines.resize(first + self.lines_per_point, Line([0; LINE]));
        let lines = &mut self.lines[first..];
        let (step, norm, lost) = encode(point, scale, |i, code| lines[i / LINE].0[i % LINE] = (code + BIAS) as u8);
        self.factors.push([step, -0.5 * norm * norm]);
        (norm, lost)
    }

    /// Adds a copy of a point of others of the same width.
    pub fn push_from(&mut self, from: &Self, i: usize) {
        assert_eq!(self.lines_per_point, from.lines_per_point);
        self.lines.extend_from_slice(&from.lines[i * self.lines_per_point..(i + 1) * self.lines_per_point]);
        self.factors.push(from.factors[i]);
    }

    /// Takes a point out; the last one takes its place.
    pub fn swap_remove(&mut self, i: usize) {
        let last = self.n() - 1;
        let lines = self.lines_per_point;
        self.lines.copy_within(last * lines..(last + 1) * lines, i * lines);
        self.lines.truncate(last * lines);
        self.factors.swap_remove(i);
    }

    /// The bytes of all points without padding, for a file.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.lines
            .chunks_exact(self.lines_per_point)
            .flat_map(|lines| lines.iter().flat_map(|line| line.0).take(self.dim))
    }

    /// Per point what the whole numbers are multiplied by, and minus half the squared norm.
    pub fn factors(&self) -> &[[f32; 2]] {
        &self.factors
    }

    /// From what [`Codes::bytes`] and [`Codes::factors`] gave.
    pub fn from_parts(dim: usize, bytes: &[u8], factors: Vec<[f32; 2]>) -> Self {
        assert_eq!(bytes.len(), dim * factors.len());
        let mut codes = Self::new(dim);
        codes.reserve(factors.len());
        codes.lines.resize(codes.lines_per_point * factors.len(), Line([0; LINE]));
        for (lines, bytes) in codes.lines.chunks_exact_mut(codes.lines_per_point).zip(bytes.chunks_exact(dim)) {
            for (line, bytes) in lines.iter_mut().zip(bytes.chunks(LINE)) {
                line.0[..bytes.len()].copy_from_slice(bytes);
            }
        }
        codes.factors = factors;
        codes
    }

    /// The scores of all points: product with the query minus half the squared norm.
    pub fn scores(&self, query: &CodedQuery, sums: &mut Vec<i32>, out: &mut Vec<f32>) {
        assert_eq!(query.lines.len(), self.lines_per_point);
        let n = self.n();
        // what is left from another call is written over
        sums.resize(n, 0);
        // SAFETY: query and points have this many lines, there is a place per point, and the table holds what this CPU
        // can run
        unsafe { (table())(query.lines.as_ptr(), self.lines.as_ptr(), self.lines_per_point, n, sums.as_mut_ptr()) }
        out.clear();
        out.extend(sums.iter().zip(&self.factors).map(|(sum, factors)| score(query, *sum, *factors)));
    }

    /// The score of one point.
    #[inline]
    pub fn score(&self, query: &CodedQuery, i: usize) -> f32 {
        assert!(query.lines.len() == self.lines_per_point && i < self.n());
        let mut sum = 0i32;
        // SAFETY: as above; point `i` is one of them
        unsafe {
            let point = self.lines.as_ptr().add(i * self.lines_per_point);
            (table())(query.lines.as_ptr(), point, self.lines_per_point, 1, &raw mut sum);
        }
        score(query, sum, self.factors[i])
    }

    /// Says that a point is wanted soon.
    #[inline]
    pub fn prefetch(&self, i: usize) {
        #[cfg(target_arch = "x86_64")]
        if i < self.n() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: these addresses are inside the points; a prefetch reads nothing
            unsafe {
                for line in 0..self.lines_per_point {
                    _mm_prefetch(self.lines.as_ptr().add(i * self.lines_per_point + line).cast(), _MM_HINT_T0);
                }
                _mm_prefetch(self.factors.as_ptr().add(i).cast(), _MM_HINT_T0);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = i;
    }
}

#[inline(always)]
fn score(query: &CodedQuery, sum: i32, [step, half]: [f32; 2]) -> f32 {
    (sum - query.bias) as f32 * (query.scale * step) + half
}

/// Sums of products of the query's lines with those of `n` points.
type Sums = unsafe fn(*const Line, *const Line, usize, usize, *mut i32);

fn table() -> Sums {
    static TABLE: OnceLock<Sums> = OnceLock::new();
    *TABLE.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                return x86::vnni;
            }
            if is_x86_feature_detected!("avx2") {
                return x86::avx2;
            }
        }
        plain
    })
}

/// # Safety
/// `query` and each of the `n` points have `lines` lines, `out` room for `n` sums.
unsafe fn plain(query: *const Line, points: *const Line, lines: usize, n: usize, out: *mut i32) {
    // SAFETY: the contract of this function
    let (query, points, out) = unsafe {
        (
            std::slice::from_raw_parts(query, lines),
            std::slice::from_raw_parts(points, lines * n),
            std::slice::from_raw_parts_mut(out, n),
        )
    };
    for (out, point) in out.iter_mut().zip(points.chunks_exact(lines)) {
        let products = point.iter().zip(query).map(|(point, query)| {
            point.0.iter().zip(query.0).map(|(a, b)| i32::from(*a) * i32::from(b as i8)).sum::<i32>()
        });
        *out = products.sum();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `plain` holds for these, on CPUs that have the instructions

    use std::arch::x86_64::*;

    use super::{LINE, Line};

    /// Points whose sums run beside each other: the instruction takes four cycles, and one begins in each.
    const POINTS: usize = 4;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn vnni(query: *const Line, points: *const Line, lines: usize, n: usize, out: *mut i32) {
        let mut i = 0;
        while i + POINTS <= n {
            let first = points.add(i * lines);
            let mut sums = [_mm512_setzero_si512(); POINTS];
            for line in 0..lines {
                let query = _mm512_load_si512(query.add(line).cast());
                for (point, sum) in sums.iter_mut().enumerate() {
                    let codes = _mm512_load_si512(first.add(point * lines + line).cast());
                    *sum = _mm512_dpbusd_epi32(*sum, codes, query);
                }
            }
            let [a, b, c, d] =
                sums.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
            let all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let all = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
            _mm_storeu_si128(out.add(i).cast(), all);
            i += POINTS;
        }
        while i < n {
            let mut sum = _mm512_setzero_si512();
            for line in 0..lines {
                let codes = _mm512_load_si512(points.add(i * lines + line).cast());
                sum = _mm512_dpbusd_epi32(sum, codes, _mm512_load_si512(query.add(line).cast()));
            }
            *out.add(i) = _mm512_reduce_add_epi32(sum);
            i += 1;
        }
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2(query: *const Line, points: *const Line, lines: usize, n: usize, out: *mut i32) {
        // widened to 16 bits: products of bytes would be cut off at 16
        for i in 0..n {
            let point = points.add(i * lines).cast::<u8>();
            let mut sums = [_mm256_setzero_si256(); 2];
            for at in (0..lines * LINE).step_by(32) {
                for (half, sum) in sums.iter_mut().enumerate() {
                    let at = at + half * 16;
                    let codes = _mm256_cvtepu8_epi16(_mm_load_si128(point.add(at).cast()));
                    let query = _mm256_cvtepi8_epi16(_mm_load_si128(query.cast::<u8>().add(at).cast()));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, query));
                }
            }
            let sum = _mm256_add_epi32(sums[0], sums[1]);
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let sum = _mm_hadd_epi32(sum, sum);
            *out.add(i) = _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::{dot, squared_norm};
    use crate::random::Rng;

    fn matrix(n: usize, dim: usize, seed: u64, size: f32) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..n * dim).map(|_| rng.normal() as f32 * size).collect()
    }

    proptest! {
        #[test]
        fn scores_are_within_the_margin(n in 1usize..20, dim in 1usize..300, seed in 0u64..1000, power in -8i32..8) {
            let (points, query) = (matrix(n, dim, seed, 10f32.powi(power)), matrix(1, dim, seed + 1, 1.0));
            let (mut codes, mut largest) = (Codes::new(dim), (0f32, 0f32));
            for point in points.chunks_exact(dim) {
                let lengths = codes.push(point, 0.5);
                largest = (largest.0.max(lengths.0), largest.1.max(lengths.1));
            }
            let coded = CodedQuery::new(&query, 0.5);
            let margin = coded.margin(dim, largest);
            let (mut sums, mut scores) = (Vec::new(), Vec::new());
            codes.scores(&coded, &mut sums, &mut scores);
            for (i, point) in points.chunks_exact(dim).enumerate() {
                let want = 0.25 * (dot(&query, point) - 0.5 * squared_norm(point));
                prop_assert!((scores[i] as f64 - want).abs() <= margin as f64, "{} {want} {margin}", scores[i]);
                prop_assert_eq!(codes.score(&coded, i).to_bits(), scores[i].to_bits());
            }
            let again = Codes::from_parts(dim, &codes.bytes().collect::<Vec<_>>(), codes.factors().to_vec());
            again.scores(&coded, &mut sums, &mut scores);
            prop_assert_eq!(codes.score(&coded, n - 1).to_bits(), scores[n - 1].to_bits());
        }

        #[test]
        fn every_instruction_set_gives_the_same_sums(n in 1usize..20, dim in 1usize..300, seed in 0u64..1000) {
            let points = matrix(n, dim, seed, 1.0);
            let mut codes = Codes::new(dim);
            points.chunks_exact(dim).for_each(|point| { codes.push(point, 1.0); });
            // the extremes of both sides, where narrow sums would overflow
            codes.lines[0] = Line([255; LINE]);
            let mut query = CodedQuery::new(&points[..dim], 1.0);
            query.lines[0] = Line([129; LINE]);
            let sums = |sums: Sums| {
                let mut out = vec![0; n];
                // SAFETY: the points stand as the function wants them; only what this CPU can run is called
                unsafe { sums(query.lines.as_ptr(), codes.lines.as_ptr(), codes.lines_per_point, n, out.as_mut_ptr()) };
                out
            };
            let want = sums(plain);
            prop_assert_eq!(&sums(table()), &want);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                prop_assert_eq!(&sums(x86::avx2), &want);
            }
        }
    }

    #[test]
    fn zeros_and_the_smallest_numbers_have_scores() {
        let mut codes = Codes::new(3);
        codes.push(&[0.0; 3], 1.0);
        codes.push(&[f32::MIN_POSITIVE / 4.0; 3], 1.0);
        let (mut sums, mut scores) = (Vec::new(), Vec::new());
        codes.scores(&CodedQuery::new(&[0.0; 3], 1.0), &mut sums, &mut scores);
        assert!(scores.iter().all(|score| score.abs() < 1e-30), "{scores:?}");
        codes.swap_remove(0);
        assert_eq!(codes.n(), 1);
    }
}
