//! How good a clustering or a map is: agreement of two labelings (ARI, NMI, V-measure), trustworthiness and the share of
//! neighbors kept.
//! Noise (-1) counts as one class of its own.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::KnnGraph;
use crate::kernels::squared_distance;
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Adjusted Rand index (Hubert, Arabie 1985): 1 for equal partitions, about 0 for unrelated ones.
pub fn adjusted_rand(a: &[i64], b: &[i64]) -> Result<f64> {
    let table = Contingency::new(a, b)?;
    let pairs = |count: f64| count * (count - 1.0) / 2.0;
    let both: f64 = table.cells.values().map(|count| pairs(*count)).sum();
    let rows: f64 = table.rows.values().map(|count| pairs(*count)).sum();
    let columns: f64 = table.columns.values().map(|count| pairs(*count)).sum();
    let expected = rows * columns / pairs(table.n).max(f64::MIN_POSITIVE);
    let largest = (rows + columns) / 2.0;
    Ok(if largest == expected { 1.0 } else { (both - expected) / (largest - expected) })
}

/// Mutual information over the arithmetic mean of the entropies; equal to the V-measure with beta = 1 (Rosenberg,
/// Hirschberg 2007).
pub fn normalized_mutual_information(a: &[i64], b: &[i64]) -> Result<f64> {
    let table = Contingency::new(a, b)?;
    let entropy =
        |counts: &BTreeMap<i64, f64>| counts.values().map(|c| -(c / table.n) * (c / table.n).ln()).sum::<f64>();
    let mean = (entropy(&table.rows) + entropy(&table.columns)) / 2.0;
    let shared: f64 = table
        .cells
        .iter()
        .map(|((row, column), count)| {
            count / table.n * (count * table.n / (table.rows[row] * table.columns[column])).ln()
        })
        .sum();
    Ok(if mean == 0.0 { 1.0 } else { (shared / mean).clamp(0.0, 1.0) })
}

/// Trustworthiness of a layout (Venna, Kaski 2001): 1 when no point has a neighbor in the layout that was far in the
/// data. Estimated on `sample` seeded points (all when there are fewer).
///
/// # Errors
/// `InvalidInput` when the row counts differ or `k` is not below n / 2.
pub fn trustworthiness(
    vectors: Vectors<'_>,
    layout: Vectors<'_>,
    k: usize,
    sample: usize,
    seed: u64,
    task: &Task,
) -> Result<f64> {
    let n = vectors.n();
    check_layout(n, layout)?;
    if k == 0 || 2 * k >= n {
        return Err(Error::invalid(format!(
            "n_neighbors must be at least 1 and below n / 2 = {}: got {k}",
            n as f64 / 2.0
        )));
    }
    let points = sampled(n, sample, seed)?;
    task.start(points.len() as u64);
    let penalties: Vec<f64> = points
        .par_iter()
        .map(|&i| {
            task.check()?;
            let mut shown: Vec<(f64, u32)> = nearest(layout, i, k)
                .into_iter()
                .map(|j| (squared_distance(vectors.row(i), vectors.row(j as usize)), j))
                .collect();
            shown.sort_unstable_by(nearer);
            // how many others lie between one of the points shown and the one before it
            let mut between = vec![0usize; k + 1];
            for j in (0..n).filter(|j| *j != i) {
                let other = (squared_distance(vectors.row(i), vectors.row(j)), j as u32);
                between[shown.partition_point(|shown| nearer(shown, &other).is_lt())] += 1;
            }
            task.advance(1);
            let ranks = between[..k].iter().scan(0, |rank, count| {
                *rank += count;
                Some(*rank)
            });
            Ok(ranks.map(|rank| rank.saturating_sub(k) as f64).sum())
        })
        .collect::<Result<_>>()?;
    let (n, k, m) = (n as f64, k as f64, points.len() as f64);
    Ok(1.0 - 2.0 / (m * k * (2.0 * n - 3.0 * k - 1.0)) * penalties.iter().sum::<f64>())
}

