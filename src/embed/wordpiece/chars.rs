//! What BERT's normaliser and pre-tokenizer make of one character. The rules are those of the crate `tokenizers`, asked
//! once per character, so that they cannot drift apart; what depends on neighbouring characters is not claimed.

use std::sync::OnceLock;

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
use unicode_normalization::char::canonical_combining_class;

/// Characters of one lazily filled part of the table.
const BLOCK: usize = 256;
const BLOCKS: usize = 0x11_0000 / BLOCK;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Is removed.
    Nothing,
    /// Ends a word.
    Space,
    /// A word of its own.
    Alone,
    /// Part of a word.
    Part,
    /// What becomes of it depends on its neighbours.
    Unproven,
}

/// The kind of a character, and what it becomes.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub kind: Kind,
    pub n_chars: usize,
    pub text: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: Kind,
    n_chars: u8,
    start: u16,
    end: u16,
}

#[derive(Debug)]
struct Block {
    entries: Vec<Entry>,
    text: Vec<u8>,
}

#[derive(Debug)]
pub struct Rules {
    normalizer: BertNormalizer,
    blocks: Vec<OnceLock<Block>>,
}

impl Rules {
    pub fn new(normalizer: BertNormalizer) -> Self {
        Self { normalizer, blocks: (0..BLOCKS).map(|_| OnceLock::new()).collect() }
    }

    pub fn of(&self, char: char) -> Rule<'_> {
        let (block, place) = (char as usize / BLOCK, char as usize % BLOCK);
        let block = self.blocks[block].get_or_init(|| self.block(block));
        let entry = block.entries[place];
        Rule {
            kind: entry.kind,
            n_chars: usize::from(entry.n_chars),
            text: &block.text[usize::from(entry.start)..usize::from(entry.end)],
        }
    }

    fn block(&self, block: usize) -> Block {
        let mut text = Vec::new();
        let first = (block * BLOCK) as u32;
        let entries = (first..first + BLOCK as u32)
            .map(|code| {
                let start = text.len() as u16;
                let (kind, becomes) = match char::from_u32(code) {
                    Some(char) => self.ask(char),
                    None => (Kind::Unproven, String::new()),
                };
                text.extend_from_slice(becomes.as_bytes());
                Entry { kind, n_chars: becomes.chars().count() as u8, start, end: text.len() as u16 }
            })
            .collect();
        Block { entries, text }
    }

    fn ask(&self, char: char) -> (Kind, String) {
        const UNPROVEN: (Kind, String) = (Kind::Unproven, String::new());
        let mut normalized = NormalizedString::from(char.to_string());
        if self.normalizer.normalize(&mut normalized).is_err() {
            return UNPROVEN;
        }
        // Canonical order moves such a mark past its neighbours. Where marks are stripped, most are gone by now, and
        // what is left never moves; a character that is left over is one that the crate does not count as a mark.
        if normalized.get().chars().any(|char| canonical_combining_class(char) != 0) {
            return UNPROVEN;
        }
        // between two letters it shows what it does to a word
        let mut split = PreTokenizedString::from(format!("a{}a", normalized.get()));
        if BertPreTokenizer.pre_tokenize(&mut split).is_err() {
            return UNPROVEN;
        }
        let splits = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        let words: Vec<&str> = splits.iter().map(|(word, ..)| *word).collect();
        match words[..] {
            ["aa"] => (Kind::Nothing, String::new()),
            ["a", "a"] => (Kind::Space, String::new()),
            ["a", word, "a"] => (Kind::Alone, word.to_owned()),
            [word] => (Kind::Part, word[1..word.len() - 1].to_owned()),
            _ => UNPROVEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_the_rules_of_bert() {
        let rules = Rules::new(BertNormalizer::default());
        let want = [
            ('a', Kind::Part, "a"),
            ('A', Kind::Part, "a"),
            ('É', Kind::Part, "e"),
            ('\0', Kind::Nothing, ""),
            ('\u{200d}', Kind::Nothing, ""),
            ('\u{301}', Kind::Nothing, ""),
            ('\t', Kind::Space, ""),
            ('\u{3000}', Kind::Space, ""),
            ('!', Kind::Alone, "!"),
            ('日', Kind::Alone, "日"),
            ('가', Kind::Part, "\u{1100}\u{1161}"),
            ('\u{302e}', Kind::Unproven, ""),
        ];
        for (char, kind, text) in want {
            let rule = rules.of(char);
            assert_eq!((rule.kind, rule.text, rule.n_chars), (kind, text.as_bytes(), text.chars().count()), "{char:?}");
        }
    }

    #[test]
    fn an_accent_that_stays_is_not_claimed() {
        let rules = Rules::new(BertNormalizer::new(true, true, Some(false), true));
        assert_eq!(rules.of('É').text, "é".as_bytes());
        assert_eq!(rules.of('\u{301}').kind, Kind::Unproven);
    }
}
