//! Finds secrets: keys with a known prefix, private key blocks, bearer tokens, and random-looking values that are
//! assigned to a name like `api_key`. A hash or UUID that no such name announces is left alone.

use std::sync::LazyLock;

use regex::Regex;

use super::{Kind, Patterns, Span};

/// Bits per character from which a value is random: hexadecimal digits reach 4, words of a language about 3 in 16.
const RANDOM: f64 = 3.0;

/// The secret is the group `v` or `w` where there is one; a value in the group `v` must look random too, one in `w`
/// random or like a password.
const PATTERNS: [&str; 10] = [
    r"(?-u)(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}",
    r"(?-u)sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,200}",
    r"(?-u)(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}|hf_[A-Za-z0-9]{30,64})",
    r"(?-u)(?:AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,255}|GOCSPX-[0-9A-Za-z_-]{20,40})",
    r"(?-u)(?:xox[abeoprs]-[0-9A-Za-z-]{10,255}|hooks\.slack\.com/services/[A-Z0-9]{8,12}/[A-Z0-9]{8,12}/[A-Za-z0-9]{20,32})",
    r"(?-u)(?:(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,255}|whsec_[0-9A-Za-z]{24,64}|SG\.[0-9A-Za-z_-]{20,24}\.[0-9A-Za-z_-]{40,50})",
    r"(?-u)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    r"(?-u)-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\]*-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----|(?:(?:\s|\\[nr]){1,4}[A-Za-z0-9+/=]{40,100})*)",
    r"(?i-u)bearer[ :]{1,3}(?P<v>[A-Za-z0-9._~+/-]{20,}=*)",
    r#"(?i-u)(?:api|access|secret|auth|private|client|account|encryption|consumer)?[_ -]?(?:key|token|secret|pass(?:word|wd|phrase)|pwd|credential)s?["'\]]{0,2} ?(?::=|=>|[:=]) ?["'`]?(?P<w>[A-Za-z0-9_+/=.!@#$%^&*~-]{8,128})"#,
];
/// Cheap tests before the patterns: at least one stands in every text that has a secret.
static MARKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i-u)AKIA|ASIA|ABIA|ACCA|sk-|gh[pousr]_|github_pat_|glpat-|npm_|pypi-|hf_|AIza|ya29|GOCSPX|xox|hooks\.slack|[srp]k_|whsec_|SG\.|eyJ|-----BEGIN|bearer|key|token|secret|passw|passp|pwd|credential",
    )
    .ok()
});
static COMPILED: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new(PATTERNS));

pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let (Some(marks), Some(patterns)) = (MARKS.as_ref(), COMPILED.as_ref()) else { return };
    if !marks.is_match(text) {
        return;
    }
    patterns.each_match(text, |_, found| {
        let whole = found.get_match();
        let value = found.name("v").or_else(|| found.name("w"));
        let secret = value.unwrap_or(whole);
        // a known prefix starts a token, it does not stand inside one ("risk-...")
        let inside = text[..secret.start()].ends_with(|c: char| c.is_ascii_alphanumeric());
        let good = match (found.name("v"), found.name("w")) {
            (Some(value), _) => is_random(value.as_str()),
            (_, Some(value)) => is_random(value.as_str()) || is_password(whole.as_str(), value.as_str()),
            _ => !inside && (secret.as_str().starts_with("-----") || has_digit(secret.as_str())),
        };
        if good {
            spans.push(Span { start: secret.start(), end: secret.end(), kind: Kind::Secret });
            return secret.end();
        }
        // a value may itself be "name=value"; the tokens of the other patterns are whole
        if let Some(value) = value { value.start() } else { secret.end() }
    });
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// At least 16 characters, digits and letters mixed, and many different ones.
fn is_random(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    value.len() >= 16 && digits >= 2 && letters >= 2 && !is_code(value) && entropy(value) >= RANDOM
}

/// A word for a password announces it, it is in quotes, and it mixes letters with digits or signs.
fn is_password(whole: &str, value: &str) -> bool {
    let name = &whole[..whole.len() - value.len()];
    let announced = name.to_ascii_lowercase().contains("pass") || name.to_ascii_lowercase().contains("pwd");
    let quoted = name.ends_with(['"', '\'', '`']);
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    announced && quoted && has_digit(value) && letters >= 2 && !is_code(value) && entropy(value) >= 2.5
}

/// "settings.token_2", "os.environ", "a.b" are names, not values.
fn is_code(value: &str) -> bool {
    value.contains('.')
        && value.split('.').all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        && !value.starts_with("eyJ")
}

/// Bits per byte of the distribution of bytes.
fn entropy(value: &str) -> f64 {
    let mut counts = [0u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let n = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / n)
        .map(|share| -share * share.log2())
        .sum()
}
