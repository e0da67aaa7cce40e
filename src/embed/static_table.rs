//! Sentence embedding with a table: the vector of a text is the mean of the rows of its tokens. Reads the folders that
//! model2vec writes (Tulkens and van Dongen 2024) and means by them what its `StaticModel.encode` does.

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use super::config::{ModelConfig, Pooling};
use super::tokens::{self, TextTokenizer};
use super::weights::{self, Tensors};
use super::{Embedder, Engine, check_out, estimated_tokens, finish};
use crate::error::{Error, Result};
use crate::kernels;
use crate::task::Task;

/// Texts of one piece of work: small enough to stop between two of them.
const CHUNK_TEXTS: usize = 128;
/// Names of the table: model2vec's own, and that of a StaticEmbedding of sentence-transformers.
const TABLES: [&str; 2] = ["embeddings", "embedding.weight"];

pub struct StaticEmbedder {
    id: String,
    config: ModelConfig,
    tokenizer: TextTokenizer,
    table: Table,
    /// The row of a text that has no token.
    blank: Vec<f32>,
    /// Characters that are read of a text.
    n_chars: usize,
}

struct Table {
    rows: Vec<f32>,
    dim: usize,
    /// Where several tokens share a row: row and weight of each token.
    shared: Option<Vec<(u32, f32)>>,
}

impl StaticEmbedder {
    /// # Errors
    /// `Model` when a file is missing or damaged, or the table does not fit the tokenizer.
    pub(super) fn load(config: ModelConfig) -> Result<Self> {
        let table = Table::read(&weights::read(config.weights.path())?)?;
        let tokenizer = tokens::load(&config.tokenizer)?;
        tokenizer.check_vocabulary(table.n_tokens())?;
        let blank = table.blank(tokenizer.unknown())?;
        let n_chars = config.max_length.saturating_mul(median_length(&tokenizer));
        Ok(Self { id: config.id()?, config, tokenizer, table, blank, n_chars })
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        // model2vec cuts by characters before it cuts by tokens, and so do we: same text, same vector
        let end = if text.len() > self.n_chars { text.char_indices().nth(self.n_chars) } else { None };
        let text = end.map_or(text, |(end, _)| &text[..end]);
        self.tokenizer.encode_plain(text, self.config.max_length, ids)
    }

    /// Writes the rows of `items`; `encode` gives the tokens of one, `cost` what it counts in the progress.
    fn run<T: Sync>(
        &self,
        items: &[T],
        cost: impl Fn(&T) -> usize + Sync,
        encode: impl Fn(&T, &mut Vec<u32>) -> Result<()> + Sync,
        out: &mut [f32],
        task: &Task,
    ) -> Result<u64> {
        let dim = self.table.dim;
        task.start(items.iter().map(|item| cost(item) as u64).sum());
        out.par_chunks_mut(CHUNK_TEXTS * dim)
            .zip(items.par_chunks(CHUNK_TEXTS))
            .map(|(out, items)| {
                task.check()?;
                let (mut ids, mut n_tokens) = (Vec::new(), 0);
                for (item, row) in items.iter().zip(out.chunks_exact_mut(dim)) {
                    ids.clear();
                    encode(item, &mut ids)?;
                    n_tokens += ids.len() as u64;
                    ids.retain(|id| Some(*id) != self.tokenizer.unknown());
                    self.pool(&ids, row)?;
                }
                task.advance(items.iter().map(|item| cost(item) as u64).sum());
                Ok(n_tokens)
            })
            .try_reduce(|| 0, |a, b| Ok(a + b))
    }

    fn pool(&self, ids: &[u32], row: &mut [f32]) -> Result<()> {
        self.table.mean(ids, row);
        if kernels::squared_norm(row) == 0.0 {
            row.copy_from_slice(&self.blank);
        }
        finish(row, self.config.normalize)
    }
}

