//! A partitioned index as bytes: a header with all lengths, the lists, and the rows at the end, each part with its hash, so
//! that a file that was cut off or changed is refused. The rows stand by themselves, aligned, so that they can be mapped.
//!
//! Little-endian: name, header of u64 words, their hash; lists, their hash, zeros up to a multiple of 64, rows, their hash.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::Xxh3;

use super::partitioned::{BaseRows, GONE, List, Partitioned};
use crate::error::{Error, Result};
use crate::kernels::Codes;
use crate::kernels::codes::MAX_DIM;

/// The name of the format and its version.
const MAGIC: [u8; 8] = *b"LMSYSIX1";
const HEADER_WORDS: usize = 13;
/// Where rows may begin.
const ALIGNED: u64 = 64;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// An index that was read, without its rows.
pub struct Saved {
    index: Partitioned,
    n_ids: usize,
    /// Where the rows stand in the file.
    pub rows_at: u64,
}

struct Hashed<T> {
    inner: T,
    hash: Xxh3,
    n: u64,
}

impl<T> Hashed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Xxh3::new(), n: 0 }
    }
}

impl<W: Write> Hashed<&mut W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.n += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    fn put_all<const N: usize>(&mut self, values: impl Iterator<Item = [u8; N]>) -> io::Result<()> {
        let mut piece = Vec::with_capacity(PIECE + N);
        for value in values {
            piece.extend_from_slice(&value);
            if piece.len() >= PIECE {
                self.put(&piece)?;
                piece.clear();
            }
        }
        self.put(&piece)
    }

    /// Writes the hash of what was written since the last.
    fn seal(&mut self) -> io::Result<()> {
        let digest = self.hash.digest().to_le_bytes();
        self.put(&digest)?;
        self.hash.reset();
        Ok(())
    }
}

impl<R: Read> Hashed<&mut R> {
    fn take(&mut self, n: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.inner.read_exact(&mut bytes).map_err(|error| damaged(&format!("{error}")))?;
        self.hash.update(&bytes);
        self.n += n as u64;
        Ok(bytes)
    }

