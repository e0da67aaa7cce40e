//! AVX-512: f32, and bf16 pairs where the CPU multiplies them (VDPBF16PS).
#![allow(unsafe_op_in_unsafe_fn)] // SAFETY: the contract of `Simd`: called only where the instructions are there

use std::arch::x86_64::*;

use super::simd::{Epilogue, Simd, Tile, tile_table};

#[derive(Clone, Copy)]
pub struct Avx512;

#[derive(Clone, Copy)]
pub struct Avx512Bf16;

macro_rules! f32_lanes {
    () => {
        const LANES: usize = 16;
        const ROWS: usize = 12;
        const VECTORS: usize = 2;
        type F = __m512;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            _mm512_set1_ps(value)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            _mm512_loadu_ps(from)
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, values: __m512) {
            _mm512_storeu_ps(to, values);
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            _mm512_sub_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            _mm512_min_ps(a, b)
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            _mm512_max_ps(a, b)
        }
        #[inline(always)]
        unsafe fn scale_by_power(values: __m512, whole: __m512) -> __m512 {
            _mm512_scalef_ps(values, whole)
        }
        #[inline(always)]
        unsafe fn round(values: __m512) -> __m512 {
            _mm512_roundscale_ps::<0>(values)
        }
        #[inline(always)]
        unsafe fn first_lanes(values: __m512, n: usize, fill: f32) -> __m512 {
            let mask = if n >= 16 { u16::MAX } else { (1u16 << n) - 1 };
            _mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), values)
        }
        #[inline(always)]
        unsafe fn at_least(a: __m512, b: __m512) -> u32 {
            _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) as u32
        }
        #[inline(always)]
        unsafe fn blend(mask: u32, a: __m512, b: __m512) -> __m512 {
            _mm512_mask_blend_ps(mask as u16, a, b)
        }
        #[inline(always)]
        unsafe fn sum(values: __m512) -> f32 {
            _mm512_reduce_add_ps(values)
        }
        #[inline(always)]
        unsafe fn largest(values: __m512) -> f32 {
            _mm512_reduce_max_ps(values)
        }
        #[inline(always)]
        unsafe fn tile<E: Epilogue<Self>>(rows: usize, vectors: usize, tile: Tile, epilogue: &E) {
            tile_table!(rows, vectors, tile, epilogue, [1 2 3 4 5 6 7 8 9 10 11 12])
        }
    };
}

unsafe impl Simd for Avx512 {
    const PER_WORD: usize = 1;
    type W = __m512;
    f32_lanes!();

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m512 {
        _mm512_loadu_ps(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const u32) -> __m512 {
        _mm512_set1_ps(*from.cast())
    }
    #[inline(always)]
    unsafe fn product(acc: __m512, a: __m512, b: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, acc)
    }
    #[inline(always)]
    unsafe fn store_values(to: *mut u32, index: usize, values: __m512) {
        _mm512_storeu_ps(to.cast::<f32>().add(index), values);
    }
    #[inline(always)]
    unsafe fn load_values(from: *const u32, index: usize) -> __m512 {
        _mm512_loadu_ps(from.cast::<f32>().add(index))
    }
}

unsafe impl Simd for Avx512Bf16 {
    const PER_WORD: usize = 2;
    type W = __m512i;
    f32_lanes!();

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }
    #[inline(always)]
    unsafe fn splat_word(from: *const u32) -> __m512i {
        _mm512_set1_epi32(*from.cast())
    }
    #[inline(always)]
    unsafe fn product(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        _mm512_dpbf16_ps(acc, std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b))
    }
    #[inline(always)]
    unsafe fn store_values(to: *mut u32, index: usize, values: __m512) {
        let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values));
        _mm256_storeu_si256(to.cast::<u16>().add(index).cast(), narrow);
    }
    #[inline(always)]
    unsafe fn load_values(from: *const u32, index: usize) -> __m512 {
        let narrow = _mm256_loadu_si256(from.cast::<u16>().add(index).cast());
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow)))
    }
}
