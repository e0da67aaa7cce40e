//! Where one JSON element ends and the next begins, in bytes that come piece by piece: one element per line, the
//! elements of one array, or objects one after another. Knows strings and nesting, nothing else.

use super::salvage::element_start;

/// UTF-8 byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The largest element that is read, in bytes. A conversation with pictures in it has a few megabytes (the OpenAI API
/// takes 50 MB of them in a request); the parsed values of such an element take several times its size.
pub(super) const MAX_ELEMENT_BYTES: usize = 64 << 20;

/// How elements stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One element per line (JSON Lines).
    Lines,
    /// One JSON array, or one single value.
    Array,
    /// Objects one after another, each over any number of lines.
    Values,
}

/// An element and its 1-based line (Lines) or position (otherwise).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub number: u64,
    /// Of an element that is too long, the beginning or nothing.
    pub bytes: Vec<u8>,
    /// What stands between the element before and this one: commas, brackets of the array, white space.
    pub gap: Vec<u8>,
    pub is_too_long: bool,
}

/// Cuts a stream of bytes into elements; holds at most one unfinished element of at most `limit` bytes.
#[derive(Debug)]
pub(super) struct Splitter {
    layout: Option<Layout>,
    limit: usize,
    pending: Vec<u8>,
    gap: Vec<u8>,
    number: u64,
    nesting: Nesting,
    /// The unfinished element is too long, and its bytes are not kept.
    dropping: bool,
    /// The quoted first key of a whole element, once the caller has seen one.
    first_key: Option<Vec<u8>>,
    /// What came before it was clear whether a byte order mark stands first.
    head: Vec<u8>,
    started: bool,
}

#[derive(Debug, Default)]
struct Nesting {
    /// The brackets that are open within the element.
    brackets: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// The array itself is open.
    is_open: bool,
    /// The element has a byte that is not white space.
    has_content: bool,
}

impl Splitter {
    /// `layout` of None is found from the first byte that is not white space: `[` opens an array.
    pub fn new(layout: Option<Layout>, limit: usize) -> Self {
        Self {
            layout,
            limit,
            pending: Vec::new(),
            gap: Vec::new(),
            number: 0,
            nesting: Nesting::default(),
            dropping: false,
            first_key: None,
            head: Vec::new(),
            started: false,
        }
    }

    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// How elements begin: where one is too long because its end was never found, the last such place is taken for
    /// the begin of the next.
    pub fn set_first_key(&mut self, key: Vec<u8>) {
        self.first_key = Some(key);
    }

    pub fn first_key(&self) -> Option<&[u8]> {
        self.first_key.as_deref()
    }

    /// The elements that are complete once `data` is added. With `last`, also what is left over: a last line without
    /// an end, or an array that is cut off (an element that won't parse).
    pub fn feed(&mut self, data: &[u8], last: bool) -> Vec<Element> {
        if !self.started {
            // a byte order mark may come in pieces
            self.head.extend_from_slice(data);
            if !last && self.head.len() < MARK.len() && MARK.starts_with(&self.head) {
                return Vec::new();
            }
            self.started = true;
            let head = std::mem::take(&mut self.head);
            return self.feed_started(head.strip_prefix(MARK).unwrap_or(&head), last);
        }
        self.feed_started(data, last)
    }

    fn feed_started(&mut self, data: &[u8], last: bool) -> Vec<Element> {
        if self.layout.is_none() {
            self.pending.extend_from_slice(data);
            let Some(first) = self.pending.iter().find(|byte| !byte.is_ascii_whitespace()) else {
                return Vec::new();
            };
            self.layout = Some(if *first == b'[' { Layout::Array } else { Layout::Lines });
            let pending = std::mem::take(&mut self.pending);
            return self.feed_known(&pending, last);
        }
        self.feed_known(data, last)
    }

    fn feed_known(&mut self, data: &[u8], last: bool) -> Vec<Element> {
        let mut elements = Vec::new();
        match self.layout {
            Some(Layout::Array | Layout::Values) => self.feed_nested(data, &mut elements),
            _ => self.feed_lines(data, &mut elements),
        }
        if last {
            self.finish(&mut elements);
            if self.nesting.is_open {
                // "[1, 2" without an end: the missing bracket is an error of its own, so that a cut-off file is seen
                self.pending = b"]".to_vec();
                self.finish(&mut elements);
            }
        }
        elements
    }

