//! How a text is split into words and what each word is: language or grammar. Unicode word borders (UAX 29); of scripts
//! without spaces the characters as units; stop words of the language the text looks like. No stemming.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// Longer "words" are data (keys, base64), not language.
const LONGEST_WORD: usize = 30;

/// What a word can do in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Carries meaning: a term may start and end with it.
    Content,
    /// A stop word: it may only stand inside a term ("lost or stolen card").
    Grammar,
    /// Numbers, single letters, keys: no term goes across it.
    Data,
}

/// How the script of a word parts words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// By spaces: the word is a word.
    Spaced,
    /// Han and kana: the unit is a character, or a whole word of katakana.
    Han,
    /// Thai, Lao, Khmer, Myanmar: the unit is a letter with its marks.
    Syllabic,
}

/// A word, or a unit of a script without spaces, as it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Lower case, straight apostrophe, no possessive.
    pub term: String,
    pub surface: String,
    /// Nothing but white space or a hyphen parts it from the word before; for units, nothing at all.
    pub joined: bool,
    pub role: Role,
    pub script: Script,
}

/// The words of `text`, in order.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = all_words(text);
    let own = looks_like(&words);
    for word in &mut words {
        word.role = match word.script {
            Script::Han if word.term.chars().all(is_function_character) => Role::Grammar,
            Script::Han | Script::Syllabic => Role::Content,
            Script::Spaced if is_stop(&word.term, own) => Role::Grammar,
            Script::Spaced if is_readable(&word.term) => Role::Content,
            Script::Spaced => Role::Data,
        };
    }
    words
}

fn is_stop(term: &str, own: Option<usize>) -> bool {
    STOP_WORDS.english.contains(term) || own.is_some_and(|language| STOP_WORDS.languages[language].contains(term))
}

fn is_readable(term: &str) -> bool {
    let n_chars = term.chars().count();
    n_chars > 1 && n_chars <= LONGEST_WORD && term.chars().any(char::is_alphabetic)
}

fn all_words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut last_end = 0;
    for (start, word) in text.unicode_word_indices() {
        let between = &text[last_end..start];
        let is_first = last_end == 0;
        last_end = start + word.len();
        if let Some(script) = unspaced(word) {
            let follows = !is_first && between.is_empty() && words.last().is_some_and(|last| last.script == script);
            push_units(word, script, follows, &mut words);
            continue;
        }
        let joined = !is_first && !between.is_empty() && between.chars().all(|c| matches!(c, ' ' | '\t' | '-'));
        let surface = word.replace('\u{2019}', "'");
        let surface = surface.strip_suffix("'s").unwrap_or(&surface).to_owned();
        let surface = without_particle(without_article(&surface)).to_owned();
        let term = surface.to_lowercase();
        let opens_sentence =
            words.is_empty() || between.contains(['.', '!', '?', ':', '\n', '"', '“', '¿', '¡', '*', '#']);
        // a capital at the start of a sentence says nothing about the word ("SQL" and "iPhone" keep theirs)
        let only_first = surface.chars().skip(1).all(|c| !c.is_uppercase());
        let surface = if opens_sentence && only_first { term.clone() } else { surface };
        words.push(Word { term, surface, joined, role: Role::Content, script: Script::Spaced });
    }
    words
}

/// A word of katakana is one unit, every other character (with its marks) is one by itself.
fn push_units(word: &str, script: Script, follows: bool, words: &mut Vec<Word>) {
    let mut push = |unit: &str, joined: bool| {
        words.push(Word { term: unit.to_owned(), surface: unit.to_owned(), joined, role: Role::Content, script });
    };
    if word.chars().all(|c| matches!(c, '\u{30a0}'..='\u{30ff}')) {
        push(word, follows);
        return;
    }
    for (position, unit) in word.graphemes(true).enumerate() {
        push(unit, follows || position > 0);
    }
}

/// "l'hôtel" and "dell'arte" are about a hotel and art: French and Italian join short words to the next one.
fn without_article(word: &str) -> &str {
    const JOINED: [&str; 14] = ["l", "d", "s", "n", "j", "c", "m", "t", "qu", "un", "dell", "all", "nell", "sull"];
    match word.split_once('\'') {
        Some((article, rest)) if rest.chars().count() > 1 && JOINED.contains(&article.to_lowercase().as_str()) => rest,
        _ => word,
    }
}

/// A Korean word without the particle that marks its place in the sentence, where at least two syllables remain; only
/// particles that nouns do not end with.
fn without_particle(word: &str) -> &str {
    const PARTICLES: [&str; 10] = ["에서", "에게", "으로", "까지", "부터", "에는", "은", "는", "을", "를"];
    if !word.starts_with(|c| matches!(c, '\u{ac00}'..='\u{d7a3}')) {
        return word;
    }
    PARTICLES
        .iter()
        .find_map(|particle| word.strip_suffix(particle).filter(|rest| rest.chars().count() >= 2))
        .unwrap_or(word)
}

