//! Plain Rust in f32, for any CPU: arrays the compiler may turn into whatever vectors it knows.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd`: pointers are good for LANES elements

use super::simd::{Epilogue, Simd, Tile, tile_table};

const LANES: usize = 4;

#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY: no function needs more than the pointers it is given
unsafe impl Simd for Portable {
    const LANES: usize = LANES;
    const ROWS: usize = 4;
    const VECTORS: usize = 2;
    const PER_WORD: usize = 1;
    type F = [f32; LANES];
    type W = [f32; LANES];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        from.cast::<Self::F>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, values: Self::F) {
        to.cast::<Self::F>().write_unaligned(values);
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // f32::mul_add would be a call where the CPU has no such instruction
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn scale_by_power(values: Self::F, whole: Self::F) -> Self::F {
        zip(values, whole, |value, whole| value * f32::from_bits(((whole as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn round(values: Self::F) -> Self::F {
        values.map(|value| value.round_ties_even())
    }
    #[inline(always)]
    unsafe fn first_lanes(values: Self::F, n: usize, fill: f32) -> Self::F {
        std::array::from_fn(|i| if i < n { values[i] } else { fill })
    }
    #[inline(always)]
    unsafe fn at_least(a: Self::F, b: Self::F) -> u32 {
        (0..LANES).fold(0, |mask, i| mask | u32::from(a[i] >= b[i]) << i)
    }
    #[inline(always)]
    unsafe fn blend(mask: u32, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if mask >> i & 1 == 1 { b[i] } else { a[i] })
    }
    #[inline(always)]
    unsafe fn sum(values: Self::F) -> f32 {
        (values[0] + values[2]) + (values[1] + values[3])
    }
    #[inline(always)]
    unsafe fn largest(values: Self::F) -> f32 {
        values.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::W {
        Self::load(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const u32) -> Self::W {
        [f32::from_bits(*from); LANES]
    }
    #[inline(always)]
    unsafe fn product(acc: Self::F, a: Self::W, b: Self::W) -> Self::F {
        Self::mul_add(a, b, acc)
    }
    #[inline(always)]
    unsafe fn store_values(to: *mut u32, index: usize, values: Self::F) {
        Self::store(to.cast::<f32>().add(index), values);
    }
    #[inline(always)]
    unsafe fn load_values(from: *const u32, index: usize) -> Self::F {
        Self::load(from.cast::<f32>().add(index))
    }
    #[inline(always)]
    unsafe fn tile<E: Epilogue<Self>>(rows: usize, vectors: usize, tile: Tile, epilogue: &E) {
        tile_table!(rows, vectors, tile, epilogue, [1 2 3 4])
    }
}
