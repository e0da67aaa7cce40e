//! Which rows belong together. One file per method; parameters are valid by construction, a free function does the
//! work, the result is a plain struct.

pub mod hdbscan;
pub mod kmeans;
pub mod mixture;
pub mod tree;

/// The label of a point that belongs to no cluster.
pub const NOISE: i32 = -1;