fn unspaced(word: &str) -> Option<Script> {
    word.chars().next().and_then(|c| match c {
        '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3134f}' => Some(Script::Han),
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => Some(Script::Syllabic),
        _ => None,
    })
}

/// Hiragana (grammar in Japanese) and the commonest function words of Chinese.
fn is_function_character(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{309f}')
        || "的了是在我你您他她它們们這这那和與与就也不吗嗎呢吧啊个個么麼什请請谁誰哪怎".contains(c)
}

/// Position in `STOP_WORDS.languages` of the language with the most stop words in the text: at least two, since one
/// short word proves nothing unless it has letters that English lacks, and more than English has.
fn looks_like(words: &[Word]) -> Option<usize> {
    let english = words.iter().take(200).filter(|word| STOP_WORDS.english.contains(word.term.as_str())).count();
    let mut hits: HashMap<usize, usize> = HashMap::new();
    for word in words.iter().take(200) {
        for language in STOP_WORDS.by_word.get(word.term.as_str()).into_iter().flatten() {
            *hits.entry(*language).or_default() += if word.term.is_ascii() { 1 } else { 2 };
        }
    }
    let best = hits.into_iter().max_by_key(|(language, count)| (*count, std::cmp::Reverse(*language)));
    best.filter(|(_, count)| *count >= 2 && *count > english).map(|(language, _)| language)
}

struct StopWords {
    english: HashSet<&'static str>,
    languages: Vec<HashSet<&'static str>>,
    by_word: HashMap<&'static str, Vec<usize>>,
}

/// The lists of NLTK, from the crate `stop-words`.
static STOP_WORDS: LazyLock<StopWords> = LazyLock::new(|| {
    let lists: Vec<&[&str]> = stop_words::available_languages()
        .iter()
        // a mix of English and Hindi: it would take English words from English texts
        .filter(|code| **code != "hinglish")
        .filter_map(stop_words::lookup)
        .collect();
    let languages: Vec<HashSet<&str>> = lists.iter().map(|list| list.iter().copied().collect()).collect();
    let mut by_word: HashMap<&str, Vec<usize>> = HashMap::new();
    for (language, list) in lists.iter().enumerate() {
        for word in *list {
            by_word.entry(word).or_default().push(language);
        }
    }
    let english = stop_words::lookup("en")
        .unwrap_or_default()
        .iter()
        .copied()
        .chain(["im", "dont", "ive", "cant", "etc"])
        .collect();
    StopWords { english, languages, by_word }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Vec<String> {
        words(text).into_iter().filter(|word| word.role == Role::Content).map(|word| word.term).collect()
    }

    #[test]
    fn stop_words_are_grammar_and_words_know_their_borders() {
        let found = words("What is the capital city of France's north, please");
        let of = |role| -> Vec<&str> { found.iter().filter(|w| w.role == role).map(|w| w.term.as_str()).collect() };
        assert_eq!(of(Role::Content), ["capital", "city", "france", "north", "please"]);
        assert_eq!(of(Role::Grammar), ["what", "is", "the", "of"]);
        assert_eq!(found.iter().filter(|w| !w.joined).map(|w| w.term.as_str()).collect::<Vec<_>>(), ["what", "please"]);
    }

    #[test]
    fn other_languages_have_their_own_stop_words() {
        assert_eq!(content("Wie ist das Wetter in der Stadt heute"), ["wetter", "stadt", "heute"]);
        assert_eq!(content("¿Cuál es la capital de España?"), ["cuál", "capital", "españa"]);
        assert_eq!(
            content("Quel est le prix de l'hôtel à Paris, s'il vous plaît"),
            ["quel", "prix", "hôtel", "paris", "plaît"]
        );
        // a German article stays a word in English
        assert!(content("how do I let the die roll and die").contains(&"die".to_owned()));
    }

    #[test]
    fn scripts_without_spaces_give_units() {
        assert_eq!(content("机器学习"), ["机", "器", "学", "习"]);
        assert_eq!(content("日本の首都"), ["日", "本", "首", "都"]);
        assert_eq!(content("ケーキの作り方"), ["ケーキ", "作", "方"]);
        let thai = words("น้ำ ดี");
        assert_eq!(thai.iter().filter(|word| word.joined).count(), thai.len() - 2, "{thai:?}");
    }

    #[test]
    fn a_korean_noun_loses_its_particle() {
        assert_eq!(content("날씨는 서울에서"), ["날씨", "서울"]);
        assert_eq!(content("나는"), ["나는"]);
    }

    #[test]
    fn data_is_not_language() {
        assert!(content("123 4567 aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8 x").is_empty());
    }
}
