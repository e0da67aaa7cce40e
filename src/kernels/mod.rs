//! How blocks of dot products are computed, and what is fused onto them: nearest centroid and nearest rows ([`shortlist`]),
//! the layers of an encoder ([`tiles`]); how plain loops get the widest vectors ([`widest`]).
//!
//! One implementation per instruction set, chosen once per process. Whatever comes out of a product of [`dots`] is only a
//! shortlist: close calls are settled by [`squared_distance`], whose order of additions is fixed, so that labels and
//! neighbours are the same on every instruction set.

mod cache;
pub mod codes;
mod distance;
pub mod grouped;
mod native;
mod scalar;
mod shortlist;
pub mod tiles;
mod widest;

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

pub use cache::second_level as second_level_cache;
pub use codes::{CodedQuery, Codes};
pub use distance::{dot, squared_distance, squared_norm};
pub use grouped::order_by_likeness;
pub use shortlist::{Nearest, Shortlists, between, scan, scan_both_ways};
pub use widest::widest;

/// An instruction set, slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, and the oracle of [`dots`].
    Scalar,
    /// 64-bit ARM.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 in f32, although the CPU may multiply bf16.
    Avx512f,
    /// AVX-512, with bf16 products where the CPU has them.
    Avx512,
    /// AMX with bf16.
    Amx,
}

const ISAS: [(&str, Isa); 6] = [
    ("scalar", Isa::Scalar),
    ("neon", Isa::Neon),
    ("avx2", Isa::Avx2),
    ("avx512f", Isa::Avx512f),
    ("avx512", Isa::Avx512),
    ("amx", Isa::Amx),
];

/// Position in `ISAS`; `AUTO` is the fastest of this CPU.
static CHOSEN: AtomicU8 = AtomicU8::new(AUTO);
const AUTO: u8 = u8::MAX;

/// Names of the instruction sets that this CPU has, slowest first.
pub fn available_isas() -> Vec<&'static str> {
    ISAS.iter().filter(|(_, isa)| tiles::Kernels::of(*isa).is_some()).map(|(name, _)| *name).collect()
}

/// Chooses the implementation by name; "auto" is the fastest of this CPU.
///
/// # Errors
/// `InvalidInput` for a name that is unknown, or an instruction set that this CPU does not have.
pub fn choose_isa(name: &str) -> Result<()> {
    let chosen = match name {
        "auto" => AUTO,
        _ => {
            let position = ISAS.iter().position(|(known, _)| *known == name).ok_or_else(|| {
                let known = ISAS.map(|(known, _)| known).join(", ");
                Error::invalid(format!("unknown instruction set '{name}': this build knows {known}, auto"))
            })?;
            if tiles::Kernels::of(ISAS[position].1).is_none() {
                let here = available_isas().join(", ");
                return Err(Error::invalid(format!("this CPU cannot run the kernels of '{name}': it can run {here}")));
            }
            position as u8
        }
    };
    CHOSEN.store(chosen, Ordering::Relaxed);
    Ok(())
}

/// Narrower rows are multiplied in f32: their products cost little, and after bf16 more would have to be measured.
const BF16_COLUMNS: usize = 48;

/// The kernels for rows of `dim` values, of what was chosen or the fastest.
pub fn for_width(dim: usize) -> tiles::Kernels {
    if dim < BF16_COLUMNS { kernels().in_f32() } else { kernels() }
}

/// The kernels of what was chosen, or the fastest.
pub fn kernels() -> tiles::Kernels {
    // what was chosen was found on this CPU, and plain Rust runs on any
    tiles::Kernels::of(isa()).unwrap_or(tiles::Kernels::PLAIN)
}

/// What was chosen, or the fastest.
pub fn isa() -> Isa {
    match CHOSEN.load(Ordering::Relaxed) {
        AUTO => fastest(),
        position => ISAS[position as usize].1,
    }
}

fn fastest() -> Isa {
    ISAS.iter().rev().map(|(_, isa)| *isa).find(|isa| tiles::Kernels::of(*isa).is_some()).unwrap_or(Isa::Scalar)
}

/// `out[i * n + j] = a_i . b_j` for the `m` rows of `a` and the `n` rows of `b`, each of length `dim`.
///
/// The caller gives slices of exactly `m * dim`, `n * dim` and `m * n` values.
pub fn dots(isa: Isa, a: &[f32], b: &[f32], dim: usize, out: &mut [f32]) {
    assert!(dim > 0 && a.len().is_multiple_of(dim) && b.len().is_multiple_of(dim));
    assert_eq!(out.len(), (a.len() / dim) * (b.len() / dim));
    match isa {
        Isa::Scalar => scalar::dots(a, b, dim, out),
        // the crate `gemm` chooses among its own implementations
        _ => native::dots(a, b, dim, out),
    }
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
            dots(Isa::Avx512, &a, &b, dim, &mut got);
            dots(Isa::Scalar, &a, &b, dim, &mut want);
            for (got, want) in got.iter().zip(&want) {
                prop_assert!((got - want).abs() <= 1e-4 * (dim as f32).sqrt(), "{got} {want}");
            }
        }
    }

    #[test]
    fn unknown_instruction_sets_are_refused() {
        assert!(choose_isa("mmx").unwrap_err().to_string().contains("scalar, neon"));
    }
}
