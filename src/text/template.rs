//! Which texts were made from one template: a hash of a text's skeleton, its first words with everything that a program
//! or a user fills in masked. It does not look for similar wording; that is `near_duplicates`.

use xxhash_rust::xxh3::Xxh3;

use super::characters::{Class, LONGEST_TOKEN, class};

/// Words of the skeleton; each Han or kana character counts as half a word.
const N_WORDS: u32 = 16;
/// The skeleton is in the first bytes of a text; more are not looked at.
const LOOKED_AT: usize = 65_536;
/// Later paragraphs of more bytes are pasted material.
const LONG_PARAGRAPH: usize = 200;

/// Hash of the skeleton of `text`. Masked as one word each: numbers, quotations, code between ``` or `, what stands in
/// brackets, addresses, tokens of more than 30 bytes, long paragraphs after the first. Case and punctuation don't
/// count. Only the first 16 words do.
pub fn template(text: &str) -> i64 {
    let mut skeleton = Skeleton { hash: Xxh3::new(), room: 2 * N_WORDS };
    let mut rest = &text[..text.floor_char_boundary(LOOKED_AT)];
    // opening characters that nothing closes: looked for once, so that the scan stays linear
    let mut lone = String::new();
    let mut first_paragraph = true;
    while skeleton.room > 0
        && let Some(c) = rest.chars().next()
    {
        if let Some(after) = paragraph_break(rest) {
            rest = after;
            first_paragraph = false;
            continue;
        }
        if !first_paragraph && is_long_paragraph(rest) {
            skeleton.mask();
            rest = &rest[paragraph_end(rest)..];
            continue;
        }
        match closing(rest, c).filter(|_| !lone.contains(c)).map(|(open, close)| after_enclosed(rest, open, close)) {
            Some(Some(after)) => {
                skeleton.mask();
                rest = after;
                continue;
            }
            Some(None) => lone.push(c),
            None => {}
        }
        rest = match class(c) {
            Class::Space | Class::Other | Class::Mark => &rest[c.len_utf8()..],
            Class::Ideograph => {
                skeleton.push(c, 1);
                &rest[c.len_utf8()..]
            }
            Class::Letter | Class::Unparted | Class::Digit => {
                let token = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let ascii = rest.as_bytes()[..token].is_ascii();
                if ascii && (token > LONGEST_TOKEN || is_address(&rest[..token])) {
                    skeleton.mask();
                    &rest[token..]
                } else {
                    skeleton.word(rest)
                }
            }
        };
    }
    skeleton.hash.digest() as i64
}

struct Skeleton {
    hash: Xxh3,
    /// Half words that still fit.
    room: u32,
}

impl Skeleton {
    fn mask(&mut self) {
        self.hash.update(b"\x01");
        self.room = self.room.saturating_sub(2);
    }

    fn push(&mut self, c: char, half_words: u32) {
        self.hash.update(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.room = self.room.saturating_sub(half_words);
    }

    /// Takes the word at the start of `rest`, or masks it when it has a digit; returns what follows.
    fn word<'t>(&mut self, rest: &'t str) -> &'t str {
        let inside = |c: char| matches!(class(c), Class::Letter | Class::Unparted | Class::Digit | Class::Mark);
        let mut end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        if rest[..end].chars().any(|c| class(c) == Class::Digit) {
            // "3.14", "1,000" and "10:30" are one number
            while let Some(more) = rest[end..].strip_prefix(['.', ',', ':'])
                && let Some(length) = Some(more.find(|c| !inside(c)).unwrap_or(more.len())).filter(|length| *length > 0)
            {
                end += 1 + length;
            }
            self.mask();
        } else {
            rest[..end].chars().flat_map(char::to_lowercase).for_each(|c| self.push(c, 0));
            self.push(' ', 2);
        }
        &rest[end..]
    }
}

/// Bytes that open the quotation, code or bracket that `rest` starts with, and what closes it.
fn closing(rest: &str, first: char) -> Option<(usize, &'static str)> {
    let close = match first {
        '`' if rest.starts_with("```") => return Some((3, "```")),
        '`' => "`",
        '"' => "\"",
        '“' | '„' => "”",
        '«' => "»",
        '「' => "」",
        '《' => "》",
        '[' => "]",
        '{' => "}",
        '<' => ">",
        _ => return None,
    };
    Some((first.len_utf8(), close))
}

fn after_enclosed<'t>(rest: &'t str, open: usize, close: &str) -> Option<&'t str> {
    let inside = &rest[open..];
    inside.find(close).map(|length| &inside[length + close.len()..])
}

/// What follows an empty line that `rest` starts with.
fn paragraph_break(rest: &str) -> Option<&str> {
    let after = rest.strip_prefix('\n')?.trim_start_matches([' ', '\t', '\r']);
    after.strip_prefix('\n').map(|after| after.trim_start())
}

fn is_long_paragraph(rest: &str) -> bool {
    paragraph_end(rest) > LONG_PARAGRAPH
}

fn paragraph_end(rest: &str) -> usize {
    let unix = rest.find("\n\n").unwrap_or(rest.len());
    rest[..unix].find("\n\r\n").unwrap_or(unix)
}

fn is_address(token: &str) -> bool {
    token.contains("://") || token.starts_with("www.") || token.contains('@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fillings_of_one_template_are_equal() {
        let pairs = [
            ("Write 10 titles about \"cats and dogs\"", "write 250 titles about \"tea\"."),
            ("Summarize https://a.org/x in 3 lines", "Summarize http://b.com in 3.5 lines"),
            ("Fix this code:\n```\nx = 1\n```", "Fix this code:\n```python\nprint('hello')\n```"),
            ("翻译「你好」成英文", "翻译「再见了」成英文"),
        ];
        for (a, b) in pairs {
            assert_eq!(template(a), template(b), "{a} / {b}");
        }
        let pasted = |text: &str| format!("Translate the text below to French.\n\n{}", text.repeat(30));
        assert_eq!(template(&pasted("one two three ")), template(&pasted("other words here ")));
        let long =
            "you are a text completion model and you must only answer with the continuation of the text given by";
        assert_eq!(template(&format!("{long} Anna")), template(&format!("{long} Bob: hello")));
    }

    #[test]
    fn other_words_are_another_template() {
        assert_ne!(template("Write 10 titles about cats"), template("Write 10 titles about dogs"));
        assert_ne!(template("ab c"), template("a bc"));
        assert_eq!(template(""), template("  ?! "));
    }

    proptest! {
        #[test]
        fn any_text_has_one(text in any::<String>()) {
            prop_assert_eq!(template(&text), template(&text.clone()));
        }

        #[test]
        fn numbers_do_not_count(a in 0u32..1_000_000, b in 0u32..1_000_000) {
            let (a, b) = (format!("What is {a} times {b}?"), format!("What is {b} times {a}?"));
            prop_assert_eq!(template(&a), template(&b));
        }
    }
}
