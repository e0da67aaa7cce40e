//! Dot blocks through the crate `gemm`, which finds AVX-512, AVX2+FMA or NEON at run time.
//! One thread per call: the caller parallelises over blocks of fixed size, so results do not depend on the pool.

pub fn dots(a: &[f32], b: &[f32], dim: usize, out: &mut [f32]) {
    let (m, n) = (a.len() / dim, b.len() / dim);
    // SAFETY: the pointers and strides describe row-major m x dim, n x dim (read transposed) and m x n matrices that
    // lie wholly inside the three slices (`super::dots` checks their lengths); `out` is borrowed mutably, so it
    // overlaps neither input; `read_dst` is false, so nothing is read from it.
    unsafe {
        gemm::gemm(
            m,
            n,
            dim,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            dim as isize,
            b.as_ptr(),
            dim as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
