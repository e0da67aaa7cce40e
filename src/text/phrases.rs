//! Which words and phrases of a text can be terms: one to four words with no stop word at either end ("lost or stolen
//! card"), runs of characters for scripts without spaces. It counts nothing.

use xxhash_rust::xxh3::xxh3_64;

use super::words::{Role, Script, Word, words};

/// Characters of a text that are looked at: a topic shows early, and pasted documents stay cheap.
const LONGEST_TEXT: usize = 4_000;
/// Fewest and most units of a term of Han and kana, and of a script that is written syllable by syllable.
const HAN_UNITS: (usize, usize) = (2, 6);
const SYLLABIC_UNITS: (usize, usize) = (3, 12);

/// The words of the part of a text that is looked at.
pub fn words_of(text: &str) -> Vec<Word> {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(position, _)| position);
    words(&text[..end])
}

/// Calls `found` with the key and the words of every term of up to `max_words` words, as often as it stands there.
///
/// The key is the same for the same words in the same order, whatever their case, and for a plural with s.
pub fn each_term<'w>(words: &'w [Word], max_words: usize, mut found: impl FnMut(u64, &'w [Word])) {
    let hashes: Vec<u64> = words.iter().map(|word| xxh3_64(stem(word).as_bytes())).collect();
    for (start, first) in words.iter().enumerate() {
        if first.role != Role::Content {
            continue;
        }
        let (fewest, most) = match first.script {
            Script::Spaced => (1, max_words),
            Script::Han => HAN_UNITS,
            Script::Syllabic => SYLLABIC_UNITS,
        };
        let mut key = 0u64;
        for (position, word) in words[start..].iter().take(most).enumerate() {
            if position > 0 && (!word.joined || word.script != first.script) {
                // a lone character of a script without spaces is a term if nothing touches it
                break;
            }
            if word.role == Role::Data {
                break;
            }
            key = mixed(key ^ hashes[start + position]);
            let repeats = position > 0 && hashes[start + position] == hashes[start + position - 1];
            if repeats && first.script == Script::Spaced {
                break;
            }
            // a word of katakana is one unit and long enough
            let is_long_enough = position + 1 >= fewest || (position == 0 && word.term.chars().nth(1).is_some());
            if word.role == Role::Content && (is_long_enough || stands_alone(words, start)) {
                found(key, &words[start..=start + position]);
            }
        }
    }
}

/// How a term is written: its words as they stand in the text.
pub fn written(term: &[Word]) -> String {
    joined(term.iter().map(|word| word.surface.as_str()), term[0].script)
}

/// What tells two terms apart, and whether one holds the other: their words in lower case, without a plural s.
pub fn stems(term: &[Word]) -> Vec<String> {
    term.iter().map(|word| stem(word).to_owned()).collect()
}

fn joined<'w>(parts: impl Iterator<Item = &'w str>, script: Script) -> String {
    parts.collect::<Vec<_>>().join(if script == Script::Spaced { " " } else { "" })
}

/// "cards" without its s: enough to count a thing once. Short words keep theirs ("news", "bus", "gas").
fn stem(word: &Word) -> &str {
    let term = word.term.as_str();
    match term.strip_suffix('s') {
        Some(rest) if word.script == Script::Spaced && rest.len() >= 4 && !rest.ends_with(['s', 'u', 'i', '\'']) => {
            rest
        }
        _ => term,
    }
}

/// A unit that is a whole run by itself.
fn stands_alone(words: &[Word], position: usize) -> bool {
    let script = words[position].script;
    script != Script::Spaced
        && (position == 0 || !words[position].joined)
        && words.get(position + 1).is_none_or(|next| !next.joined || next.script != script)
}

/// A bijection that spreads every bit (the finaliser of MurmurHash3).
fn mixed(mut key: u64) -> u64 {
    key = key.rotate_left(23).wrapping_add(0x9e37_79b9_7f4a_7c15);
    key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn terms(text: &str) -> HashSet<String> {
        let words = words_of(text);
        let mut found = HashSet::new();
        each_term(&words, 4, |_, term| {
            found.insert(written(term));
        });
        found
    }

    #[test]
    fn a_stop_word_stands_only_inside() {
        let found = terms("My lost or stolen card is the problem");
        assert!(found.contains("lost or stolen card") && found.contains("stolen card") && found.contains("card"));
        for term in &found {
            for end in [term.split(' ').next().unwrap(), term.split(' ').next_back().unwrap()] {
                assert!(!["my", "or", "is", "the"].contains(&end), "{term}");
            }
        }
        assert!(!found.contains("lost or"));
    }

    #[test]
    fn no_term_crosses_punctuation_or_numbers() {
        let found = terms("red wine, green tea 42 cups of coffee");
        assert!(found.contains("red wine") && found.contains("cups of coffee"));
        assert!(!found.contains("wine green") && !found.iter().any(|term| term.contains("42")));
    }

    #[test]
    fn plural_and_case_share_a_key() {
        let key_of = |text: &str| {
            let mut keys = Vec::new();
            each_term(&words_of(text), 1, |key, _| keys.push(key));
            keys
        };
        assert_eq!(key_of("Cards"), key_of("card"));
        assert_ne!(key_of("news"), key_of("new"));
        assert_ne!(key_of("business"), key_of("busines"));
    }

    #[test]
    fn scripts_without_spaces_have_phrases() {
        let found = terms("東京の天気はどうですか");
        assert!(found.contains("東京") && found.contains("天気") && found.contains("東京の天気"), "{found:?}");
        assert!(!found.iter().any(|term| term.starts_with('の') || term.ends_with('は')), "{found:?}");
        assert!(terms("チョコレートケーキの作り方").contains("チョコレートケーキ"));
        assert!(terms("我想学习机器学习").contains("机器学习"));
        assert!(terms("猫").contains("猫"));
        assert!(terms("สภาพอากาศวันนี้").contains("อากาศ"));
        assert!(terms("ما هي عاصمة فرنسا").contains("عاصمة فرنسا"));
    }

    #[test]
    fn a_key_depends_on_the_order_of_words() {
        let (ab, ba) = (words_of("tea house"), words_of("house tea"));
        let keys = |words: &[Word]| {
            let mut keys = HashSet::new();
            each_term(words, 2, |key, _| {
                keys.insert(key);
            });
            keys
        };
        assert_eq!(keys(&ab).intersection(&keys(&ba)).count(), 2);
    }
}
