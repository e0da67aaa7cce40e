//! The low-dimensional membership of UMAP as a function of distance, `1 / (1 + a d^2b)`, and powers fast enough for its
//! gradient. It moves no point.

/// 1 / (1 + a d^2b): the low-dimensional membership.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    pub a: f32,
    pub b: f32,
}

impl Curve {
    /// Least squares (Gauss-Newton with damping) against 1 below `min_dist` and exp(-(d - min_dist) / spread) above,
    /// on 300 points of (0, 3 spread), as the reference does.
    pub fn fit(spread: f32, min_dist: f32) -> Self {
        let (spread, min_dist) = (spread as f64, min_dist as f64);
        let points: Vec<(f64, f64)> = (1..300)
            .map(|i| {
                let d = 3.0 * spread * i as f64 / 299.0;
                (d, if d < min_dist { 1.0 } else { (-(d - min_dist) / spread).exp() })
            })
            .collect();
        let error = |a: f64, b: f64| -> f64 {
            points.iter().map(|(d, want)| (1.0 / (1.0 + a * d.powf(2.0 * b)) - want).powi(2)).sum()
        };
        let (mut a, mut b, mut damping) = (1.0f64, 1.0f64, 1e-3f64);
        for _ in 0..200 {
            let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (d, want) in &points {
                let power = d.powf(2.0 * b);
                let value = 1.0 / (1.0 + a * power);
                let by_a = -power * value * value;
                let by_b = -a * power * 2.0 * d.ln() * value * value;
                let residual = value - want;
                aa += by_a * by_a;
                ab += by_a * by_b;
                bb += by_b * by_b;
                ga += by_a * residual;
                gb += by_b * residual;
            }
            let (daa, dbb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let determinant = daa * dbb - ab * ab;
            let (step_a, step_b) = ((dbb * ga - ab * gb) / determinant, (daa * gb - ab * ga) / determinant);
            let (next_a, next_b) = ((a - step_a).max(1e-6), (b - step_b).max(1e-6));
            if error(next_a, next_b) < error(a, b) {
                let small = (next_a - a).abs() + (next_b - b).abs() < 1e-10;
                (a, b, damping) = (next_a, next_b, damping / 3.0);
                if small {
                    break;
                }
            } else {
                damping *= 4.0;
            }
        }
        Self { a: a as f32, b: b as f32 }
    }
}

/// `x^b` for `x > 0`, within 2e-6 of it where the result is a normal number. Branch-free, so that loops over lanes become
/// vector code; plain multiplications and additions, so that the bits are the same on every CPU.
#[inline(always)]
pub fn power(x: f32, b: f32) -> f32 {
    exp2(b * log2(x))
}

/// Polynomials fitted at Chebyshev nodes; absolute error 1e-7 over a mantissa in [sqrt(1/2), sqrt(2)).
#[inline(always)]
fn log2(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let above = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (above as i32) >> 23;
    let z = f32::from_bits((above & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0;
    // Estrin's scheme: pairs that do not wait for each other
    let (z2, z4) = (z * z, z * z * (z * z));
    let low = (std::f32::consts::LOG2_E - 0.721_352_76 * z) + z2 * (0.480_924_04 - 0.360_242 * z);
    let high = (0.287_075_6 - 0.248_821_8 * z) + z2 * (0.234_209_85 - 0.146_203_53 * z);
    let series = low + z4 * high;
    exponent as f32 + z * series
}

#[inline(always)]
fn exp2(x: f32) -> f32 {
    // below: a denormal result is 0; above: infinity is not needed by distances on a map
    let x = x.clamp(-126.0, 126.0);
    // adding and taking away 1.5 * 2^23 rounds to the nearest whole number
    const ROUND: f32 = 12_582_912.0;
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    let f2 = f * f;
    let series = (1.000_000_1 + std::f32::consts::LN_2 * f)
        + f2 * ((0.240_221_07 + 0.055_503_27 * f) + f2 * (0.009_676_037 + 0.001_340_043_3 * f));
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_that_of_the_reference() {
        // umap-learn 0.5: find_ab_params(1.0, 0.1) = (1.576943, 0.895061)
        let curve = Curve::fit(1.0, 0.1);
        assert!((curve.a - 1.576943).abs() < 2e-3 && (curve.b - 0.895061).abs() < 2e-3, "{curve:?}");
    }

    #[test]
    fn powers_are_those_of_f64() {
        for b in [0.3f32, 0.79, 0.895_061, 1.0, 1.7] {
            for i in -4_000..4_000 {
                let x = 2f32.powf(i as f32 / 200.0);
                let want = (x as f64).powf(b as f64);
                let error = (power(x, b) as f64 / want - 1.0).abs();
                // the exponent of the result is a float32 too: its rounding grows with it
                assert!(error < 1e-6 + 4e-7 * (want.log2().abs()), "{x}^{b}: {error}");
            }
        }
    }
}
