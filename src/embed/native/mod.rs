//! The native engine: BERT-family encoders from safetensors on our own kernels. Each worker takes the next few texts, turns
//! them into tokens and runs them as one batch without padding; one copy of the weights serves all workers.

mod model;

use std::sync::Mutex;

use super::bert::{self, BertConfig};
use super::config::{ModelConfig, Pooling, Weights};
use super::tokens::{self, TextTokenizer};
use super::{Embedder, Engine, check_out, estimated_tokens};
use crate::error::{Error, Result};
use crate::kernels::{self, tiles::Kernels};
use crate::task::Task;
use model::{Batch, Model, Workspace};

/// Texts a worker takes at once, at most: short ones fill no batch before this.
const MOST_TEXTS: usize = 256;

pub struct NativeEmbedder {
    id: String,
    config: ModelConfig,
    tokenizer: TextTokenizer,
    model: Model,
    n_threads: usize,
    /// Tokens of a batch.
    budget: usize,
    /// Memory of workers that rest.
    resting: Mutex<Vec<Worker>>,
}

struct Worker {
    memory: Workspace,
    batch: Batch,
}

impl NativeEmbedder {
    /// Loads a model for the kernels of `isa` and `n_threads` workers.
    ///
    /// # Errors
    /// `Model` when a file is missing, damaged or of another architecture.
    pub(super) fn load(config: ModelConfig, isa: kernels::Isa, n_threads: usize) -> Result<Self> {
        let Weights::Safetensors(path) = &config.weights else {
            return Err(Error::model("the engine native needs model.safetensors: this folder has an ONNX file")
                .hint("use the engine ort"));
        };
        let shapes = BertConfig::read(&config.architecture)?;
        let kernels = Kernels::of(isa).ok_or_else(|| Error::Internal {
            message: format!("kernels of {isa:?} chosen without the CPU for them"),
        })?;
        let model = Model::load(kernels, &bert::open(path)?, shapes)?;
        let tokenizer = tokens::load(&config.tokenizer)?;
        tokenizer.check_vocabulary(model.n_words())?;
        let budget = batch_budget(model.token_bytes()).max(config.max_length);
        let resting = Mutex::new(Vec::new());
        Ok(Self { id: config.id()?, config, tokenizer, model, n_threads: n_threads.max(1), budget, resting })
    }

    /// Embeds all of `items` by `n_threads` workers: `encode` appends the tokens of one to a batch.
    fn run<T: Sync>(
        &self,
        items: &[T],
        cost: impl Fn(&T) -> usize + Sync,
        encode: impl Fn(&T, &mut Vec<u32>) -> Result<()> + Sync,
        out: &mut [f32],
        task: &Task,
    ) -> Result<u64> {
        task.start(items.iter().map(|item| cost(item) as u64).sum());
        let queue = Mutex::new(Queue { items, out, dim: self.model.shapes.hidden });
        let n_groups = items.len().div_ceil(MOST_TEXTS).max(items.iter().map(&cost).sum::<usize>() / self.budget);
        let work = || -> Result<u64> {
            let mut worker = self.wake();
            let mut n_tokens = 0;
            loop {
                // a statement of its own, so that the queue is locked no longer than this takes
                let next = lock(&queue)?.next(self.budget, &cost);
                let Some((items, out)) = next else { break };
                task.check()?;
                n_tokens += self.embed_group(items, &encode, out, &mut worker, task)?;
                task.advance(items.iter().map(|item| cost(item) as u64).sum());
            }
            self.resting.lock().map(|mut resting| resting.push(worker)).map_err(panicked)?;
            Ok(n_tokens)
        };
        let n_workers = self.n_threads.min(n_groups).max(1);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..n_workers).map(|_| scope.spawn(work)).collect();
            let mut outcome = work();
            for other in others {
                let found = other.join().unwrap_or_else(|_| Err(panicked(())));
                outcome = outcome.and_then(|n_tokens| found.map(|more| n_tokens + more));
            }
            outcome
        })
    }

    /// One group: as many forward passes as its tokens need.
    fn embed_group<T>(
        &self,
        items: &[T],
        encode: &impl Fn(&T, &mut Vec<u32>) -> Result<()>,
        out: &mut [f32],
        worker: &mut Worker,
        task: &Task,
    ) -> Result<u64> {
        let dim = self.model.shapes.hidden;
        let mut n_tokens = 0;
        let (mut ids, mut first) = (Vec::new(), 0);
        worker.batch.clear();
        for (position, item) in items.iter().enumerate() {
            ids.clear();
            encode(item, &mut ids)?;
            n_tokens += ids.len() as u64;
            if worker.batch.ids.len() + ids.len() > self.budget {
                self.embed_batch(worker, &mut out[first * dim..position * dim])?;
                first = position;
                task.check()?;
            }
            worker.batch.ids.extend_from_slice(&ids);
            worker.batch.lengths.push(ids.len());
        }
        self.embed_batch(worker, &mut out[first * dim..])?;
        Ok(n_tokens)
    }

    fn embed_batch(&self, worker: &mut Worker, out: &mut [f32]) -> Result<()> {
        let dim = self.model.shapes.hidden;
        let first_only = self.config.pooling == Pooling::Cls;
        let hidden = self.model.forward(&worker.batch, first_only, &mut worker.memory);
        let mut first = 0;
        for (text, (length, row)) in worker.batch.lengths.iter().zip(out.chunks_exact_mut(dim)).enumerate() {
            match self.config.pooling {
                Pooling::Cls => row.copy_from_slice(&hidden.row(text)[..dim]),
                Pooling::Mean => {
                    row.fill(0.0);
                    for token in first..first + length {
                        row.iter_mut().zip(hidden.row(token)).for_each(|(sum, value)| *sum += value);
                    }
                    row.iter_mut().for_each(|sum| *sum /= *length as f32);
                }
            }
            super::finish(row, self.config.normalize)?;
            first += length;
        }
        worker.batch.clear();
        Ok(())
    }

    fn wake(&self) -> Worker {
        let rested = self.resting.lock().ok().and_then(|mut resting| resting.pop());
        rested.unwrap_or_else(|| Worker {
            memory: self.model.workspace(self.budget, self.config.max_length),
            batch: Batch::default(),
        })
    }
}

