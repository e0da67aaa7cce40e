//! How alike two texts are as strings: the set of short byte windows ("shingles") of a folded form, its exact Jaccard
//! similarity, and a MinHash signature that estimates it. Which pairs to compare is `near_duplicates`.

use super::characters::{Class, class};

/// Bytes of a shingle: 5 Latin letters, 2 to 3 Cyrillic or Greek ones, nearly 2 Han characters.
pub const SHINGLE: usize = 5;
/// Values of a signature, one per bin of one permutation.
pub const N_VALUES: usize = 128;
const BIN_BITS: u32 = N_VALUES.ilog2();

/// The lowest 16 bits of each minimum (b-bit MinHash, Li and König 2010): two that differ agree by chance once in 65,536.
pub type Signature = [u16; N_VALUES];

/// The form in which texts are compared: lower case; anything but letters and digits is one space, none at the ends.
/// Signs that change what is asked stay: those beside a digit ("2*3", "-5", "3.14"), and + and # after a letter ("C++").
/// A text of other signs only is its own form.
pub fn form(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    let mut last = ' ';
    let mut pending = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let before = std::mem::replace(&mut last, c);
        let kept = match class(c) {
            Class::Space => false,
            Class::Other => means_something(c, before, chars.peek().copied()),
            _ => true,
        };
        if !kept {
            pending = true;
            continue;
        }
        if std::mem::take(&mut pending) && !form.is_empty() {
            form.push(' ');
        }
        if c.is_ascii() { form.push(c.to_ascii_lowercase()) } else { form.extend(c.to_lowercase()) }
    }
    if form.is_empty() { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { form }
}

fn means_something(c: char, before: char, after: Option<char>) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    match c {
        '+' | '#' => before.is_alphanumeric() || before == '+' || after.is_some_and(digit),
        '.' | ',' | ':' => digit(before) && after.is_some_and(digit),
        '-' | '*' | '/' | '=' | '<' | '>' | '^' | '%' | '×' | '÷' | '−' => {
            digit(before) || after.is_some_and(digit)
        }
        _ => false,
    }
}

/// Hashes of the shingles of a form, unsorted, with repetitions. The form is taken between two spaces, so that each
/// text has at least one shingle and the borders of its first and last word count.
fn for_each_shingle(form: &str, mut take: impl FnMut(u64)) {
    let mut window = u64::from(b' ');
    let mut n_bytes = 1;
    let mut n_taken = 0;
    for byte in form.bytes().chain([b' ']) {
        window = (window << 8 | u64::from(byte)) & MASK;
        n_bytes += 1;
        if n_bytes >= SHINGLE {
            take(mix(window));
            n_taken += 1;
        }
    }
    if n_taken == 0 {
        take(mix(window));
    }
}

const MASK: u64 = (1 << (8 * SHINGLE)) - 1;

/// MurmurHash3's 64-bit finalizer.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// MinHash of the shingles of `text`: one permutation, 128 bins (Li, Owen, Zhang 2012), empty bins filled from others by
/// a fixed random choice (optimal densification, Shrivastava 2017). The share of equal values estimates the Jaccard
/// similarity; texts of equal form have equal signatures.
pub fn signature(text: &str) -> Signature {
    const EMPTY: u64 = u64::MAX;
    let mut bins = [EMPTY; N_VALUES];
    for_each_shingle(&form(text), |hash| {
        let bin = &mut bins[(hash >> (64 - BIN_BITS)) as usize];
        *bin = (*bin).min(hash & 0xffff_ffff);
    });
    let mut signature = [0; N_VALUES];
    for (bin, value) in signature.iter_mut().enumerate() {
        let mut from = bin;
        let mut attempt = 0u64;
        // at least one bin is full
        while bins[from] == EMPTY {
            attempt += 1;
            from = (mix((bin as u64) << 32 | attempt) >> (64 - BIN_BITS)) as usize;
        }
        *value = bins[from] as u16;
    }
    signature
}

/// Jaccard similarity of the sets of shingles of two texts: 1 where their forms are equal.
pub fn similarity(a: &str, b: &str) -> f32 {
    let (a, b) = (sorted_shingles(a), sorted_shingles(b));
    let (mut i, mut j, mut shared) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                shared += 1;
                i += 1;
                j += 1;
            }
        }
    }
    shared as f32 / (a.len() + b.len() - shared) as f32
}

fn sorted_shingles(text: &str) -> Vec<u64> {
    let mut shingles = Vec::with_capacity(text.len() + 2);
    for_each_shingle(&form(text), |hash| shingles.push(hash));
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_forgets_case_and_punctuation_only() {
        assert_eq!(form("  Hello,   World!! "), "hello world");
        assert_eq!(form("你好，世界。"), "你好 世界");
        assert_ne!(form("What is 2+2?"), form("What is 2*2?"));
        assert_ne!(form("hello world in C++"), form("hello world in C#"));
        assert_ne!(form("pi is 3.14"), form("pi is 314"));
        assert_ne!(form("🙂"), form("🙁"));
    }

    #[test]
    fn similarity_is_the_share_of_common_windows() {
        assert_eq!(similarity("Turn on the light.", "turn on the light"), 1.0);
        assert!(similarity("turn on the light in the kitchen", "turn on the lights in the kitchen") > 0.7);
        assert!(similarity("turn on the light", "what is the weather") < 0.2);
        assert_eq!(similarity("", ""), 1.0);
        assert_eq!(similarity("a", "b"), 0.0);
    }

    proptest! {
        #[test]
        fn equal_forms_have_equal_signatures(words in prop::collection::vec("[a-zé你]{1,8}", 1..12)) {
            let (a, b) = (words.join(" "), format!("  {}!", words.join(", ").to_uppercase()));
            prop_assert_eq!(form(&a), form(&b));
            prop_assert_eq!(signature(&a), signature(&b));
            prop_assert_eq!(similarity(&a, &b), 1.0);
        }

        #[test]
        fn similarity_is_symmetric_and_a_share(a in any::<String>(), b in any::<String>()) {
            let found = similarity(&a, &b);
            prop_assert!((0.0..=1.0).contains(&found));
            prop_assert_eq!(found, similarity(&b, &a));
        }
    }
}
