//! The core of lmsys_rs: from texts to vectors, one kNN graph, clusters, a map and search.
//!
//! Table of contents, in the order data flows:
//!
//! | module | question it answers |
//! |---|---|
//! | [`error`], [`task`] | what can go wrong; how a caller stops a long job and sees its progress |
//! | [`vectors`] | what is a valid matrix of vectors |
//! | [`random`] | where random numbers come from (seed and row, never the clock) |
//! | [`kernels`] | how blocks of dot products are computed |
//! | [`read`] | how bytes of JSON become batches of conversations |
//! | [`text`] | when two texts are the same; which terms a cluster is about |
//! | [`embed`] | how a text becomes a vector |
//! | [`graph`] | who are the nearest neighbours of each row |
//! | [`index`] | who are the nearest rows of an unseen vector |
//! | [`cluster`] | which rows belong together |
//! | [`project`] | where a row stands on the map |
//! | [`insight`] | what a cluster looks like, how good a clustering is |
//! | `py` | how all of it is seen from Python (feature `python`) |
//!
//! Invariants:
//! - Kernels never see Python, open no file, print nothing, read no clock and no unseeded random number.
//! - One distance: Euclidean, on unit vectors (the order of cosine, and a true metric).
//! - Same input, parameters and seed give the same bits on any number of threads: work is cut into blocks whose
//!   borders do not depend on the pool, sums are added in a fixed order, ties go to the smaller id.
//! - `unsafe` stands only in `kernels/` and `py/arrays.rs`.

pub mod cluster;
pub mod embed;
pub mod error;
pub mod graph;
pub mod index;
pub mod insight;
pub mod kernels;
pub mod project;
#[cfg(feature = "python")]
mod py;
pub mod random;
pub mod read;
pub mod task;
pub mod text;
pub mod vectors;

pub use error::{Error, Result};
pub use task::Task;
pub use vectors::Vectors;
