//! AVX2 with FMA, in f32: every x86-64 of the last ten years.

#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd`: called only where the instructions are there

use std::arch::x86_64::*;

use super::simd::{Epilogue, Simd, Tile, tile_table};

#[derive(Clone, Copy)]
pub struct Avx2;

// SAFETY: every function uses AVX2 and FMA only
unsafe impl Simd for Avx2 {
    const LANES: usize = 8;
    const ROWS: usize = 6;
    const VECTORS: usize = 2;
    const PER_WORD: usize = 1;
    type F = __m256;
    type W = __m256;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        _mm256_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        _mm256_loadu_ps(from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, values: __m256) {
        _mm256_storeu_ps(to, values);
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        _mm256_sub_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        _mm256_min_ps(a, b)
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        _mm256_max_ps(a, b)
    }
    #[inline(always)]
    unsafe fn scale_by_power(values: __m256, whole: __m256) -> __m256 {
        // the power of two is put together from its exponent; -127 gives 0
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        _mm256_mul_ps(values, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    unsafe fn round(values: __m256) -> __m256 {
        _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values)
    }
    #[inline(always)]
    unsafe fn first_lanes(values: __m256, n: usize, fill: f32) -> __m256 {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(8) as i32), lanes);
        _mm256_blendv_ps(_mm256_set1_ps(fill), values, _mm256_castsi256_ps(inside))
    }
    #[inline(always)]
    unsafe fn at_least(a: __m256, b: __m256) -> u32 {
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b)) as u32
    }
    #[inline(always)]
    unsafe fn blend(mask: u32, a: __m256, b: __m256) -> __m256 {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let chosen = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits);
        _mm256_blendv_ps(a, b, _mm256_castsi256_ps(chosen))
    }
    #[inline(always)]
    unsafe fn sum(values: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
        let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
    }
    #[inline(always)]
    unsafe fn largest(values: __m256) -> f32 {
        let half = _mm_max_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
        let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
    }
    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m256 {
        _mm256_loadu_ps(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const u32) -> __m256 {
        _mm256_broadcast_ss(&*from.cast())
    }
    #[inline(always)]
    unsafe fn product(acc: __m256, a: __m256, b: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, acc)
    }
    #[inline(always)]
    unsafe fn store_values(to: *mut u32, index: usize, values: __m256) {
        _mm256_storeu_ps(to.cast::<f32>().add(index), values);
    }
    #[inline(always)]
    unsafe fn load_values(from: *const u32, index: usize) -> __m256 {
        Self::load(from.cast::<f32>().add(index))
    }
    #[inline(always)]
    unsafe fn tile<E: Epilogue<Self>>(rows: usize, vectors: usize, tile: Tile, epilogue: &E) {
        tile_table!(rows, vectors, tile, epilogue, [1 2 3 4 5 6])
    }
}
