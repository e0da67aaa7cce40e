//! Where one JSON element ends and the next begins, in bytes that come piece by piece: one element per line, or the
//! elements of one array. Knows strings and nesting, nothing else.

/// UTF-8 byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How elements stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One element per line (JSON Lines).
    Lines,
    /// One JSON array, or one single value.
    Array,
}

/// A whole element and its 1-based line (Lines) or position (Array).
#[derive(Debug, PartialEq, Eq)]
pub struct Element {
    pub number: u64,
    pub bytes: Vec<u8>,
}

/// Cuts a stream of bytes into elements; holds at most one unfinished element.
#[derive(Debug)]
pub struct Splitter {
    layout: Option<Layout>,
    pending: Vec<u8>,
    number: u64,
    array: ArrayState,
    /// What came before it was clear whether a byte order mark stands first.
    head: Vec<u8>,
    started: bool,
}

#[derive(Debug, Default)]
struct ArrayState {
    depth: usize,
    in_string: bool,
    escaped: bool,
    open: bool,
}

impl Splitter {
    /// `layout` of None is found from the first byte that is not white space: `[` opens an array.
    pub fn new(layout: Option<Layout>) -> Self {
        Self { layout, pending: Vec::new(), number: 0, array: ArrayState::default(), head: Vec::new(), started: false }
    }

    pub fn layout(&self) -> Option<Layout> {
        self.layout
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
            Some(Layout::Array) => self.feed_array(data, &mut elements),
            _ => self.feed_lines(data, &mut elements),
        }
        if last {
            let rest = std::mem::take(&mut self.pending);
            self.push(rest, &mut elements);
            if self.array.open {
                // "[1, 2" without an end: the missing bracket is an error of its own, so that a cut-off file is seen
                self.push(b"]".to_vec(), &mut elements);
            }
        }
        elements
    }

    fn feed_lines(&mut self, mut data: &[u8], elements: &mut Vec<Element>) {
        // b'\n' only: JSON text may hold U+2028 and the like inside strings
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&data[..end]);
            data = &data[end + 1..];
            let line = std::mem::take(&mut self.pending);
            self.push(line, elements);
        }
        self.pending.extend_from_slice(data);
    }

    fn feed_array(&mut self, data: &[u8], elements: &mut Vec<Element>) {
        for &byte in data {
            let state = &mut self.array;
            if state.in_string {
                self.pending.push(byte);
                match byte {
                    _ if state.escaped => state.escaped = false,
                    b'\\' => state.escaped = true,
                    b'"' => state.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'[' if !state.open && state.depth == 0 && self.pending.iter().all(u8::is_ascii_whitespace) => {
                    state.open = true;
                    continue;
                }
                b',' if state.open && state.depth == 0 => {
                    let element = std::mem::take(&mut self.pending);
                    self.push_element(element, elements);
                    continue;
                }
                b']' if state.open && state.depth == 0 => {
                    state.open = false;
                    let element = std::mem::take(&mut self.pending);
                    self.push_element(element, elements);
                    continue;
                }
                b'[' | b'{' => state.depth += 1,
                b']' | b'}' => state.depth = state.depth.saturating_sub(1),
                b'"' => state.in_string = true,
                _ => {}
            }
            self.pending.push(byte);
        }
    }

    /// A line counts even when it is blank, so that numbers are those of an editor.
    fn push(&mut self, bytes: Vec<u8>, elements: &mut Vec<Element>) {
        if self.layout == Some(Layout::Array) {
            return self.push_element(bytes, elements);
        }
        self.number += 1;
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            elements.push(Element { number: self.number, bytes });
        }
    }

    fn push_element(&mut self, bytes: Vec<u8>, elements: &mut Vec<Element>) {
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            self.number += 1;
            elements.push(Element { number: self.number, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(layout: Option<Layout>, data: &[u8], piece: usize) -> Vec<(u64, String)> {
        let mut splitter = Splitter::new(layout);
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
}