/// What a layout is compared with.
pub enum Data<'a> {
    Vectors(Vectors<'a>),
    Graph(&'a KnnGraph),
}

/// Share of the `k` nearest neighbors in the data that are among the `k` nearest in the layout. Estimated on `sample`
/// seeded points (all when there are fewer).
///
/// # Errors
/// `InvalidInput` when the row counts differ, `k` is not below n, or the graph has fewer neighbors.
pub fn neighbors_kept(
    data: &Data<'_>,
    layout: Vectors<'_>,
    k: usize,
    sample: usize,
    seed: u64,
    task: &Task,
) -> Result<f64> {
    let n = match data {
        Data::Vectors(vectors) => vectors.n(),
        Data::Graph(graph) => graph.n(),
    };
    check_layout(n, layout)?;
    if k == 0 || k >= n {
        return Err(Error::invalid(format!("n_neighbors must be at least 1 and below n = {n}: got {k}")));
    }
    if let Data::Graph(graph) = data
        && k > graph.k()
    {
        let message = format!("n_neighbors must be at most the graph's {}: got {k}", graph.k());
        return Err(Error::invalid(message).hint(format!("build the graph with k={k}")));
    }
    let points = sampled(n, sample, seed)?;
    task.start(points.len() as u64);
    let counts: Vec<(usize, usize)> = points
        .par_iter()
        .map(|&i| {
            task.check()?;
            let shown = nearest(layout, i, k);
            let near: Vec<u32> = match data {
                Data::Vectors(vectors) => nearest(*vectors, i, k),
                Data::Graph(graph) => graph.neighbors(i).take(k).map(|(id, _)| id).collect(),
            };
            task.advance(1);
            Ok((near.iter().filter(|id| shown.contains(id)).count(), near.len()))
        })
        .collect::<Result<_>>()?;
    let (kept, of) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    Ok(kept as f64 / of.max(1) as f64)
}

fn check_layout(n: usize, layout: Vectors<'_>) -> Result<()> {
    if layout.n() != n {
        return Err(Error::invalid(format!("the layout must have one row per vector: {} != {n}", layout.n())));
    }
    Ok(())
}

/// `sample` different rows of `n`, all of them where there are fewer.
fn sampled(n: usize, sample: usize, seed: u64) -> Result<Vec<usize>> {
    if sample == 0 {
        return Err(Error::invalid("sample must be at least 1: got 0"));
    }
    let mut points: Vec<usize> = (0..n).collect();
    if sample < n {
        let mut rng = Rng::new(seed, 0);
        for i in 0..sample {
            points.swap(i, i + rng.below(n - i));
        }
        points.truncate(sample);
    }
    Ok(points)
}

/// The `k` other rows nearest to row `i`, ties by smaller id; `k` is below the number of rows.
fn nearest(rows: Vectors<'_>, i: usize, k: usize) -> Vec<u32> {
    let others = (0..rows.n()).filter(|j| *j != i);
    let mut others: Vec<(f64, u32)> = others.map(|j| (squared_distance(rows.row(i), rows.row(j)), j as u32)).collect();
    others.select_nth_unstable_by(k - 1, nearer);
    others[..k].iter().map(|(_, j)| *j).collect()
}

fn nearer(a: &(f64, u32), b: &(f64, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

struct Contingency {
    cells: BTreeMap<(i64, i64), f64>,
    rows: BTreeMap<i64, f64>,
    columns: BTreeMap<i64, f64>,
    n: f64,
}

impl Contingency {
    fn new(a: &[i64], b: &[i64]) -> Result<Self> {
        if a.len() != b.len() || a.is_empty() {
            return Err(Error::invalid(format!(
                "both labelings need the same length, at least 1: got {} and {}",
                a.len(),
                b.len()
            )));
        }
        let mut table =
            Self { cells: BTreeMap::new(), rows: BTreeMap::new(), columns: BTreeMap::new(), n: a.len() as f64 };
        for (&x, &y) in a.iter().zip(b) {
            *table.cells.entry((x, y)).or_default() += 1.0;
            *table.rows.entry(x).or_default() += 1.0;
            *table.columns.entry(y).or_default() += 1.0;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // scikit-learn 1.9: adjusted_rand_score([0,0,1,2],[0,0,1,1]) = 0.5714..., v_measure_score = 0.8
        assert!((adjusted_rand(&[0, 0, 1, 2], &[0, 0, 1, 1]).unwrap() - 0.571_428_571).abs() < 1e-8);
        assert!((normalized_mutual_information(&[0, 0, 1, 2], &[0, 0, 1, 1]).unwrap() - 0.8).abs() < 1e-8);
        assert_eq!(adjusted_rand(&[1, 1, 2], &[5, 5, 7]).unwrap(), 1.0);
        assert!(adjusted_rand(&[1], &[1, 2]).is_err());
    }

    #[test]
    fn a_layout_equal_to_the_data_is_trustworthy() {
        let data: Vec<f32> = (0..60).map(|i| (i * i % 97) as f32).collect();
        let vectors = Vectors::new(&data, 30, 2).unwrap();
        assert_eq!(trustworthiness(vectors, vectors, 5, 100, 0, &Task::new()).unwrap(), 1.0);
        assert_eq!(neighbors_kept(&Data::Vectors(vectors), vectors, 5, 100, 0, &Task::new()).unwrap(), 1.0);
    }
}
