//! The exact minimum spanning tree of all pairs under mutual reachability, from the exact kNN graph: Boruvka's steps
//! (Boruvka 1926), where most cheapest edges are edges of the graph and prove themselves cheapest, and the others are
//! looked for in tiles among the few points where a cheaper one can hide.

use rayon::prelude::*;

use super::KnnGraph;
use super::forest::{Edge, UnionFind};
use crate::error::Result;
use crate::kernels;
use crate::kernels::tiles::{Columns, GROUP, Hits, Kernels, Rows, margin, scale_for};
use crate::task::Task;
use crate::vectors::Vectors;

/// Points that look for an edge together.
const BLOCK_ROWS: usize = 256;
/// Rows between two updates of the thresholds.
const ROWS_PER_SCAN: usize = 128;

/// `n - 1` edges ascending by weight, ties by the smaller ids. `graph` is exact and made from `vectors`; `core` are its
/// core distances.
///
/// # Errors
/// `Cancelled`.
pub fn spanning_tree(vectors: Vectors<'_>, graph: &KnnGraph, core: &[f64], task: &Task) -> Result<Vec<Edge>> {
    let (n, dim) = (vectors.n(), vectors.dim());
    let (kernels, scale) = (kernels::for_width(dim), scale_for(vectors.largest()));
    let all = Rows::new(kernels, n, dim, scale, |i| vectors.row(i));
    // an edge that is in neither list is at least as long as both; rounding to f32 keeps that order
    let seen_up_to: Vec<f64> = (0..n)
        .map(|i| match graph.neighbors(i).last() {
            Some((_, distance)) if graph.neighbors(i).count() == graph.k() => distance as f64,
            _ => f64::INFINITY,
        })
        .collect();
    let search = Search { vectors, kernels, scale, core, seen_up_to: &seen_up_to, largest: all.largest() };
    drop(all);
    let mut sets = UnionFind::new(n);
    let mut tree = Vec::with_capacity(n.saturating_sub(1));
    task.start(n as u64);
    while tree.len() + 1 < n {
        let component: Vec<u32> = (0..n as u32).map(|i| sets.find(i)).collect();
        let mut best = search.cheapest_seen(graph, &component);
        search.cheaper_unseen(&component, &mut best, task)?;
        let before = tree.len();
        for edge in best.iter().flatten() {
            if sets.union(edge.a, edge.b) {
                tree.push(*edge);
            }
        }
        task.advance((tree.len() - before) as u64);
    }
    tree.par_sort_unstable_by(order);
    Ok(tree)
}

struct Search<'a> {
    vectors: Vectors<'a>,
    kernels: Kernels,
    scale: f32,
    core: &'a [f64],
    seen_up_to: &'a [f64],
    largest: (f32, f32),
}

