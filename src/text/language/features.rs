//! Which pieces of a text tell its language: runs of 2, 3 and 4 letters of each word, its borders included, and the
//! whole word. Tokens that are code, addresses or data give none. Shared with the tool that learns the table.

use super::script::{Script, script};

/// Stands for both borders of a word in a window of letters.
const BORDER: u64 = b'_' as u64;
/// Odd constants that spread the four kinds of features over the buckets.
const SPREAD: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x27d4_eb2f_1656_67c5];

/// So many tokens at the beginning count twice: a question begins in its own language, what it asks about may stand in
/// another ("quién canta you are my sunshine").
const OPENING: usize = 2;

/// Calls `take` with the hash of each feature of the words of `tokens` that are in `wanted` script; the bucket is its
/// highest bits.
pub fn features(tokens: &[&str], wanted: Script, mut take: impl FnMut(u64)) {
    for token in tokens.iter().take(OPENING).chain(tokens) {
        token_features(token, wanted, &mut take);
    }
}

/// Letters are taken in lower case.
fn token_features(token: &str, wanted: Script, take: &mut impl FnMut(u64)) {
    let mut word = Word::default();
    for c in token.chars() {
        if script(c) != wanted {
            word.end(take);
            continue;
        }
        // the first of several characters is the letter itself ("İ" gives "i" and a dot)
        let lower = if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) };
        word.push(lower as u64, take);
    }
    word.end(take);
}

/// Is the token (a run without white space) code, an address or data rather than words?
pub fn is_language(token: &str) -> bool {
    let bytes = token.as_bytes();
    // without spaces between words there are no tokens to judge
    if !bytes.is_ascii() {
        return true;
    }
    if bytes.len() > super::super::characters::LONGEST_TOKEN {
        return false;
    }
    let mut before = [b' ', b' '];
    for byte in bytes {
        let [second, first] = before;
        let joined = match byte {
            b'\\' | b'_' | b'=' | b'{' | b'}' | b'<' | b'>' | b'/' | b'@' | b'#' | b'$' | b'|' | b'~' | b'^' | b'*'
            | b'&' | b'%' | b'+' => true,
            b'(' | b'[' => first.is_ascii_alphanumeric(),
            b'A'..=b'Z' => first.is_ascii_lowercase() || first.is_ascii_digit(),
            b'a'..=b'z' => first.is_ascii_digit(),
            b'0'..=b'9' => first.is_ascii_alphabetic(),
            _ => false,
        };
        let dotted = matches!(first, b'.' | b':') && second.is_ascii_alphabetic() && byte.is_ascii_alphabetic();
        if joined || dotted {
            return false;
        }
        before = [first, *byte];
    }
    true
}

/// The word so far: its last four characters, 16 bits each, and a hash of all of them.
#[derive(Default)]
struct Word {
    window: u64,
    n: usize,
    hash: u64,
}

impl Word {
    #[inline]
    fn push(&mut self, letter: u64, take: &mut impl FnMut(u64)) {
        if self.n == 0 {
            self.window = BORDER;
            self.hash = 0;
        }
        self.n += 1;
        self.hash = (self.hash ^ letter).wrapping_mul(SPREAD[3]).rotate_left(23);
        self.shift(letter, take);
    }

    #[inline]
    fn end(&mut self, take: &mut impl FnMut(u64)) {
        if self.n > 0 {
            self.shift(BORDER, take);
            if self.n > 2 {
                take(spread(self.hash, 3));
            }
            *self = Self::default();
        }
    }

    #[inline]
    fn shift(&mut self, character: u64, take: &mut impl FnMut(u64)) {
        self.window = self.window << 16 | (character & 0xffff);
        take(spread(self.window & 0xffff_ffff, 0));
        if self.window >> 32 & 0xffff != 0 {
            take(spread(self.window & 0xffff_ffff_ffff, 1));
        }
        if self.window >> 48 != 0 {
            take(spread(self.window, 2));
        }
    }
}

#[inline]
fn spread(key: u64, kind: usize) -> u64 {
    let mixed = (key ^ (key >> 29)).wrapping_mul(SPREAD[kind]);
    (mixed ^ (mixed >> 32)).wrapping_mul(SPREAD[0])
}
