//! What a cluster looks like (medoid, diverse representatives), and how good a clustering or a map is.

pub mod metrics;
pub mod representatives;