    fn feed_lines(&mut self, mut data: &[u8], elements: &mut Vec<Element>) {
        // b'\n' only: JSON text may hold U+2028 and the like inside strings
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            self.keep_line(&data[..end]);
            data = &data[end + 1..];
            self.finish(elements);
        }
        self.keep_line(data);
    }

    fn keep_line(&mut self, data: &[u8]) {
        if self.dropping || self.pending.len() + data.len() > self.limit {
            self.dropping = true;
            self.pending = Vec::new();
        } else {
            self.pending.extend_from_slice(data);
        }
    }

    fn feed_nested(&mut self, data: &[u8], elements: &mut Vec<Element>) {
        let is_array = self.layout == Some(Layout::Array);
        let mut start = 0; // what stands from here on is not in `pending` yet
        for (at, &byte) in data.iter().enumerate() {
            if !self.dropping && self.pending.len() + (at - start) >= self.limit {
                self.keep(&data[start..at]);
                start = at;
                self.cut(elements);
            }
            let state = &mut self.nesting;
            if state.in_string {
                match byte {
                    _ if state.escaped => state.escaped = false,
                    b'\\' => state.escaped = true,
                    b'"' => state.in_string = false,
                    _ => {}
                }
                continue;
            }
            let is_outside = state.brackets.is_empty();
            let end = match byte {
                b'[' if is_array && !state.is_open && is_outside && !state.has_content => {
                    state.is_open = true;
                    End::Before
                }
                b',' if is_outside && (state.is_open || !is_array) => End::Before,
                b']' if is_outside && state.is_open => {
                    state.is_open = false;
                    End::Before
                }
                b'}' if close(&mut state.brackets, b'{') && !is_array => End::After,
                b']' => {
                    close(&mut state.brackets, b'[');
                    End::No
                }
                b'[' | b'{' => {
                    state.brackets.push(byte);
                    End::No
                }
                b'"' => {
                    state.in_string = true;
                    End::No
                }
                _ => End::No,
            };
            state.has_content |= !byte.is_ascii_whitespace();
            if end == End::No {
                continue;
            }
            self.keep(&data[start..if end == End::After { at + 1 } else { at }]);
            start = at + 1;
            self.finish(elements);
            if end == End::Before {
                self.gap.push(byte);
            }
        }
        self.keep(&data[start..]);
    }

    fn keep(&mut self, data: &[u8]) {
        if !self.dropping {
            self.pending.extend_from_slice(data);
        }
    }

    /// The unfinished element is too long. If another seems to begin within it, its own end was missed.
    fn cut(&mut self, elements: &mut Vec<Element>) {
        let begin = self.first_key.as_deref().and_then(|key| last_start(&self.pending, key));
        let Some(begin) = begin else {
            self.dropping = true;
            self.pending = Vec::new();
            return;
        };
        let rest = self.pending.split_off(begin);
        let bytes = std::mem::take(&mut self.pending);
        self.number += 1;
        elements.push(Element { number: self.number, bytes, gap: std::mem::take(&mut self.gap), is_too_long: true });
        self.nesting = Nesting { is_open: self.layout == Some(Layout::Array), ..Nesting::default() };
        self.feed_nested(&rest, elements);
    }

    /// The element ends here. A line counts even when it is blank, so that numbers are those of an editor.
    fn finish(&mut self, elements: &mut Vec<Element>) {
        let bytes = std::mem::take(&mut self.pending);
        let is_too_long = std::mem::take(&mut self.dropping);
        self.nesting.has_content = false;
        self.nesting.brackets.clear();
        let is_blank = !is_too_long && bytes.iter().all(u8::is_ascii_whitespace);
        if !is_blank || self.layout == Some(Layout::Lines) {
            self.number += 1;
        }
        if is_blank {
            if self.layout != Some(Layout::Lines) {
                self.gap.extend_from_slice(&bytes);
            }
        } else {
            let gap = std::mem::take(&mut self.gap);
            elements.push(Element { number: self.number, bytes, gap, is_too_long });
        }
    }
}

/// Does the element end at a byte, and is that byte part of it? Brackets and commas of the array belong to no element.
#[derive(PartialEq, Eq)]
enum End {
    No,
    Before,
    After,
}

/// Closes the innermost bracket of a kind and whatever was left open within it; a stray closing one changes nothing.
/// Whether nothing is open any more because of it.
fn close(brackets: &mut Vec<u8>, opening: u8) -> bool {
    match brackets.iter().rposition(|bracket| *bracket == opening) {
        Some(position) => {
            brackets.truncate(position);
            brackets.is_empty()
        }
        None => false,
    }
}

