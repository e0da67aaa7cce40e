//! How a text is split into content words: Unicode word borders (UAX 29), pairs of characters for scripts without
//! spaces, stop words of the language the text looks like. No stemming.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// Longer "words" are data (keys, base64), not language.
const LONGEST_WORD: usize = 30;

/// A word as it stands in the text; `joined` when only white space or a hyphen parts it from the word before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Lower case, straight apostrophe, no possessive.
    pub term: String,
    pub surface: String,
    pub joined: bool,
    /// A pair of characters of a script without spaces: it makes no phrases.
    pub pair: bool,
}

/// The content words of `text`, in order.
pub fn content_words(text: &str) -> Vec<Word> {
    let words = all_words(text);
    let own = looks_like(&words);
    let mut content: Vec<Word> = Vec::with_capacity(words.len() / 2);
    let mut gap = true;
    for mut word in words {
        let is_stop = STOP_WORDS.english.contains(word.term.as_str())
            || own.is_some_and(|language| STOP_WORDS.languages[language].contains(word.term.as_str()))
            || (word.pair && word.term.chars().any(is_function_character));
        let n_chars = word.term.chars().count();
        let readable = word.term.chars().any(char::is_alphabetic)
            && n_chars <= LONGEST_WORD
            && (n_chars > 1 || is_unspaced(&word.term));
        if is_stop || !readable {
            gap = true;
            continue;
        }
        word.joined = word.joined && !gap;
        gap = false;
        content.push(word);
    }
    content
}

fn all_words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    // a run of characters of a script without spaces: byte end and characters
    let mut run: (usize, Vec<char>) = (0, Vec::new());
    let mut last_end = 0;
    for (start, word) in text.unicode_word_indices() {
        let between = &text[last_end..start];
        let joined = last_end > 0 && !between.is_empty() && between.chars().all(|c| matches!(c, ' ' | '\t' | '-'));
        last_end = start + word.len();
        if is_unspaced(word) {
            if run.0 != start {
                flush(&mut run.1, &mut words);
            }
            run.0 = last_end;
            run.1.extend(word.chars());
            continue;
        }
        flush(&mut run.1, &mut words);
        let surface = word.replace('\u{2019}', "'");
        let surface = surface.strip_suffix("'s").unwrap_or(&surface).to_owned();
        let surface = without_article(&surface).to_owned();
        let term = surface.to_lowercase();
        let opens_sentence =
            words.is_empty() || between.contains(['.', '!', '?', ':', '\n', '"', '“', '¿', '¡', '*', '#']);
        // a capital at the start of a sentence says nothing about the word ("SQL" and "iPhone" keep theirs)
        let only_first = surface.chars().skip(1).all(|c| !c.is_uppercase());
        let surface = if opens_sentence && only_first { term.clone() } else { surface };
        words.push(Word { term, surface, joined, pair: false });
    }
    flush(&mut run.1, &mut words);
    words
}

/// "l'hôtel" and "dell'arte" are about a hotel and art: French and Italian join short words to the next one.
fn without_article(word: &str) -> &str {
    const JOINED: [&str; 14] = ["l", "d", "s", "n", "j", "c", "m", "t", "qu", "un", "dell", "all", "nell", "sull"];
    match word.split_once('\'') {
        Some((article, rest)) if rest.chars().count() > 1 && JOINED.contains(&article.to_lowercase().as_str()) => rest,
        _ => word,
    }
}

/// Pairs of neighboring characters; a lone character stands for itself.
fn flush(run: &mut Vec<char>, words: &mut Vec<Word>) {
    let mut push = |term: String| words.push(Word { surface: term.clone(), term, joined: false, pair: true });
    match run.as_slice() {
        [] => return,
        [one] => push(one.to_string()),
        many => many.windows(2).for_each(|pair| push(pair.iter().collect())),
    }
    run.clear();
}

/// Han, kana, Thai, Lao, Myanmar, Khmer: written without spaces between words.
fn is_unspaced(word: &str) -> bool {
    word.chars().next().is_some_and(|c| {
        matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3134f}' | '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
    })
}

/// Hiragana (grammar in Japanese) and the commonest function words of Chinese.
fn is_function_character(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{309f}')
        || "的了是在我你您他她它们們这這那和与與就也不吗嗎呢吧啊个個么麼什请請".contains(c)
}

/// Position in `STOP_WORDS.languages` of the language with the most stop words in the text: at least two, and more
/// than English has, since one short word proves nothing.
fn looks_like(words: &[Word]) -> Option<usize> {
    let english = words.iter().take(200).filter(|word| STOP_WORDS.english.contains(word.term.as_str())).count();
    let mut hits: HashMap<usize, usize> = HashMap::new();
    for word in words.iter().take(200) {
        for language in STOP_WORDS.by_word.get(word.term.as_str()).into_iter().flatten() {
            *hits.entry(*language).or_default() += 1;
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

    fn terms(text: &str) -> Vec<String> {
        content_words(text).into_iter().map(|word| word.term).collect()
    }

    #[test]
    fn stop_words_go_and_phrases_know_their_borders() {
        let words = content_words("What is the capital city of France's north, please");
        assert_eq!(
            words.iter().map(|w| w.term.as_str()).collect::<Vec<_>>(),
            ["capital", "city", "france", "north", "please"]
        );
        assert_eq!(words.iter().map(|w| w.joined).collect::<Vec<_>>(), [false, true, false, true, false]);
    }

    #[test]
    fn other_languages_have_their_own_stop_words() {
        assert_eq!(terms("Wie ist das Wetter in der Stadt heute"), ["wetter", "stadt", "heute"]);
        assert_eq!(terms("¿Cuál es la capital de España?"), ["cuál", "capital", "españa"]);
        assert_eq!(
            terms("Quel est le prix de l'hôtel à Paris, s'il vous plaît"),
            ["quel", "prix", "hôtel", "paris", "plaît"]
        );
        // a German article stays a word in English
        assert!(terms("how do I let the die roll and die").contains(&"die".to_owned()));
    }

    #[test]
    fn scripts_without_spaces_give_pairs() {
        assert_eq!(terms("机器学习"), ["机器", "器学", "学习"]);
        assert_eq!(terms("日本の首都"), ["日本", "首都"]);
    }

    #[test]
    fn data_is_not_language() {
        assert!(terms("123 4567 aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8 x").is_empty());
    }
}
