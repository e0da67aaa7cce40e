//! What can be said about a text without reading it: language, size, quality, personal data, template. One call per
//! text; each signal has its own file.

use super::characters::profile;
use super::language::detect;
use super::quality::{Quality, quality};
use super::{personal, template};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signals {
    /// None where it can't be told.
    pub language: Option<&'static str>,
    pub language_confidence: f32,
    /// Unicode scalar values.
    pub n_chars: u32,
    pub n_words: u32,
    pub quality: Quality,
    /// Bits of `personal::Kind`.
    pub personal: u32,
    /// Hash of the skeleton.
    pub template: i64,
}

/// Every signal of `text`.
pub fn signals(text: &str) -> Signals {
    let profile = profile(text);
    let detection = detect(text);
    Signals {
        language: detection.language,
        language_confidence: detection.confidence,
        n_chars: profile.n_chars,
        n_words: profile.n_words,
        quality: quality(text, &profile, detection.wording),
        personal: personal::kinds(text),
        template: template::template(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_text_has_all_signals() {
        let found = signals("Please write to ada@example.org about the invoice of May.");
        assert_eq!((found.n_chars, found.n_words), (57, 11));
        assert_eq!(found.language, Some("English"));
        assert_eq!(found.personal, personal::Kind::Email.bit());
        assert!(found.quality.score > 0.8, "{found:?}");
    }

    proptest! {
        #[test]
        fn any_text_has_signals(text in any::<String>()) {
            let found = signals(&text);
            prop_assert_eq!(found, signals(&text));
            prop_assert!((0.0..=1.0).contains(&found.language_confidence));
        }
    }
}
