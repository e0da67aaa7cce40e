//! How texts become token ids, and how they are put into batches without waste: read by our own WordPiece where that
//! is proven for the text, else by the crate `tokenizers`; sorted by length, padded only to the longest of a batch.

use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::{ModelWrapper, Tokenizer};

use super::wordpiece::WordPiece;
use crate::error::{Error, Result};
use crate::task::Task;

/// Characters given to the crate `tokenizers` per token wanted. It tokenises all it is given, so a 1 MB text is cut
/// first; a text that gives too few tokens for its cut is tokenised again, longer.
const CHARS_PER_TOKEN: usize = 12;
/// Padded tokens of one batch: more than this leaves the L2 cache (measured: ONNX Runtime is 2x slower at 4,096).
const BATCH_TOKENS: usize = 1_024;

/// Texts whose tokens are held at once: bounds memory.
const COUNTED_AT_ONCE: usize = 16_384;

/// Token ids of each text, cut to the model's length.
pub struct Tokens(Vec<Vec<u32>>);

/// Texts of one batch (positions in the caller's list, longest first) and the common length they are padded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub texts: Vec<u32>,
    pub length: usize,
}

/// The tokenizer of a model folder. What its file says about padding and truncation does not count.
pub struct TextTokenizer {
    hf: Tokenizer,
    fast: Option<WordPiece>,
    /// Special tokens around every text.
    before: Vec<u32>,
    after: Vec<u32>,
    padding: u32,
    unknown: Option<u32>,
    n_ids: usize,
}

impl TextTokenizer {
    /// Appends the tokens of `text`, at most `max_length` of them, special ones included and kept.
    pub fn encode(&self, text: &str, max_length: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.extend_from_slice(&self.before);
        self.encode_plain(text, max_length.saturating_sub(self.before.len() + self.after.len()), ids)?;
        ids.extend_from_slice(&self.after);
        Ok(())
    }

    /// Appends the first `limit` tokens of `text`, without special ones around them.
    pub fn encode_plain(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(fast) = &self.fast
            && fast.encode(text, limit, ids).is_ok()
        {
            return Ok(());
        }
        encode_with_crate(&self.hf, text, limit, ids)
    }

    /// The tokens of every text, at most `max_length` each.
    pub fn encode_all(&self, texts: &[&str], max_length: usize, special: bool, task: &Task) -> Result<Vec<Vec<u32>>> {
        let encode = |text: &&str| {
            task.check()?;
            let mut ids = Vec::new();
            if special {
                self.encode(text, max_length, &mut ids)?;
            } else {
                self.encode_plain(text, max_length, &mut ids)?;
            }
            Ok(ids)
        };
        texts.par_iter().map(encode).collect()
    }

    /// How often each id occurs, where at most `max_length` tokens of a text are read.
    pub fn count(&self, texts: &[&str], max_length: usize, task: &Task) -> Result<Vec<u64>> {
        let mut counts = vec![0; self.n_ids];
        for texts in texts.chunks(COUNTED_AT_ONCE) {
            for id in self.encode_all(texts, max_length, false, task)?.into_iter().flatten() {
                counts[id as usize] += 1;
            }
        }
        Ok(counts)
    }

    /// Whether texts are read by our own WordPiece.
    pub fn is_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Special tokens before and after every text.
    pub fn around(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }

    /// The token of what no other token stands for.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    pub fn padding_id(&self) -> u32 {
        self.padding
    }

    /// All ids are below this.
    pub fn n_ids(&self) -> usize {
        self.n_ids
    }

    /// Every token with its id, added ones included, by id.
    pub fn vocabulary(&self) -> Vec<(String, u32)> {
        let mut words: Vec<(String, u32)> = self.hf.get_vocab(true).into_iter().collect();
        words.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        words
    }

    /// Refuses a tokenizer that was made for another model.
    ///
    /// # Errors
    /// `Model` when it can give ids beyond the `n_words` rows of the model's table.
    pub fn check_vocabulary(&self, n_words: usize) -> Result<()> {
        if self.n_ids <= n_words {
            return Ok(());
        }
        let got = self.n_ids;
        Err(Error::model(format!("tokenizer.json has a vocabulary of {got} tokens, the model has {n_words} of them"))
            .hint("use the tokenizer.json that came with the weights"))
    }
}

