//! From a spanning tree to flat clusters: single linkage, the condensed tree, its stabilities, and the selection of
//! clusters (Campello, Moulavi, Sander 2013; McInnes, Healy 2017, section 3). Follows the `hdbscan` package.

use crate::graph::forest::{Edge, UnionFind};

/// Density levels are 1 / distance; distances of zero are given this level instead of infinity, so that stabilities
/// stay finite.
const DENSEST: f64 = 1e12;

/// How flat clusters are chosen from the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Excess of mass: the clusters that live longest.
    Eom,
    /// The leaves: many small clusters of even density.
    Leaf,
}

/// Row of the condensed tree: `child` leaves `parent` at density `lambda`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condensed {
    pub parent: u32,
    /// A point below `n_points`, else a cluster.
    pub child: u32,
    pub lambda: f64,
    /// Points (weighted) of the child.
    pub size: f64,
}

/// The condensed tree; clusters are numbered from `n_points` (the root) on, parents before children.
#[derive(Debug, Clone, PartialEq)]
pub struct CondensedTree {
    pub rows: Vec<Condensed>,
    pub n_points: usize,
    pub n_clusters: usize,
}

/// Flat clusters: n labels (-1 = noise) and n membership strengths in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct Flat {
    pub labels: Vec<i32>,
    pub probabilities: Vec<f32>,
    pub n_clusters: usize,
}

/// Merge of two nodes of the dendrogram at a distance; `size` is the weighted number of points.
struct Merge {
    left: u32,
    right: u32,
    distance: f64,
    size: f64,
}

/// Condenses the dendrogram of `tree` (edges ascending): a split counts only when both sides have at least
/// `min_cluster_size` points, counted by weight.
pub fn condense(tree: &[Edge], n_points: usize, weights: Option<&[f32]>, min_cluster_size: f64) -> CondensedTree {
    let weight_of = |point: u32| weights.map_or(1.0, |weights| weights[point as usize] as f64);
    let merges = single_linkage(tree, n_points, weight_of);
    let size_of = |node: u32| {
        if (node as usize) < n_points { weight_of(node) } else { merges[node as usize - n_points].size }
    };
    let mut rows = Vec::with_capacity(n_points + 64);
    let mut n_clusters = 1u32;
    if merges.is_empty() {
        rows.extend((0..n_points as u32).map(|point| Condensed {
            parent: n_points as u32,
            child: point,
            lambda: 0.0,
            size: weight_of(point),
        }));
        return CondensedTree { rows, n_points, n_clusters: 1 };
    }
    // (dendrogram node, cluster it belongs to), breadth first so that parents get smaller numbers
    let root = (n_points + merges.len() - 1) as u32;
    let mut queue = std::collections::VecDeque::from([(root, n_points as u32)]);
    let mut stack = Vec::new();
    while let Some((node, cluster)) = queue.pop_front() {
        if (node as usize) < n_points {
            // a cluster of one heavy point: it stays together for ever
            rows.push(Condensed { parent: cluster, child: node, lambda: DENSEST, size: weight_of(node) });
            continue;
        }
        let merge = &merges[node as usize - n_points];
        let lambda = density(merge.distance);
        let sides = [merge.left, merge.right];
        let large = sides.map(|side| size_of(side) >= min_cluster_size);
        if large == [true, true] {
            for side in sides {
                let child = n_points as u32 + n_clusters;
                n_clusters += 1;
                rows.push(Condensed { parent: cluster, child, lambda, size: size_of(side) });
                queue.push_back((side, child));
            }
            continue;
        }
        for (side, large) in sides.into_iter().zip(large) {
            if large {
                queue.push_back((side, cluster));
            } else {
                // every point of a side that is too small falls out of the cluster here
                stack.push(side);
                while let Some(fallen) = stack.pop() {
                    if (fallen as usize) < n_points {
                        rows.push(Condensed { parent: cluster, child: fallen, lambda, size: weight_of(fallen) });
                    } else {
                        let merge = &merges[fallen as usize - n_points];
                        stack.extend([merge.right, merge.left]);
                    }
                }
            }
        }
    }
    CondensedTree { rows, n_points, n_clusters: n_clusters as usize }
}

