//! How good a prompt is as a text, whatever was answered: five parts from 0 to 1, and their product. It does not judge
//! what is asked.

use super::characters::Profile;

/// Each part from 0 (bad) to 1 (nothing to complain about).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Product of the parts: one bad part is enough.
    pub score: f32,
    /// How much is said: 1 - exp(-words / 3).
    pub length: f32,
    /// How much of what is seen is language.
    pub letters: f32,
    /// How little is said again.
    pub repetition: f32,
    /// How many different letters there are for the length.
    pub variety: f32,
    /// How much the letters follow each other as in the language of the text.
    pub wording: f32,
}

/// Words after which a text has said 63% of what a prompt needs.
const WORDS: f32 = 3.0;
/// Share of letters among what is seen that a normal text reaches; code and formulas have 0.5 to 0.7.
const LETTERS: f32 = 0.5;
/// Up to this share of repeated windows is normal (long code: 0.4), from `ALL_REPEATED` on the text says nothing new.
const REPEATED: f32 = 0.4;
const ALL_REPEATED: f32 = 0.9;
/// Bytes of the windows that are looked for again: 12 Latin, 6 Cyrillic, 4 Han characters.
const WINDOW: usize = 12;
/// Of a longer text only this many bytes of its start and of its end are looked at.
const LOOKED_AT: usize = 8192;
/// A text of n letters, n <= 12, needs 0.6 n different ones.
const DIFFERENT: f32 = 0.6;
const ENOUGH_LETTERS: u32 = 12;

/// The parts of `text`; `wording` comes from the language model (1 where it can't tell).
pub fn quality(text: &str, profile: &Profile, wording: f32) -> Quality {
    let length = 1.0 - (-(profile.n_words as f32) / WORDS).exp();
    // a digit says half of what a letter does
    let language = profile.n_letters as f32 + profile.n_digits as f32 / 2.0;
    let letters = (language / (LETTERS * profile.n_visible.max(1) as f32)).min(1.0);
    let repetition = ((ALL_REPEATED - repeated_share(text)) / (ALL_REPEATED - REPEATED)).clamp(0.0, 1.0);
    let needed = DIFFERENT * profile.n_letters.min(ENOUGH_LETTERS) as f32;
    let variety = if needed > 0.0 { (profile.n_distinct as f32 / needed).min(1.0) } else { 1.0 };
    let score = length * letters * repetition * variety * wording;
    Quality { score, length, letters, repetition, variety, wording }
}

/// Share of the windows of 12 bytes that stood in the text before.
fn repeated_share(text: &str) -> f32 {
    let bytes = text.as_bytes();
    if bytes.len() <= 2 * LOOKED_AT {
        return share_of(&[bytes]);
    }
    share_of(&[&bytes[..LOOKED_AT], &bytes[bytes.len() - LOOKED_AT..]])
}

fn share_of(parts: &[&[u8]]) -> f32 {
    let n_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let n_slots = (2 * n_bytes).next_power_of_two();
    // open addressing over fingerprints; 0 is free
    let mut seen = vec![0u32; n_slots];
    let (mut n_windows, mut n_repeated) = (0u32, 0u32);
    for window in parts.iter().flat_map(|part| part.windows(WINDOW)) {
        // indentation is no repetition
        if window[0].is_ascii_whitespace() {
            continue;
        }
        n_windows += 1;
        let hash = hash_window(window);
        let fingerprint = (hash >> 32) as u32 | 1;
        let mut slot = hash as usize & (n_slots - 1);
        while seen[slot] != 0 && seen[slot] != fingerprint {
            slot = (slot + 1) & (n_slots - 1);
        }
        n_repeated += u32::from(seen[slot] == fingerprint);
        seen[slot] = fingerprint;
    }
    n_repeated as f32 / n_windows.max(1) as f32
}

#[inline]
fn hash_window(window: &[u8]) -> u64 {
    let (first, rest) = window.split_at(8);
    let first = u64::from_le_bytes(first.try_into().unwrap_or_default());
    let rest = u32::from_le_bytes(rest.try_into().unwrap_or_default());
    let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(rest).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::characters::profile;
    use super::*;

    fn of(text: &str) -> Quality {
        quality(text, &profile(text), 1.0)
    }

    #[test]
    fn a_normal_question_is_good() {
        for text in
            ["How do I reverse a linked list in Python?", "机器学习和深度学习有什么区别？", "Solve 3x + 5 = 20 for x."]
        {
            assert!(of(text).score > 0.8, "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn each_part_finds_its_fault() {
        assert!(of("hi").length < 0.3);
        assert!(of(&"a".repeat(500)).score < 0.01);
        assert!(of(&"buy now ".repeat(100)).repetition < 0.1);
        assert!(of("aaaaaaaaaaaaaaa bbbb").variety < 0.3);
        assert!(of("%%%% #### !!!! ???? $$$$").letters < 0.1);
        assert!(of("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ=").score < 0.1);
    }

    #[test]
    fn nothing_has_no_quality() {
        assert_eq!(of("").score, 0.0);
        assert_eq!(of(" \n").score, 0.0);
    }

    proptest! {
        #[test]
        fn parts_are_shares(text in any::<String>(), wording in 0f32..=1.0) {
            let found = quality(&text, &profile(&text), wording);
            for part in [found.score, found.length, found.letters, found.repetition, found.variety, found.wording] {
                prop_assert!((0.0..=1.0).contains(&part));
            }
        }

        #[test]
        fn saying_it_again_never_helps(text in "[a-z ]{20,60}") {
            let (once, often) = (of(&text), of(&format!("{text} ").repeat(20)));
            prop_assert!(often.repetition <= once.repetition);
        }
    }
}
