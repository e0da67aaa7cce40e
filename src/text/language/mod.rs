//! In which language is a text written? The script decides where one language uses it; a table of n-grams tells apart
//! languages that share a script. Nothing is said about texts with too few letters.

pub mod families;
mod features;
mod script;
mod table;
mod wording;

use self::features::{features, is_language};
use self::script::{N_SCRIPTS, Script, only_language, script};

/// What is known about the language of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// English name as LMSYS-Chat-1M and WildChat write it; None where there are too few letters to tell.
    pub language: Option<&'static str>,
    /// 0 to 1.
    pub confidence: f32,
    /// How much the letters follow each other as in a language, 0 to 1; 1 where that can't be told.
    pub wording: f32,
}

const UNKNOWN: Detection = Detection { language: None, confidence: 0.0, wording: 1.0 };

/// Bytes of language that are looked at: more do not change the answer.
const LOOKED_AT: usize = 200;
/// Fewer Latin letters say nothing.
const FEWEST_LETTERS: u32 = 3;
/// Fewer words outside quotation marks do not speak for the text.
const FEWEST_UNQUOTED: usize = 2;
/// Share of kana among kana and Han from which a text is Japanese.
const JAPANESE: f32 = 0.1;

/// The language of `text`.
pub fn detect(text: &str) -> Detection {
    let tokens = language_tokens(text);
    let counts = count_scripts(&tokens);
    let other = other_weight(&tokens);
    let weighted = |script: usize| counts[script] as f32 * weight(script, other);
    let total: f32 = (0..N_SCRIPTS - 1).map(weighted).sum();
    let east_asian = weighted(Script::Han as usize) + weighted(Script::Kana as usize);
    let Some(largest) = (0..N_SCRIPTS - 1).max_by(|a, b| weighted(*a).total_cmp(&weighted(*b))) else { return UNKNOWN };
    if total == 0.0 {
        return UNKNOWN;
    }
    if east_asian >= weighted(largest) {
        let n_kana = counts[Script::Kana as usize] as f32;
        let is_japanese = n_kana >= JAPANESE * (n_kana + counts[Script::Han as usize] as f32);
        let language = if is_japanese { "Japanese" } else { "Chinese" };
        return Detection { language: Some(language), confidence: east_asian / total, wording: 1.0 };
    }
    let share = weighted(largest) / total;
    let largest = ALL[largest];
    if let Some(language) = only_language(largest) {
        return Detection { language: Some(language), confidence: share, wording: 1.0 };
    }
    let Some(table) = table::table(largest).filter(|_| counts[largest as usize] >= FEWEST_LETTERS) else {
        return UNKNOWN;
    };
    let wording = if largest == Script::Latin { wording::wording(&tokens) } else { 1.0 };
    if wording == 0.0 {
        return Detection { wording, ..UNKNOWN };
    }
    let mut buckets = Vec::with_capacity(4 * LOOKED_AT);
    features(&tokens, largest, |hash| buckets.push(table.bucket(hash)));
    let (language, confidence) = table.best(&buckets);
    Detection { language: Some(language), confidence: confidence * share, wording }
}

/// The first tokens of `text` that are words; those in quotation marks only where nothing else is.
fn language_tokens(text: &str) -> Vec<&str> {
    let mut n_bytes = 0;
    let (mut tokens, mut quoted) = (Vec::new(), Vec::new());
    let mut in_quotation = false;
    for token in text.split_whitespace().filter(|token| is_language(token)) {
        let token = &token[..token.floor_char_boundary(LOOKED_AT - n_bytes)];
        n_bytes += token.len();
        in_quotation |= token.starts_with(['"', '“', '„', '«']);
        if in_quotation {
            quoted.push(token)
        } else {
            tokens.push(token)
        }
        in_quotation &= !token.trim_end_matches(['.', ',', '!', '?', ':', ';']).ends_with(['"', '”', '“', '»']);
        if n_bytes + 4 > LOOKED_AT {
            break;
        }
    }
    if tokens.len() < FEWEST_UNQUOTED {
        tokens.append(&mut quoted);
    }
    tokens
}

fn count_scripts(tokens: &[&str]) -> [u32; N_SCRIPTS] {
    let mut counts = [0; N_SCRIPTS];
    for token in tokens {
        for c in token.chars() {
            counts[script(c) as usize] += 1;
        }
    }
    counts
}

/// What one letter of a script says when a Latin one says 1 and a letter of another alphabet says `other`; a character
/// of East Asia is a syllable or a word.
fn weight(script: usize, other: f32) -> f32 {
    match ALL[script] {
        Script::Latin => 1.0,
        Script::Han | Script::Kana | Script::Hangul => 2.0 * other,
        _ => other,
    }
}

/// Names and titles in Latin letters stand in texts of all other scripts; but a text that begins with several words in
/// Latin letters is mostly a question about the others ("How do you pronounce ...").
fn other_weight(tokens: &[&str]) -> f32 {
    let script_of = |token: &str| token.chars().map(script).filter(|script| *script != Script::None).max();
    let mut scripts = tokens.iter().filter_map(|token| script_of(token));
    match scripts.by_ref().take_while(|script| *script == Script::Latin).take(3).count() {
        0 => 6.0,
        1 | 2 => 3.0,
        _ => 1.5,
    }
}

const ALL: [Script; N_SCRIPTS] = [
    Script::Latin,
    Script::Cyrillic,
    Script::Arabic,
    Script::Devanagari,
    Script::Han,
    Script::Kana,
    Script::Hangul,
    Script::Greek,
    Script::Hebrew,
    Script::Thai,
    Script::Armenian,
    Script::Georgian,
    Script::Bengali,
    Script::Gurmukhi,
    Script::Gujarati,
    Script::Oriya,
    Script::Tamil,
    Script::Telugu,
    Script::Kannada,
    Script::Malayalam,
    Script::Sinhala,
    Script::Lao,
    Script::Tibetan,
    Script::Burmese,
    Script::Ethiopic,
    Script::Khmer,
    Script::None,
];