/// Chooses flat clusters. With `epsilon > 0`, clusters born at a distance below it are merged upwards (Malzer, Baum
/// 2020, section III). The root counts as a cluster only with `allow_single_cluster`.
pub fn select(tree: &CondensedTree, selection: Selection, epsilon: f64, allow_single_cluster: bool) -> Flat {
    let (n, clusters) = (tree.n_points, tree.n_clusters);
    let number = |node: u32| node as usize - n;
    let mut birth = vec![0f64; clusters];
    let mut parent = vec![usize::MAX; clusters];
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); clusters];
    for row in tree.rows.iter().filter(|row| row.child as usize >= n) {
        let (child, above) = (number(row.child), number(row.parent));
        birth[child] = row.lambda;
        parent[child] = above;
        children[above].push(child);
    }
    let mut stability = vec![0f64; clusters];
    for row in &tree.rows {
        stability[number(row.parent)] += (row.lambda - birth[number(row.parent)]) * row.size;
    }

    let mut chosen = vec![false; clusters];
    match selection {
        Selection::Eom => {
            let mut mass = stability;
            // children have larger numbers than their parents
            for cluster in (0..clusters).rev() {
                let below: f64 = children[cluster].iter().map(|child| mass[*child]).sum();
                let root_barred = cluster == 0 && !allow_single_cluster;
                if root_barred || (!children[cluster].is_empty() && below > mass[cluster]) {
                    mass[cluster] = below;
                } else {
                    chosen[cluster] = true;
                    clear_below(cluster, &children, &mut chosen);
                }
            }
        }
        Selection::Leaf => {
            for cluster in 0..clusters {
                chosen[cluster] = children[cluster].is_empty() && (cluster != 0 || allow_single_cluster);
            }
        }
    }
    if epsilon > 0.0 {
        merge_close(&mut chosen, &birth, &parent, &children, epsilon, allow_single_cluster);
    }
    label(tree, &chosen, &parent, epsilon, allow_single_cluster)
}

/// How much of an outlier each point is, in [0, 1]: GLOSH, `1 - density at which it leaves / highest density of any point
/// of its last cluster or of clusters within that` (Campello, Moulavi, Zimek, Sander 2015, section 5).
///
/// Equal points are as dense as can be; beside them all others would score 1, so that the highest density is that of
/// points that differ.
pub fn outlier_scores(tree: &CondensedTree) -> Vec<f32> {
    let n = tree.n_points;
    let differ = |row: &&Condensed| row.lambda < DENSEST;
    let mut densest = vec![0f64; tree.n_clusters];
    for row in tree.rows.iter().filter(differ) {
        let cluster = &mut densest[row.parent as usize - n];
        *cluster = cluster.max(row.lambda);
    }
    // rows of parents stand before those of their children
    for row in tree.rows.iter().rev().filter(|row| row.child as usize >= n) {
        let (parent, child) = (row.parent as usize - n, row.child as usize - n);
        densest[parent] = densest[parent].max(densest[child]);
    }
    let mut scores = vec![0f32; n];
    for row in tree.rows.iter().filter(|row| (row.child as usize) < n) {
        let highest = densest[row.parent as usize - n];
        if highest > 0.0 {
            scores[row.child as usize] = (1.0 - row.lambda / highest).max(0.0) as f32;
        }
    }
    scores
}

fn single_linkage(tree: &[Edge], n_points: usize, weight_of: impl Fn(u32) -> f64) -> Vec<Merge> {
    let mut sets = UnionFind::new(n_points);
    // dendrogram node that stands for the set whose union-find root is the index
    let mut node: Vec<u32> = (0..n_points as u32).collect();
    let mut size: Vec<f64> = (0..n_points as u32).map(weight_of).collect();
    let mut merges = Vec::with_capacity(tree.len());
    for edge in tree {
        let (a, b) = (sets.find(edge.a), sets.find(edge.b));
        let merged = size[a as usize] + size[b as usize];
        merges.push(Merge { left: node[a as usize], right: node[b as usize], distance: edge.weight, size: merged });
        sets.union(a, b);
        let root = sets.find(a) as usize;
        node[root] = (n_points + merges.len() - 1) as u32;
        size[root] = merged;
    }
    merges
}

