//! How a text becomes a vector: one trait, several engines. Distinct texts only, the caller sees to that; rows come
//! back in the caller's order, whatever the batches were.

mod bert;
mod config;
mod ort_engine;
mod tokens;

pub use config::{Pooling, Settings};
pub use ort_engine::OrtEmbedder;

use crate::error::Result;
use crate::task::Task;

/// A sentence-embedding model with its settings.
pub trait Embedder: Send + Sync {
    /// Names the model and every setting that changes its vectors.
    fn id(&self) -> &str;

    /// Columns of a vector.
    fn dim(&self) -> usize;

    /// Writes one row per text into `out` (`texts.len() * dim` values); returns the number of tokens read.
    ///
    /// # Errors
    /// `InvalidInput` when `out` has another length; `Model` when the engine fails; `Cancelled`.
    fn embed(&self, texts: &[&str], out: &mut [f32], task: &Task) -> Result<u64>;
}
