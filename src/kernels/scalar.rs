//! Dot blocks as plain loops: the oracle the fast ones are tested against, and the path for any CPU.

pub fn dots(a: &[f32], b: &[f32], dim: usize, out: &mut [f32]) {
    let n = b.len() / dim;
    for (a_row, out_row) in a.chunks_exact(dim).zip(out.chunks_exact_mut(n)) {
        for (b_row, value) in b.chunks_exact(dim).zip(out_row) {
            *value = super::dot(a_row, b_row) as f32;
        }
    }
}