/// The last place, but not the first byte, where an element begins.
fn last_start(bytes: &[u8], key: &[u8]) -> Option<usize> {
    let mut last = None;
    let mut from = 1;
    while let Some(start) = element_start(bytes, from, key) {
        last = Some(start);
        from = start + 1;
    }
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(layout: Option<Layout>, data: &[u8], piece: usize) -> Vec<(u64, String)> {
        let mut splitter = Splitter::new(layout, MAX_ELEMENT_BYTES);
        let mut elements = Vec::new();
        for chunk in data.chunks(piece.max(1)) {
            elements.extend(splitter.feed(chunk, false));
        }
        elements.extend(splitter.feed(b"", true));
        elements.into_iter().map(|e| (e.number, String::from_utf8_lossy(&e.bytes).trim().to_owned())).collect()
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(piece in 1usize..20) {
            let lines = "{\"a\": \"x\u{2028}y\"}\n\n {\"b\": [1,2]}\r\n{\"c\":3}";
            let want = vec![(1, "{\"a\": \"x\u{2028}y\"}".to_owned()), (3, "{\"b\": [1,2]}".to_owned()), (4, "{\"c\":3}".to_owned())];
            prop_assert_eq!(split(None, lines.as_bytes(), piece), want);
            let array = " [ {\"a\": \"]\\\"},{\"}, [1, [2]] ,3 ] \n";
            let want = vec![(1, "{\"a\": \"]\\\"},{\"}".to_owned()), (2, "[1, [2]]".to_owned()), (3, "3".to_owned())];
            prop_assert_eq!(split(None, array.as_bytes(), piece), want);
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for piece in [1, 2, 100] {
            assert_eq!(split(None, b"\xef\xbb\xbf{}\n", piece), [(1, "{}".to_owned())]);
        }
    }

    #[test]
    fn a_cut_off_array_ends_in_a_broken_element() {
        let elements = split(None, b"[{\"a\": 1}, {\"a\": ", 100);
        assert_eq!(elements[0].1, "{\"a\": 1}");
        assert!(elements.len() > 1);
        assert!(split(None, b"[{\"a\": 1}", 100).len() > 1);
    }

    #[test]
    fn objects_over_many_lines_are_told_apart() {
        let data = b"{\n \"a\": {\"b\": \"}\"}\n}\n{\"c\": [1, 2]}, {}";
        for piece in [1, 3, 100] {
            let elements = split(Some(Layout::Values), data, piece);
            let texts: Vec<&str> = elements.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(texts, ["{\n \"a\": {\"b\": \"}\"}\n}", "{\"c\": [1, 2]}", "{}"]);
        }
    }

    #[test]
    fn a_missing_bracket_does_not_swallow_the_neighbours() {
        let elements = split(None, b"[{\"a\": [1, 2}, {\"b\": 3}}, {\"c\": 4}]", 100);
        let texts: Vec<&str> = elements.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["{\"a\": [1, 2}", "{\"b\": 3}}", "{\"c\": 4}"]);
    }

    fn limited(layout: Layout, data: &[u8], piece: usize) -> Vec<(u64, String, bool)> {
        let mut splitter = Splitter::new(Some(layout), 20);
        splitter.set_first_key(b"\"a\"".to_vec());
        let mut elements = Vec::new();
        for chunk in data.chunks(piece) {
            elements.extend(splitter.feed(chunk, false));
            assert!(splitter.pending.len() <= 20);
        }
        elements.extend(splitter.feed(b"", true));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        elements.into_iter().map(|e| (e.number, text(e.bytes), e.is_too_long)).collect()
    }

    #[test]
    fn long_elements_are_named_and_passed_over() {
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(90));
        for piece in [1, 7, 1000] {
            let lines = format!("{{\"a\": 1}}\n{long}\n{{\"a\": 2}}");
            let want =
                [(1, "{\"a\": 1}".to_owned(), false), (2, String::new(), true), (3, "{\"a\": 2}".to_owned(), false)];
            assert_eq!(limited(Layout::Lines, lines.as_bytes(), piece), want);
            let array = format!("[{{\"a\": 1}},{long},{{\"a\": 2}}]");
            assert_eq!(limited(Layout::Array, array.as_bytes(), piece), want);
        }
    }

    #[test]
    fn an_element_without_end_is_cut_where_another_begins() {
        for piece in [1, 7, 1000] {
            let found = limited(Layout::Array, b"[{\"a\": \"x},{\"a\": 1},{\"a\": 2},{\"a\": 3},{\"a\": 4}]", piece);
            assert!(found.iter().any(|(_, text, _)| text == "{\"a\": 4}"), "{found:?}");
            assert!(found.iter().any(|(_, _, is_too_long)| *is_too_long));
        }
    }
}
