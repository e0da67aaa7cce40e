//! Memory that begins at a cache line, so that no vector load crosses one.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// `len` words, zero at first.
#[derive(Clone)]
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0; 16]); len.div_ceil(16)], len }
    }

    pub fn words(&self) -> &[u32] {
        // SAFETY: lines are arrays of u32 without padding, and hold at least `len` of them
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above; the borrow is exclusive
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    pub fn floats(&self) -> &[f32] {
        // SAFETY: as above; every u32 is a valid f32
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the borrow is exclusive
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
