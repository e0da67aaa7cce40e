//! Register-tiled products with packed weights and what an encoder fuses onto them: GELU, residuals, LayerNorm, attention.
//! One implementation per instruction set behind [`Kernels`], chosen at run time.
//!
//! Matrices of activations are [`Values`]: rows of *words* of 32 bits, one f32 or two bf16, in the format of the kernels
//! they were made for. Sums, residuals and norms are f32 in all of them. Columns are padded with zeros to whole panels.

mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod amx_emulator;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod functions;
#[cfg(target_arch = "aarch64")]
mod neon;
mod points;
mod portable;
mod product;
mod scan;
mod simd;
#[cfg(test)]
mod tests;

use self::aligned::Aligned;
use self::attention::{Head, Scratch};
use self::product::{Add, Product, Store};
use super::Isa;

pub use self::points::{Columns, GROUP, Hits, Rows, TopTwos, margin, scale_for};

/// Columns are counted in multiples of the widest panel, on every instruction set.
const PANEL: usize = 32;
/// Rows are readable up to a multiple of this: AMX loads whole tiles.
const ROWS: usize = 32;

/// Columns with padding.
pub fn padded(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

/// The kernels of one instruction set. Having one means that this CPU can run it.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
}

struct Table {
    name: &'static str,
    /// Columns of a panel.
    panel: usize,
    /// Values of a word.
    per_word: usize,
    store: unsafe fn(&Product, &Store<false>),
    store_gelu: unsafe fn(&Product, &Store<true>),
    add: unsafe fn(&Product, &Add),
    top_two: unsafe fn(&Product, &scan::TopTwo),
    scores: unsafe fn(&Product, &scan::Scores),
    above: unsafe fn(&Product, &scan::Above),
    convert: unsafe fn(*const f32, usize, usize, f32, *mut u32) -> (f32, f32),
    norm: unsafe fn(&NormRows),
    attend: unsafe fn(&Head),
}

struct NormRows {
    x: *mut f32,
    n_rows: usize,
    n: usize,
    padded: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f32,
    values: *mut u32,
    value_words: usize,
}

#[inline(always)]
unsafe fn norm_rows<S: simd::Simd>(job: &NormRows) {
    for row in 0..job.n_rows {
        // SAFETY: the caller's job describes rows inside its matrices
        unsafe {
            let (x, values) = (job.x.add(row * job.padded), job.values.add(row * job.value_words));
            functions::layer_norm_row::<S>(x, job.n, job.padded, job.weight, job.bias, job.epsilon, values);
        }
    }
}

