//! Who are the nearest neighbours of each row: the one graph that density clusters, communities, the map and
//! near-duplicates read. How it is built stands in the files beside this one.

pub mod exact;
pub mod forest;
pub mod fuzzy;
mod join;
pub mod partition;
pub mod partitioned;
pub mod spanning;

use crate::error::{Error, Result};

/// Neighbor lists of `n` points, `k` each: ids and Euclidean distances, ascending by (distance, id), never the point
/// itself. Where a list is short, the id is `MISSING` and the distance infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct KnnGraph {
    indices: Vec<u32>,
    distances: Vec<f32>,
    n: usize,
    k: usize,
}

/// Fills the end of a neighbor list that has fewer than `k` entries.
pub const MISSING: u32 = u32::MAX;

impl KnnGraph {
    /// Takes lists made elsewhere.
    ///
    /// # Errors
    /// `InvalidInput` when a list is not ascending, holds its own point, or names a point that does not exist.
    pub fn from_parts(indices: Vec<u32>, distances: Vec<f32>, n: usize, k: usize) -> Result<Self> {
        if n == 0 || k == 0 || indices.len() != n * k || distances.len() != n * k {
            return Err(Error::invalid(format!(
                "indices and distances must both have shape (n, k) with n, k >= 1: got {} and {} values for ({n}, {k})",
                indices.len(),
                distances.len()
            )));
        }
        for i in 0..n {
            let (ids, lengths) = (&indices[i * k..(i + 1) * k], &distances[i * k..(i + 1) * k]);
            for (j, (&id, &length)) in ids.iter().zip(lengths).enumerate() {
                if id == MISSING {
                    if length != f32::INFINITY {
                        return Err(Error::invalid(format!(
                            "row {i}: a missing neighbor needs distance inf: got {length}"
                        )));
                    }
                } else if id as usize >= n || id as usize == i {
                    return Err(Error::invalid(format!(
                        "row {i}: neighbor id must be another row below {n}: got {id}"
                    )));
                }
                if length.is_nan() || length < 0.0 {
                    return Err(Error::invalid(format!("row {i}: distances must be >= 0: got {length}")));
                }
                if j > 0 && length < lengths[j - 1] {
                    return Err(Error::invalid(format!(
                        "row {i}: distances must ascend: {} before {length}",
                        lengths[j - 1]
                    )));
                }
            }
        }
        Ok(Self { indices, distances, n, k })
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn k(&self) -> usize {
        self.k
    }

    /// n x k ids.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// n x k Euclidean distances.
    pub fn distances(&self) -> &[f32] {
        &self.distances
    }

    /// (id, distance) of the neighbors of point `i`, nearest first, missing ones left out.
    pub fn neighbors(&self, i: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = i * self.k..(i + 1) * self.k;
        self.indices[range.clone()]
            .iter()
            .zip(&self.distances[range])
            .map(|(id, distance)| (*id, *distance))
            .take_while(|(id, _)| *id != MISSING)
    }

    /// The graph of the first `k` neighbors.
    ///
    /// # Errors
    /// `InvalidInput` when `k` is 0 or more than this graph has.
    pub fn prefix(&self, k: usize) -> Result<Self> {
        if k == 0 || k > self.k {
            return Err(Error::invalid(format!("k must be between 1 and {}: got {k}", self.k))
                .hint(format!("build the graph with k={k}")));
        }
        let cut = |row: usize| row * self.k..row * self.k + k;
        Ok(Self {
            indices: (0..self.n).flat_map(|row| self.indices[cut(row)].iter().copied()).collect(),
            distances: (0..self.n).flat_map(|row| self.distances[cut(row)].iter().copied()).collect(),
            n: self.n,
            k,
        })
    }
}
