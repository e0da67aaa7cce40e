//! Which rows belong together. One file per method; parameters are valid by construction, a free function does the
//! work, the result is a plain struct.

pub mod agglomerative;
pub mod community;
pub mod density;
pub mod hdbscan;
pub mod kmeans;
pub mod mixture;
pub mod network;
mod resolution;
pub mod tree;

/// The label of a point that belongs to no cluster.
pub const NOISE: i32 = -1;

/// Most clusters a caller may ask about: more is a mistake, and memory for each is taken before the first is filled.
pub const MAX_CLUSTERS: usize = 1 << 24;
