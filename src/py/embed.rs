//! Sentence embedding from Python: rows are written into memory the caller owns.

use std::path::PathBuf;

use arrow::array::Array;
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;

use super::arrays::{self, Texts};
use super::boundary::{self, run};
use crate::embed::{Embedder, OrtEmbedder, Pooling, Settings};
use crate::error::Error;
use crate::task::Task;

/// A sentence-embedding model run by ONNX Runtime.
///
/// Args:
///     folder: model folder: tokenizer.json, and config.json with model.safetensors (BERT) or an ONNX file.
///     runtime: absolute path of the ONNX Runtime library.
///     weights: path of the weights, when the folder has several.
///     max_length: most tokens of a text, special ones included; default: what the folder says.
///     pooling: "mean" or "cls"; default: what the folder says.
///     normalize: unit rows.
///     n_threads: batches computed side by side; default: the pool's threads.
///
/// Raises:
///     ModelError: if a file is missing, damaged or of an unsupported kind.
#[pyclass(name = "OrtEmbedder", module = "lmsys_rs._core", frozen)]
pub struct PyOrtEmbedder(OrtEmbedder);

#[pymethods]
impl PyOrtEmbedder {
    #[new]
    #[pyo3(signature = (folder, *, runtime, weights=None, max_length=None, pooling=None, normalize=true, n_threads=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        runtime: PathBuf,
        weights: Option<PathBuf>,
        max_length: Option<usize>,
        pooling: Option<&str>,
        normalize: bool,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let pooling = match pooling {
            None => None,
            Some("mean") => Some(Pooling::Mean),
            Some("cls") => Some(Pooling::Cls),
            Some(other) => return Err(Error::invalid(format!("pooling must be mean or cls: got '{other}'")).into()),
        };
        let n_threads = n_threads.map_or_else(boundary::n_threads, Ok)?;
        let settings = Settings { weights, max_length, pooling, normalize };
        Ok(Self(run(py, None, |_: &Task| OrtEmbedder::load(&folder, &runtime, &settings, n_threads))?))
    }

    /// Names the model's files (by content) and every setting that changes its vectors.
    #[getter]
    fn id(&self) -> &str {
        self.0.id()
    }

    /// Columns of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// Most tokens of a text, special ones included.
    #[getter]
    fn max_length(&self) -> usize {
        self.0.max_length()
    }

    /// "mean" or "cls".
    #[getter]
    fn pooling(&self) -> &'static str {
        self.0.pooling().name()
    }

    /// Write one row per text into `out`.
    ///
    /// Args:
    ///     texts: n strings.
    ///     out: (n, dim) float32, contiguous, writable; may be a memory map.
    ///     progress: called with (texts done, n), weighed by length.
    ///
    /// Returns:
    ///     The number of tokens read.
    #[pyo3(signature = (texts, out, *, progress=None))]
    fn embed_into(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<u64> {
        let texts = Texts::from_python(texts, "texts")?;
        let mut out = arrays::writable(out, "out")?;
        let (n, dim) = (texts.array().len(), self.0.dim());
        if out.shape() != [n, dim] {
            return Err(Error::invalid(format!("out must have shape ({n}, {dim}): got {:?}", out.shape())).into());
        }
        let out = out.as_slice_mut()?;
        run(py, progress, |task| self.0.embed(&texts.all("texts")?, out, task))
    }
}
