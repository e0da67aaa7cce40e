//! Finds addresses: e-mail, IP of both versions, and user names with passwords in URLs.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use super::{Kind, Span, is_word_byte};

/// RFC 5321: bytes before the @, and of the domain.
const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 253;
/// A password in a URL is shorter.
const LONGEST_CREDENTIALS: usize = 200;
/// Ends of file names that look like a domain ("icon@2x.png").
const FILE_ENDS: [&str; 10] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "py", "json"];
/// What stands in a URL where a password would be put in.
const PLACEHOLDERS: [&str; 8] = ["password", "pass", "passwd", "pwd", "secret", "token", "xxx", "xxxx"];

static IPV4: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}").ok());

pub(super) fn find(text: &str, n_digits: usize, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    if bytes.contains(&b'@') {
        for (at, _) in text.match_indices('@') {
            spans.extend(email(text, at));
        }
        for (at, mark) in text.match_indices("://") {
            spans.extend(url_credentials(text, at + mark.len()));
        }
    }
    // the shortest: 4 digits ("8.8.8.8" is a version, "1.2.3.40" may be an address)
    if n_digits > 4
        && let Some(pattern) = IPV4.as_ref()
    {
        spans.extend(
            pattern.find_iter(text).filter(|found| is_ipv4(text, found.start(), found.end())).map(|found| Span {
                start: found.start(),
                end: found.end(),
                kind: Kind::Ip,
            }),
        );
    }
    if n_digits > 0 && bytes.contains(&b':') {
        ipv6(text, spans);
    }
}

/// The address around the @ at `at`.
fn email(text: &str, at: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let before = bytes[at.saturating_sub(LONGEST_LOCAL)..at].iter().rev().take_while(|byte| local(byte)).count();
    let mut start = at - before;
    while start < at && !bytes[start].is_ascii_alphanumeric() {
        start += 1;
    }
    let domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let mut end = at + 1 + bytes[at + 1..].iter().take(LONGEST_DOMAIN).take_while(|byte| domain(byte)).count();
    while end > at + 1 && !bytes[end - 1].is_ascii_alphanumeric() {
        end -= 1;
    }
    let (host, last) = text[at + 1..end].rsplit_once('.')?;
    let last_is_name = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_file = FILE_ENDS.contains(&last);
    // "git@github.com:user/repository" is a place, not a person
    let is_remote = &text[start..at] == "git";
    let whole = start < at && !host.is_empty() && !host.starts_with(['.', '-']) && !host.contains("..");
    (whole && last_is_name && !is_file && !is_remote).then_some(Span { start, end, kind: Kind::Email })
}

/// "user:password" before the @ of the URL whose authority starts at `start`.
fn url_credentials(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let part = |byte: &&u8| !byte.is_ascii_whitespace() && !b"/?#\"'<>`@[]{}()".contains(byte) && byte.is_ascii();
    let length = bytes[start..].iter().take(LONGEST_CREDENTIALS).take_while(part).count();
    let end = start + length;
    if bytes.get(end) != Some(&b'@') {
        return None;
    }
    let (_, password) = text[start..end].split_once(':')?;
    let is_placeholder = PLACEHOLDERS.contains(&password.to_ascii_lowercase().as_str())
        || password.starts_with('$')
        || password.bytes().all(|byte| byte == b'*');
    (!password.is_empty() && !is_placeholder).then_some(Span { start, end, kind: Kind::UrlCredentials })
}

fn is_ipv4(text: &str, start: usize, end: usize) -> bool {
    let Ok(address) = text[start..end].parse::<Ipv4Addr>() else { return false };
    let octets = address.octets();
    let anyone = address.is_loopback() || address.is_unspecified() || octets[0] == 255 || octets[0] == 0;
    // "version 1.2.3.4", "v10.0.19041.1"
    let word = text[..start].trim_end_matches([' ', ':', '=', 'v', 'V']);
    let tail = word.as_bytes().iter().rev().take(8).rev().map(u8::to_ascii_lowercase).collect::<Vec<_>>();
    let is_version = ["version", "ersion", "release", "build", "section", "chapter"]
        .iter()
        .any(|name| tail.ends_with(name.as_bytes()))
        || text[..start].ends_with(['v', 'V'])
        || octets.iter().all(|octet| *octet < 10);
    let bytes = text.as_bytes();
    // "1.2.3.4.5"; a range "10.0.0.1-10.0.0.9" is fine
    let dotted = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    let alone = bytes.get(end).is_none_or(|after| !is_word_byte(*after))
        && start.checked_sub(1).is_none_or(|before| !is_word_byte(bytes[before]) && bytes[before] != b'.');
    // "8.66.0.15-CA" is a build
    let tagged = bytes.get(end) == Some(&b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic);
    !anyone && !is_version && !dotted && !tagged && alone
}

/// Runs of hexadecimal digits and colons that are an address.
fn ipv6(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let inside = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b':') {
        let colon = at + offset;
        let start = colon - bytes[at..colon].iter().rev().take_while(|byte| inside(**byte)).count();
        let end = colon + bytes[colon..].iter().take_while(|byte| inside(**byte)).count();
        at = end;
        let found = &text[start..end];
        // "::1" and "a::b" are seldom meant: four groups and a digit are asked for
        let groups = found.split(':').filter(|group| !group.is_empty()).count();
        let clear = groups >= 4 && found.bytes().any(|byte| byte.is_ascii_digit());
        let alone = start.checked_sub(1).is_none_or(|before| !is_word_byte(bytes[before]))
            && bytes.get(end).is_none_or(|after| !is_word_byte(*after));
        if clear && alone && found.len() <= 45 && found.parse::<Ipv6Addr>().is_ok() {
            spans.push(Span { start, end, kind: Kind::Ip });
        }
    }
}
