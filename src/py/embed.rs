//! Sentence embedding from Python: rows are written into memory the caller owns.

use std::path::PathBuf;

use arrow::array::Array;
use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;

use super::arrays::{self, Texts};
use super::boundary::{self, run};
use crate::embed::{self, Embedder, Engine, Pooling, Provider, Settings, TextTokenizer};
use crate::error::Error;
use crate::task::Task;

/// A sentence-embedding model: texts in, rows out.
///
/// Args:
///     folder: model folder: tokenizer.json, and config.json with model.safetensors (BERT family) or an ONNX file.
///     engine: "auto" (what suits the model and the CPU), or one of `available_engines()`.
///     runtime: absolute path of the ONNX Runtime library; needed by the engine ort.
///     weights: path of the weights, when the folder has several.
///     max_length: most tokens of a text, special ones included; default: what the folder says.
///     pooling: "mean" or "cls"; default: what the folder says.
///     normalize: unit rows.
///     provider: where the engine ort computes: "cpu", "cuda", "cuda:1", "coreml", ...
///     n_threads: workers; default: the pool's threads.
///
/// Raises:
///     ModelError: if a file is missing, damaged or of an unsupported kind.
#[pyclass(name = "Embedder", module = "lmsys_rs._core", frozen)]
pub struct PyEmbedder(Box<dyn Embedder>);

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (
        folder, *, engine="auto", runtime=None, weights=None, max_length=None, pooling=None, normalize=true,
        provider="cpu", n_threads=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        engine: &str,
        runtime: Option<PathBuf>,
        weights: Option<PathBuf>,
        max_length: Option<usize>,
        pooling: Option<&str>,
        normalize: bool,
        provider: &str,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let engine = Engine::parse(engine)?;
        let pooling = match pooling {
            None => None,
            Some("mean") => Some(Pooling::Mean),
            Some("cls") => Some(Pooling::Cls),
            Some(other) => return Err(Error::invalid(format!("pooling must be mean or cls: got '{other}'")).into()),
        };
        let n_threads = n_threads.map_or_else(boundary::n_threads, Ok)?;
        let settings = Settings { weights, max_length, pooling, normalize, provider: Provider::parse(provider)? };
        Ok(Self(run(py, None, |_: &Task| embed::load(&folder, &settings, engine, runtime.as_deref(), n_threads))?))
    }

    /// What computes: one of `available_engines()`.
    #[getter]
    fn engine(&self) -> &'static str {
        self.0.engine().0.name()
    }

    /// The instructions or the device that the engine uses.
    #[getter]
    fn device(&self) -> String {
        self.0.engine().1
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
    /// Write one row per text into `out`, for texts that are tokens already.
    ///
    /// Args:
    ///     tokens: n lists of ids, special ones included.
    ///     out: as in `embed_into`.
    ///     progress: as in `embed_into`.
    #[pyo3(signature = (tokens, out, *, progress=None))]
    fn embed_tokens_into(
        &self,
        py: Python<'_>,
        tokens: Vec<Vec<u32>>,
        out: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut out = arrays::writable(out, "out")?;
        let (n, dim) = (tokens.len(), self.0.dim());
        if out.shape() != [n, dim] {
            return Err(Error::invalid(format!("out must have shape ({n}, {dim}): got {:?}", out.shape())).into());
        }
        let out = out.as_slice_mut()?;
        run(py, progress, |task| self.0.embed_tokens(&tokens, out, task))
    }
}

/// The tokenizer of a model folder, without what its file says about padding and truncation.
///
/// Args:
///     path: a tokenizer.json.
///
/// Raises:
///     ModelError: if the file is missing or damaged.
#[pyclass(name = "Tokenizer", module = "lmsys_rs._core", frozen)]
pub struct PyTokenizer(TextTokenizer);

#[pymethods]
impl PyTokenizer {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self(run(py, None, |_: &Task| embed::load_tokenizer(&path))?))
    }

    /// The ids of each text, at most `max_length`, with or without special ones around it.
    #[pyo3(signature = (texts, *, max_length=512, special=true))]
    fn encode(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        max_length: usize,
        special: bool,
    ) -> PyResult<Vec<Vec<u32>>> {
        let texts = Texts::from_python(texts, "texts")?;
        run(py, None, |task| self.0.encode_all(&texts.all("texts")?, max_length, special, task))
    }

    /// How often each id occurs in the texts, of which at most `max_length` tokens are read.
    #[pyo3(signature = (texts, *, max_length=512))]
    fn count<'py>(&self, py: Python<'py>, texts: &Bound<'_, PyAny>, max_length: usize) -> PyResult<Bound<'py, PyAny>> {
        let texts = Texts::from_python(texts, "texts")?;
        let counts = run(py, None, |task| self.0.count(&texts.all("texts")?, max_length, task))?;
        arrays::read_only(arrays::column(py, counts))
    }

    /// (token, id) of all tokens, added ones included, by id.
    fn vocabulary(&self) -> Vec<(String, u32)> {
        self.0.vocabulary()
    }

    /// Special tokens before and after every text.
    #[getter]
    fn around(&self) -> (Vec<u32>, Vec<u32>) {
        let (before, after) = self.0.around();
        (before.to_vec(), after.to_vec())
    }

    /// Id of the unknown token; None without one.
    #[getter]
    fn unknown(&self) -> Option<u32> {
        self.0.unknown()
    }

    /// Whether texts are read by our own WordPiece, not by the crate tokenizers.
    #[getter]
    fn is_fast(&self) -> bool {
        self.0.is_fast()
    }
}
