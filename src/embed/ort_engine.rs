//! Sentence embedding with ONNX Runtime: a BERT graph built from safetensors, or any ONNX file with the usual inputs.
//! The runtime's library is found by the caller and loaded once per process.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};

use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::session::{Session, SessionInputValue};
use ort::value::{Shape, Tensor, ValueType};
use tokenizers::Tokenizer;

use super::config::{ModelConfig, Pooling, Settings, Weights, read_folder};
use super::tokens::{Batch, Tokens};
use super::{Embedder, bert, tokens};
use crate::error::{Error, Result};
use crate::task::Task;

/// Texts tokenised and sorted at once: bounds memory, and keeps the batches even.
const CHUNK_TEXTS: usize = 16_384;
/// Each session holds its own copy of the weights (about 100 MB for MiniLM); more threads than this share sessions.
const MAX_SESSIONS: usize = 8;
/// Stands for minus infinity in the attention of padding; finite, so that no NaN can come of it.
const MASKED: f32 = -1e9;

pub struct OrtEmbedder {
    id: String,
    dim: usize,
    config: ModelConfig,
    tokenizer: Tokenizer,
    /// One per worker: a session runs one batch at a time.
    sessions: Vec<Mutex<Session>>,
    native_graph: bool,
}

impl OrtEmbedder {
    /// Loads the model in `folder` with the ONNX Runtime library at `runtime`, for `n_threads` workers.
    ///
    /// # Errors
    /// `Model` when the library or a file is missing, damaged or of an unsupported kind.
    pub fn load(folder: &Path, runtime: &Path, settings: &Settings, n_threads: usize) -> Result<Self> {
        let config = read_folder(folder, settings)?;
        let tokenizer = tokens::load(&config.tokenizer, config.max_length)?;
        let environment = environment(runtime)?;
        let n_sessions = n_threads.clamp(1, MAX_SESSIONS);
        let options = || options(&environment, n_threads.max(1).div_ceil(n_sessions));
        let mut sessions = Vec::with_capacity(n_sessions);
        let native_graph = match &config.weights {
            Weights::Onnx(path) => {
                for _ in 0..n_sessions {
                    sessions.push(
                        options()?
                            .commit_from_file(path)
                            .map_err(|error| Error::model(format!("{} cannot be loaded: {error}", path.display())))?,
                    );
                }
                false
            }
            Weights::Safetensors(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| Error::model(format!("cannot read {}: {error}", path.display())))?;
                let weights = bert::parse(&bytes)?;
                for _ in 0..n_sessions {
                    sessions.push(bert::build(&weights, &config.architecture, &options()?)?);
                }
                true
            }
        };
        let dim = output_width(&sessions[0])?;
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Ok(Self { id: config.id()?, dim, config, tokenizer, sessions, native_graph })
    }

    pub fn max_length(&self) -> usize {
        self.config.max_length
    }

    pub fn pooling(&self) -> Pooling {
        self.config.pooling
    }

    fn embed_chunk(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64> {
        let tokens = Tokens::encode(&self.tokenizer, texts, self.config.max_length)?;
        let batches = tokens.batches();
        let work: u64 = batches.iter().map(|batch| (batch.texts.len() * batch.length) as u64).sum();
        let (mut work_done, mut texts_told) = (0u64, 0u64);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel::<(usize, Result<Vec<f32>>)>();
        std::thread::scope(|scope| {
            for session in &self.sessions {
                let (sender, next, batches, tokens) = (sender.clone(), &next, &batches, &tokens);
                scope.spawn(move || {
                    while let Some((position, batch)) = take_next(batches, next) {
                        let rows = task.check().and_then(|()| self.run(session, batch, tokens));
                        let failed = rows.is_err();
                        // the receiver hangs up after the first error
                        if sender.send((position, rows)).is_err() || failed {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (position, rows) in receiver {
                let rows = rows.inspect_err(|_| next.store(batches.len(), Ordering::Relaxed))?;
                let batch = &batches[position];
                for (text, row) in batch.texts.iter().zip(rows.chunks_exact(self.dim)) {
                    out[*text as usize * self.dim..(*text as usize + 1) * self.dim].copy_from_slice(row);
                }
                work_done += (batch.texts.len() * batch.length) as u64;
                let texts_done = texts.len() as u64 * work_done / work.max(1);
                task.advance(texts_done - texts_told);
                texts_told = texts_done;
            }
            Ok(tokens.total())
        })
    }

    fn run(&self, session: &Mutex<Session>, batch: &Batch, tokens: &Tokens) -> Result<Vec<f32>> {
        let (n, length) = (batch.texts.len(), batch.length);
        let pad = self.tokenizer.get_padding().map_or(0, |padding| padding.pad_id) as i64;
        let mut ids = vec![pad; n * length];
        let mut mask = vec![0i64; n * length];
        for (row, text) in batch.texts.iter().enumerate() {
            for (column, id) in tokens.of(*text).iter().enumerate() {
                ids[row * length + column] = *id as i64;
                mask[row * length + column] = 1;
            }
        }
        let shape = [n as i64, length as i64];
        let mut session = session.lock().map_err(|_| Error::Internal { message: "a worker panicked".into() })?;
        let inputs = self.inputs(&session, ids, &mask, shape)?;
        let outputs = session.run(inputs).map_err(bert::engine)?;
        let (found, values) = outputs[0].try_extract_tensor::<f32>().map_err(bert::engine)?;
        self.pool(found, values, &mask, n, length)
    }

    fn inputs(
        &self,
        session: &Session,
        ids: Vec<i64>,
        mask: &[i64],
        shape: [i64; 2],
    ) -> Result<Vec<(String, SessionInputValue<'static>)>> {
        let [n, length] = shape;
        let integers =
            |values: Vec<i64>| Tensor::from_array((shape, values)).map(SessionInputValue::from).map_err(bert::engine);
        if self.native_graph {
            let positions = (0..n).flat_map(|_| 0..length).collect();
            let bias: Vec<f32> = mask.iter().map(|kept| if *kept == 1 { 0.0 } else { MASKED }).collect();
            let bias = Tensor::from_array(([n, 1, 1, length], bias)).map_err(bert::engine)?;
            return Ok(vec![
                ("input_ids".into(), integers(ids)?),
                ("position_ids".into(), integers(positions)?),
                ("attention_bias".into(), bias.into()),
            ]);
        }
        let mut ids = Some(ids);
        session
            .inputs()
            .iter()
            .map(|input| {
                let values = match input.name() {
                    "input_ids" => ids.take().unwrap_or_default(),
                    "attention_mask" => mask.to_vec(),
                    "token_type_ids" => vec![0; mask.len()],
                    "position_ids" => (0..n).flat_map(|_| 0..length).collect(),
                    other => {
                        return Err(Error::model(format!(
                            "the ONNX file has an input '{other}': known are input_ids, attention_mask, token_type_ids, position_ids"
                        )));
                    }
                };
                Ok((input.name().to_owned(), integers(values)?))
            })
            .collect()
    }

    /// Token vectors to unit text vectors; a two-dimensional output is taken as pooled already.
    fn pool(&self, shape: &Shape, values: &[f32], mask: &[i64], n: usize, length: usize) -> Result<Vec<f32>> {
        let dim = self.dim;
        let mut rows = match shape.len() {
            2 if values.len() == n * dim => values.to_vec(),
            3 if values.len() == n * length * dim => {
                let mut rows = vec![0f32; n * dim];
                for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
                    let tokens = &values[i * length * dim..(i + 1) * length * dim];
                    match self.config.pooling {
                        Pooling::Cls => row.copy_from_slice(&tokens[..dim]),
                        Pooling::Mean => {
                            let kept = mask[i * length..(i + 1) * length].iter().sum::<i64>().max(1) as usize;
                            // tokens come before padding
                            for token in tokens.chunks_exact(dim).take(kept) {
                                row.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                            }
                            row.iter_mut().for_each(|sum| *sum /= kept as f32);
                        }
                    }
                }
                rows
            }
            _ => {
                return Err(Error::model(format!(
                    "the model's first output has shape {shape:?}: need (batch, length, {dim}) or (batch, {dim})"
                )));
            }
        };
        for row in rows.chunks_exact_mut(dim) {
            let length = crate::kernels::squared_norm(row).sqrt();
            if !length.is_finite() {
                return Err(Error::model("the model gave NaN or infinity for a text"));
            }
            if self.config.normalize && length > 0.0 {
                row.iter_mut().for_each(|value| *value = (*value as f64 / length) as f32);
            }
        }
        Ok(rows)
    }
}

impl Embedder for OrtEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64> {
        if out.len() != texts.len() * self.dim {
            return Err(Error::invalid(format!(
                "out must have shape ({}, {}): got {} values",
                texts.len(),
                self.dim,
                out.len()
            )));
        }
        // in texts, but weighed by length, so that the rate is even although long texts come first
        task.start(texts.len() as u64);
        let mut n_tokens = 0;
        for (texts, out) in texts.chunks(CHUNK_TEXTS).zip(out.chunks_mut(CHUNK_TEXTS * self.dim)) {
            n_tokens += self.embed_chunk(texts, out, task)?;
        }
        Ok(n_tokens)
    }
}

fn take_next<'a>(batches: &'a [Batch], next: &AtomicUsize) -> Option<(usize, &'a Batch)> {
    let position = next.fetch_add(1, Ordering::Relaxed);
    batches.get(position).map(|batch| (position, batch))
}

/// The process-wide runtime: the first library that is loaded stays.
fn environment(runtime: &Path) -> Result<Environment> {
    static LOADED: OnceLock<Mutex<Option<Environment>>> = OnceLock::new();
    let mut loaded = LOADED
        .get_or_init(|| Mutex::new(None))
        .lock()
        .map_err(|_| Error::Internal { message: "loading ONNX Runtime panicked".into() })?;
    if let Some(environment) = loaded.as_ref() {
        return Ok(environment.clone());
    }
    let failed = |why: String| {
        Error::model(format!("the ONNX Runtime library {} cannot be loaded: {why}", runtime.display()))
            .hint("pip install 'onnxruntime>=1.24'")
    };
    if !runtime.is_file() {
        return Err(failed("no such file".into()));
    }
    let environment = ort::init_from(runtime)
        .map_err(|error| failed(error.to_string()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    *loaded = Some(environment.clone());
    Ok(environment)
}

/// Few threads per session: workers run batches side by side, which scales better than threads inside a batch.
fn options(environment: &Environment, n_threads: usize) -> Result<SessionBuilder> {
    let builder = Session::builder(environment).map_err(bert::engine)?;
    let builder = builder.with_intra_threads(n_threads).map_err(bert::engine)?;
    builder.with_inter_threads(1).map_err(bert::engine)
}

fn output_width(session: &Session) -> Result<usize> {
    let output = session.outputs().first().ok_or_else(|| Error::model("the model has no output"))?;
    match output.dtype() {
        ValueType::Tensor { shape, .. } if shape.last().is_some_and(|width| *width > 0) => {
            Ok(shape[shape.len() - 1] as usize)
        }
        other => Err(Error::model(format!("the width of the model's first output must be fixed: got {other:?}"))),
    }
}
