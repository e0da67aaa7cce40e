//! NEON in f32: 64-bit ARM.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd`; NEON is part of every 64-bit ARM

use std::arch::aarch64::*;

use super::simd::{Epilogue, Simd, Tile, tile_table};

#[derive(Clone, Copy)]
pub struct Neon;

// SAFETY: every function uses NEON only
unsafe impl Simd for Neon {
    const LANES: usize = 4;
    const ROWS: usize = 12;
    const VECTORS: usize = 2;
    const PER_WORD: usize = 1;
    type F = float32x4_t;
    type W = float32x4_t;

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        vdupq_n_f32(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        vld1q_f32(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, values: float32x4_t) {
        vst1q_f32(to, values);
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vaddq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vsubq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmulq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        vfmaq_f32(c, a, b)
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vminq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmaxq_f32(a, b)
    }
    #[inline(always)]
    unsafe fn scale_by_power(values: float32x4_t, whole: float32x4_t) -> float32x4_t {
        let exponent = vaddq_s32(vcvtnq_s32_f32(whole), vdupq_n_s32(127));
        vmulq_f32(values, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
    }
    #[inline(always)]
    unsafe fn round(values: float32x4_t) -> float32x4_t {
        vrndnq_f32(values)
    }
    #[inline(always)]
    unsafe fn first_lanes(values: float32x4_t, n: usize, fill: f32) -> float32x4_t {
        let lanes = vld1q_u32([0u32, 1, 2, 3].as_ptr());
        vbslq_f32(vcltq_u32(lanes, vdupq_n_u32(n.min(4) as u32)), values, vdupq_n_f32(fill))
    }
    #[inline(always)]
    unsafe fn at_least(a: float32x4_t, b: float32x4_t) -> u32 {
        let bits = vld1q_u32([1u32, 2, 4, 8].as_ptr());
        vaddvq_u32(vandq_u32(vcgeq_f32(a, b), bits))
    }
    #[inline(always)]
    unsafe fn blend(mask: u32, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        let bits = vld1q_u32([1u32, 2, 4, 8].as_ptr());
        vbslq_f32(vtstq_u32(vdupq_n_u32(mask), bits), b, a)
    }
    #[inline(always)]
    unsafe fn sum(values: float32x4_t) -> f32 {
        vaddvq_f32(values)
    }
    #[inline(always)]
    unsafe fn largest(values: float32x4_t) -> f32 {
        vmaxvq_f32(values)
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> float32x4_t {
        vld1q_f32(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const u32) -> float32x4_t {
        vld1q_dup_f32(from.cast())
    }
    #[inline(always)]
    unsafe fn product(acc: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vfmaq_f32(acc, a, b)
    }
    #[inline(always)]
    unsafe fn store_values(to: *mut u32, index: usize, values: float32x4_t) {
        vst1q_f32(to.cast::<f32>().add(index), values);
    }
    #[inline(always)]
    unsafe fn load_values(from: *const u32, index: usize) -> float32x4_t {
        Self::load(from.cast::<f32>().add(index))
    }
    #[inline(always)]
    unsafe fn tile<E: Epilogue<Self>>(rows: usize, vectors: usize, tile: Tile, epilogue: &E) {
        tile_table!(rows, vectors, tile, epilogue, [1 2 3 4 5 6 7 8 9 10 11 12])
    }
}
