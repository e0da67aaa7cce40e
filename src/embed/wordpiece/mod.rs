//! WordPiece for BERT's tokenizer.json, with the ids of the crate `tokenizers` at many times its speed. It claims only
//! what it is proven for: another configuration gets no `WordPiece`, and a text that depends on what is not modelled
//! here is handed back.

mod chars;
mod trie;

use std::collections::HashMap;

use tokenizers::normalizers::BertNormalizer;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use chars::{Kind, Rules};
use trie::Trie;

/// Vocabularies of the trie: words, and what follows "##".
const FIRST: usize = 0;
const NEXT: usize = 1;
const CONTINUES: &str = "##";

/// What an ASCII byte does, where it is not the lower-case letter itself.
const NOTHING: u8 = 0x80;
const SPACE: u8 = 0x81;
const ALONE: u8 = 0x82;
/// An added token may begin here.
const ADDED: u8 = 0x83;

/// A tokenizer of one model.
#[derive(Debug)]
pub struct WordPiece {
    trie: Trie,
    rules: Rules,
    unknown: u32,
    max_chars: usize,
    /// What each ASCII byte becomes, or one of the marks above.
    ascii: [u8; 128],
    added: Vec<Added>,
    /// Whether an added token begins with a byte that is not ASCII.
    added_beyond_ascii: bool,
}

#[derive(Debug)]
struct Added {
    text: String,
    id: u32,
    /// It takes its surroundings into account, which is not modelled here.
    looks_around: bool,
}

/// A text that only the crate `tokenizers` can read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unproven;

/// The word that is being read.
#[derive(Default)]
struct Word {
    text: Vec<u8>,
    n_chars: usize,
}

