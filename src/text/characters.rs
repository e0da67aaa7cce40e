//! What a text is made of: its characters by class, its words, its tokens that are data rather than language. One pass;
//! the other signals build on these counts. It does not decide anything.

use unicode_normalization::char::is_combining_mark;

/// Longer runs of ASCII without a space are data (keys, base64, paths, minified code), not language.
pub const LONGEST_TOKEN: usize = 30;
/// Letters and vowel signs per word where a script has no spaces and its words have several letters (Thai, Lao, Khmer, Burmese).
const LETTERS_PER_WORD: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Space,
    Letter,
    /// Han and kana: each character counts as a word.
    Ideograph,
    /// Thai, Lao, Khmer, Burmese: words of several letters, not parted.
    Unparted,
    Digit,
    /// Belongs to the letter before it: accents, vowel signs, joiners.
    Mark,
    Other,
}

/// Classes of the ASCII characters: most texts are made of them.
const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b' ' | b'\t'..=b'\r' => Class::Space,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The class of a character.
#[inline]
pub fn class(c: char) -> Class {
    match ASCII.get(c as usize) {
        Some(class) => *class,
        None => class_beyond_ascii(c),
    }
}

fn class_beyond_ascii(c: char) -> Class {
    match c {
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' if c.is_alphabetic() => {
            Class::Unparted
        }
        '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3134f}' => Class::Ideograph,
        '\u{200c}' | '\u{200d}' => Class::Mark,
        _ if c.is_alphabetic() => Class::Letter,
        _ if c.is_whitespace() => Class::Space,
        _ if c.is_numeric() => Class::Digit,
        _ if is_combining_mark(c) => Class::Mark,
        _ => Class::Other,
    }
}

/// Counts of one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Unicode scalar values.
    pub n_chars: u32,
    pub n_words: u32,
    /// Characters that are not white space.
    pub n_visible: u32,
    /// Letters outside tokens that are data.
    pub n_letters: u32,
    pub n_digits: u32,
    /// Different letters, case folded; counted up to 64 by the low bits of the character.
    pub n_distinct: u32,
}

/// Counts what `text` is made of.
pub fn profile(text: &str) -> Profile {
    let mut found = Profile::default();
    let mut distinct = 0u64;
    let mut in_word = false;
    let mut unparted = 0u32;
    // the token since the last white space: start byte, letters, whether it is all ASCII
    let (mut token_start, mut token_letters, mut token_ascii) = (0, 0u32, true);
    for (at, c) in text.char_indices() {
        found.n_chars += 1;
        let class = class(c);
        if class != Class::Unparted && class != Class::Mark && unparted > 0 {
            found.n_words += unparted.div_ceil(LETTERS_PER_WORD);
            unparted = 0;
        }
        if class == Class::Space {
            found.n_letters += letters_of_token(at - token_start, token_letters, token_ascii);
            (token_start, token_letters, token_ascii) = (at + c.len_utf8(), 0, true);
            in_word = false;
            continue;
        }
        found.n_visible += 1;
        token_ascii &= c.is_ascii();
        match class {
            Class::Letter | Class::Ideograph | Class::Unparted => {
                token_letters += 1;
                distinct |= 1 << (fold(c) & 63);
            }
            Class::Digit => found.n_digits += 1,
            _ => {}
        }
        match class {
            Class::Letter | Class::Digit => {
                found.n_words += u32::from(!in_word);
                in_word = true;
            }
            Class::Ideograph => {
                found.n_words += 1;
                in_word = false;
            }
            Class::Unparted => {
                unparted += 1;
                in_word = false;
            }
            // "don't" is one word
            Class::Mark => {}
            Class::Other => in_word = in_word && matches!(c, '\'' | '\u{2019}'),
            Class::Space => {}
        }
    }
    found.n_letters += letters_of_token(text.len() - token_start, token_letters, token_ascii);
    found.n_words += unparted.div_ceil(LETTERS_PER_WORD);
    found.n_distinct = distinct.count_ones();
    found
}

fn letters_of_token(n_bytes: usize, n_letters: u32, ascii: bool) -> u32 {
    if ascii && n_bytes > LONGEST_TOKEN { 0 } else { n_letters }
}

/// One code for both cases of the bicameral scripts that matter; not a full case folding.
fn fold(c: char) -> u32 {
    match c {
        'A'..='Z' => c as u32 | 0x20,
        'Α'..='Ω' | 'А'..='Я' => c as u32 + 0x20,
        _ => c as u32,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_counted_in_every_script() {
        let words = |text: &str| profile(text).n_words;
        assert_eq!(words("How do I reverse a list?"), 6);
        assert_eq!(words("don't  stop—now, it’s 3.5"), 6);
        assert_eq!(words("机器学习是什么"), 7);
        assert_eq!(words("हिन्दी में लिखो"), 3);
        assert_eq!(words("สวัสดีครับ"), 2);
        assert_eq!(words("?!… "), 0);
    }

    #[test]
    fn letters_of_data_do_not_count() {
        assert_eq!(profile("see https://example.org/a/very/long/path/to/some/page.html").n_letters, 3);
        assert_eq!(profile("Donaudampfschifffahrtsgesellschaftskapitän").n_letters, 42);
    }

    proptest! {
        #[test]
        fn counts_fit_each_other(text in any::<String>()) {
            let found = profile(&text);
            prop_assert_eq!(found.n_chars as usize, text.chars().count());
            prop_assert!(found.n_letters + found.n_digits <= found.n_visible);
            prop_assert!(found.n_visible <= found.n_chars);
            prop_assert!(found.n_words <= found.n_chars);
        }
    }
}
