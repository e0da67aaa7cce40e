//! Finds numbers with check digits or a fixed form: payment cards (Luhn), IBAN (mod 97), American social security
//! numbers and Brazilian CPF (check digits). Phones are next door.

use std::sync::LazyLock;

use super::{Kind, Patterns, Span, after_word, digits, stands_alone};

/// Fewer digits than this are none of them, and no phone.
pub(super) const FEWEST_DIGITS: usize = 7;

const PATTERNS: [(&str, Kind); 5] = [
    // 4-4-4-4 with up to 3 more digits, and American Express and Diners with 4-6-5 or 4-6-4
    (r"(?-u)[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}", Kind::Card),
    (r"(?-u)3[0-9]{3}[ -]?[0-9]{6}[ -]?[0-9]{4,5}", Kind::Card),
    (r"(?-u)[A-Z]{2}[0-9]{2} ?(?:[A-Z0-9]{1,4} ?){2,8}[A-Z0-9]{1,4}", Kind::Iban),
    (r"(?-u)[0-9]{3}-[0-9]{2}-[0-9]{4}", Kind::Ssn),
    (r"(?-u)[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", Kind::Ssn),
];
static COMPILED: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new(PATTERNS.map(|(pattern, _)| pattern)));

/// Characters of an IBAN by country (ISO 13616 registry).
const IBAN_LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18\
    FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22\
    MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20";

pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let Some(patterns) = COMPILED.as_ref() else { return };
    patterns.each_match(text, |which, found| {
        let (start, found, kind) = (found.get_match().start(), found.get_match(), PATTERNS[which].1);
        let end = match kind {
            Kind::Card => is_card(found.as_str()).then_some(found.end()),
            Kind::Iban => iban_length(found.as_str()).map(|length| start + length),
            _ => is_ssn(found.as_str()).then_some(found.end()),
        };
        match end.filter(|end| stands_alone(text, start, *end)) {
            Some(end) => {
                spans.push(Span { start, end, kind });
                end
            }
            None => after_word(text, start),
        }
    });
}

/// Length and first digits of an issuer, Luhn, and groups of one kind.
fn is_card(text: &str) -> bool {
    let number: Vec<u32> = digits(text).collect();
    let n_digits = number.len();
    let prefix = |length: usize| number[..length].iter().fold(0, |prefix, digit| prefix * 10 + digit);
    let known = match number[0] {
        3 => match prefix(2) {
            34 | 37 => n_digits == 15,
            30 | 36 | 38 | 39 => n_digits == 14,
            35 => n_digits == 16,
            _ => false,
        },
        4 => matches!(n_digits, 13 | 16 | 19),
        5 => n_digits == 16 && (51..=55).contains(&prefix(2)),
        _ => matches!(prefix(2), 60 | 62 | 64 | 65 | 67) && (16..=19).contains(&n_digits),
    };
    let marks: Vec<char> = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    let grouped = marks.is_empty() || (marks.len() >= 2 && marks.iter().all(|mark| *mark == marks[0]));
    let varied = number.iter().any(|digit| *digit != number[n_digits - 1]);
    known && grouped && varied && luhn(&number)
}

fn luhn(number: &[u32]) -> bool {
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    number.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

/// Bytes of the IBAN that `text` starts with.
fn iban_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let country = IBAN_LENGTHS.as_bytes().chunks_exact(4).find(|country| country[..2] == bytes[..2])?;
    let wanted = usize::from(country[2] - b'0') * 10 + usize::from(country[3] - b'0');
    let mut compact = Vec::with_capacity(wanted);
    let mut length = 0;
    for byte in bytes {
        if compact.len() == wanted {
            break;
        }
        length += 1;
        if *byte != b' ' {
            compact.push(*byte);
        }
    }
    if compact.len() < wanted {
        return None;
    }
    let remainder = compact[4..].iter().chain(&compact[..4]).fold(0u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (remainder == 1).then_some(length)
}

fn is_ssn(text: &str) -> bool {
    let number: Vec<u32> = digits(text).collect();
    if number.len() == 9 {
        let (area, group) = (number[0] * 100 + number[1] * 10 + number[2], number[3] * 10 + number[4]);
        let serial_is_zero = number[5..].iter().all(|digit| *digit == 0);
        return area != 0 && area != 666 && area < 900 && group != 0 && !serial_is_zero;
    }
    // CPF: two check digits, weights falling to 2, mod 11
    let check = |n: u32| {
        let weighted = number.iter().zip((2..=n + 1).rev()).map(|(digit, weight)| digit * weight);
        weighted.sum::<u32>() * 10 % 11 % 10
    };
    number.iter().any(|digit| *digit != number[0]) && number[9] == check(9) && number[10] == check(10)
}
