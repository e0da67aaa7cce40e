//! Finds phone numbers: international ones with +, national ones in a form that no other number has, and any number
//! that a word like "tel" or "电话" announces.

use std::sync::LazyLock;

use super::{Kind, Patterns, Span, after_word, digits, stands_alone};

/// Digits of a phone number (E.164 allows 15); fewer are extensions or emergency numbers.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// The number is the group `n` where a word announces it.
const PATTERNS: [&str; 6] = [
    r"(?-u)\+[1-9][0-9]{0,3}(?:[ .-]?\(?[0-9]{1,5}\)?){1,6}",
    // North America: (212) 555-0123, 212-555-0123, 212.555.0123
    r"(?-u)(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-][0-9]{4}|[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}|[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4})",
    // France and others: 01 23 45 67 89
    r"(?-u)0[1-9](?:[ .-][0-9]{2}){4}",
    // a trunk zero and one or two more groups: 0171 1234567, 020 7946 0958, 010-1234-5678
    r"(?-u)0[1-9][0-9]{1,3}[ /-][0-9]{3,4}[ -]?[0-9]{3,4}",
    // Brazil: (11) 91234-5678
    r"(?-u)\([1-9][0-9]\) ?9?[0-9]{4}[ -][0-9]{4}",
    r"(?i)(?:^|[^\pL])(?:(?:tele)?phones?|tel|call|mobile|cell|whatsapp|fax|telefone?|telefonn?ummer|teléfono|téléphone|celular|handy|телефона?|тел|电话|電話|手机|手機|전화)(?: ?(?:me|us|number|num|no|nr|is|at|on|号码|號碼|番号|번호|是|[.:#：]))* ?(?P<n>\(?[0-9][0-9 ().-]{5,17}[0-9])",
];
static COMPILED: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new(PATTERNS));

pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let Some(patterns) = COMPILED.as_ref() else { return };
    patterns.each_match(text, |_, found| {
        let announced = found.name("n");
        let number = announced.unwrap_or(found.get_match());
        if is_phone(text, number.start(), number.end(), announced.is_some()) {
            spans.push(Span { start: number.start(), end: number.end(), kind: Kind::Phone });
            number.end()
        } else {
            after_word(text, number.start())
        }
    });
}

fn is_phone(text: &str, start: usize, end: usize, announced: bool) -> bool {
    let number = &text[start..end];
    let n_digits = digits(number).count();
    if !DIGITS.contains(&n_digits) || !stands_alone(text, start, end) {
        return false;
    }
    if announced {
        return true;
    }
    if !number.starts_with('+') {
        return !is_binary(number) && !is_series(number);
    }
    // "3 + 1234567890" and "f(x) +100 200 300" are sums; a country code needs a whole number after it
    let before = text[..start].trim_end_matches(' ').chars().next_back();
    let is_sum = before.is_some_and(|c| c.is_ascii_digit() || matches!(c, ')' | '=' | '+' | '*' | '^' | '-'));
    let is_plain = number[1..].bytes().all(|byte| byte.is_ascii_digit());
    !is_sum && n_digits >= if is_plain { 10 } else { 8 }
}

/// "0110 1010 0101"
fn is_binary(number: &str) -> bool {
    digits(number).all(|digit| digit < 2)
}

/// "01 02 03 04 05": groups that grow by the same step.
fn is_series(number: &str) -> bool {
    let groups: Vec<i64> = number.split([' ', '.', '-']).filter_map(|group| group.parse().ok()).collect();
    groups.len() >= 4 && groups.windows(3).all(|three| three[1] - three[0] == three[2] - three[1])
}
