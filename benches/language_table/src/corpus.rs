//! What texts does the table learn from? Words drawn from lingua's models and windows of lingua's real test sentences,
//! one to 25 words long, some with words of another language (names in questions) or without accents (typed in haste).

use std::path::Path;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::Model;
use crate::random::Random;
use crate::text::language::wording::{SYMBOLS, for_each_run};

/// Words drawn per language.
const N_WORDS: usize = 300_000;
/// Longest text, in words.
const LONGEST: f64 = 25.0;

/// Lingua's names of the languages that we call by one name.
fn sources(language: &str) -> Vec<String> {
    match language {
        "Norwegian" => vec!["bokmal".into(), "nynorsk".into()],
        "Slovenian" => vec!["slovene".into()],
        "Croatian" => vec!["croatian".into(), "bosnian".into()],
        other => vec![other.to_lowercase()],
    }
}

/// The words of one language.
pub struct Corpus {
    drawn: Vec<String>,
    /// Words of each real line.
    lines: Vec<Vec<String>>,
}

impl Corpus {
    /// Reads `crates/lingua-LANGUAGE-language-model-1.3.0`.
    pub fn read(crates: &Path, language: &str) -> Self {
        let mut random = Random::new(language.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
        let mut corpus = Self { drawn: Vec::new(), lines: Vec::new() };
        let sources = sources(language);
        for source in &sources {
            let folder = crates.join(format!("lingua-{source}-language-model-1.3.0"));
            let model = Model::read(&folder);
            corpus.drawn.extend((0..N_WORDS / sources.len()).map(|_| model.word(&mut random)));
            for name in ["sentences", "word-pairs", "single-words"] {
                let text = std::fs::read_to_string(folder.join(format!("testdata/{name}.txt"))).expect("test data");
                corpus.lines.extend(
                    text.lines()
                        .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                        .filter(|line| !line.is_empty()),
                );
            }
        }
        corpus
    }

    /// How often each run of three symbols stands in a drawn word, as shares.
    pub fn runs(&self) -> Vec<f64> {
        let mut counts = vec![0.0; SYMBOLS.pow(3)];
        let mut total = 0.0;
        for word in &self.drawn {
            for_each_run(word, |run| {
                counts[run] += 1.0;
                total += 1.0;
            });
        }
        counts.iter_mut().for_each(|count| *count /= total);
        counts
    }

    fn words(&self, n_words: usize, random: &mut Random) -> Vec<String> {
        if random.share() < 0.4 {
            let line = &self.lines[random.below(self.lines.len())];
            let start = random.below(line.len().saturating_sub(n_words) + 1);
            return line[start..line.len().min(start + n_words)].to_vec();
        }
        (0..n_words).map(|_| self.drawn[random.below(self.drawn.len())].clone()).collect()
    }
}

/// A text of the language `of` of `corpora`; `english` says which of them is English, where one is.
pub fn text(corpora: &[Corpus], of: usize, english: Option<usize>, random: &mut Random) -> String {
    let n_words = LONGEST.powf(random.share()).round() as usize;
    let mut words = corpora[of].words(n_words, random);
    // names and titles in a question are mostly English; a question in English has few foreign words
    let (likely, most, other) = match english {
        Some(english) if english != of => (0.4, 0.7, english),
        Some(_) => (0.3, 0.35, random.below(corpora.len())),
        None => (0.0, 0.0, of),
    };
    if words.len() > 1 && random.share() < likely {
        let foreign = corpora[other].words(words.len(), random);
        let share = most * random.share();
        if random.share() < 0.5 {
            for (word, foreign) in words.iter_mut().zip(foreign) {
                if random.share() < share {
                    *word = foreign;
                }
            }
        } else {
            // a title: at the end, at the start, or anywhere
            let n_foreign = ((share * words.len() as f64) as usize).min(foreign.len());
            let last = words.len() - n_foreign;
            let start = match random.share() {
                place if Some(of) == english || place > 0.6 => random.below(last + 1),
                place if place > 0.4 => 0,
                _ => last,
            };
            words[start..start + n_foreign].clone_from_slice(&foreign[..n_foreign]);
        }
    }
    let text = words.join(" ");
    if english.is_some() && random.share() < 0.12 { without_accents(&text) } else { text }
}

fn without_accents(text: &str) -> String {
    text.nfd()
        .filter(|c| !is_combining_mark(*c))
        .map(|c| match c {
            'đ' => 'd',
            'ł' => 'l',
            'ø' => 'o',
            'ı' => 'i',
            other => other,
        })
        .collect()
}