/// The table of one instruction set: the generic functions, compiled for its features.
macro_rules! table {
    ($table:ident, $module:ident, $simd:ty, $name:literal, $product:path, [$($attribute:meta)?]) => {
        mod $module {
            use super::*;

            $(#[$attribute])?
            pub(super) unsafe fn store(job: &Product, epilogue: &Store<false>) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn store_gelu(job: &Product, epilogue: &Store<true>) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn add(job: &Product, epilogue: &Add) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn top_two(job: &Product, epilogue: &scan::TopTwo) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn scores(job: &Product, epilogue: &scan::Scores) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn above(job: &Product, epilogue: &scan::Above) {
                // SAFETY: the contract of this table
                unsafe { $product(job, epilogue) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn convert(
                from: *const f32,
                n: usize,
                padded: usize,
                scale: f32,
                to: *mut u32,
            ) -> (f32, f32) {
                // SAFETY: the contract of this table
                unsafe { scan::convert::<$simd>(from, n, padded, scale, to) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn norm(job: &NormRows) {
                // SAFETY: the contract of this table
                unsafe { norm_rows::<$simd>(job) }
            }
            $(#[$attribute])?
            pub(super) unsafe fn attend(head: &Head) {
                // SAFETY: the contract of this table
                unsafe { attention::attend::<$simd>(head) }
            }
        }
        static $table: Table = Table {
            name: $name,
            panel: <$simd as simd::Simd>::LANES * <$simd as simd::Simd>::VECTORS,
            per_word: <$simd as simd::Simd>::PER_WORD,
            store: $module::store,
            store_gelu: $module::store_gelu,
            add: $module::add,
            top_two: $module::top_two,
            scores: $module::scores,
            above: $module::above,
            convert: $module::convert,
            norm: $module::norm,
            attend: $module::attend,
        };
    };
}

table!(PORTABLE, portable_table, portable::Portable, "scalar", product::product::<portable::Portable, _>, []);
#[cfg(target_arch = "aarch64")]
table!(NEON, neon_table, neon::Neon, "neon", product::product::<neon::Neon, _>, []);
#[cfg(target_arch = "x86_64")]
table!(AVX2, avx2_table, avx2::Avx2, "avx2", product::product::<avx2::Avx2, _>, [target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
table!(
    AVX512,
    avx512_table,
    avx512::Avx512,
    "avx512f",
    product::product::<avx512::Avx512, _>,
    [target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
);
#[cfg(target_arch = "x86_64")]
table!(
    AVX512_BF16,
    avx512_bf16_table,
    avx512::Avx512Bf16,
    "avx512 bf16",
    product::product::<avx512::Avx512Bf16, _>,
    [target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
);
#[cfg(target_arch = "x86_64")]
table!(
    AMX,
    amx_table,
    avx512::Avx512Bf16,
    "amx bf16",
    amx::product,
    [target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
);

impl Kernels {
    /// Plain Rust, for any CPU.
    pub const PLAIN: Self = Self { table: &PORTABLE };

    /// The kernels of an instruction set; None where this CPU does not have it.
    pub fn of(isa: Isa) -> Option<Self> {
        let table = match isa {
            Isa::Scalar => Some(&PORTABLE),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&NEON),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&AVX2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512f => has_avx512().then_some(&AVX512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if has_avx512() => {
                Some(if is_x86_feature_detected!("avx512bf16") { &AVX512_BF16 } else { &AVX512 })
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => (has_avx512() && is_x86_feature_detected!("avx512bf16") && amx::available()).then_some(&AMX),
            _ => None,
        };
        table.map(|table| Self { table })
    }

    /// The kernels of this instruction set that multiply f32.
    pub fn in_f32(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if self.is_bf16() {
            return Self { table: &AVX512 };
        }
        self
    }

    /// What multiplies: instruction set and, where it is not f32, the format.
    pub fn name(self) -> &'static str {
        self.table.name
    }

    /// Whether products multiply bf16; sums are f32 always.
    pub fn is_bf16(self) -> bool {
        self.table.per_word == 2
    }

    /// `a . weights + bias`, through GELU or not, as values into the first rows of `out`.
    pub fn store(self, a: &Values, n_rows: usize, weights: &Packed, gelu: bool, out: &mut Values) {
        let job = self.job(a, n_rows, weights);
        assert!(n_rows <= out.n_rows && out.columns == weights.n_columns && out.per_word == self.table.per_word);
        let (stride, bias) = (out.columns, weights.bias.floats().as_ptr());
        let out = out.data.words_mut().as_mut_ptr();
        // SAFETY: `job` checked what is read; `out` has room for n_rows rows of as many columns as the weights, and is
        // borrowed mutably, so it overlaps nothing that is read; this CPU has the instructions (`Kernels::of`)
        unsafe {
            if gelu {
                (self.table.store_gelu)(&job, &Store { out, stride, bias });
            } else {
                (self.table.store)(&job, &Store { out, stride, bias });
            }
        }
    }

    /// `x += a . weights + bias`; `x` has rows of `padded(n)` columns.
    pub fn add(self, a: &Values, n_rows: usize, weights: &Packed, x: &mut Floats) {
        let job = self.job(a, n_rows, weights);
        assert!(n_rows <= x.n_rows && x.columns == weights.n_columns);
        let epilogue =
            Add { stride: x.columns, x: x.data.floats_mut().as_mut_ptr(), bias: weights.bias.floats().as_ptr() };
        // SAFETY: as in `store`
        unsafe { (self.table.add)(&job, &epilogue) }
    }

    /// LayerNorm of the first rows of `x`, in place and as values.
    pub fn layer_norm(self, x: &mut Floats, n_rows: usize, norm: &Norm, out: &mut Values) {
        assert!(n_rows <= x.n_rows && n_rows <= out.n_rows);
        assert!(x.columns == norm.columns && out.columns == norm.columns && out.per_word == self.table.per_word);
        let job = NormRows {
            n_rows,
            n: norm.n,
            padded: norm.columns,
            weight: norm.weight.floats().as_ptr(),
            bias: norm.bias.floats().as_ptr(),
            epsilon: norm.epsilon,
            value_words: out.row_words(),
            x: x.data.floats_mut().as_mut_ptr(),
            values: out.data.words_mut().as_mut_ptr(),
        };
        // SAFETY: all rows have `padded` columns, a multiple of every vector, and there are n_rows of them (asserted)
        unsafe { (self.table.norm)(&job) }
    }

    /// Self-attention of texts that stand one after the other in the rows of `qkv` (queries, keys and values side by
    /// side, each `n_heads * width` columns); the context goes into the same rows of `out`.
    pub fn attend(
        self,
        qkv: &Values,
        lengths: &[usize],
        n_heads: usize,
        scratch: &mut AttentionScratch,
        out: &mut Values,
    ) {
        let width = scratch.width;
        let n_rows: usize = lengths.iter().sum();
        assert!(n_rows <= qkv.n_rows && n_rows <= out.n_rows && qkv.columns == 3 * n_heads * width);
        assert!(out.columns == n_heads * width && lengths.iter().all(|length| *length <= scratch.longest));
        assert!(qkv.per_word == self.table.per_word && out.per_word == self.table.per_word);
        let (stride, head_words) = (qkv.row_words(), width / self.table.per_word);
        let (words, out_words) = (qkv.data.words().as_ptr(), out.row_words());
        let pointers = scratch.pointers();
        let mut first = 0;
        for length in lengths.iter().copied().filter(|length| *length > 0) {
            for head in 0..n_heads {
                // SAFETY: the rows of this text are inside `qkv` and `out` (asserted above), the columns of this head
                // inside a row; the scratch was made for texts of `longest` tokens; `out` and the scratch are borrowed
                // mutably, so nothing overlaps; this CPU has the instructions (`Kernels::of`)
                unsafe {
                    let row = words.add(first * stride);
                    (self.table.attend)(&Head {
                        queries: row.add(head * head_words),
                        keys: row.add((n_heads + head) * head_words),
                        values: row.add((2 * n_heads + head) * head_words),
                        stride,
                        n_tokens: length,
                        width,
                        out: out.data.words_mut().as_mut_ptr().add(first * out_words),
                        out_stride: out.columns,
                        out_column: head * width,
                        scratch: pointers,
                    });
                }
            }
            first += length;
        }
    }

    fn job(self, a: &Values, n_rows: usize, weights: &Packed) -> Product {
        assert!(n_rows <= a.n_rows && a.row_words() == weights.n_words);
        assert!(a.per_word == self.table.per_word && weights.panel == self.table.panel);
        Product {
            a: a.data.words().as_ptr(),
            a_stride: a.row_words(),
            n_rows,
            b: weights.data.words().as_ptr(),
            n_words: weights.n_words,
            n_columns: weights.n_columns,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// A matrix of activations in the format of its kernels.
pub struct Values {
    data: Aligned,
    n_rows: usize,
    columns: usize,
    per_word: usize,
}

impl Values {
    /// `n_rows` rows of `padded(columns)` zeros.
    pub fn zeros(kernels: Kernels, n_rows: usize, columns: usize) -> Self {
        let (columns, per_word) = (padded(columns), kernels.table.per_word);
        let data = Aligned::zeros(n_rows.next_multiple_of(ROWS) * columns / per_word);
        Self { data, n_rows, columns, per_word }
    }

    fn row_words(&self) -> usize {
        self.columns / self.per_word
    }

    /// Makes row `to` equal to row `from`.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        let words = self.row_words();
        self.data.words_mut().copy_within(from * words..(from + 1) * words, to * words);
    }

    /// Row `row` as f32.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let words = &self.data.words()[row * self.row_words()..(row + 1) * self.row_words()];
        match self.per_word {
            1 => words.iter().map(|word| f32::from_bits(*word)).collect(),
            _ => words.iter().flat_map(|word| [f32::from_bits(word << 16), f32::from_bits(word & !0xffff)]).collect(),
        }
    }
}

/// A matrix of f32 with padded rows.
pub struct Floats {
    data: Aligned,
    n_rows: usize,
    columns: usize,
}

impl Floats {
    pub fn zeros(n_rows: usize, columns: usize) -> Self {
        let columns = padded(columns);
        Self { data: Aligned::zeros(n_rows * columns), n_rows, columns }
    }

    /// Row `row`, padding included.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data.floats()[row * self.columns..(row + 1) * self.columns]
    }

    /// Makes row `to` equal to row `from`.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        let columns = self.columns;
        self.data.floats_mut().copy_within(from * columns..(from + 1) * columns, to * columns);
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let columns = self.columns;
        &mut self.data.floats_mut()[row * columns..(row + 1) * columns]
    }
}

/// Weights of a linear layer, in panels of columns that the kernels read from one end to the other, and its bias.
pub struct Packed {
    data: Aligned,
    bias: Aligned,
    n_words: usize,
    n_columns: usize,
    panel: usize,
}

impl Packed {
    /// Packs `weight`, one row of `n_inputs` per output as checkpoints store it, and `bias`, one per output.
    pub fn new(kernels: Kernels, weight: &[f32], bias: &[f32], n_inputs: usize) -> Self {
        let n_outputs = bias.len();
        assert_eq!(weight.len(), n_outputs * n_inputs);
        let Table { panel, per_word, .. } = *kernels.table;
        let (n_words, n_columns) = (padded(n_inputs) / per_word, padded(n_outputs));
        let mut data = Aligned::zeros(n_words * n_columns);
        let words = data.words_mut();
        for (output, row) in weight.chunks_exact(n_inputs).enumerate() {
            let (first, column) = (output / panel * panel * n_words, output % panel);
            for (word, values) in row.chunks(per_word).enumerate() {
                words[first + word * panel + column] = match per_word {
                    1 => values[0].to_bits(),
                    _ => bf16(values[0]) as u32 | (bf16(values.get(1).copied().unwrap_or(0.0)) as u32) << 16,
                };
            }
        }
        Self { data, bias: padded_floats(bias), n_words, n_columns, panel }
    }

    /// Columns of the product, with padding.
    pub fn n_outputs(&self) -> usize {
        self.n_columns
    }
}

/// Weight and bias of a LayerNorm.
pub struct Norm {
    weight: Aligned,
    bias: Aligned,
    n: usize,
    columns: usize,
    epsilon: f32,
}

impl Norm {
    pub fn new(weight: &[f32], bias: &[f32], epsilon: f32) -> Self {
        assert_eq!(weight.len(), bias.len());
        let n = weight.len();
        Self { weight: padded_floats(weight), bias: padded_floats(bias), n, columns: padded(n), epsilon }
    }
}

/// Memory that `Kernels::attend` needs beside its matrices.
pub struct AttentionScratch {
    longest: usize,
    width: usize,
    parts: [Aligned; 4],
}

impl AttentionScratch {
    /// For texts of up to `longest` tokens and heads of `padded(head_width)` columns.
    pub fn new(longest: usize, head_width: usize) -> Self {
        let width = padded(head_width);
        Self { longest, width, parts: attention::scratch_words(longest, width).map(Aligned::zeros) }
    }

    fn pointers(&mut self) -> Scratch {
        let [keys, values, scores, powers] = &mut self.parts;
        Scratch {
            keys: keys.words_mut().as_mut_ptr(),
            values: values.words_mut().as_mut_ptr(),
            scores: scores.floats_mut().as_mut_ptr(),
            powers: powers.words_mut().as_mut_ptr(),
        }
    }
}

fn padded_floats(values: &[f32]) -> Aligned {
    let mut data = Aligned::zeros(padded(values.len()));
    data.floats_mut()[..values.len()].copy_from_slice(values);
    data
}

/// The nearest bf16, ties to even.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    rounded as u16
}
