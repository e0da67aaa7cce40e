//! The discrete Fourier transform of the columns of a matrix, sixteen at a time. Only lengths whose factors are 2 and 3;
//! see `length_for`.

use std::f64::consts::TAU;

use rayon::prelude::*;

use crate::kernels;

/// Columns that are transformed side by side; widths of matrices are multiples of it.
pub const LANES: usize = 16;

type Lanes = [f32; LANES];

/// The shortest length of at least `least` that can be transformed and is a multiple of `LANES`.
pub fn length_for(least: usize) -> usize {
    let mut length = 2 * LANES;
    while length < least {
        // 2^m and 3 * 2^(m - 1) by turns
        length = if length.is_power_of_two() { length / 2 * 3 } else { length / 3 * 4 };
    }
    length
}

/// A complex matrix as two planes, row-major.
#[derive(Clone, Default)]
pub struct Planes {
    pub re: Vec<f32>,
    pub im: Vec<f32>,
}

impl Planes {
    pub fn zeros(length: usize) -> Self {
        Self { re: vec![0.0; length], im: vec![0.0; length] }
    }
}

/// Roots of unity for transforms of one length.
pub struct Fft {
    length: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Fft {
    /// For a `length` given by `length_for`.
    pub fn new(length: usize) -> Self {
        let angle = |i: usize| -TAU * i as f64 / length as f64;
        Self {
            length,
            cos: (0..length).map(|i| angle(i).cos() as f32).collect(),
            sin: (0..length).map(|i| angle(i).sin() as f32).collect(),
        }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// Transforms the columns of `from`, of which rows beyond those given are 0, and writes the first `keep` values of
    /// each as a row of `into`: the result is transposed. The inverse is not divided by the length.
    pub fn columns(&self, from: &Planes, width: usize, inverse: bool, keep: usize, into: &mut Planes) {
        let n = self.length;
        let given = from.re.len() / width;
        let blocks = into.re.par_chunks_mut(LANES * keep).zip(into.im.par_chunks_mut(LANES * keep));
        let scratch = || (vec![[0f32; LANES]; 2 * n], vec![[0f32; LANES]; 2 * n]);
        blocks.enumerate().for_each_init(scratch, |(re, im), (block, (into_re, into_im))| {
            kernels::widest(
                #[inline(always)]
                || {
                    re[given..n].fill([0.0; LANES]);
                    im[given..n].fill([0.0; LANES]);
                    for row in 0..given {
                        let place = row * width + block * LANES;
                        re[row].copy_from_slice(&from.re[place..place + LANES]);
                        im[row].copy_from_slice(&from.im[place..place + LANES]);
                    }
                    // the inverse is the transform with real and imaginary parts exchanged
                    let flipped = if inverse { self.stages(im, re) } else { self.stages(re, im) };
                    let (re, im) = (&re[flipped..flipped + keep], &im[flipped..flipped + keep]);
                    transpose(re, into_re, keep);
                    transpose(im, into_im, keep);
                },
            );
        });
    }

    /// Stockham's self-sorting transform of the first half of the planes; says where the result begins.
    #[inline(always)]
    fn stages(&self, re: &mut [Lanes], im: &mut [Lanes]) -> usize {
        let n = self.length;
        let (mut left, mut stride, mut in_second) = (n, 1, false);
        while left > 1 {
            let (re_low, re_high) = re.split_at_mut(n);
            let (im_low, im_high) = im.split_at_mut(n);
            let (from, into) = if in_second {
                ((&*re_high, &*im_high), (re_low, im_low))
            } else {
                ((&*re_low, &*im_low), (re_high, im_high))
            };
            let radix = if left.is_multiple_of(4) {
                4
            } else if left.is_multiple_of(3) {
                3
            } else {
                2
            };
            match radix {
                4 => self.stage::<4>(from, into, left, stride),
                3 => self.stage::<3>(from, into, left, stride),
                _ => self.stage::<2>(from, into, left, stride),
            }
            (left, stride, in_second) = (left / radix, stride * radix, !in_second);
        }
        n * usize::from(in_second)
    }

    #[inline(always)]
    fn stage<const R: usize>(
        &self,
        from: (&[Lanes], &[Lanes]),
        into: (&mut [Lanes], &mut [Lanes]),
        left: usize,
        stride: usize,
    ) {
        let part = left / R;
        for p in 0..part {
            let root = |j: usize| {
                let place = j * p * (self.length / left);
                (self.cos[place], self.sin[place])
            };
            let roots: [(f32, f32); R] = std::array::from_fn(root);
            for q in 0..stride {
                let re: [&Lanes; R] = std::array::from_fn(|k| &from.0[q + stride * (p + k * part)]);
                let im: [&Lanes; R] = std::array::from_fn(|k| &from.1[q + stride * (p + k * part)]);
                let (out_re, out_im) = butterfly::<R>(&re, &im);
                for (j, (cos, sin)) in roots.iter().enumerate() {
                    let place = q + stride * (R * p + j);
                    for lane in 0..LANES {
                        into.0[place][lane] = out_re[j][lane] * cos - out_im[j][lane] * sin;
                        into.1[place][lane] = out_re[j][lane] * sin + out_im[j][lane] * cos;
                    }
                }
            }
        }
    }
}

/// The transform of `R` values.
#[inline(always)]
fn butterfly<const R: usize>(re: &[&Lanes; R], im: &[&Lanes; R]) -> ([Lanes; R], [Lanes; R]) {
    const HALF_ROOT_OF_3: f32 = 0.866_025_4;
    let (mut out_re, mut out_im) = ([[0f32; LANES]; R], [[0f32; LANES]; R]);
    for l in 0..LANES {
        match R {
            2 => {
                (out_re[0][l], out_im[0][l]) = (re[0][l] + re[1][l], im[0][l] + im[1][l]);
                (out_re[1][l], out_im[1][l]) = (re[0][l] - re[1][l], im[0][l] - im[1][l]);
            }
            3 => {
                let (sum_re, sum_im) = (re[1][l] + re[2][l], im[1][l] + im[2][l]);
                let (turn_re, turn_im) =
                    (HALF_ROOT_OF_3 * (im[1][l] - im[2][l]), HALF_ROOT_OF_3 * (re[2][l] - re[1][l]));
                let (rest_re, rest_im) = (re[0][l] - 0.5 * sum_re, im[0][l] - 0.5 * sum_im);
                (out_re[0][l], out_im[0][l]) = (re[0][l] + sum_re, im[0][l] + sum_im);
                (out_re[1][l], out_im[1][l]) = (rest_re + turn_re, rest_im + turn_im);
                (out_re[2][l], out_im[2][l]) = (rest_re - turn_re, rest_im - turn_im);
            }
            _ => {
                let (a_re, a_im) = (re[0][l] + re[2][l], im[0][l] + im[2][l]);
                let (b_re, b_im) = (re[0][l] - re[2][l], im[0][l] - im[2][l]);
                let (c_re, c_im) = (re[1][l] + re[3][l], im[1][l] + im[3][l]);
                let (d_re, d_im) = (im[1][l] - im[3][l], re[3][l] - re[1][l]);
                (out_re[0][l], out_im[0][l]) = (a_re + c_re, a_im + c_im);
                (out_re[1][l], out_im[1][l]) = (b_re + d_re, b_im + d_im);
                (out_re[2][l], out_im[2][l]) = (a_re - c_re, a_im - c_im);
                (out_re[3][l], out_im[3][l]) = (b_re - d_re, b_im - d_im);
            }
        }
    }
    (out_re, out_im)
}

#[inline(always)]
fn transpose(rows: &[Lanes], into: &mut [f32], length: usize) {
    // in squares, so that both sides stay in the first-level cache
    for (square, rows) in rows.chunks(LANES).enumerate() {
        for (lane, column) in into.chunks_exact_mut(length).enumerate() {
            for (value, row) in column[square * LANES..].iter_mut().zip(rows) {
                *value = row[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    #[test]
    fn lengths_have_small_factors_and_whole_lanes() {
        assert_eq!([1, 17, 25, 33, 300, 400, 600].map(length_for), [32, 32, 32, 48, 384, 512, 768]);
    }

    #[test]
    fn columns_are_those_of_the_definition() {
        for n in [16, 24, 48, 64, 96, 128] {
            let mut rng = Rng::new(n as u64, 0);
            let given = n / 2;
            let mut from = Planes::zeros(given * LANES);
            from.re.iter_mut().chain(&mut from.im).for_each(|value| *value = rng.normal() as f32);
            for inverse in [false, true] {
                let mut into = Planes::zeros(n * LANES);
                Fft::new(n).columns(&from, LANES, inverse, n, &mut into);
                let sign = if inverse { 1.0 } else { -1.0 };
                for (lane, frequency) in [(0, 0), (3, 1), (15, n - 1), (7, n / 3)] {
                    let (mut re, mut im) = (0.0, 0.0);
                    for row in 0..given {
                        let (a, b) = (from.re[row * LANES + lane] as f64, from.im[row * LANES + lane] as f64);
                        let (sin, cos) = (sign * TAU * (row * frequency) as f64 / n as f64).sin_cos();
                        re += a * cos - b * sin;
                        im += a * sin + b * cos;
                    }
                    let place = lane * n + frequency;
                    assert!((into.re[place] as f64 - re).abs() < 1e-4, "{n} {frequency}: {} {re}", into.re[place]);
                    assert!((into.im[place] as f64 - im).abs() < 1e-4, "{n} {frequency}: {} {im}", into.im[place]);
                }
            }
        }
    }
}