impl WordPiece {
    /// None where the tokenizer is not BERT's, or asks for something that is not modelled here.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let (Some(NormalizerWrapper::BertNormalizer(normalizer)), Some(PreTokenizerWrapper::BertPreTokenizer(_))) =
            (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer())
        else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
            return None;
        };
        if model.continuing_subword_prefix != CONTINUES {
            return None;
        }
        // an added token that is searched in the normalised text can lie across what is dropped or changed here
        let decoder = tokenizer.get_added_tokens_decoder();
        if decoder.values().any(|token| token.normalized || token.content.is_empty()) {
            return None;
        }
        let vocabulary = tokenizer.get_vocab(false);
        let unknown = *vocabulary.get(&model.unk_token)?;
        let mut added: Vec<Added> = decoder
            .into_iter()
            .map(|(id, token)| {
                let looks_around = token.single_word || token.lstrip || token.rstrip;
                Added { text: token.content, id, looks_around }
            })
            .collect();
        // of several that begin at one place the longest counts
        added.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then_with(|| a.text.cmp(&b.text)));
        Self::build(*normalizer, &vocabulary, unknown, model.max_input_chars_per_word, added)
    }

    fn build(
        normalizer: BertNormalizer,
        vocabulary: &HashMap<String, u32>,
        unknown: u32,
        max_chars: usize,
        added: Vec<Added>,
    ) -> Option<Self> {
        let (next, first): (Vec<_>, Vec<_>) = vocabulary
            .iter()
            .map(|(word, id)| (word.as_bytes(), *id))
            .partition(|(word, _)| word.starts_with(CONTINUES.as_bytes()));
        let next = next.into_iter().map(|(word, id)| (&word[CONTINUES.len()..], id));
        // '#' is a word of its own, so that a word never begins with "##", but it can be "##" cut short
        let trie = Trie::new([first, next.collect()]);
        let rules = Rules::new(normalizer);
        let mut ascii = [0; 128];
        for (byte, mark) in (0u8..).zip(ascii.iter_mut()) {
            let rule = rules.of(char::from(byte));
            *mark = match (rule.kind, rule.text) {
                (Kind::Nothing, _) => NOTHING,
                (Kind::Space, _) => SPACE,
                (Kind::Alone, [text]) if *text == byte => ALONE,
                (Kind::Part, [text]) if text.is_ascii() => *text,
                _ => return None,
            };
        }
        for token in &added {
            if let Some(mark) = ascii.get_mut(usize::from(token.text.as_bytes()[0])) {
                *mark = ADDED;
            }
        }
        let added_beyond_ascii = added.iter().any(|token| !token.text.as_bytes()[0].is_ascii());
        Some(Self { trie, rules, unknown, max_chars, ascii, added, added_beyond_ascii })
    }

    /// Appends at most `limit` tokens of `text`, without special ones; reads no further than it must.
    ///
    /// # Errors
    /// `Unproven`, and `out` as it was, where `text` must be read by the crate `tokenizers`.
    pub fn encode(&self, text: &str, limit: usize, out: &mut Vec<u32>) -> Result<(), Unproven> {
        let start = out.len();
        let end = start.saturating_add(limit);
        let read = self.read(text, end, out);
        out.truncate(if read.is_ok() { end } else { start });
        read
    }

    fn read(&self, text: &str, end: usize, out: &mut Vec<u32>) -> Result<(), Unproven> {
        let bytes = text.as_bytes();
        let mut word = Word::default();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let mark = match self.ascii.get(usize::from(*byte)) {
                Some(mark) if *mark < NOTHING => {
                    word.push(&[*mark], 1, self.max_chars);
                    at += 1;
                    continue;
                }
                Some(mark) => *mark,
                None => ADDED,
            };
            // the end of a word, or something rare
            if mark == SPACE || mark == ALONE {
                self.finish(&mut word, out);
            }
            if out.len() >= end {
                return Ok(());
            }
            at += match mark {
                SPACE | NOTHING => 1,
                ALONE => self.alone(&[*byte], out),
                _ => self.rare(&text[at..], &mut word, out)?,
            };
        }
        self.finish(&mut word, out);
        Ok(())
    }

    /// An added token, or a character that is not ASCII; its bytes are returned.
    fn rare(&self, text: &str, word: &mut Word, out: &mut Vec<u32>) -> Result<usize, Unproven> {
        if (text.as_bytes()[0].is_ascii() || self.added_beyond_ascii)
            && let Some(token) = self.added.iter().find(|token| text.starts_with(&token.text))
        {
            if token.looks_around {
                return Err(Unproven);
            }
            self.finish(word, out);
            out.push(token.id);
            return Ok(token.text.len());
        }
        let Some(char) = text.chars().next() else {
            return Ok(text.len());
        };
        let rule = self.rules.of(char);
        match rule.kind {
            Kind::Nothing => {}
            Kind::Space => self.finish(word, out),
            Kind::Alone => {
                self.finish(word, out);
                self.alone(rule.text, out);
            }
            Kind::Part => word.push(rule.text, rule.n_chars, self.max_chars),
            Kind::Unproven => return Err(Unproven),
        }
        Ok(char.len_utf8())
    }

    /// A word of one character.
    fn alone(&self, text: &[u8], out: &mut Vec<u32>) -> usize {
        let whole = self.trie.longest(FIRST, text).filter(|(length, _)| *length == text.len());
        out.push(whole.map_or(self.unknown, |(_, id)| id));
        text.len()
    }

    /// The longest piece first, again and again; a word with a part that is in no piece is unknown as a whole.
    #[inline]
    fn finish(&self, word: &mut Word, out: &mut Vec<u32>) {
        if word.n_chars == 0 {
            return;
        }
        let start = out.len();
        let (mut rest, mut vocabulary) = (word.text.as_slice(), FIRST);
        if word.n_chars > self.max_chars {
            out.push(self.unknown);
            rest = &[];
        }
        while !rest.is_empty() {
            let Some((length, id)) = self.trie.longest(vocabulary, rest) else {
                out.truncate(start);
                out.push(self.unknown);
                break;
            };
            out.push(id);
            rest = &rest[length..];
            vocabulary = NEXT;
        }
        word.text.clear();
        word.n_chars = 0;
    }
}

impl Word {
    /// A word that is too long is unknown whatever it says: it is counted, not kept.
    #[inline]
    fn push(&mut self, text: &[u8], n_chars: usize, max_chars: usize) {
        self.n_chars += n_chars;
        if self.n_chars <= max_chars {
            self.text.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests;
