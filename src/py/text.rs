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

/// What each cluster is about: class-based TF-IDF (Grootendorst 2022, section 3.3) over words, two-word phrases and,
/// for scripts without spaces, pairs of characters.
///
/// Args:
///     texts: n strings.
///     labels: (n,) integers; -1 is noise and counts only towards how common a term is.
///     n_clusters: clusters are 0..n_clusters-1.
///     weights: (n,) how often each text occurs.
///     n_terms: most terms per cluster.
///     min_count: fewest texts a term must stand in.
///     progress: called with (done, total).
///
/// Returns:
///     For each cluster its (term, score) pairs, best first.
///
/// Raises:
///     InvalidInputError: if labels or weights do not fit the texts, or a text is null.
#[pyfunction]
#[pyo3(signature = (texts, labels, *, n_clusters, weights=None, n_terms=10, min_count=2, progress=None))]
#[allow(clippy::too_many_arguments)]
pub fn top_terms(
    py: Python<'_>,
    texts: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
    n_clusters: usize,
    weights: Option<&Bound<'_, PyAny>>,
    n_terms: usize,
    min_count: u32,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<Vec<(String, f64)>>> {
    let texts = Texts::from_python(texts, "texts")?;
    let labels = arrays::labels(labels, "labels")?;
    let weights = arrays::weights(weights, "weights")?;
    let (labels, weights) = (labels.as_slice()?, weights.as_ref().map(|weights| weights.as_slice()).transpose()?);
    let terms = run(py, progress, |task| {
        text::terms::top_terms(&texts.all("texts")?, labels, weights, n_clusters, n_terms, min_count, task)
    })?;
    Ok(terms.into_iter().map(|terms| terms.into_iter().map(|term| (term.text, term.score)).collect()).collect())
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
