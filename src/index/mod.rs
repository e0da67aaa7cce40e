//! Who are the nearest rows of an unseen vector: one trait, several engines. Filters are applied before ranking, so a
//! filtered search returns the true filtered top k (exact) or as many as the engine can find (HNSW).

mod exact;
mod hnsw;
mod partitioned;
mod probing;
mod stored;

pub use exact::Exact;
pub use hnsw::{Hnsw, HnswParams};
pub use partitioned::{BaseRows, Partitioned, PartitionedParams};
pub use probing::Filter;
pub use stored::{Saved, read};

use crate::error::{Error, Result};
use crate::graph::MISSING;
use crate::task::Task;
use crate::vectors::Vectors;

/// More results than rows are padded up to this many, so that one k fits indexes of any size.
const MAX_PADDED: usize = 10_000;

/// `m x k` ids and Euclidean distances, ascending; the rest of a short row is `MISSING` and infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub ids: Vec<u32>,
    pub distances: Vec<f32>,
}

impl Found {
    fn empty(m: usize, k: usize) -> Self {
        Self { ids: vec![MISSING; m * k], distances: vec![f32::INFINITY; m * k] }
    }
}

/// An index over rows that stay where they are; ids are row numbers.
pub trait Index: Send + Sync {
    fn name(&self) -> &'static str;

    fn n(&self) -> usize;

    fn dim(&self) -> usize;

    /// The `k` nearest rows of each query for which `pass` holds.
    ///
    /// # Errors
    /// `InvalidInput` when widths or the length of `pass` do not fit or `k` is 0; `Cancelled`.
    fn search(&self, queries: Vectors<'_>, k: usize, pass: Option<&[bool]>, task: &Task) -> Result<Found>;
}

fn check(index: &dyn Index, queries: Vectors<'_>, k: usize, pass: Option<&[bool]>) -> Result<()> {
    check_shape((index.n(), index.dim()), queries, k)?;
    if let Some(pass) = pass
        && pass.len() != index.n()
    {
        return Err(Error::invalid(format!(
            "where must have one value per row of the index: {} != {}",
            pass.len(),
            index.n()
        )));
    }
    Ok(())
}

fn check_shape((n, dim): (usize, usize), queries: Vectors<'_>, k: usize) -> Result<()> {
    if queries.dim() != dim {
        let got = queries.dim();
        return Err(Error::invalid(format!("queries must have {dim} columns as the index: got {got}")));
    }
    if k == 0 {
        return Err(Error::invalid("k must be at least 1: got 0"));
    }
    let most = n.max(MAX_PADDED);
    if k > most {
        return Err(Error::invalid(format!("k must be at most {most}: got {k}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn unit_rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let mut rng = Rng::new(seed, i as u64);
                let row: Vec<f32> = (0..dim).map(|_| rng.normal() as f32).collect();
                let length = crate::kernels::squared_norm(&row).sqrt() as f32;
                row.into_iter().map(move |value| value / length).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn hnsw_finds_nearly_what_exact_finds() {
        let (points, queries) = (unit_rows(2_000, 16, 1), unit_rows(100, 16, 2));
        let (points, queries) = (Vectors::new(&points, 2_000, 16).unwrap(), Vectors::new(&queries, 100, 16).unwrap());
        let task = Task::new();
        let want = Exact::build(points).search(queries, 10, None, &task).unwrap();
        let hnsw =
            Hnsw::build(points, &HnswParams { ef_construction: 100, ef_search: 100, random_state: 0 }, &task).unwrap();
        let got = hnsw.search(queries, 10, None, &task).unwrap();
        let hits = got
            .ids
            .chunks(10)
            .zip(want.ids.chunks(10))
            .map(|(got, want)| got.iter().filter(|id| want.contains(id)).count())
            .sum::<usize>();
        assert!(hits >= 950, "recall@10 = {}", hits as f64 / 1_000.0);
    }

    #[test]
    fn filters_hold_and_short_rows_are_padded() {
        let points = unit_rows(50, 4, 3);
        let points = Vectors::new(&points, 50, 4).unwrap();
        let task = Task::new();
        let pass: Vec<bool> = (0..50).map(|i| i < 3).collect();
        let query = Vectors::new(points.row(0), 1, 4).unwrap();
        let hnsw =
            Hnsw::build(points, &HnswParams { ef_construction: 50, ef_search: 50, random_state: 0 }, &task).unwrap();
        for index in [Box::new(Exact::build(points)) as Box<dyn Index>, Box::new(hnsw)] {
            let found = index.search(query, 5, Some(&pass), &task).unwrap();
            assert_eq!(found.ids[0], 0);
            assert!(found.ids[..3].iter().all(|id| *id < 3));
            assert_eq!(found.ids[3..], [MISSING, MISSING]);
            assert!(index.search(query, 0, None, &task).is_err());
        }
    }
}
