//! Signals of texts from Python: language, size, quality, personal data, templates, near-duplicates.

use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, Float32Array, Int64Array, LargeStringArray, LargeStringBuilder, RecordBatch, UInt32Array,
};
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3_arrow::{PyArray, PyRecordBatch};
use rayon::prelude::*;

use super::arrays::{self, Texts};
use super::boundary::run;
use super::graph::PyKnnGraph;
use crate::error::{Error, Result};
use crate::task::Task;
use crate::text::near_duplicates;
use crate::text::personal::{self, Kind};
use crate::text::seen::SeenHashes;
use crate::text::shingles::{self, N_VALUES, Signature};
use crate::text::signals::{Signals, signals};

/// Texts between two looks at the stop flag.
const BLOCK: usize = 4096;

/// What can be said about each text without a model.
///
/// Args:
///     texts: n strings (Arrow or a sequence of str).
///     progress: called with (texts done, n).
///
/// Returns:
///     An Arrow record batch of n rows with the columns language (null where it can't be told), language_confidence,
///     n_chars, n_words, quality, quality_length, quality_letters, quality_repetition, quality_variety,
///     quality_wording, personal (bits of PERSONAL_KINDS) and template.
///
/// Raises:
///     InvalidInputError: if a text is null.
#[pyfunction]
#[pyo3(signature = (texts, *, progress=None))]
pub fn text_signals(py: Python<'_>, texts: &Bound<'_, PyAny>, progress: Option<Py<PyAny>>) -> PyResult<PyRecordBatch> {
    let texts = Texts::from_python(texts, "texts")?;
    let batch = run(py, progress, |task| to_batch(&map_blocks(&texts.all("texts")?, task, signals)?))?;
    Ok(PyRecordBatch::new(batch))
}

/// Each text with personal data and secrets replaced by [EMAIL], [PHONE], [KEY] and so on.
///
/// Args:
///     texts: n strings; nulls stay null.
///
/// Returns:
///     An Arrow array of n strings.
#[pyfunction]
pub fn redact_texts(py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<PyArray> {
    let texts = Texts::from_python(texts, "texts")?;
    let array = run(py, None, |task| {
        let array = texts.array();
        let given: Vec<Option<&str>> = array.iter().collect();
        let redacted = map_blocks(&given, task, |text| text.and_then(personal::redact))?;
        let kept = redacted.iter().zip(&given).map(|(redacted, given)| redacted.as_deref().or(*given));
        Ok(Arc::new(kept.collect::<LargeStringArray>()) as ArrayRef)
    })?;
    Ok(PyArray::from_array_ref(array))
}

/// MinHash signature of the shingles of each text.
///
/// Args:
///     texts: n strings.
///     progress: called with (texts done, n).
///
/// Returns:
///     (n, 128) uint16. Texts that differ only in case, white space and punctuation have equal rows.
///
/// Raises:
///     InvalidInputError: if a text is null.
#[pyfunction]
#[pyo3(signature = (texts, *, progress=None))]
pub fn minhash_signatures<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let texts = Texts::from_python(texts, "texts")?;
    let values =
        run(py, progress, |task| Ok(map_blocks(&texts.all("texts")?, task, shingles::signature)?.into_flattened()))?;
    arrays::table(py, values, N_VALUES)
}

/// Pairs of texts that are near-duplicates, by their signatures.
///
/// Args:
///     signatures: (n, 128) uint16 of `minhash_signatures`.
///     min_similarity: share of values, above 0, that must be equal: it estimates the Jaccard similarity of the shingles with
///         a standard error of 0.043 at 0.6.
///     progress: called with (bands done, bands).
///
/// Returns:
///     (m, 2) uint32 rows i < j, sorted; m grows linearly with n.
///
/// Raises:
///     InvalidInputError: if the signatures do not have 128 values, or min_similarity is not in (0, 1].
#[pyfunction]
#[pyo3(signature = (signatures, *, min_similarity=0.6, progress=None))]
pub fn near_duplicate_pairs<'py>(
    py: Python<'py>,
    signatures: &Bound<'py, PyAny>,
    min_similarity: f64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if !(min_similarity > 0.0 && min_similarity <= 1.0) {
        return Err(
            Error::invalid(format!("min_similarity must be above 0 and at most 1: got {min_similarity}")).into()
        );
    }
    let signatures = arrays::signatures(signatures, N_VALUES)?;
    let values = signatures.as_slice()?;
    let fewest_equal = (min_similarity * N_VALUES as f64).ceil() as usize;
    let pairs = run(py, progress, |task| {
        let rows: &[Signature] = values.as_chunks::<N_VALUES>().0;
        Ok(near_duplicates::similar_pairs(rows, fewest_equal, task)?.into_flattened())
    })?;
    arrays::table(py, pairs, 2)
}

/// Pairs of rows whose vectors are at most `max_distance` apart, among the neighbors of a graph.
///
/// Args:
///     graph: neighbors of n rows.
///     max_distance: Euclidean distance up to which a pair counts.
///
/// Returns:
///     (m, 2) uint32 rows i < j, sorted.
///
/// Raises:
///     InvalidInputError: if max_distance is negative or NaN.
#[pyfunction]
pub fn near_duplicate_pairs_from_graph<'py>(
    py: Python<'py>,
    graph: &Bound<'py, PyKnnGraph>,
    max_distance: f32,
) -> PyResult<Bound<'py, PyAny>> {
    if max_distance.is_nan() || max_distance < 0.0 {
        return Err(Error::invalid(format!("max_distance must not be negative: got {max_distance}")).into());
    }
    let graph = graph.get().0.clone();
    let pairs = run(py, None, |_| {
        Ok(near_duplicates::pairs_within(graph.indices(), graph.distances(), graph.k(), max_distance).into_flattened())
    })?;
    arrays::table(py, pairs, 2)
}

