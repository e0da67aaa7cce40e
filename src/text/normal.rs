//! The normal form of a text, its hash, and its short form. Two texts are the same text when their normal forms are
//! equal: NFC, no NUL or other control characters, trimmed.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_128;

/// NFC, control characters other than tab and line ends removed, white space at both ends removed.
pub fn normalize(text: &str) -> String {
    let kept = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let clean: String = if text.chars().all(|c| kept(&c)) {
        text.trim().to_owned()
    } else {
        text.chars().filter(kept).collect::<String>().trim().to_owned()
    };
    if is_nfc_quick(clean.chars()) == IsNormalized::Yes { clean } else { clean.nfc().collect() }
}

/// xxh3-128 of the UTF-8 bytes, big endian. Not for secrets: collisions can be made on purpose.
pub fn hash(text: &str) -> [u8; 16] {
    xxh3_128(text.as_bytes()).to_be_bytes()
}

/// At most `max_chars` characters on one line: white space collapsed, cut between graphemes, an ellipsis where cut.
pub fn cut(text: &str, max_chars: usize) -> String {
    let mut short = String::new();
    let mut n_chars = 0;
    // end and length of `short` at the last grapheme after which the ellipsis still has room
    let mut with_room = 0;
    let mut space = false;
    for grapheme in text.graphemes(true) {
        if grapheme.chars().all(|c| c.is_whitespace() || c.is_control()) {
            space = n_chars > 0;
            continue;
        }
        n_chars += grapheme.chars().count() + usize::from(space);
        if n_chars > max_chars {
            short.truncate(with_room);
            if max_chars > 0 {
                short.push('…');
            }
            return short;
        }
        if std::mem::take(&mut space) {
            short.push(' ');
        }
        short.push_str(grapheme);
        if n_chars < max_chars {
            with_room = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn composed_and_decomposed_texts_are_the_same() {
        assert_eq!(normalize(" cafe\u{301}\n"), normalize("café"));
        assert_eq!(normalize("a\0b\u{7}\tc"), "ab\tc");
    }

    #[test]
    fn a_cut_is_one_short_line_and_keeps_graphemes_whole() {
        assert_eq!(cut("  one\n two  three ", 100), "one two three");
        assert_eq!(cut("one two three", 8), "one two…");
        assert_eq!(cut("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 8), "👩‍👩‍👧‍👦…");
        assert_eq!(cut("abc", 0), "");
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in any::<String>()) {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once.clone());
        }

        #[test]
        fn a_cut_never_exceeds_its_length(text in any::<String>(), max_chars in 0usize..40) {
            prop_assert!(cut(&text, max_chars).chars().count() <= max_chars);
        }
    }
}
