//! When two texts are the same (normal form and hash), how they are shortened for show, and which terms a cluster is
//! about.

pub mod normal;
pub mod terms;
mod words;

pub use normal::{cut, hash, normalize};
