//! Which points a set of edges connects: union-find, and the minimum spanning tree under mutual reachability that
//! HDBSCAN reads. From a kNN graph (Kruskal) or, exactly, from the vectors (Prim).

use rayon::prelude::*;

use super::KnnGraph;
use crate::error::Result;
use crate::kernels::squared_distance;
use crate::task::Task;
use crate::vectors::Vectors;

/// Edge of a spanning tree: two points and the mutual-reachability distance between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub a: u32,
    pub b: u32,
    pub weight: f64,
}

/// Disjoint sets with path halving and union by size (Tarjan, van Leeuwen 1984).
#[derive(Debug)]
pub struct UnionFind {
    parent: Vec<u32>,
    size: Vec<u32>,
}

impl UnionFind {
    pub fn new(n: usize) -> Self {
        Self { parent: (0..n as u32).collect(), size: vec![1; n] }
    }

    pub fn find(&mut self, mut x: u32) -> u32 {
        while self.parent[x as usize] != x {
            let grandparent = self.parent[self.parent[x as usize] as usize];
            self.parent[x as usize] = grandparent;
            x = grandparent;
        }
        x
    }

    /// Joins two sets; false when they were one already.
    pub fn union(&mut self, a: u32, b: u32) -> bool {
        let (mut a, mut b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        if self.size[a as usize] < self.size[b as usize] || (self.size[a as usize] == self.size[b as usize] && a > b) {
            std::mem::swap(&mut a, &mut b);
        }
        self.parent[b as usize] = a;
        self.size[a as usize] += self.size[b as usize];
        true
    }
}

/// Distance of every point to its `min_samples`-th neighbor (the last one it has, where the list is shorter).
/// The point itself is not counted, as in the `hdbscan` package.
pub fn core_distances(graph: &KnnGraph, min_samples: usize) -> Vec<f64> {
    (0..graph.n())
        .into_par_iter()
        .map(|i| graph.neighbors(i).take(min_samples).last().map_or(0.0, |(_, distance)| distance as f64))
        .collect()
}

/// Minimum spanning tree of the graph's edges under mutual reachability, `n - 1` edges ascending by weight.
///
/// Islands of the graph are joined at infinite distance, each to the one that holds the smallest point id, so that
/// the tree is always whole and the same on every run.
pub fn spanning_tree_of_graph(graph: &KnnGraph, core: &[f64], task: &Task) -> Result<Vec<Edge>> {
    let mut edges: Vec<Edge> = (0..graph.n())
        .into_par_iter()
        .flat_map_iter(|i| {
            graph.neighbors(i).filter_map(move |(j, distance)| {
                let i = i as u32;
                // an edge that stands in both lists is kept once
                let twice = j < i && graph.neighbors(j as usize).any(|(back, _)| back == i);
                let weight = (distance as f64).max(core[i as usize]).max(core[j as usize]);
                (!twice).then_some(Edge { a: i.min(j), b: i.max(j), weight })
            })
        })
        .collect();
    task.check()?;
    edges.par_sort_unstable_by(by_weight_then_ids);
    task.check()?;
    let mut sets = UnionFind::new(graph.n());
    let mut tree: Vec<Edge> = edges.into_iter().filter(|edge| sets.union(edge.a, edge.b)).collect();
    for point in 1..graph.n() as u32 {
        if sets.union(0, point) {
            tree.push(Edge { a: 0, b: point, weight: f64::INFINITY });
        }
    }
    Ok(tree)
}

/// Exact minimum spanning tree of all pairs under mutual reachability, `n - 1` edges ascending by weight.
/// O(n^2 dim) time, O(n) memory (Prim).
pub fn spanning_tree_of_vectors(vectors: Vectors<'_>, core: &[f64], task: &Task) -> Result<Vec<Edge>> {
    const BLOCK: usize = 2048;
    let n = vectors.n();
    // (best weight to the tree, its tree end) of every point outside the tree
    let mut best = vec![(f64::INFINITY, 0u32); n];
    let mut inside = vec![false; n];
    inside[0] = true;
    let mut newest = 0usize;
    let mut tree = Vec::with_capacity(n.saturating_sub(1));
    task.start(n as u64);
    for _ in 1..n {
        task.check()?;
        let row = vectors.row(newest);
        let next = best
            .par_chunks_mut(BLOCK)
            .zip(inside.par_chunks(BLOCK))
            .enumerate()
            .filter_map(|(block, (best, inside))| {
                let mut nearest: Option<(f64, u32)> = None;
                for (offset, (best, inside)) in best.iter_mut().zip(inside).enumerate() {
                    if *inside {
                        continue;
                    }
                    let i = block * BLOCK + offset;
                    let floor = core[i].max(core[newest]);
                    // the distance only matters when it can lower the best weight
                    if floor < best.0 {
                        let weight = squared_distance(row, vectors.row(i)).sqrt().max(floor);
                        if weight < best.0 {
                            *best = (weight, newest as u32);
                        }
                    }
                    if nearest.is_none_or(|(weight, _)| best.0 < weight) {
                        nearest = Some((best.0, i as u32));
                    }
                }
                nearest
            })
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let Some((weight, point)) = next else { break };
        let end = best[point as usize].1;
        tree.push(Edge { a: end.min(point), b: end.max(point), weight });
        inside[point as usize] = true;
        newest = point as usize;
        task.advance(1);
    }
    tree.sort_unstable_by(by_weight_then_ids);
    Ok(tree)
}

fn by_weight_then_ids(x: &Edge, y: &Edge) -> std::cmp::Ordering {
    x.weight.total_cmp(&y.weight).then(x.a.cmp(&y.a)).then(x.b.cmp(&y.b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;

    fn points(n: usize) -> Vec<f32> {
        let mut rng = crate::random::Rng::new(3, 0);
        (0..n * 3).map(|_| rng.normal() as f32).collect()
    }

    #[test]
    fn a_complete_graph_and_the_vectors_give_the_same_tree_weight() {
        let data = points(60);
        let vectors = Vectors::new(&data, 60, 3).unwrap();
        let graph = exact::build(vectors, 59, &Task::new()).unwrap();
        let core = core_distances(&graph, 5);
        let weigh = |tree: Vec<Edge>| (tree.len(), tree.iter().map(|edge| edge.weight).sum::<f64>());
        let (edges_a, weight_a) = weigh(spanning_tree_of_graph(&graph, &core, &Task::new()).unwrap());
        let (edges_b, weight_b) = weigh(spanning_tree_of_vectors(vectors, &core, &Task::new()).unwrap());
        assert_eq!((edges_a, edges_b), (59, 59));
        assert!((weight_a - weight_b).abs() < 1e-5, "{weight_a} {weight_b}");
    }

    #[test]
    fn islands_are_joined_at_infinity() {
        let data = [0.0f32, 0.1, 0.2, 100.0, 100.1, 100.2];
        let graph = exact::build(Vectors::new(&data, 6, 1).unwrap(), 2, &Task::new()).unwrap();
        let tree = spanning_tree_of_graph(&graph, &core_distances(&graph, 2), &Task::new()).unwrap();
        assert_eq!(tree.len(), 5);
        assert_eq!(tree.iter().filter(|edge| edge.weight.is_infinite()).count(), 1);
    }
}