fn density(distance: f64) -> f64 {
    if distance > 1.0 / DENSEST { 1.0 / distance } else { DENSEST }
}

fn clear_below(cluster: usize, children: &[Vec<usize>], chosen: &mut [bool]) {
    let mut stack = children[cluster].clone();
    while let Some(below) = stack.pop() {
        chosen[below] = false;
        stack.extend(&children[below]);
    }
}

/// Replaces every chosen cluster that is born at a distance below `epsilon` by its first ancestor that is not.
fn merge_close(
    chosen: &mut [bool],
    birth: &[f64],
    parent: &[usize],
    children: &[Vec<usize>],
    epsilon: f64,
    allow_single_cluster: bool,
) {
    let too_close = |cluster: usize| birth[cluster] > 0.0 && 1.0 / birth[cluster] < epsilon;
    for cluster in 1..chosen.len() {
        if !chosen[cluster] || !too_close(cluster) {
            continue;
        }
        let mut above = cluster;
        loop {
            let next = parent[above];
            if next == 0 {
                // the root: itself if it may be a cluster, else the top child on the way
                above = if allow_single_cluster { 0 } else { above };
                break;
            }
            above = next;
            if !too_close(above) {
                break;
            }
        }
        chosen[above] = true;
        clear_below(above, children, chosen);
    }
}

