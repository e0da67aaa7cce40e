//! When two texts are the same (normal form and hash) or nearly so, how they are shortened for show, which terms a
//! cluster is about, and what can be said about a text without a model: language, size, quality, personal data.

pub mod characters;
pub mod language;
pub mod near_duplicates;
pub mod normal;
pub mod personal;
pub mod phrases;
pub mod quality;
pub mod seen;
pub mod shingles;
pub mod signals;
pub mod template;
pub mod terms;
mod words;

pub use normal::{cut, hash, normalize};
