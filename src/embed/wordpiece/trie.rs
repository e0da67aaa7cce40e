//! Which is the longest word of a vocabulary that a text begins with? A double-array trie (Aoe 1989): one load per byte.
//! It is built once and never changed.

/// Marks a cell that no state uses, and the parent of the roots.
const NOBODY: u32 = u32::MAX;
/// Set in `Cell::base` where a word ends.
const ENDS: u32 = 1 << 31;
/// Children of a state lie in one block: their places are `base ^ byte`.
const BLOCK: usize = 256;
/// Blocks that are searched for room; older ones are nearly full, and searching them costs more than they hold.
const OPEN_BLOCKS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Cell {
    base: u32,
    parent: u32,
}

/// Several vocabularies in one array; vocabulary `n` begins at state `n`.
#[derive(Debug)]
pub struct Trie {
    cells: Vec<Cell>,
    values: Vec<u32>,
}

impl Trie {
    /// The words of each vocabulary with their values; empty words are left out, of equal words the last counts.
    pub fn new(vocabularies: [Vec<(&[u8], u32)>; 2]) -> Self {
        let mut trie = Self { cells: Vec::new(), values: Vec::new() };
        trie.add_block();
        let mut first_open = 0;
        for (root, mut words) in vocabularies.into_iter().enumerate() {
            words.retain(|(word, _)| !word.is_empty());
            words.sort_by_key(|(word, _)| *word);
            let mut pending = vec![(root, 0, words.len(), 0)];
            while let Some((state, start, end, depth)) = pending.pop() {
                trie.add_children(&words, (state, start, end, depth), &mut first_open, &mut pending);
            }
        }
        trie
    }

    /// Bytes and value of the longest word of `vocabulary` at the beginning of `text`.
    #[inline]
    pub fn longest(&self, vocabulary: usize, text: &[u8]) -> Option<(usize, u32)> {
        let mut state = vocabulary;
        let mut found = None;
        for (position, byte) in text.iter().enumerate() {
            let next = ((self.cells[state].base & !ENDS) ^ u32::from(*byte)) as usize;
            match self.cells.get(next) {
                Some(cell) if cell.parent as usize == state => {
                    if cell.base & ENDS != 0 {
                        found = Some((position + 1, next));
                    }
                }
                _ => break,
            }
            state = next;
        }
        found.map(|(length, state)| (length, self.values[state]))
    }

    /// Gives the state the children that `words[start..end]`, which share `depth` bytes, need.
    fn add_children(
        &mut self,
        words: &[(&[u8], u32)],
        (state, start, end, depth): (usize, usize, usize, usize),
        first_open: &mut usize,
        pending: &mut Vec<(usize, usize, usize, usize)>,
    ) {
        let ended = words[start..end].iter().take_while(|(word, _)| word.len() == depth).count();
        if ended > 0 {
            self.cells[state].base |= ENDS;
            self.values[state] = words[start + ended - 1].1;
        }
        let groups: Vec<(u8, usize, usize)> = {
            let mut groups: Vec<(u8, usize, usize)> = Vec::new();
            for (position, (word, _)) in words.iter().enumerate().take(end).skip(start + ended) {
                match groups.last_mut() {
                    Some((byte, _, last)) if *byte == word[depth] => *last = position + 1,
                    _ => groups.push((word[depth], position, position + 1)),
                }
            }
            groups
        };
        if groups.is_empty() {
            return;
        }
        let base = self.find_room(&groups, first_open);
        self.cells[state].base |= base as u32;
        for (byte, start, end) in groups {
            let child = base ^ usize::from(byte);
            self.cells[child].parent = state as u32;
            pending.push((child, start, end, depth + 1));
        }
    }

    /// A base at which all the bytes fall on free cells.
    fn find_room(&mut self, groups: &[(u8, usize, usize)], first_open: &mut usize) -> usize {
        loop {
            for block in *first_open..self.cells.len() / BLOCK {
                for place in block * BLOCK..(block + 1) * BLOCK {
                    let base = place ^ usize::from(groups[0].0);
                    if groups.iter().all(|(byte, _, _)| self.is_free(base ^ usize::from(*byte))) {
                        return base;
                    }
                }
            }
            self.add_block();
            *first_open = (self.cells.len() / BLOCK).saturating_sub(OPEN_BLOCKS);
        }
    }

    /// The first two cells are the roots.
    fn is_free(&self, place: usize) -> bool {
        place > 1 && self.cells[place].parent == NOBODY
    }

    fn add_block(&mut self) {
        let length = self.cells.len() + BLOCK;
        self.cells.resize(length, Cell { base: 0, parent: NOBODY });
        self.values.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_word_is_found_in_its_own_vocabulary() {
        let first: Vec<(&[u8], u32)> = vec![(b"a", 1), (b"abc", 2), (b"b", 3), (b"", 9), ("\u{e9}t".as_bytes(), 4)];
        let trie = Trie::new([first, vec![(b"abcd", 5)]]);
        assert_eq!(trie.longest(0, b"abcd"), Some((3, 2)));
        assert_eq!(trie.longest(1, b"abcd"), Some((4, 5)));
        assert_eq!(trie.longest(0, b"abx"), Some((1, 1)));
        assert_eq!(trie.longest(0, "\u{e9}t\u{e9}".as_bytes()), Some((3, 4)));
        for nothing in [&b""[..], b"x", b"\xff", b"\x00\x01"] {
            assert_eq!(trie.longest(0, nothing), None);
        }
    }

    #[test]
    fn every_word_of_a_large_vocabulary_is_found() {
        let words: Vec<String> = (0..20_000u32).map(|i| format!("{:x}-{i}", i.wrapping_mul(2_654_435_761))).collect();
        let pairs = |words: &'_ [String]| -> Vec<(Vec<u8>, u32)> {
            words.iter().zip(0..).map(|(word, value)| (word.clone().into_bytes(), value)).collect()
        };
        let owned = pairs(&words);
        let borrowed = || owned.iter().map(|(word, value)| (word.as_slice(), *value)).collect::<Vec<_>>();
        let trie = Trie::new([borrowed(), borrowed().split_off(10_000)]);
        for (word, value) in &owned {
            assert_eq!(trie.longest(0, word), Some((word.len(), *value)));
            assert_eq!(trie.longest(1, word).is_some_and(|found| found.1 == *value), *value >= 10_000);
        }
        assert_eq!(Trie::new([vec![], vec![]]).longest(0, b"abc"), None);
    }
}
