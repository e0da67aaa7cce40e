//! Plain loops over lanes, compiled for the widest vectors of the CPU. Says nothing about what is computed.
//!
//! Rust neither fuses nor reorders floating-point operations by itself, so the bits are those of the scalar code on every
//! instruction set: only the speed differs.

use super::{Isa, isa};

/// Runs `work`, whose loops become vector code where it and what it calls are `#[inline(always)]`.
#[inline]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa()` is only ever an instruction set that this CPU has (`choose_isa`, `fastest`)
        Isa::Avx512f | Isa::Avx512 | Isa::Amx => unsafe { avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above
        Isa::Avx2 => unsafe { avx2(work) },
        _ => work(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_plain_code() {
        let values: Vec<f32> = (0..1_000).map(|i| (i as f32 * 0.37).sin()).collect();
        #[inline(always)]
        fn compute(values: &[f32]) -> Vec<u32> {
            values.iter().map(|x| (x * 1.7 + x * x * 0.3 - 0.1 / (1.0 + x * x)).to_bits()).collect()
        }
        assert_eq!(
            widest(
                #[inline(always)]
                || compute(&values)
            ),
            compute(&values)
        );
    }
}
