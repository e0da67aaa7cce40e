//! Where a text holds personal data or secrets, and what it looks like without them. Patterns with checks (Luhn,
//! mod 97, entropy), chosen so that ordinary numbers and code are left alone; names and addresses are not looked for.

mod address;
mod number;
mod phone;
mod secret;

use regex::{Captures, Regex, RegexSet};

/// What is found. The bit of a kind is stored: it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Email,
    Phone,
    Ip,
    Card,
    Iban,
    Ssn,
    Secret,
    UrlCredentials,
}

impl Kind {
    /// Every kind, in the order of its bit.
    pub const ALL: [Self; 8] =
        [Self::Email, Self::Phone, Self::Ip, Self::Card, Self::Iban, Self::Ssn, Self::Secret, Self::UrlCredentials];

    pub fn bit(self) -> u32 {
        1 << self as u32
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Ip => "ip",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Secret => "secret",
            Self::UrlCredentials => "url_credentials",
        }
    }

    /// What stands in its place in a redacted text. No pattern matches it, or with it.
    pub fn replacement(self) -> &'static str {
        match self {
            Self::Email => "[EMAIL]",
            Self::Phone => "[PHONE]",
            Self::Ip => "[IP]",
            Self::Card => "[CARD]",
            Self::Iban => "[IBAN]",
            Self::Ssn => "[SSN]",
            Self::Secret => "[KEY]",
            Self::UrlCredentials => "[CREDENTIALS]",
        }
    }
}

/// Bytes `start..end` of a text are of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

/// Every find, in order, none over another; where two overlap, secrets and then the one with more bytes stay.
pub fn find(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let bytes = text.as_bytes();
    let n_digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    secret::find(text, &mut spans);
    address::find(text, n_digits, &mut spans);
    if n_digits >= number::FEWEST_DIGITS {
        number::find(text, &mut spans);
        phone::find(text, &mut spans);
    }
    if spans.len() > 1 {
        settle(&mut spans);
    }
    spans
}

/// Bits of the kinds that `text` holds.
pub fn kinds(text: &str) -> u32 {
    find(text).iter().fold(0, |bits, span| bits | span.kind.bit())
}

/// `text` with every find replaced, and None where there is nothing to replace.
pub fn redact(text: &str) -> Option<String> {
    let mut redacted = redact_once(text)?;
    // what is replaced can be what kept a neighbor from being found; each round takes some of it away
    while let Some(again) = redact_once(&redacted) {
        redacted = again;
    }
    Some(redacted)
}

fn redact_once(text: &str) -> Option<String> {
    let spans = find(text);
    if spans.is_empty() {
        return None;
    }
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        redacted.push_str(&text[done..span.start]);
        redacted.push_str(span.kind.replacement());
        done = span.end;
    }
    redacted.push_str(&text[done..]);
    Some(redacted)
}

fn settle(spans: &mut Vec<Span>) {
    let rank = |span: &Span| match span.kind {
        Kind::Secret | Kind::UrlCredentials => 0,
        _ => 1,
    };
    spans.sort_by_key(|span| (rank(span), std::cmp::Reverse(span.end - span.start), span.start, span.kind));
    let mut kept = std::collections::BTreeMap::<usize, Span>::new();
    for span in spans.drain(..) {
        let free = kept.range(..span.end).next_back().is_none_or(|(_, before)| before.end <= span.start);
        if free {
            kept.insert(span.start, span);
        }
    }
    spans.extend(kept.into_values());
}

/// Patterns of one kind of find: tried together first, since most texts have none of them.
struct Patterns {
    any: RegexSet,
    each: Vec<Regex>,
}

impl Patterns {
    /// None where a pattern is wrong; a test compiles all of them.
    fn new<const N: usize>(patterns: [&str; N]) -> Option<Self> {
        let each = patterns.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>().ok()?;
        Some(Self { any: RegexSet::new(patterns).ok()?, each })
    }

    /// Calls `take` with the number of a pattern and each of its matches; `take` returns the byte where to go on.
    fn each_match(&self, text: &str, mut take: impl FnMut(usize, &Captures<'_>) -> usize) {
        for which in self.any.matches(text) {
            let mut at = 0;
            while let Some(found) = self.each[which].captures_at(text, at) {
                at = text.ceil_char_boundary(take(which, &found).max(at + 1));
                if at > text.len() {
                    break;
                }
            }
        }
    }
}

/// First byte after the word or number that `start` is in: no find begins inside it.
fn after_word(text: &str, start: usize) -> usize {
    start + 1 + text.as_bytes()[start + 1..].iter().take_while(|byte| is_word_byte(**byte)).count()
}

/// Is the byte part of a word or number that a find would cut? Bytes beyond ASCII are not: Chinese has no spaces.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Stands `start..end` alone, not inside a longer word or number?
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let free = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !is_word_byte(*byte));
    // "1.5" goes on after "1", "1." does not
    let goes_on = |mark: usize, after: Option<usize>| {
        bytes.get(mark).is_some_and(|byte| matches!(byte, b'.' | b'-'))
            && after.and_then(|after| bytes.get(after)).is_some_and(u8::is_ascii_digit)
    };
    free(start.checked_sub(1))
        && free(Some(end))
        && !goes_on(end, Some(end + 1))
        && !start.checked_sub(1).is_some_and(|mark| goes_on(mark, mark.checked_sub(1)))
}

/// The digits of `text` as numbers 0 to 9.
fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> + '_ {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'))
}

#[cfg(test)]
mod tests;