impl Search<'_> {
    /// Per component the cheapest edge of the graph that leaves it.
    fn cheapest_seen(&self, graph: &KnnGraph, component: &[u32]) -> Vec<Option<Edge>> {
        let mut best: Vec<Option<Edge>> = vec![None; component.len()];
        for i in 0..component.len() {
            for (j, distance) in graph.neighbors(i) {
                let (a, b) = (i as u32, j);
                if component[i] == component[j as usize] {
                    continue;
                }
                let weight = (distance as f64).max(self.core[i]).max(self.core[j as usize]);
                let edge = Edge { a: a.min(b), b: a.max(b), weight };
                for side in [component[i], component[j as usize]] {
                    let known = &mut best[side as usize];
                    if known.is_none_or(|known| order(&edge, &known).is_lt()) {
                        *known = Some(edge);
                    }
                }
            }
        }
        best
    }

    /// Takes an edge that is in no list where it is cheaper. The largest component needs none: the others leave towards it.
    fn cheaper_unseen(&self, component: &[u32], best: &mut [Option<Edge>], task: &Task) -> Result<()> {
        let n = component.len();
        let mut sizes = vec![0u32; n];
        component.iter().for_each(|root| sizes[*root as usize] += 1);
        let largest = (0..n).max_by(|a, b| sizes[*a].cmp(&sizes[*b]).then(b.cmp(a))).unwrap_or(0) as u32;
        let bound = |i: usize| best[component[i] as usize].map_or(f64::INFINITY, |edge| edge.weight);
        let asks = |i: &u32| component[*i as usize] != largest && self.seen_up_to[*i as usize] < bound(*i as usize);
        let mut asking: Vec<u32> = (0..n as u32).filter(asks).collect();
        if asking.is_empty() {
            best[largest as usize] = None;
            return Ok(());
        }
        let widest = asking.iter().map(|i| bound(*i as usize)).fold(0.0, f64::max);
        // the other end does not see the edge either
        let mut answering: Vec<u32> = (0..n as u32).filter(|i| self.seen_up_to[*i as usize] < widest).collect();
        // both in order, so that each block of those that ask is done with a first part of those that answer
        asking.sort_by(|a, b| bound(*a as usize).total_cmp(&bound(*b as usize)).then(a.cmp(b)));
        let seen_up_to = |i: &u32| self.seen_up_to[*i as usize];
        answering.sort_by(|a, b| seen_up_to(a).total_cmp(&seen_up_to(b)).then(a.cmp(b)));
        let dim = self.vectors.dim();
        let rows =
            Rows::new(self.kernels, answering.len(), dim, self.scale, |i| self.vectors.row(answering[i] as usize));
        let found: Vec<Vec<Edge>> = asking
            .par_chunks(BLOCK_ROWS)
            .map_init(Hits::default, |hits, asking| {
                let start: Vec<Option<Edge>> = asking.iter().map(|i| best[component[*i as usize] as usize]).collect();
                let widest = asking.last().map_or(0.0, |i| bound(*i as usize));
                let end = answering.partition_point(|i| seen_up_to(i) < widest);
                self.ask(asking, start, component, (&rows, &answering[..end]), hits, task)
            })
            .collect::<Result<_>>()?;
        for edge in found.into_iter().flatten() {
            for side in [component[edge.a as usize], component[edge.b as usize]] {
                let known = &mut best[side as usize];
                if known.is_none_or(|known| order(&edge, &known).is_lt()) {
                    *known = Some(edge);
                }
            }
        }
        best[largest as usize] = None;
        Ok(())
    }

    /// Edges that are cheaper than the one that the component of each point begins with.
    fn ask(
        &self,
        asking: &[u32],
        mut best: Vec<Option<Edge>>,
        component: &[u32],
        (rows, answering): (&Rows, &[u32]),
        hits: &mut Hits,
        task: &Task,
    ) -> Result<Vec<Edge>> {
        let row = |i: u32| self.vectors.row(i as usize);
        let columns = Columns::new(self.kernels, asking.len(), self.vectors.dim(), self.scale, |i| row(asking[i]));
        let squared_scale = (self.scale as f64).powi(2);
        // |x - y|^2 < w^2: the score reaches (|x|^2 - w^2) / 2, less what it can be off
        let threshold = |i: usize, edge: &Option<Edge>| {
            let Some(edge) = edge else { return f32::MIN };
            let off = margin(self.vectors.dim(), columns.lengths(i), self.largest) as f64;
            let half = columns.half(i) as f64;
            ((-half - 0.5 * edge.weight.powi(2) * squared_scale) - 2.0 * off - 1e-6 * half.abs()).max(f32::MIN as f64)
                as f32
        };
        let mut thresholds = vec![f32::INFINITY; columns.n_groups() * GROUP];
        best.iter().enumerate().for_each(|(i, edge)| thresholds[i] = threshold(i, edge));
        let never = [f32::INFINITY; ROWS_PER_SCAN];
        let mut found = Vec::new();
        for first in (0..answering.len()).step_by(ROWS_PER_SCAN) {
            if first % (64 * ROWS_PER_SCAN) == 0 {
                task.check()?;
            }
            let n_rows = ROWS_PER_SCAN.min(answering.len() - first);
            self.kernels.above(rows, first, n_rows, &columns, &never[..n_rows], &thresholds, hits);
            for hit in hits.iter() {
                let (at, other) = (hit.column as usize, answering[first + hit.row as usize]);
                let own = asking[at];
                let floor = self.core[own as usize].max(self.core[other as usize]);
                if component[own as usize] == component[other as usize]
                    || best[at].is_some_and(|edge| floor > edge.weight)
                {
                    continue;
                }
                // rounded as the distances of the graph are
                let distance = kernels::squared_distance(row(own), row(other)).sqrt() as f32 as f64;
                let edge = Edge { a: own.min(other), b: own.max(other), weight: floor.max(distance) };
                if best[at].is_none_or(|best| order(&edge, &best).is_lt()) {
                    best[at] = Some(edge);
                    thresholds[at] = threshold(at, &best[at]);
                    found.push(edge);
                }
            }
        }
        Ok(found)
    }
}

/// By weight, then ids.
fn order(x: &Edge, y: &Edge) -> std::cmp::Ordering {
    x.weight.total_cmp(&y.weight).then(x.a.cmp(&y.a)).then(x.b.cmp(&y.b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::{exact, forest};

    /// All pairs by Kruskal.
    fn oracle(vectors: Vectors<'_>, core: &[f64]) -> Vec<f64> {
        let n = vectors.n();
        let mut edges = Vec::new();
        for a in 0..n as u32 {
            for b in a + 1..n as u32 {
                let distance = kernels::between(vectors.data(), vectors.dim(), a, b).sqrt() as f32 as f64;
                edges.push(Edge { a, b, weight: distance.max(core[a as usize]).max(core[b as usize]) });
            }
        }
        edges.sort_by(order);
        let mut sets = UnionFind::new(n);
        edges.into_iter().filter(|edge| sets.union(edge.a, edge.b)).map(|edge| edge.weight).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn the_tree_is_as_light_as_that_of_all_pairs(
            n in 2usize..400, dim in 1usize..60, k in 1usize..8, islands in 1usize..9, seed in 0u64..1000, steps in 2usize..60
        ) {
            let mut rng = crate::random::Rng::new(seed, 0);
            // islands far from each other; few distinct values make ties and duplicates
            let data: Vec<f32> = (0..n)
                .flat_map(|i| {
                    let island = 40.0 * (i % islands) as f32;
                    (0..dim).map(|_| island + rng.below(steps) as f32 / steps as f32).collect::<Vec<_>>()
                })
                .collect();
            let vectors = Vectors::new(&data, n, dim).unwrap();
            let graph = exact::build(vectors, k, &Task::new()).unwrap();
            let core = forest::core_distances(&graph, k);
            let tree = spanning_tree(vectors, &graph, &core, &Task::new()).unwrap();
            let weights: Vec<f64> = tree.iter().map(|edge| edge.weight).collect();
            prop_assert_eq!(weights, oracle(vectors, &core));
            let mut sets = UnionFind::new(n);
            prop_assert!(tree.iter().all(|edge| sets.union(edge.a, edge.b)));
        }
    }
}
