//! Which whole elements lie within bytes that are broken as a whole: a brace or quote that is missing in one element
//! of an array makes its neighbours part of it. It looks for places where an element may begin, and asks the parser.

use serde_json::Value;

use super::split::Layout;

/// Attempts at parsing that may fail before the rest is given up: each may cost a pass over the bytes.
const MAX_FAILURES: usize = 2_000;
/// Bytes that failing attempts may look at in total.
const MAX_WASTED_BYTES: usize = 1 << 30;

/// The whole objects within `bytes`, and how many begin there that are not whole.
///
/// In lines, objects are looked for one after another from the start (`{..}{..}`), and no further than the first
/// slip. In an array, `first_key` (the quoted first key of a good element) says how an element begins, and `fits` whether
/// an object is one: two slips together can make one object of all the elements between them.
pub(super) fn whole_objects(
    bytes: &[u8],
    layout: Option<Layout>,
    first_key: Option<&[u8]>,
    fits: impl Fn(&Value) -> bool,
) -> (Vec<Value>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    if matches!(layout, None | Some(Layout::Lines)) {
        while let Some((value, end)) = object_at(&bytes[at..]) {
            found.push(value);
            at += end;
        }
        let is_all = bytes[at..].iter().all(u8::is_ascii_whitespace);
        return (found, usize::from(!is_all));
    }
    let Some(key) = first_key else { return (found, 1) };
    let (mut failures, mut wasted) = (0, 0);
    while let Some(start) = element_start(bytes, at, key) {
        match object_at(&bytes[start..]) {
            Some((value, end)) if fits(&value) || element_start(&bytes[..start + end], start + 1, key).is_none() => {
                found.push(value);
                at = start + end;
            }
            _ => {
                failures += 1;
                wasted += bytes.len() - start;
                if failures > MAX_FAILURES || wasted > MAX_WASTED_BYTES {
                    break;
                }
                at = start + 1;
            }
        }
    }
    (found, failures)
}

/// The quoted first key of an object, from its bytes.
pub(super) fn first_key(element: &[u8]) -> Option<&[u8]> {
    let inside = element.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    let end = inside.iter().skip(1).position(|byte| *byte == b'"')?;
    (inside.first() == Some(&b'"')).then(|| &inside[..end + 2])
}

/// The position of the next `{` (after `from`) that is followed by the key.
pub(super) fn element_start(bytes: &[u8], from: usize, key: &[u8]) -> Option<usize> {
    let mut at = from;
    while let Some(offset) = find(&bytes[at..], key) {
        let before = bytes[from..at + offset].trim_ascii_end();
        if before.ends_with(b"{") {
            return Some(from + before.len() - 1);
        }
        at += offset + 1;
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(offset) = haystack[at..].iter().position(|byte| *byte == first) {
        at += offset;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The object at the start of the bytes, and where it ends.
fn object_at(bytes: &[u8]) -> Option<(Value, usize)> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    match values.next() {
        Some(Ok(value @ Value::Object(_))) => Some((value, values.byte_offset())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_broken_element_are_found() {
        let bytes = br#"{"id": 1, "x": [{"a": 1}, {"id": 2, "x": []}, { "id": 3}"#;
        let key = first_key(bytes).unwrap();
        assert_eq!(key, b"\"id\"");
        let (found, n_broken) = whole_objects(bytes, Some(Layout::Array), Some(key), |_| true);
        assert_eq!(found.iter().map(|value| value["id"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3)]);
        assert_eq!(n_broken, 1);
    }

    #[test]
    fn elements_that_two_slips_enclose_are_found() {
        let bytes = br#"{"id": 1, "y": [{"id": 2, "x": 0}, {"id": 3, "x": 0}]}, {"id": 4, "x": 0}"#;
        let fits = |value: &Value| value.get("x").is_some();
        let (found, n_broken) = whole_objects(bytes, Some(Layout::Array), Some(b"\"id\""), fits);
        assert_eq!(found.iter().filter_map(|value| value["id"].as_u64()).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(n_broken, 1);
    }

    #[test]
    fn objects_on_one_line_are_told_apart() {
        let (found, n_broken) = whole_objects(br#"{"a": 1}{"a": 2} "#, Some(Layout::Lines), None, |_| true);
        assert_eq!((found.len(), n_broken), (2, 0));
        let (found, n_broken) = whole_objects(br#"{"a": 1} and more"#, Some(Layout::Lines), None, |_| true);
        assert_eq!((found.len(), n_broken), (1, 1));
    }

    #[test]
    fn the_first_key_is_the_first() {
        assert_eq!(first_key(b" { \"a b\" : 1, \"c\": 2}"), Some(&b"\"a b\""[..]));
        assert_eq!(first_key(b"{}"), None);
        assert_eq!(first_key(b"[1]"), None);
    }
}