    fn words(&mut self, n: usize) -> Result<Vec<u32>> {
        Ok(self.take(4 * n)?.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    fn floats(&mut self, n: usize) -> Result<Vec<f32>> {
        let floats: Vec<f32> = self.words(n)?.into_iter().map(f32::from_bits).collect();
        match floats.iter().all(|value| value.is_finite()) {
            true => Ok(floats),
            false => Err(damaged("it has NaN or infinity")),
        }
    }

    fn codes(&mut self, n: usize, dim: usize) -> Result<Codes> {
        let factors = self.floats(2 * n)?.as_chunks().0.to_vec();
        Ok(Codes::from_parts(dim, &self.take(n * dim)?, factors))
    }

    fn check_seal(&mut self) -> Result<()> {
        let want = self.hash.digest();
        let got = self.take(8)?;
        self.hash.reset();
        if got != want.to_le_bytes() { Err(damaged("its bytes have changed")) } else { Ok(()) }
    }
}

fn damaged(what: &str) -> Error {
    Error::invalid(format!("this is no whole index file: {what}")).hint("build the index again and save it")
}

/// Bytes of the lists, hash included.
fn lists_len([dim, _, n, n_lists, needed, more_needed, ..]: [u64; HEADER_WORDS]) -> Option<u64> {
    let of_codes = dim.checked_add(8)?;
    let rows = n.checked_mul(of_codes.checked_add(4)?)?;
    let lists = n_lists.checked_mul(of_codes.checked_add(4)?)?;
    let learned = needed.checked_add(more_needed)?.checked_mul(4)?;
    rows.checked_add(lists)?.checked_add(learned)?.checked_add(8)
}

const HEADER_LEN: u64 = (8 + 8 * HEADER_WORDS + 8) as u64;

impl Partitioned {
    /// Writes the index: what [`read`] reads.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut out = Hashed::new(out);
        out.put(&MAGIC)?;
        let header: [u64; HEADER_WORDS] = [
            self.dim as u64,
            self.n_ids() as u64,
            self.n as u64,
            self.lists.len() as u64,
            self.needed[0].len() as u64,
            self.needed[1].len() as u64,
            u64::from(self.scale.to_bits()),
            u64::from(self.largest.0.to_bits()),
            u64::from(self.largest.1.to_bits()),
            self.recall.to_bits(),
            0,
            0,
            0,
        ];
        out.put_all(header.iter().map(|word| word.to_le_bytes()))?;
        out.seal()?;
        out.put_all(self.lists.iter().map(|list| (list.ids.len() as u32).to_le_bytes()))?;
        out.put_all(self.needed.iter().flatten().map(|value| value.to_le_bytes()))?;
        put_codes(&mut out, &self.centers)?;
        for list in &self.lists {
            out.put_all(list.ids.iter().map(|id| id.to_le_bytes()))?;
            put_codes(&mut out, &list.codes)?;
        }
        out.seal()?;
        out.put(&vec![0; (out.n.next_multiple_of(ALIGNED) - out.n) as usize])?;
        out.hash.reset();
        out.put_all((*self.base).as_ref().iter().chain(&self.more).map(|value| value.to_le_bytes()))?;
        out.seal()
    }
}

fn put_codes<W: Write>(out: &mut Hashed<&mut W>, codes: &Codes) -> io::Result<()> {
    out.put_all(codes.factors().iter().flatten().map(|value| value.to_le_bytes()))?;
    out.put_all(codes.bytes().map(|byte| [byte]))
}

/// Reads an index up to its rows from a file of `file_len` bytes. The reader stands at the rows afterwards.
///
/// # Errors
/// `InvalidInput` for what is no index, was cut off or has changed.
pub fn read(input: &mut impl Read, file_len: u64) -> Result<Saved> {
    if file_len < HEADER_LEN {
        return Err(damaged(&format!("it has {file_len} bytes, the header alone {HEADER_LEN}")));
    }
    let mut input = Hashed::new(input);
    let magic = input.take(8)?;
    if magic != MAGIC {
        let what = match magic.starts_with(&MAGIC[..7]) {
            true => "its version is another one",
            false => "it begins with other bytes",
        };
        return Err(damaged(what));
    }
    let words = input.take(8 * HEADER_WORDS)?;
    let mut header = [0u64; HEADER_WORDS];
    header.iter_mut().zip(words.as_chunks().0).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
    input.check_seal()?;
    let [dim, n_ids, n, n_lists, needed, more_needed, scale, norm, lost, recall, ..] = header;
    // the lengths are believed only when they add up to that of the file
    let rows_at = lists_len(header).and_then(|len| len.checked_add(HEADER_LEN)?.checked_next_multiple_of(ALIGNED));
    let rows_len = n_ids.checked_mul(dim).and_then(|n| n.checked_mul(4));
    let len = rows_at.zip(rows_len).and_then(|(at, len)| at.checked_add(len)?.checked_add(8));
    let (Some(rows_at), Some(len)) = (rows_at, len) else { return Err(damaged("its lengths are impossible")) };
    if len != file_len {
        return Err(damaged(&format!("it has {file_len} bytes, need {len}")));
    }
    let float = |word: u64| f32::from_bits(word as u32);
    let (scale, largest, recall) = (float(scale), (float(norm), float(lost)), f64::from_bits(recall));
    let numbers = scale.is_normal() && scale > 0.0 && largest.0 >= 0.0 && largest.1 >= 0.0 && recall > 0.0;
    if !numbers || dim == 0 || dim > MAX_DIM as u64 || n_ids >= u64::from(GONE) || n > n_ids || n_lists == 0 {
        return Err(damaged("its header has impossible numbers"));
    }
    let (dim, n_lists) = (dim as usize, n_lists as usize);
    let sizes = input.words(n_lists)?;
    if sizes.iter().map(|size| u64::from(*size)).sum::<u64>() != n {
        return Err(damaged("its lists do not hold its rows"));
    }
    let needed = [input.floats(needed as usize)?, input.floats(more_needed as usize)?];
    let centers = input.codes(n_lists, dim)?;
    let mut lists = Vec::with_capacity(n_lists);
    for size in sizes {
        let ids = input.words(size as usize)?;
        lists.push(List { codes: input.codes(size as usize, dim)?, ids });
    }
    input.check_seal()?;
    let padding = (rows_at - input.n) as usize;
    input.take(padding)?;
    let mut index = Partitioned {
        dim,
        scale,
        recall,
        centers,
        lists,
        places: Vec::new(),
        n: n as usize,
        largest,
        needed,
        base: Box::new(Vec::new()),
        more: Vec::new(),
    };
    index.places = index.find_places(n_ids as usize).map_err(|error| damaged(&error.to_string()))?;
    Ok(Saved { index, n_ids: n_ids as usize, rows_at })
}

impl Saved {
    /// (rows, columns) of what stands at `rows_at`.
    pub fn shape(&self) -> (usize, usize) {
        (self.n_ids, self.index.dim)
    }

    /// With the rows where they are; they are not compared with their hash, which would read all of them.
    ///
    /// # Errors
    /// `InvalidInput` for another number of values.
    pub fn on(mut self, base: BaseRows) -> Result<Partitioned> {
        let (got, need) = ((*base).as_ref().len(), self.n_ids * self.index.dim);
        if got != need {
            return Err(damaged(&format!("it has {got} values, need {need}")));
        }
        self.index.base = base;
        Ok(self.index)
    }

    /// With the rows read from where the reader stands.
    ///
    /// # Errors
    /// `InvalidInput` for rows that have changed.
    pub fn with_rows(self, input: &mut impl Read) -> Result<Partitioned> {
        let mut input = Hashed::new(input);
        let rows = input.floats(self.n_ids * self.index.dim)?;
        input.check_seal()?;
        self.on(Box::new(rows))
    }
}
