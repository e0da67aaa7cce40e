//! Texts from Python: normal forms, hashes, short forms and the terms of clusters.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryBuilder, LargeStringArray};
use pyo3::prelude::*;
use pyo3_arrow::PyArray;
use rayon::prelude::*;

use super::arrays::{self, Texts};
use super::boundary::run;
use crate::error::Error;
use crate::text;

/// The normal form of each text: NFC, control characters (NUL too) removed, trimmed.
///
/// Args:
///     texts: n strings (Arrow or a sequence of str); nulls stay null.
///
/// Returns:
///     An Arrow array of n strings.
#[pyfunction]
pub fn normalize_texts(py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<PyArray> {
    map_texts(py, texts, text::normalize)
}

/// The first `max_chars` characters of each text on one line, with an ellipsis where it was cut.
///
/// Args:
///     texts: n strings; nulls stay null.
///     max_chars: longest result, in characters.
///
/// Returns:
///     An Arrow array of n strings.
#[pyfunction]
pub fn cut_texts(py: Python<'_>, texts: &Bound<'_, PyAny>, max_chars: usize) -> PyResult<PyArray> {
    map_texts(py, texts, |text| text::cut(text, max_chars))
}

/// xxh3-128 of the UTF-8 bytes of each text as given, big endian.
///
/// Args:
///     texts: n strings; nulls stay null.
///
/// Returns:
///     An Arrow array of n fixed-size binaries of 16 bytes.
#[pyfunction]
pub fn text_hashes(py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<PyArray> {
    let texts = Texts::from_python(texts, "texts")?;
    let array = run(py, None, |_| {
        let array = texts.array();
        let hashes: Vec<Option<[u8; 16]>> = (0..array.len())
            .into_par_iter()
            .map(|row| (!array.is_null(row)).then(|| text::hash(array.value(row))))
            .collect();
        let mut builder = FixedSizeBinaryBuilder::with_capacity(hashes.len(), 16);
        for hash in hashes {
            match hash {
                Some(hash) => {
                    builder.append_value(hash).map_err(|error| Error::Internal { message: error.to_string() })?
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()) as ArrayRef)
    })?;
    Ok(PyArray::from_array_ref(array))
}

/// What each cluster is about: class-based TF-IDF (Grootendorst 2022, section 3.3) over words and phrases, with no stop
/// word at either end of a phrase; of scripts without spaces, runs of characters.
///
/// Args:
///     texts: n strings.
///     labels: (n,) integers; -1 is noise and counts only towards how common a term is.
///     n_clusters: clusters are 0..n_clusters-1.
///     weights: (n,) how often each text occurs.
///     n_terms: most terms per cluster.
///     min_count: fewest texts a term must stand in.
///     max_words: most words of a term, 1 to 4.
///     nearest: (n_clusters, m) the clusters that each must be told from, -1 for none: a term that is common in one of
///         them counts less.
///     progress: called with (done, total).
///
/// Returns:
///     For each cluster its (term, score) pairs, best first.
///
/// Raises:
///     InvalidInputError: if labels, weights or nearest do not fit, max_words is out of range, or a text is null.
#[pyfunction]
#[pyo3(signature = (texts, labels, *, n_clusters, weights=None, n_terms=10, min_count=2, max_words=4, nearest=None, progress=None))]
#[allow(clippy::too_many_arguments)]
pub fn top_terms(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
    n_clusters: usize,
    weights: Option<&Bound<'_, PyAny>>,
    n_terms: usize,
    min_count: u32,
    max_words: usize,
    nearest: Option<Vec<Vec<i32>>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<Vec<(String, f64)>>> {
    let texts = Texts::from_python(texts, "texts")?;
    let labels = arrays::labels(labels, "labels")?;
    let weights = arrays::weights(weights, "weights")?;
    let (labels, weights) = (labels.as_slice()?, weights.as_ref().map(|weights| weights.as_slice()).transpose()?);
    let nearest = nearest.map(|rows| even(rows, n_clusters)).transpose()?;
    let params = text::terms::TermParams { n_terms, min_count, max_words };
    let terms = run(py, progress, |task| {
        text::terms::top_terms(&texts.all("texts")?, labels, weights, n_clusters, nearest.as_deref(), params, task)
    })?;
    Ok(terms.into_iter().map(|terms| terms.into_iter().map(|term| (term.text, term.score)).collect()).collect())
}

/// The rows one after the other, where there is one per cluster and all are of one length.
fn even(rows: Vec<Vec<i32>>, n_clusters: usize) -> PyResult<Vec<i32>> {
    let width = rows.first().map_or(0, Vec::len);
    if rows.len() != n_clusters || rows.iter().any(|row| row.len() != width) {
        let message =
            format!("nearest must have one row per cluster, all of one length: {} != {n_clusters}", rows.len());
        return Err(Error::invalid(message).into());
    }
    Ok(rows.concat())
}

fn map_texts(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    function: impl Fn(&str) -> String + Sync + Send,
) -> PyResult<PyArray> {
    let texts = Texts::from_python(texts, "texts")?;
    let array = run(py, None, |_| {
        let array = texts.array();
        let mapped: Vec<Option<String>> = (0..array.len())
            .into_par_iter()
            .map(|row| (!array.is_null(row)).then(|| function(array.value(row))))
            .collect();
        Ok(Arc::new(LargeStringArray::from(mapped)) as ArrayRef)
    })?;
    Ok(PyArray::from_array_ref(array))
}
