//! How blocks of dot products are computed, and what is fused onto them: nearest centroid and nearest rows.
//!
//! One implementation per instruction set behind [`dots`], chosen once per process; `scalar` is the oracle. Whatever
//! comes out of a product in f32 is only a shortlist: close calls are settled by [`squared_distance`], whose order of
//! additions is fixed, so that labels and neighbours are the same on every instruction set.

mod native;
mod scalar;
mod shortlist;

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

pub use shortlist::{Nearest, Points, nearest_centroid, nearest_rows};

/// Which implementation of [`dots`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain loops: the oracle.
    Scalar,
    /// The crate `gemm`: AVX-512, AVX2+FMA or NEON, found at run time.
    Native,
}

pub const ISAS: [(&str, Isa); 2] = [("scalar", Isa::Scalar), ("native", Isa::Native)];

static CHOSEN: AtomicU8 = AtomicU8::new(1);

/// Chooses the implementation by name; "auto" is the fastest.
///
/// # Errors
/// `InvalidInput` for a name this build does not know.
pub fn choose_isa(name: &str) -> Result<()> {
    let isa = match name {
        "auto" => Isa::Native,
        _ => ISAS.iter().find(|(known, _)| *known == name).map(|(_, isa)| *isa).ok_or_else(|| {
            let known = ISAS.map(|(known, _)| known).join(", ");
            Error::invalid(format!("unknown instruction set '{name}': this build knows {known}, auto"))
        })?,
    };
    CHOSEN.store(isa as u8, Ordering::Relaxed);
    Ok(())
}

pub fn isa() -> Isa {
    if CHOSEN.load(Ordering::Relaxed) == Isa::Scalar as u8 { Isa::Scalar } else { Isa::Native }
}

/// `out[i * n + j] = a_i . b_j` for the `m` rows of `a` and the `n` rows of `b`, each of length `dim`.
///
/// The caller gives slices of exactly `m * dim`, `n * dim` and `m * n` values.
pub fn dots(isa: Isa, a: &[f32], b: &[f32], dim: usize, out: &mut [f32]) {
    assert!(dim > 0 && a.len().is_multiple_of(dim) && b.len().is_multiple_of(dim));
    assert_eq!(out.len(), (a.len() / dim) * (b.len() / dim));
    match isa {
        Isa::Scalar => scalar::dots(a, b, dim, out),
        Isa::Native => native::dots(a, b, dim, out),
    }
}

/// Sum of squared differences in f64 lanes added in a fixed order: the same bits everywhere, and symmetric.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0f64; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            let difference = x[lane] as f64 - y[lane] as f64;
            lanes[lane] += difference * difference;
        }
    }
    let mut sum = fixed_sum(lanes);
    for (x, y) in a_rest.iter().zip(b_rest) {
        let difference = *x as f64 - *y as f64;
        sum += difference * difference;
    }
    sum
}

/// Dot product in f64 lanes added in a fixed order.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0f64; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] as f64 * y[lane] as f64;
        }
    }
    fixed_sum(lanes) + a_rest.iter().zip(b_rest).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>()
}

pub fn squared_norm(row: &[f32]) -> f64 {
    dot(row, row)
}

fn fixed_sum(lanes: [f64; 8]) -> f64 {
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = crate::random::Rng::new(seed, 0);
        (0..rows * dim).map(|_| rng.normal() as f32).collect()
    }

    proptest! {
        #[test]
        fn native_dots_equal_the_scalar_oracle(m in 1usize..70, n in 1usize..70, dim in 1usize..200, seed in 0u64..1000) {
            let (a, b) = (matrix(m, dim, seed), matrix(n, dim, seed + 1));
            let (mut got, mut want) = (vec![0.0; m * n], vec![0.0; m * n]);
            dots(Isa::Native, &a, &b, dim, &mut got);
            dots(Isa::Scalar, &a, &b, dim, &mut want);
            for (got, want) in got.iter().zip(&want) {
                prop_assert!((got - want).abs() <= 1e-4 * (dim as f32).sqrt(), "{got} {want}");
            }
        }

        #[test]
        fn squared_distance_is_symmetric_to_the_bit(dim in 1usize..100, seed in 0u64..1000) {
            let (a, b) = (matrix(1, dim, seed), matrix(1, dim, seed + 1));
            prop_assert_eq!(squared_distance(&a, &b).to_bits(), squared_distance(&b, &a).to_bits());
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum();
            prop_assert!((squared_distance(&a, &b) - plain).abs() <= 1e-9 * (1.0 + plain));
        }
    }

    #[test]
    fn unknown_instruction_sets_are_refused() {
        assert!(choose_isa("mmx").unwrap_err().to_string().contains("scalar, native"));
    }
}