fn label(tree: &CondensedTree, chosen: &[bool], parent: &[usize], epsilon: f64, allow_single_cluster: bool) -> Flat {
    let n = tree.n_points;
    let mut labels_of = vec![crate::cluster::NOISE; chosen.len()];
    let mut n_clusters = 0;
    // chosen cluster that each cluster lies in; parents come first
    let mut home = vec![usize::MAX; chosen.len()];
    for cluster in 0..chosen.len() {
        if chosen[cluster] {
            labels_of[cluster] = n_clusters;
            n_clusters += 1;
            home[cluster] = cluster;
        } else if cluster > 0 {
            home[cluster] = home[parent[cluster]];
        }
    }
    let only_root = allow_single_cluster && chosen[0];
    let mut leaves_at = vec![0f64; n];
    let mut home_of = vec![usize::MAX; n];
    for row in tree.rows.iter().filter(|row| (row.child as usize) < n) {
        leaves_at[row.child as usize] = row.lambda;
        home_of[row.child as usize] = home[row.parent as usize - n];
    }
    // density at which the cluster itself ends: its last point leaves, or it splits
    let mut densest = vec![0f64; chosen.len()];
    for row in &tree.rows {
        let cluster = &mut densest[row.parent as usize - n];
        *cluster = cluster.max(row.lambda);
    }
    // with the root as the only cluster, points that leave it before its densest level (or epsilon) are noise
    let root_floor = if epsilon > 0.0 {
        1.0 / epsilon
    } else {
        tree.rows.iter().filter(|row| row.parent as usize == n).map(|row| row.lambda).fold(0.0, f64::max)
    };
    let mut labels = vec![crate::cluster::NOISE; n];
    let mut probabilities = vec![0f32; n];
    for point in 0..n {
        let cluster = home_of[point];
        if cluster == usize::MAX || (cluster == 0 && only_root && leaves_at[point] < root_floor) {
            continue;
        }
        labels[point] = labels_of[cluster];
        let level = leaves_at[point].min(densest[cluster]);
        probabilities[point] = if densest[cluster] > 0.0 { (level / densest[cluster]) as f32 } else { 1.0 };
    }
    // the root alone may lose every point to epsilon
    let n_clusters = labels.iter().max().map_or(0, |label| (label + 1) as usize);
    Flat { labels, probabilities, n_clusters }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of three at distance 1, 10 apart.
    fn two_groups() -> Vec<Edge> {
        let edge = |a, b, weight| Edge { a, b, weight };
        vec![edge(0, 1, 1.0), edge(1, 2, 1.0), edge(3, 4, 1.0), edge(4, 5, 1.0), edge(2, 3, 10.0)]
    }

    #[test]
    fn two_groups_are_two_clusters() {
        let tree = condense(&two_groups(), 6, None, 3.0);
        for selection in [Selection::Eom, Selection::Leaf] {
            let flat = select(&tree, selection, 0.0, false);
            assert_eq!(flat.n_clusters, 2);
            assert_eq!(flat.labels[0], flat.labels[2]);
            assert_ne!(flat.labels[0], flat.labels[3]);
            assert!(flat.probabilities.iter().all(|p| *p == 1.0));
        }
    }

    #[test]
    fn too_small_groups_are_noise_with_probability_zero() {
        let flat = select(&condense(&two_groups(), 6, None, 4.0), Selection::Eom, 0.0, false);
        assert_eq!(flat.labels, [-1; 6]);
        assert_eq!(flat.probabilities, [0.0; 6]);
    }

    #[test]
    fn weights_make_a_group_large_enough() {
        let weights = [2.0; 6];
        let flat = select(&condense(&two_groups(), 6, Some(&weights), 6.0), Selection::Eom, 0.0, false);
        assert_eq!(flat.n_clusters, 2);
    }

    #[test]
    fn epsilon_merges_what_splits_below_it() {
        let edge = |a, b, weight| Edge { a, b, weight };
        let mut edges = two_groups();
        edges.extend([edge(6, 7, 1.0), edge(7, 8, 1.0), edge(5, 6, 100.0)]);
        edges.sort_by(|a, b| a.weight.total_cmp(&b.weight));
        let tree = condense(&edges, 9, None, 3.0);
        assert_eq!(select(&tree, Selection::Leaf, 0.0, false).n_clusters, 3);
        assert_eq!(select(&tree, Selection::Leaf, 20.0, false).n_clusters, 2);
    }

    #[test]
    fn one_cluster_is_found_only_when_allowed() {
        let edges: Vec<Edge> = (0..9).map(|i| Edge { a: i, b: i + 1, weight: 1.0 }).collect();
        let tree = condense(&edges, 10, None, 3.0);
        assert_eq!(select(&tree, Selection::Eom, 0.0, false).n_clusters, 0);
        assert_eq!(select(&tree, Selection::Eom, 0.0, true).n_clusters, 1);
    }

    #[test]
    fn outlier_scores_compare_a_point_with_the_densest_of_its_cluster() {
        let edge = |a, b, weight| Edge { a, b, weight };
        // {0, 1, 2} at distance 1, {3, 4, 5} at 2, joined at 10; 6 comes at 20
        let edges =
            [edge(0, 1, 1.0), edge(1, 2, 1.0), edge(3, 4, 2.0), edge(4, 5, 2.0), edge(2, 3, 10.0), edge(5, 6, 20.0)];
        let scores = outlier_scores(&condense(&edges, 7, None, 3.0));
        assert_eq!(scores[..6], [0.0; 6]);
        // it leaves the root, below which density 1 is reached
        assert!((scores[6] - 0.95).abs() < 1e-6);
        // equal points make nobody else an outlier
        let equal = [edge(0, 1, 0.0), edge(1, 2, 0.0), edge(2, 3, 1.0), edge(3, 4, 2.0)];
        assert_eq!(outlier_scores(&condense(&equal, 5, None, 3.0)), [0.0, 0.0, 0.0, 0.0, 0.5]);
        assert_eq!(outlier_scores(&condense(&equal[..2], 3, None, 2.0)), [0.0; 3]);
        assert_eq!(outlier_scores(&condense(&[], 1, None, 2.0)), [0.0]);
    }
}