/// Reads tokenizer.json.
///
/// # Errors
/// `Model` when it is missing, damaged or asks for special tokens inside a text.
pub fn load(path: &Path) -> Result<TextTokenizer> {
    let damaged = |error: String| Error::model(format!("{} is damaged: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let mut hf = Tokenizer::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?;
    let padding = hf.get_padding().map_or(0, |padding| padding.pad_id);
    hf.with_padding(None);
    hf.with_truncation(None).map_err(|error| damaged(error.to_string()))?;
    let (before, after) = around(&hf)?;
    let unknown = unknown(&hf, &bytes).map_err(|error| damaged(error.to_string()))?;
    let n_ids = hf.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
    Ok(TextTokenizer { fast: WordPiece::of(&hf), hf, before, after, padding, unknown, n_ids })
}

/// The special tokens that are put before and after a text.
fn around(hf: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>)> {
    let ids = |text: &str, special| hf.encode_fast(text, special).map(|found| found.get_ids().to_vec()).map_err(failed);
    let empty = ids("", true)?;
    // a text that has tokens
    let (mut text, mut plain) = ("", vec![]);
    for probe in ["a a", "1", ".", "的"] {
        if plain.is_empty() {
            (text, plain) = (probe, ids(probe, false)?);
        }
    }
    let whole = ids(text, true)?;
    for start in 0..=whole.len().saturating_sub(plain.len()) {
        let (before, rest) = whole.split_at(start);
        if let Some(after) = rest.strip_prefix(plain.as_slice())
            && [before, after].concat() == empty
        {
            return Ok((before.to_vec(), after.to_vec()));
        }
    }
    Err(Error::model("tokenizer.json asks for special tokens elsewhere than before and after a text")
        .hint("save the model with the tokenizer of a sentence encoder"))
}

/// Where the file keeps its unknown token depends on the kind of the model.
fn unknown(hf: &Tokenizer, bytes: &[u8]) -> serde_json::Result<Option<u32>> {
    #[derive(Deserialize)]
    struct File {
        model: Unigram,
    }
    #[derive(Deserialize)]
    struct Unigram {
        unk_id: Option<u32>,
    }
    let name = match hf.get_model() {
        ModelWrapper::WordPiece(model) => Some(&model.unk_token),
        ModelWrapper::WordLevel(model) => Some(&model.unk_token),
        ModelWrapper::BPE(model) => model.unk_token.as_ref(),
        ModelWrapper::Unigram(_) => return Ok(serde_json::from_slice::<File>(bytes)?.model.unk_id),
    };
    Ok(name.and_then(|name| hf.token_to_id(name)))
}

fn failed(error: tokenizers::Error) -> Error {
    Error::model(format!("the tokenizer failed: {error}"))
}

/// Checks tokens the caller made: none of the lists is empty, too long or holds an id that is not below `n_ids`.
pub fn check(tokens: &[Vec<u32>], max_length: usize, n_ids: usize) -> Result<()> {
    for (position, ids) in tokens.iter().enumerate() {
        if ids.is_empty() || ids.len() > max_length {
            let got = ids.len();
            return Err(Error::invalid(format!("text {position} must have 1 to {max_length} tokens: got {got}")));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= n_ids) {
            return Err(Error::invalid(format!("text {position}: token ids must be below {n_ids}: got {id}")));
        }
    }
    Ok(())
}

impl Tokens {
    pub fn encode(tokenizer: &TextTokenizer, texts: &[&str], max_length: usize, task: &Task) -> Result<Self> {
        tokenizer.encode_all(texts, max_length, true, task).map(Self)
    }

    /// Tokens the caller made and `check` saw.
    pub fn given(tokens: &[Vec<u32>]) -> Self {
        Self(tokens.to_vec())
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

fn encode_with_crate(hf: &Tokenizer, text: &str, limit: usize, ids: &mut Vec<u32>) -> Result<()> {
    let mut n_chars = limit.saturating_mul(CHARS_PER_TOKEN).max(1);
    loop {
        let cut = text.char_indices().nth(n_chars).map(|(end, _)| &text[..end]);
        // a word that is cut in two has other tokens than the whole one: cut between words where there are any
        let between = cut.and_then(|cut| cut.rfind(char::is_whitespace)).map(|end| &text[..end]);
        let cut = between.or(cut);
        let found = hf.encode_fast(cut.unwrap_or(text), false).map_err(failed)?;
        let found = found.get_ids();
        // what was cut off can't matter once the tokens themselves are cut; inside a word, well before its end
        let enough = if between.is_some() { limit } else { limit.saturating_mul(2) };
        if cut.is_none() || found.len() > enough {
            ids.extend(found.iter().take(limit));
            return Ok(());
        }
        n_chars = n_chars.saturating_mul(8);
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