/// How alike the texts of each pair are: Jaccard similarity of their shingles.
///
/// Args:
///     texts_a: n strings.
///     texts_b: n strings.
///     progress: called with (pairs done, n).
///
/// Returns:
///     (n,) float32 from 0 to 1; 1 for texts that differ only in case, white space and punctuation.
///
/// Raises:
///     InvalidInputError: if the lengths differ or a text is null.
#[pyfunction]
#[pyo3(signature = (texts_a, texts_b, *, progress=None))]
pub fn shingle_similarity<'py>(
    py: Python<'py>,
    texts_a: &Bound<'py, PyAny>,
    texts_b: &Bound<'py, PyAny>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (a, b) = (Texts::from_python(texts_a, "texts_a")?, Texts::from_python(texts_b, "texts_b")?);
    let (n_a, n_b) = (a.array().len(), b.array().len());
    if n_a != n_b {
        return Err(Error::invalid(format!("texts_a and texts_b must have one length: got {n_a} and {n_b}")).into());
    }
    let found = run(py, progress, |task| {
        let pairs: Vec<(&str, &str)> = a.all("texts_a")?.into_iter().zip(b.all("texts_b")?).collect();
        map_blocks(&pairs, task, |(a, b)| shingles::similarity(a, b))
    })?;
    Ok(arrays::column(py, found))
}

/// Which hashes were seen before: a quick first answer, from 8 bytes of each, before a database is asked.
#[pyclass(name = "SeenHashes", module = "lmsys_rs._core", frozen)]
#[derive(Default)]
pub struct PySeenHashes(Mutex<SeenHashes>);

#[pymethods]
impl PySeenHashes {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Take hashes in, and say which may have been seen before.
    ///
    /// Args:
    ///     hashes: the bytes of n hashes of 16 bytes, one after the other.
    ///
    /// Returns:
    ///     (n,) bool. False is certain: this hash is new, also within this call. True is not: two hashes can share 8 bytes.
    ///
    /// Raises:
    ///     InvalidInputError: if the number of bytes is not a multiple of 16.
    fn insert<'py>(&self, py: Python<'py>, hashes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let (hashes, rest) = hashes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(Error::invalid(format!("hashes must have 16 bytes each: {} are left over", rest.len())).into());
        }
        let mut seen = self.0.lock().map_err(|_| Error::Internal { message: "a call before panicked".into() })?;
        Ok(arrays::column(py, seen.insert(hashes)))
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.0.lock().map_err(|_| Error::Internal { message: "a call before panicked".into() })?.len())
    }
}

/// The groups that pairs make of n texts.
///
/// Args:
///     n: number of texts.
///     pairs: (m, 2) integers below n.
///
/// Returns:
///     (n,) uint32: the smallest text of the group each text is in.
///
/// Raises:
///     InvalidInputError: if pairs are not (m, 2) or name a text that does not exist.
#[pyfunction]
pub fn group_pairs<'py>(py: Python<'py>, n: i64, pairs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let n = arrays::count(n, "n")?;
    let pairs = arrays::ids(pairs, "pairs")?;
    if pairs.shape()[1] != 2 {
        return Err(Error::invalid(format!("pairs must have 2 columns: got {}", pairs.shape()[1])).into());
    }
    let pairs = pairs.as_slice()?;
    let groups = run(py, None, |_| near_duplicates::groups(n, pairs))?;
    Ok(arrays::column(py, groups))
}

/// Name and bit of each kind of personal data, in the order of the bits.
pub fn personal_kinds() -> Vec<(&'static str, u32)> {
    Kind::ALL.iter().map(|kind| (kind.name(), kind.bit())).collect()
}

/// `function` of each value, in parallel blocks; stops between two.
fn map_blocks<T: Copy + Sync, U: Send>(values: &[T], task: &Task, function: impl Fn(T) -> U + Sync) -> Result<Vec<U>> {
    task.start(values.len() as u64);
    let mut results = Vec::with_capacity(values.len());
    for block in values.chunks(BLOCK) {
        task.check()?;
        results.par_extend(block.par_iter().map(|value| function(*value)));
        task.advance(block.len() as u64);
    }
    Ok(results)
}

fn to_batch(rows: &[Signals]) -> Result<RecordBatch> {
    let mut languages = LargeStringBuilder::with_capacity(rows.len(), rows.len() * 8);
    rows.iter().for_each(|row| languages.append_option(row.language));
    let real =
        |value: fn(&Signals) -> f32| Arc::new(Float32Array::from_iter_values(rows.iter().map(value))) as ArrayRef;
    let whole =
        |value: fn(&Signals) -> u32| Arc::new(UInt32Array::from_iter_values(rows.iter().map(value))) as ArrayRef;
    let columns: [(&str, ArrayRef); 12] = [
        ("language", Arc::new(languages.finish())),
        ("language_confidence", real(|row| row.language_confidence)),
        ("n_chars", whole(|row| row.n_chars)),
        ("n_words", whole(|row| row.n_words)),
        ("quality", real(|row| row.quality.score)),
        ("quality_length", real(|row| row.quality.length)),
        ("quality_letters", real(|row| row.quality.letters)),
        ("quality_repetition", real(|row| row.quality.repetition)),
        ("quality_variety", real(|row| row.quality.variety)),
        ("quality_wording", real(|row| row.quality.wording)),
        ("personal", whole(|row| row.personal)),
        ("template", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.template)))),
    ];
    let nullable = columns.into_iter().map(|(name, column)| (name, column, name == "language"));
    RecordBatch::try_from_iter_with_nullable(nullable).map_err(|error| Error::Internal { message: error.to_string() })
}
