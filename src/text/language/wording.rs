//! How much do the letters of a text follow each other as in a language, whichever it is? Tells keyboard mash and data
//! from words, for Latin letters.

use super::table;

/// The border of a word, a to z, any other Latin letter.
pub const SYMBOLS: usize = 28;
/// Mean steps (see `table::run`) of no words at all and of words beyond doubt. Of the first turns of arena_prompts 1%
/// stay below 8.9, of the Latin sentences of SIB-200 1% below 7.3 (Welsh) to 10.4; keyboard mash reaches 1.6 to 6.6.
const NO_WORDS: f32 = 4.0;
const WORDS: f32 = 7.5;
/// Fewer runs say nothing: names and abbreviations.
const FEWEST_RUNS: u32 = 4;

/// Calls `take` with the position in the table of each run of three symbols of `word`, borders included.
pub fn for_each_run(word: &str, mut take: impl FnMut(usize)) {
    let mut last = (0, 0);
    let mut n = 0;
    for symbol in word.chars().map(symbol).chain([Some(0)]) {
        match symbol {
            Some(0) | None => {
                if n > 0 {
                    take((last.0 * SYMBOLS + last.1) * SYMBOLS);
                }
                (last, n) = ((0, 0), 0);
            }
            Some(symbol) => {
                if n > 0 {
                    take((last.0 * SYMBOLS + last.1) * SYMBOLS + symbol);
                }
                last = (last.1, symbol);
                n += 1;
            }
        }
    }
}

/// 0 where the words of `tokens` are none, 1 where they are words of some language or too few to tell.
pub fn wording(tokens: &[&str]) -> f32 {
    let (mut sum, mut n) = (0u32, 0u32);
    for token in tokens {
        for_each_run(token, |run| {
            sum += u32::from(table::run(run));
            n += 1;
        });
    }
    if n < FEWEST_RUNS { 1.0 } else { ((sum as f32 / n as f32 - NO_WORDS) / (WORDS - NO_WORDS)).clamp(0.0, 1.0) }
}

fn symbol(c: char) -> Option<usize> {
    match c {
        'a'..='z' => Some(c as usize - 'a' as usize + 1),
        'A'..='Z' => Some(c as usize - 'A' as usize + 1),
        _ if c.is_ascii() => None,
        _ if super::script::script(c) == super::script::Script::Latin => Some(SYMBOLS - 1),
        _ => None,
    }
}
