//! exp, GELU, softmax and LayerNorm on vectors, written once for every instruction set.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd` holds for whatever calls these

use super::simd::Simd;

/// 2^x for x <= 0, relative error below 3e-7 (f32) or 8e-5 (bf16, which keeps 8 bits); 0 below 2^-126.
#[inline(always)]
pub unsafe fn exp2<S: Simd>(x: S::F) -> S::F {
    let x = S::max(x, S::splat(-126.0));
    let whole = S::round(x);
    let part = S::sub(x, whole);
    // minimax polynomials of 2^f for |f| <= 1/2
    let power = if S::PER_WORD == 1 {
        horner::<S, 7>(
            part,
            [
                1.0,
                std::f32::consts::LN_2,
                0.240_226_46,
                0.055_503_286,
                0.009_618_489,
                0.001_339_993_1,
                0.000_153_458_08,
            ],
        )
    } else {
        horner::<S, 4>(part, [0.999_928_06, 0.693_260_97, 0.242_611_13, 0.055_171_624])
    };
    S::scale_by_power(power, whole)
}

/// Beyond this, GELU(x) is x or 0: to 1.3e-4 for bf16, to 1e-6 for f32.
const CUT_BF16: f32 = 4.0;
const CUT_F32: f32 = 5.2;
/// (Phi(x) - 1/2) / x as a polynomial of x^2, so that it is 1/2 / x at the cut.
const PHI_BF16: [f32; 8] = [
    0.398_197_95,
    -0.065_082_05,
    0.009_049_247,
    -0.000_885_169,
    5.771_384e-5,
    -2.333_029e-6,
    5.140_064_7e-8,
    -4.514_157e-10,
];
/// The same of 2 x^2 / cut^2 - 1, which keeps the digits of f32.
const PHI_F32: [f32; 13] = [
    0.135_949_92,
    -0.067_743_406,
    0.050_030_21,
    -0.039_941_207,
    0.031_906_668,
    -0.024_594_069,
    0.018_390_24,
    -0.013_101_453,
    0.007_550_776,
    -0.003_508_019_5,
    0.002_860_960_3,
    -0.002_502_713_8,
    0.000_855_931_1,
];

/// x Phi(x) with the exact normal distribution function (Hendrycks and Gimpel 2016): error below 1.4e-4 where the result
/// is rounded to bf16, below 2e-6 for f32.
#[inline(always)]
pub unsafe fn gelu<S: Simd>(x: S::F) -> S::F {
    let cut = if S::PER_WORD == 1 { CUT_F32 } else { CUT_BF16 };
    let inner = S::min(S::max(x, S::splat(-cut)), S::splat(cut));
    let square = S::mul(inner, inner);
    let slope = if S::PER_WORD == 1 {
        horner::<S, 13>(S::mul_add(square, S::splat(2.0 / (cut * cut)), S::splat(-1.0)), PHI_F32)
    } else {
        horner::<S, 8>(square, PHI_BF16)
    };
    S::mul(x, S::mul_add(inner, slope, S::splat(0.5)))
}

/// c[0] + c[1] x + c[2] x^2 + ...
#[inline(always)]
unsafe fn horner<S: Simd, const N: usize>(x: S::F, coefficients: [f32; N]) -> S::F {
    let mut sum = S::splat(coefficients[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = S::mul_add(sum, x, S::splat(coefficients[i]));
    }
    sum
}

/// Turns `n` scores into 2^(score - largest), as values in `to`, and returns one over their sum. Values between `n` and
/// the end of its last vector become 0.
#[inline(always)]
pub unsafe fn softmax<S: Simd>(scores: *mut f32, n: usize, to: *mut u32) -> f32 {
    let (n_whole, rest) = (n / S::LANES, n % S::LANES);
    let last = scores.add(n_whole * S::LANES);
    let mut largest = S::splat(f32::NEG_INFINITY);
    for i in 0..n_whole {
        largest = S::max(largest, S::load(scores.add(i * S::LANES)));
    }
    if rest > 0 {
        largest = S::max(largest, S::first_lanes(S::load(last), rest, f32::NEG_INFINITY));
    }
    let largest = S::splat(S::largest(largest));
    let mut sum = S::splat(0.0);
    for i in 0..n_whole {
        let power = exp2::<S>(S::sub(S::load(scores.add(i * S::LANES)), largest));
        sum = S::add(sum, power);
        S::store_values(to, i * S::LANES, power);
    }
    if rest > 0 {
        let power = S::first_lanes(exp2::<S>(S::sub(S::load(last), largest)), rest, 0.0);
        sum = S::add(sum, power);
        S::store_values(to, n_whole * S::LANES, power);
    }
    1.0 / S::sum(sum)
}

/// (x - mean) / sqrt(variance + epsilon) * weight + bias over the first `n` of `padded` columns (Ba et al. 2016), in place
/// and as values. Columns from `n` on are 0 before and after: weight and bias are 0 there.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn layer_norm_row<S: Simd>(
    x: *mut f32,
    n: usize,
    padded: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f32,
    values: *mut u32,
) {
    let mut sum = S::splat(0.0);
    for i in (0..padded).step_by(S::LANES) {
        sum = S::add(sum, S::load(x.add(i)));
    }
    let mean = S::sum(sum) / n as f32;
    let centre = S::splat(mean);
    let mut squares = S::splat(0.0);
    for i in (0..padded).step_by(S::LANES) {
        let difference = S::sub(S::load(x.add(i)), centre);
        squares = S::mul_add(difference, difference, squares);
    }
    // the padding is not part of the row: each of its zeros added mean^2
    let squares = (S::sum(squares) - (padded - n) as f32 * mean * mean).max(0.0);
    let scale = S::splat(1.0 / (squares / n as f32 + epsilon).sqrt());
    for i in (0..padded).step_by(S::LANES) {
        let unit = S::mul(S::sub(S::load(x.add(i)), centre), scale);
        let row = S::mul_add(unit, S::load(weight.add(i)), S::load(bias.add(i)));
        S::store(x.add(i), row);
        S::store_values(values, i, row);
    }
}
