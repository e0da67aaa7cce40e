//! The weighted graph that community detection works on: compressed rows, loops and node masses, and how it is made
//! smaller. It moves nothing between communities; that is `community.rs`.

use crate::error::Result;
use crate::graph::forest::UnionFind;
use crate::graph::fuzzy::WeightedGraph;
use crate::task::Task;

/// Nodes between two looks at the stop flag.
const BLOCK: usize = 4_096;

/// Symmetric weighted graph. A node may stand for many points: `loops` is the weight between them, counted twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    offsets: Vec<usize>,
    ids: Vec<u32>,
    weights: Vec<f32>,
    pub loops: Vec<f64>,
    /// What a node adds to the mass of its community: its degree for modularity, its points for CPM.
    pub mass: Vec<f64>,
}

impl Network {
    /// Every point one node, its mass the degree.
    pub fn from_fuzzy(graph: WeightedGraph) -> Self {
        let (offsets, ids, weights) = graph.into_parts();
        Self::from_rows(offsets, ids, weights)
    }

    /// From offsets of the rows, ids and weights of a symmetric graph.
    pub fn from_rows(offsets: Vec<usize>, ids: Vec<u32>, weights: Vec<f32>) -> Self {
        let n = offsets.len() - 1;
        let degree = |i: usize| weights[offsets[i]..offsets[i + 1]].iter().map(|w| *w as f64).sum();
        let mass = (0..n).map(degree).collect();
        Self { offsets, ids, weights, loops: vec![0.0; n], mass }
    }

    pub fn n(&self) -> usize {
        self.offsets.len() - 1
    }

    /// (other node, weight), loops left out.
    pub fn edges(&self, node: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = self.offsets[node]..self.offsets[node + 1];
        self.ids[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// Mass of all nodes: twice the weight of all edges where mass is the degree.
    pub fn total(&self) -> f64 {
        self.mass.iter().sum()
    }

    /// One node for each of the labels 0..n_labels.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn aggregate(&self, labels: &[u32], n_labels: usize, task: &Task) -> Result<Self> {
        let (starts, members) = grouped(labels, n_labels);
        let mut made =
            Self { offsets: vec![0], ids: Vec::new(), weights: Vec::new(), loops: Vec::new(), mass: Vec::new() };
        let mut sum = vec![0f64; n_labels];
        let mut touched: Vec<u32> = Vec::new();
        let mut visits = 0usize;
        for label in 0..n_labels {
            let (mut loops, mut mass) = (0.0, 0.0);
            for node in &members[starts[label]..starts[label + 1]] {
                if visits.is_multiple_of(BLOCK) {
                    task.check()?;
                }
                visits += 1;
                loops += self.loops[*node as usize];
                mass += self.mass[*node as usize];
                for (to, weight) in self.edges(*node as usize) {
                    let other = labels[to as usize];
                    if other as usize == label {
                        loops += weight as f64;
                        continue;
                    }
                    if sum[other as usize] == 0.0 {
                        touched.push(other);
                    }
                    sum[other as usize] += weight as f64;
                }
            }
            touched.sort_unstable();
            for other in touched.drain(..) {
                made.ids.push(other);
                made.weights.push(sum[other as usize] as f32);
                sum[other as usize] = 0.0;
            }
            made.offsets.push(made.ids.len());
            made.loops.push(loops);
            made.mass.push(mass);
        }
        Ok(made)
    }

    /// The same nodes and masses, without the edges between different labels.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn within(&self, labels: &[u32], task: &Task) -> Result<Self> {
        let mut made = Self {
            offsets: Vec::with_capacity(self.n() + 1),
            ids: Vec::with_capacity(self.ids.len()),
            weights: Vec::with_capacity(self.ids.len()),
            loops: self.loops.clone(),
            mass: self.mass.clone(),
        };
        made.offsets.push(0);
        for node in 0..self.n() {
            if node % BLOCK == 0 {
                task.check()?;
            }
            for (to, weight) in self.edges(node).filter(|(to, _)| labels[*to as usize] == labels[node]) {
                made.ids.push(to);
                made.weights.push(weight);
            }
            made.offsets.push(made.ids.len());
        }
        Ok(made)
    }

    /// (information, entropy) in nats of the labels at both ends of an edge drawn by weight, where every node has its
    /// own label: what one end tells about the other, and what there is to tell.
    pub fn information(&self) -> (f64, f64) {
        let all = self.total();
        let term = |joint: f64, a: f64, b: f64| if joint > 0.0 { joint * (joint / (a * b)).ln() } else { 0.0 };
        let (mut information, mut entropy) = (0.0, 0.0);
        for node in 0..self.n() {
            let share = self.mass[node] / all;
            if share > 0.0 {
                entropy -= share * share.ln();
                information += term(self.loops[node] / all, share, share);
                for (to, weight) in self.edges(node) {
                    information += term(weight as f64 / all, share, self.mass[to as usize] / all);
                }
            }
        }
        (information, entropy)
    }
}

/// Renames labels to 0..n in order of first appearance; how many there are.
pub fn compact(labels: &mut [u32]) -> usize {
    let n_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut names = vec![u32::MAX; n_labels];
    let mut n_names = 0;
    for label in labels {
        let name = &mut names[*label as usize];
        if *name == u32::MAX {
            *name = n_names;
            n_names += 1;
        }
        *label = *name;
    }
    n_names as usize
}

/// Labels by falling total size, ties by first row; how many there are.
pub fn numbered(labels: &[u32], sizes: &[f64]) -> (Vec<i32>, usize) {
    let mut by_appearance = labels.to_vec();
    let n_labels = compact(&mut by_appearance);
    let mut total = vec![0f64; n_labels];
    for (label, size) in by_appearance.iter().zip(sizes) {
        total[*label as usize] += size;
    }
    let mut order: Vec<usize> = (0..n_labels).collect();
    order.sort_by(|a, b| total[*b].total_cmp(&total[*a]).then(a.cmp(b)));
    let mut rank = vec![0i32; n_labels];
    for (position, label) in order.into_iter().enumerate() {
        rank[label] = position as i32;
    }
    (by_appearance.into_iter().map(|label| rank[label as usize]).collect(), n_labels)
}

/// Gives every connected piece of a community a label of its own, 0..n by first appearance; how many there are.
///
/// # Errors
/// `Cancelled`.
pub fn split_islands(network: &Network, labels: &mut [u32], task: &Task) -> Result<usize> {
    let mut sets = UnionFind::new(network.n());
    for node in 0..network.n() {
        if node % BLOCK == 0 {
            task.check()?;
        }
        for (to, _) in network.edges(node) {
            if (to as usize) < node && labels[to as usize] == labels[node] {
                sets.union(node as u32, to);
            }
        }
    }
    for (node, label) in labels.iter_mut().enumerate() {
        *label = sets.find(node as u32);
    }
    Ok(compact(labels))
}

/// Nodes sorted by label: starts of the groups, and the nodes, ascending in each group.
pub fn grouped(labels: &[u32], n_labels: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0usize; n_labels + 1];
    for label in labels {
        starts[*label as usize + 1] += 1;
    }
    for label in 0..n_labels {
        starts[label + 1] += starts[label];
    }
    let mut next = starts.clone();
    let mut members = vec![0u32; labels.len()];
    for (node, label) in labels.iter().enumerate() {
        members[next[*label as usize]] = node as u32;
        next[*label as usize] += 1;
    }
    (starts, members)
}