impl Embedder for StaticEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dim(&self) -> usize {
        self.table.dim
    }

    fn engine(&self) -> (Engine, String) {
        (Engine::Static, "cpu".into())
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn pooling(&self) -> Pooling {
        self.config.pooling
    }

    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64> {
        check_out(texts.len(), self.dim(), out)?;
        let cost = |text: &&str| estimated_tokens(text, self.config.max_length);
        self.run(texts, cost, |text, ids| self.encode(text, ids), out, task)
    }

    fn embed_tokens(&self, tokens: &[Vec<u32>], out: &mut [f32], task: &Task) -> Result<()> {
        check_out(tokens.len(), self.dim(), out)?;
        tokens::check(tokens, self.config.max_length, self.table.n_tokens())?;
        let copy = |from: &Vec<u32>, ids: &mut Vec<u32>| {
            ids.extend_from_slice(from);
            Ok(())
        };
        self.run(tokens, Vec::len, copy, out, task).map(drop)
    }
}

impl Table {
    fn read(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::model(format!("the safetensors file is damaged: {error}")))?;
        let has = |name: &str| file.tensor(name).is_ok();
        let name = TABLES.into_iter().find(|name| has(name)).unwrap_or(TABLES[0]);
        let (mut rows, shape) = floats(bytes, &file, name, &[0, 0])?;
        let (n_rows, dim) = (shape[0], shape[1]);
        let mapping = if has("mapping") { Some(integers(&file, "mapping", n_rows)?) } else { None };
        let n_tokens = mapping.as_ref().map_or(n_rows, Vec::len);
        let weights = if has("weights") { Some(floats(bytes, &file, "weights", &[n_tokens])?.0) } else { None };
        let shared = match (mapping, weights) {
            (None, None) => None,
            (None, Some(weights)) => {
                for (row, weight) in rows.chunks_exact_mut(dim).zip(weights) {
                    row.iter_mut().for_each(|value| *value *= weight);
                }
                None
            }
            (Some(mapping), weights) => {
                let weights = weights.unwrap_or_else(|| vec![1.0; n_tokens]);
                Some(mapping.into_iter().zip(weights).collect())
            }
        };
        Ok(Self { rows, dim, shared })
    }

    fn n_tokens(&self) -> usize {
        self.shared.as_ref().map_or(self.rows.len() / self.dim, Vec::len)
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.rows[row as usize * self.dim..(row as usize + 1) * self.dim]
    }

    /// Zeros for no token. Summed in float32: a text has hundreds of tokens, not millions.
    fn mean(&self, ids: &[u32], out: &mut [f32]) {
        out.fill(0.0);
        match &self.shared {
            None => {
                for id in ids {
                    out.iter_mut().zip(self.row(*id)).for_each(|(sum, value)| *sum += value);
                }
            }
            Some(shared) => {
                for id in ids {
                    let (row, weight) = shared[*id as usize];
                    out.iter_mut().zip(self.row(row)).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
        let scale = 1.0 / ids.len().max(1) as f32;
        out.iter_mut().for_each(|value| *value *= scale);
    }

    /// What stands for a text without tokens (empty, only unknown ones): the row of the unknown token; where that is
    /// missing or zero, the mean of all rows; where that is zero, the first row that is not.
    fn blank(&self, unknown: Option<u32>) -> Result<Vec<f32>> {
        let mean_of = |ids: &[u32]| {
            let mut row = vec![0f32; self.dim];
            self.mean(ids, &mut row);
            (kernels::squared_norm(&row) > 0.0).then_some(row)
        };
        let all: Vec<u32> = (0..self.n_tokens() as u32).collect();
        unknown
            .and_then(|id| mean_of(&[id]))
            .or_else(|| mean_of(&all))
            .or_else(|| all.iter().find_map(|id| mean_of(&[*id])))
            .ok_or_else(|| Error::model("the table of token vectors holds only zeros"))
    }
}

/// Characters of the tokenizer's middle token, as model2vec counts them.
fn median_length(tokenizer: &TextTokenizer) -> usize {
    let mut lengths: Vec<usize> = tokenizer.vocabulary().iter().map(|(word, _)| word.chars().count()).collect();
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    let median = match lengths.len() {
        0 => 1,
        n if n % 2 == 0 => lengths[middle - 1].midpoint(lengths[middle]),
        _ => lengths[middle],
    };
    median.max(1)
}

/// Numbers of any type that model2vec writes.
fn floats(bytes: &[u8], file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<usize>)> {
    let missing = || Error::model(format!("the safetensors file has no tensor '{name}'"));
    let view = file.tensor(name).map_err(|_| missing())?;
    let values: Vec<f32> = match view.dtype() {
        Dtype::I8 => view.data().iter().map(|byte| f32::from(*byte as i8)).collect(),
        Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => return Tensors::parse(bytes, name, &[""])?.get(name, shape),
    };
    let got = view.shape();
    let fits =
        got.len() == shape.len() && got.iter().zip(shape).all(|(got, need)| *got > 0 && [0, *got].contains(need));
    if !fits {
        return Err(Error::model(format!("tensor '{name}' has shape {got:?}: need {shape:?} (0 = any)")));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::model(format!("tensor '{name}' holds NaN or infinity")));
    }
    Ok((values, got.to_vec()))
}

/// One number below `n_rows` per token.
fn integers(file: &SafeTensors<'_>, name: &str, n_rows: usize) -> Result<Vec<u32>> {
    let missing = || Error::model(format!("the safetensors file has no tensor '{name}'"));
    let view = file.tensor(name).map_err(|_| missing())?;
    let values: Vec<i64> = match view.dtype() {
        Dtype::I64 => view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        Dtype::I32 => view.data().as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        other => return Err(Error::model(format!("tensor '{name}' has type {other:?}: need I64 or I32"))),
    };
    if view.shape().len() != 1 {
        return Err(Error::model(format!("tensor '{name}' has shape {:?}: need one number per token", view.shape())));
    }
    let row = |value: i64| u32::try_from(value).ok().filter(|row| (*row as usize) < n_rows);
    values
        .into_iter()
        .map(|value| {
            row(value).ok_or_else(|| Error::model(format!("tensor '{name}' must be below {n_rows} rows: got {value}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[f32; 2]], shared: Option<Vec<(u32, f32)>>) -> Table {
        Table { rows: rows.concat(), dim: 2, shared }
    }

    #[test]
    fn the_mean_counts_every_token_with_its_weight() {
        let mut row = [9.0; 2];
        table(&[[1.0, 0.0], [0.0, 4.0]], None).mean(&[0, 1, 1, 0], &mut row);
        assert_eq!(row, [0.5, 2.0]);
        table(&[[1.0, 0.0], [0.0, 4.0]], Some(vec![(1, 1.0), (1, 0.5), (0, 3.0)])).mean(&[1, 2], &mut row);
        assert_eq!(row, [1.5, 1.0]);
        table(&[[1.0, 0.0]], None).mean(&[], &mut row);
        assert_eq!(row, [0.0, 0.0]);
    }

    #[test]
    fn a_text_without_tokens_has_a_vector() {
        let blank = |rows: &[[f32; 2]], unknown| table(rows, None).blank(unknown);
        assert_eq!(blank(&[[1.0, 0.0], [3.0, 0.0]], Some(1)), Ok(vec![3.0, 0.0]));
        assert_eq!(blank(&[[1.0, 0.0], [0.0, 0.0]], Some(1)), Ok(vec![0.5, 0.0]));
        assert_eq!(blank(&[[1.0, 0.0], [-1.0, 0.0]], None), Ok(vec![1.0, 0.0]));
        assert!(blank(&[[0.0, 0.0]], None).is_err());
    }
}
