//! Which pairs of clusters are probably one: their rows are neighbors of each other as if mixed, and their centroids are
//! no farther apart than their rows are from them. It merges nothing.

use std::collections::BTreeMap;

use super::check_graph;
use super::cohesion::Centres;
use crate::error::Result;
use crate::graph::KnnGraph;
use crate::kernels::squared_distance;
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows between two looks at the stop flag.
const BLOCK: usize = 4_096;

/// Two clusters, `a < b`, and what speaks for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    pub a: u32,
    pub b: u32,
    /// Between the centroids.
    pub distance: f64,
    /// `distance` by the sum of the mean distances of the rows to their centroids: 1 and more is apart.
    pub relative_distance: f64,
    /// Edges between the two, by those to be expected if the rows of both lay mixed: 1 is mixed, 0 apart.
    pub mixing: f64,
    /// Geometric mean of `mixing` and `1 - relative_distance`, in [0, 1].
    pub score: f64,
}

/// Pairs of clusters with an edge between them and a score above 0, best first, then by number.
///
/// # Errors
/// `InvalidInput` when labels, weights or graph do not fit the rows; `Cancelled`.
pub fn merge_suggestions(
    vectors: Vectors<'_>,
    labels: &[i32],
    n_clusters: usize,
    graph: &KnnGraph,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<Suggestion>> {
    check_graph(graph, vectors.n())?;
    let centres = Centres::new(vectors, labels, n_clusters, weights, task)?;
    let radii = centres.radii(vectors, weights);
    let edges = edges(graph, labels, weights, task)?;
    let count = |from: u32, to: u32| edges.get(&(from, to)).copied().unwrap_or(0.0);
    let rows = |cluster: u32| centres.members[cluster as usize].len() as f64;
    let mut found = Vec::new();
    for (&(a, b), &there) in &edges {
        // each pair once, although edges may lead in one direction only
        if a == b || (a > b && edges.contains_key(&(b, a))) {
            continue;
        }
        let (back, others) = (count(b, a), rows(a) + rows(b) - 1.0);
        let expected = (count(a, a) + there) * rows(b) / others + (count(b, b) + back) * rows(a) / others;
        let distance = squared_distance(centres.row(a as i32), centres.row(b as i32)).sqrt();
        let radius = radii[a as usize] + radii[b as usize];
        let relative_distance = if distance == 0.0 { 0.0 } else { distance / radius };
        let mixing = (there + back) / expected;
        let score = (mixing.min(1.0) * (1.0 - relative_distance).max(0.0)).sqrt();
        if score > 0.0 {
            found.push(Suggestion { a: a.min(b), b: a.max(b), distance, relative_distance, mixing, score });
        }
    }
    found.sort_by(|x, y| y.score.total_cmp(&x.score).then((x.a, x.b).cmp(&(y.a, y.b))));
    Ok(found)
}

/// Weights of the rows whose edges lead from one cluster to another, or stay in it; noise is left out.
fn edges(graph: &KnnGraph, labels: &[i32], weights: Option<&[f32]>, task: &Task) -> Result<BTreeMap<(u32, u32), f64>> {
    let mut edges = BTreeMap::new();
    task.start(graph.n() as u64);
    for row in 0..graph.n() {
        if row % BLOCK == 0 {
            task.check()?;
            task.advance(BLOCK.min(graph.n() - row) as u64);
        }
        for (other, _) in graph.neighbors(row) {
            let (from, to) = (labels[row], labels[other as usize]);
            if from >= 0 && to >= 0 {
                *edges.entry((from as u32, to as u32)).or_default() +=
                    weights.map_or(1.0, |weights| weights[row] as f64);
            }
        }
    }
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::random::Rng;

    #[test]
    fn halves_of_a_ball_are_suggested_and_balls_are_not() {
        let mut rng = Rng::new(5, 0);
        let data: Vec<f32> = (0..300)
            .flat_map(|i| [rng.normal() as f32, rng.normal() as f32 + if i < 200 { 0.0 } else { 30.0 }])
            .collect();
        let vectors = Vectors::new(&data, 300, 2).unwrap();
        let graph = exact::build(vectors, 10, &Task::new()).unwrap();
        // rows 0..200 are one ball under two labels
        let labels: Vec<i32> = (0..300).map(|i| if i < 200 { i % 2 } else { 2 }).collect();
        let found = merge_suggestions(vectors, &labels, 3, &graph, None, &Task::new()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].a, found[0].b), (0, 1));
        assert!(found[0].score > 0.8 && (found[0].mixing - 1.0).abs() < 0.15, "{:?}", found[0]);
        // cut through the middle it is less mixed, but still one
        let labels: Vec<i32> = (0..300).map(|i| if i < 200 { (data[2 * i] > 0.0) as i32 } else { 2 }).collect();
        let cut = merge_suggestions(vectors, &labels, 3, &graph, None, &Task::new()).unwrap();
        assert!(cut.len() == 1 && cut[0].score < found[0].score && cut[0].score > 0.1, "{cut:?}");
    }

    #[test]
    fn noise_single_rows_and_equal_rows_have_numbers() {
        let data = [0f32, 0.0, 0.0, 1.0, 2.0, 2.0];
        let vectors = Vectors::new(&data, 6, 1).unwrap();
        let graph = exact::build(vectors, 2, &Task::new()).unwrap();
        for labels in [[-1; 6], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 1], [0, 1, -1, 2, 0, 1]] {
            let found = merge_suggestions(vectors, &labels, 6, &graph, None, &Task::new()).unwrap();
            let ok = |s: &Suggestion| s.score > 0.0 && s.score <= 1.0 && s.relative_distance.is_finite();
            assert!(found.iter().all(ok), "{found:?}");
            assert!(labels[0] >= 0 || found.is_empty());
        }
    }
}