impl Embedder for NativeEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dim(&self) -> usize {
        self.model.shapes.hidden
    }

    fn engine(&self) -> (Engine, String) {
        (Engine::Native, self.model.kernels.name().into())
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn pooling(&self) -> Pooling {
        self.config.pooling
    }

    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64> {
        check_out(texts.len(), self.dim(), out)?;
        let max_length = self.config.max_length;
        self.run(
            texts,
            |text| estimated_tokens(text, max_length),
            |text, ids| {
                self.tokenizer.encode(text, max_length, ids)?;
                // a tokenizer without [CLS] gives nothing for an empty text; a vector needs a token
                if ids.is_empty() {
                    ids.push(self.tokenizer.padding_id());
                }
                Ok(())
            },
            out,
            task,
        )
    }

    fn embed_tokens(&self, tokens: &[Vec<u32>], out: &mut [f32], task: &Task) -> Result<()> {
        check_out(tokens.len(), self.dim(), out)?;
        tokens::check(tokens, self.config.max_length, self.model.n_words())?;
        let copy = |from: &Vec<u32>, ids: &mut Vec<u32>| {
            ids.extend_from_slice(from);
            Ok(())
        };
        self.run(tokens, Vec::len, copy, out, task).map(drop)
    }
}

/// What is left to do, and where its rows go.
struct Queue<'a, T> {
    items: &'a [T],
    out: &'a mut [f32],
    dim: usize,
}

impl<'a, T> Queue<'a, T> {
    /// The next items of about `budget` tokens, at least one.
    fn next(&mut self, budget: usize, cost: impl Fn(&T) -> usize) -> Option<(&'a [T], &'a mut [f32])> {
        if self.items.is_empty() {
            return None;
        }
        let mut sum = 0;
        let fits = |item: &&T| {
            sum += cost(item);
            sum <= budget
        };
        let n = self.items.iter().take(MOST_TEXTS).take_while(fits).count().max(1);
        let (items, rest) = self.items.split_at(n);
        self.items = rest;
        let (rows, rest) = std::mem::take(&mut self.out).split_at_mut(n * self.dim);
        self.out = rest;
        Some((items, rows))
    }
}

fn lock<T>(queue: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    queue.lock().map_err(panicked)
}

fn panicked<E>(_: E) -> Error {
    Error::Internal { message: "a worker panicked".into() }
}

/// Tokens of a batch whose activations fill the second-level cache once. More hide nothing and leave the cache; fewer
/// pay for every panel of weights more often.
fn batch_budget(token_bytes: usize) -> usize {
    (kernels::second_level_cache() / token_bytes.max(1)).clamp(128, 1_024)
}
