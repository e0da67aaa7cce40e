//! How a text becomes a vector: one trait, several engines. Distinct texts only, the caller sees to that; rows come
//! back in the caller's order, whatever the batches were.

mod bert;
mod config;
mod native;
mod ort;
mod static_table;
mod tokens;
mod weights;
mod wordpiece;

use std::path::{Path, PathBuf};

pub use config::{Pooling, Settings};
pub use native::NativeEmbedder;
pub use ort::{OrtEmbedder, Provider};
pub use static_table::StaticEmbedder;
pub use tokens::{TextTokenizer, load as load_tokenizer};

use config::{ModelConfig, Weights};

use crate::error::{Error, Result};
use crate::kernels;
use crate::task::Task;

/// A sentence-embedding model with its settings.
pub trait Embedder: Send + Sync {
    /// Names the model and every setting that changes its vectors.
    fn id(&self) -> &str;

    /// Columns of a vector.
    fn dim(&self) -> usize;

    /// What computes: "native", "ort" or "static", and with which instructions or on which device.
    fn engine(&self) -> (Engine, String);

    /// Most tokens of a text, special ones included.
    fn max_length(&self) -> usize;

    fn pooling(&self) -> Pooling;

    /// Writes one row per text into `out` (`texts.len() * dim` values); returns the number of tokens read.
    ///
    /// # Errors
    /// `InvalidInput` when `out` has another length; `Model` when the engine fails; `Cancelled`.
    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64>;

    /// The same for texts that are tokens already (ids of the model's vocabulary, special ones included).
    ///
    /// # Errors
    /// As `embed`; `InvalidInput` for an empty list, one that is too long, or an id beyond the vocabulary.
    fn embed_tokens(&self, tokens: &[Vec<u32>], out: &mut [f32], task: &Task) -> Result<()>;
}

/// What turns tokens into vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Our own kernels: the BERT family from safetensors.
    Native,
    /// ONNX Runtime: any ONNX file, and BERT from safetensors.
    Ort,
    /// A table of token vectors: the mean of their rows.
    Static,
}

impl Engine {
    const ALL: [Self; 3] = [Self::Native, Self::Ort, Self::Static];

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ort => "ort",
            Self::Static => "static",
        }
    }

    /// The engine of a name; "auto" is None.
    pub fn parse(name: &str) -> Result<Option<Self>> {
        if name == "auto" {
            return Ok(None);
        }
        Self::ALL.into_iter().find(|engine| engine.name() == name).map(Some).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("engine must be auto, {known}: got '{name}'"))
        })
    }
}

/// Loads the model in `folder` for `n_threads` workers. Without an engine, the one that suits the model and the CPU.
///
/// `runtime` is the ONNX Runtime library, needed by the engine ort only.
///
/// # Errors
/// `Model` when a file is missing, damaged or of an unsupported kind, or the engine can't run it.
pub fn load(
    folder: &Path,
    settings: &Settings,
    engine: Option<Engine>,
    runtime: Option<&Path>,
    n_threads: usize,
) -> Result<Box<dyn Embedder>> {
    let config = config::read_folder(folder, settings)?;
    let engine = engine.unwrap_or_else(|| suitable(&config, settings));
    check_engine(engine, &config, settings)?;
    match engine {
        Engine::Native => Ok(Box::new(NativeEmbedder::load(config, kernels::isa(), n_threads)?)),
        Engine::Ort => {
            let runtime: PathBuf = runtime.map(Path::to_owned).ok_or_else(|| {
                Error::model("the engine ort needs the ONNX Runtime library").hint("pip install onnxruntime")
            })?;
            Ok(Box::new(OrtEmbedder::load(config, settings.provider, &runtime, n_threads)?))
        }
        Engine::Static => Ok(Box::new(StaticEmbedder::load(config)?)),
    }
}

fn suitable(config: &ModelConfig, settings: &Settings) -> Engine {
    match config.weights {
        Weights::Onnx(_) => Engine::Ort,
        Weights::Safetensors(_) if !settings.provider.is_cpu() => Engine::Ort,
        Weights::Safetensors(_) => Engine::Native,
        Weights::Table(_) => Engine::Static,
    }
}

fn check_engine(engine: Engine, config: &ModelConfig, settings: &Settings) -> Result<()> {
    if engine != Engine::Ort && !settings.provider.is_cpu() {
        let (provider, engine) = (settings.provider, engine.name());
        return Err(Error::model(format!("the provider {provider} needs the engine ort: got {engine}")));
    }
    let is_table = matches!(config.weights, Weights::Table(_));
    if is_table == (engine == Engine::Static) {
        return Ok(());
    }
    let path = config.weights.path().display();
    Err(if is_table {
        Error::model(format!("the engine {} can't run {path}: it is a table of token vectors", engine.name()))
            .hint("use the engine static, or auto")
    } else {
        Error::model(format!("the engine static needs a table of token vectors: {path} is an encoder"))
            .hint("lmsys models distill makes a table of an encoder; the engine auto runs the encoder itself")
    })
}

/// Checks the caller's memory.
fn check_out(n_texts: usize, dim: usize, out: &[f32]) -> Result<()> {
    if out.len() == n_texts * dim {
        return Ok(());
    }
    Err(Error::invalid(format!("out must have shape ({n_texts}, {dim}): got {} values", out.len())))
}

/// About how many tokens a text has: what progress is counted in, since it is known before tokenising.
fn estimated_tokens(text: &str, max_length: usize) -> usize {
    (text.len() / BYTES_PER_TOKEN + 2).min(max_length)
}

/// Bytes of UTF-8 of a token of chat prompts (measured on Arena prompts: 4.3 with a WordPiece vocabulary).
const BYTES_PER_TOKEN: usize = 4;

/// Makes a pooled row what the caller gets.
///
/// # Errors
/// `Model` when it is not finite.
fn finish(row: &mut [f32], normalize: bool) -> Result<()> {
    let length = kernels::squared_norm(row).sqrt();
    if !length.is_finite() {
        return Err(Error::model("the model gave NaN or infinity for a text"));
    }
    if normalize && length > 0.0 {
        row.iter_mut().for_each(|value| *value = (*value as f64 / length) as f32);
    }
    Ok(())
}
