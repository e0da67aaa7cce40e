//! How texts become token ids, and how they are put into batches without waste: cut by characters before tokenising,
//! sorted by length, padded only to the longest of a small batch.

use std::path::Path;

use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

use crate::error::{Error, Result};

/// Characters given to the tokenizer per token wanted. Tokenising is linear in the text, so a 1 MB text is cut first;
/// a text that gives too few tokens for its cut is tokenised again, longer.
const CHARS_PER_TOKEN: usize = 12;
/// Padded tokens of one batch: more than this leaves the L2 cache (measured: ONNX Runtime is 2x slower at 4,096).
const BATCH_TOKENS: usize = 1_024;

/// Token ids of each text, cut to the model's length.
pub struct Tokens(Vec<Vec<u32>>);

/// Texts of one batch (positions in the caller's list, longest first) and the common length they are padded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub texts: Vec<u32>,
    pub length: usize,
}

/// The tokenizer of a model folder: no padding, truncation at `max_length`.
pub fn load(path: &Path, max_length: usize) -> Result<Tokenizer> {
    let damaged = |error: tokenizers::Error| Error::model(format!("{} is damaged: {error}", path.display()));
    let mut tokenizer = Tokenizer::from_file(path).map_err(damaged)?;
    tokenizer.with_padding(None);
    let truncation = TruncationParams { max_length, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(damaged)?;
    Ok(tokenizer)
}

impl Tokens {
    pub fn encode(tokenizer: &Tokenizer, texts: &[&str], max_length: usize) -> Result<Self> {
        let ids = texts.par_iter().map(|text| encode_one(tokenizer, text, max_length)).collect::<Result<_>>()?;
        Ok(Self(ids))
    }

    pub fn of(&self, text: u32) -> &[u32] {
        &self.0[text as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(|ids| ids.len() as u64).sum()
    }

    /// Batches of similar length, longest texts first, so that the last batches, which end the job, are small.
    pub fn batches(&self) -> Vec<Batch> {
        let mut order: Vec<u32> = (0..self.0.len() as u32).collect();
        order.sort_by_key(|text| (std::cmp::Reverse(self.of(*text).len()), *text));
        let mut batches: Vec<Batch> = Vec::new();
        for text in order {
            match batches.last_mut() {
                Some(batch) if (batch.texts.len() + 1) * batch.length <= BATCH_TOKENS => batch.texts.push(text),
                _ => batches.push(Batch { texts: vec![text], length: self.of(text).len() }),
            }
        }
        batches
    }
}

fn encode_one(tokenizer: &Tokenizer, text: &str, max_length: usize) -> Result<Vec<u32>> {
    let mut n_chars = max_length * CHARS_PER_TOKEN;
    loop {
        let cut = text.char_indices().nth(n_chars).map(|(end, _)| &text[..end]);
        // a word that is cut in two has other tokens than the whole one: cut between words where there are any
        let between = cut.and_then(|cut| cut.rfind(char::is_whitespace)).map(|end| &text[..end]);
        let cut = between.or(cut);
        let encoding = tokenizer
            .encode_fast(cut.unwrap_or(text), true)
            .map_err(|error| Error::model(format!("the tokenizer failed: {error}")))?;
        // what was cut off can't matter once the tokens themselves were cut; inside a word, well before its end
        let enough = if between.is_some() { 1 } else { 2 };
        if cut.is_none() || encoding.get_overflowing().len() >= enough {
            return Ok(encoding.get_ids().to_vec());
        }
        n_chars *= 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_text_once_within_the_budget() {
        let tokens = Tokens((0..500).map(|i| vec![0; 3 + (i * 37) % 250]).collect());
        let batches = tokens.batches();
        let mut seen: Vec<u32> = batches.iter().flat_map(|batch| batch.texts.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        assert!(batches.iter().all(|batch| batch.texts.len() == 1 || batch.texts.len() * batch.length <= BATCH_TOKENS));
        assert!(batches.iter().all(|batch| batch.texts.iter().all(|text| tokens.of(*text).len() <= batch.length)));
    }
}
