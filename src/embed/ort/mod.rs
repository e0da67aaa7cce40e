//! Sentence embedding with ONNX Runtime: a BERT graph built from safetensors, or any ONNX file with the usual inputs.
//! The runtime's library is found by the caller and loaded once per process.

mod graph;
mod provider;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};

use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::session::{Session, SessionInputValue};
use ort::value::{Shape, Tensor, ValueType};

use super::bert::{self, BertConfig};
use super::config::{ModelConfig, Pooling, Weights};
use super::tokens::{Batch, TextTokenizer, Tokens};
use super::{Embedder, Engine, check_out, estimated_tokens, finish, tokens, weights};
use crate::error::{Error, Result};
use crate::task::Task;
pub use provider::Provider;

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
    tokenizer: TextTokenizer,
    /// One per worker: a session runs one batch at a time.
    sessions: Vec<Mutex<Session>>,
    /// Of a graph built here from safetensors: its inputs are ours, and its positions begin here.
    first_position: Option<usize>,
    provider: Provider,
}

impl OrtEmbedder {
    /// Loads a model with the ONNX Runtime library at `runtime`, for `n_threads` workers.
    ///
    /// # Errors
    /// `Model` when the library or a file is missing, damaged or of an unsupported kind, or it has no such provider.
    pub(super) fn load(config: ModelConfig, provider: Provider, runtime: &Path, n_threads: usize) -> Result<Self> {
        let tokenizer = tokens::load(&config.tokenizer)?;
        let environment = environment(runtime)?;
        // a device works on one batch at a time
        let n_sessions = if provider.is_cpu() { n_threads.clamp(1, MAX_SESSIONS) } else { 1 };
        let providers = provider.register(&runtime.display().to_string())?;
        let options = || {
            let options = options(&environment, n_threads.max(1).div_ceil(n_sessions))?;
            options.with_execution_providers(&providers).map_err(|error| {
                Error::model(format!("the provider {provider} can't be used: {error}"))
                    .hint("install what it needs (drivers, libraries), or use provider cpu")
            })
        };
        let mut sessions = Vec::with_capacity(n_sessions);
        let first_position = match &config.weights {
            Weights::Onnx(path) => {
                for _ in 0..n_sessions {
                    sessions.push(
                        options()?
                            .commit_from_file(path)
                            .map_err(|error| Error::model(format!("{} cannot be loaded: {error}", path.display())))?,
                    );
                }
                None
            }
            // `embed::load` gives no table to this engine
            Weights::Safetensors(path) | Weights::Table(path) => {
                let bytes = weights::read(path)?;
                let (tensors, shapes) = (bert::tensors(&bytes)?, BertConfig::read(&config.architecture)?);
                tokenizer.check_vocabulary(bert::n_words(&tensors)?)?;
                for _ in 0..n_sessions {
                    sessions.push(graph::build(&tensors, &shapes, &options()?)?);
                }
                Some(shapes.first_position)
            }
        };
        let dim = output_width(&sessions[0])?;
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Ok(Self { id: config.id()?, dim, config, tokenizer, sessions, first_position, provider })
    }

    /// `cost` is what the caller started for these texts; it is told in the measure of the work done.
    fn embed_chunk(&self, tokens: &Tokens, out: &mut [f32], cost: u64, task: &Task) -> Result<()> {
        let batches = tokens.batches();
        let work: u64 = batches.iter().map(|batch| (batch.texts.len() * batch.length) as u64).sum();
        let (mut work_done, mut told) = (0u64, 0u64);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel::<(usize, Result<Vec<f32>>)>();
        std::thread::scope(|scope| {
            for session in &self.sessions {
                let (sender, next, batches) = (sender.clone(), &next, &batches);
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
                let done = cost * work_done / work.max(1);
                task.advance(done - told);
                told = done;
            }
            Ok(())
        })
    }

    fn run(&self, session: &Mutex<Session>, batch: &Batch, tokens: &Tokens) -> Result<Vec<f32>> {
        let (n, length) = (batch.texts.len(), batch.length);
        let pad = self.tokenizer.padding_id() as i64;
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
        let outputs = session.run(inputs).map_err(graph::failed)?;
        let (found, values) = outputs[0].try_extract_tensor::<f32>().map_err(graph::failed)?;
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
            |values: Vec<i64>| Tensor::from_array((shape, values)).map(SessionInputValue::from).map_err(graph::failed);
        if let Some(first) = self.first_position {
            let first = first as i64;
            let positions = (0..n).flat_map(|_| first..first + length).collect();
            let bias: Vec<f32> = mask.iter().map(|kept| if *kept == 1 { 0.0 } else { MASKED }).collect();
            let bias = Tensor::from_array(([n, 1, 1, length], bias)).map_err(graph::failed)?;
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
        rows.chunks_exact_mut(dim).try_for_each(|row| finish(row, self.config.normalize))?;
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

    fn engine(&self) -> (Engine, String) {
        (Engine::Ort, self.provider.to_string())
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn pooling(&self) -> Pooling {
        self.config.pooling
    }

    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64> {
        check_out(texts.len(), self.dim, out)?;
        let cost = |texts: &[&str]| {
            texts.iter().map(|text| estimated_tokens(text, self.config.max_length) as u64).sum::<u64>()
        };
        task.start(cost(texts));
        let mut n_tokens = 0;
        for (texts, out) in texts.chunks(CHUNK_TEXTS).zip(out.chunks_mut(CHUNK_TEXTS * self.dim)) {
            let tokens = Tokens::encode(&self.tokenizer, texts, self.config.max_length, task)?;
            self.embed_chunk(&tokens, out, cost(texts), task)?;
            n_tokens += tokens.total();
        }
        Ok(n_tokens)
    }

    fn embed_tokens(&self, tokens: &[Vec<u32>], out: &mut [f32], task: &Task) -> Result<()> {
        check_out(tokens.len(), self.dim, out)?;
        let cost = |tokens: &[Vec<u32>]| tokens.iter().map(|ids| ids.len() as u64).sum::<u64>();
        task.start(cost(tokens));
        tokens::check(tokens, self.config.max_length, self.tokenizer.n_ids())?;
        for (tokens, out) in tokens.chunks(CHUNK_TEXTS).zip(out.chunks_mut(CHUNK_TEXTS * self.dim)) {
            self.embed_chunk(&Tokens::given(tokens), out, cost(tokens), task)?;
        }
        Ok(())
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
    let builder = Session::builder(environment).map_err(graph::failed)?;
    let builder = builder.with_intra_threads(n_threads).map_err(graph::failed)?;
    builder.with_inter_threads(1).map_err(graph::failed)
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
