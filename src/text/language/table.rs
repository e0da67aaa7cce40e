//! What the features of a text say about its language: one lookup per feature gives the weights of all languages of a
//! script side by side. How the weights were learnt: docs/decisions/0013-language-id.md and benches/language_table.

use std::sync::LazyLock;

use super::families::{BLOCK, FAMILIES, Family};
use super::script::Script;
use super::wording::SYMBOLS;

/// Rows whose sum of weights from -127 to 127 fits 16 bits.
const FITS_I16: usize = 256;

static BYTES: &[u8] = include_bytes!("table.bin");
static RUNS: LazyLock<&[u8]> = LazyLock::new(|| &BYTES[BYTES.len().saturating_sub(SYMBOLS.pow(3))..]);
static TABLES: LazyLock<Vec<Table>> = LazyLock::new(read);

pub struct Table {
    pub family: &'static Family,
    scale: f32,
    bias: Vec<f32>,
    /// By bucket, then by language.
    weights: Vec<[i8; BLOCK]>,
}

/// How often a run of three symbols occurs in the language that uses it most: 15 is once in 16 runs, 14 half of that
/// and so on, 0 never.
#[inline]
pub fn run(position: usize) -> u8 {
    RUNS.get(position).copied().unwrap_or(0)
}

/// The table of a script that several languages share.
pub fn table(script: Script) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.family.script == script)
}

/// Little-endian per family: scale, bias per column (f32), weights (i8) by row; after all families the runs of `wording`.
fn read() -> Vec<Table> {
    let mut rest = BYTES;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        taken
    };
    let real = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let table = |family: &'static Family| {
        let scale = take(4).as_chunks().0.iter().map(real).sum();
        let bias = take(4 * family.width()).as_chunks().0.iter().map(real).collect();
        let weights = take(family.width() << family.bits).as_chunks::<BLOCK>().0;
        Table { family, scale, bias, weights: weights.iter().map(|block| block.map(|byte| byte as i8)).collect() }
    };
    FAMILIES.iter().map(table).collect()
}

impl Table {
    /// The row of a feature.
    #[inline]
    pub fn bucket(&self, hash: u64) -> u32 {
        (hash >> (64 - self.family.bits)) as u32
    }

    /// Sums of the rows of `buckets`, by language.
    fn sums(&self, buckets: &[u32]) -> Vec<i32> {
        match self.family.width() / BLOCK {
            1 => self.sums_of::<1>(buckets),
            5 => self.sums_of::<5>(buckets),
            // a family of another size needs a line above; it is told nothing until then, and a test fails
            _ => vec![0; self.family.width()],
        }
    }

    /// `N` blocks per row, so that the sums stay in registers.
    fn sums_of<const N: usize>(&self, buckets: &[u32]) -> Vec<i32> {
        let rows = self.weights.as_chunks::<N>().0;
        let mut sums = [[0i32; BLOCK]; N];
        for part in buckets.chunks(FITS_I16) {
            let mut small = [[0i16; BLOCK]; N];
            for bucket in part {
                let row = &rows[*bucket as usize];
                for (sums, weights) in small.iter_mut().zip(row) {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += i16::from(*weight);
                    }
                }
            }
            for (sum, small) in sums.as_flattened_mut().iter_mut().zip(small.as_flattened()) {
                *sum += i32::from(*small);
            }
        }
        sums.as_flattened().to_vec()
    }

    /// The likeliest language of a text with these features, and its probability.
    pub fn best(&self, buckets: &[u32]) -> (&'static str, f32) {
        let scale = self.scale / (buckets.len().max(1) as f32).sqrt();
        let sums = self.sums(buckets);
        let logits: Vec<f32> = sums[..self.family.languages.len()]
            .iter()
            .zip(&self.bias)
            .map(|(sum, bias)| *sum as f32 * scale + bias)
            .collect();
        let mut best = 0;
        for (language, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = language;
            }
        }
        let total: f32 = logits.iter().map(|logit| (logit - logits[best]).exp()).sum();
        (self.family.languages[best], 1.0 / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_fits_the_families() {
        let wanted: usize =
            FAMILIES.iter().map(|family| 4 + 4 * family.width() + (family.width() << family.bits)).sum();
        assert_eq!(BYTES.len(), wanted + SYMBOLS.pow(3));
        assert!(FAMILIES.iter().all(|family| family.languages.is_sorted()));
        for family in &FAMILIES {
            let table = table(family.script).expect("a table");
            assert!((0..50).any(|bucket| table.sums(&[bucket]).iter().any(|sum| *sum != 0)));
        }
    }

    #[test]
    fn sums_of_many_rows_do_not_overflow() {
        let table = table(Script::Latin).expect("a table");
        let (one, many) = (table.sums(&[1]), table.sums(&[1; 1000]));
        assert_eq!(one.iter().map(|sum| sum * 1000).collect::<Vec<_>>(), many);
    }
}
