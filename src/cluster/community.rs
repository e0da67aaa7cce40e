//! Communities of a weighted graph: the Leiden algorithm (Traag, Waltman, van Eck 2019): local moving, refinement,
//! aggregation. It does not choose a resolution; `density.rs` does.
//!
//! Serial, so the same bits on any number of threads; ties go to the community at hand, then to the smaller id.

use std::collections::VecDeque;

use super::network::{Network, compact, split_islands};
use crate::error::{Error, Result};
use crate::graph::KnnGraph;
use crate::graph::fuzzy::fuzzy_graph;
use crate::random::Rng;
use crate::task::Task;

/// Nodes between two looks at the stop flag.
const BLOCK: usize = 4_096;
/// A move must gain more than this share of the node's edges: rounding must not move a node to and fro.
const ROUNDING: f64 = 1e-9;

/// What a partition is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Edges inside communities beyond what node degrees let expect (Newman, Girvan 2004; resolution: Reichardt,
    /// Bornholdt 2006).
    Modularity,
    /// Constant Potts model: edges inside beyond `resolution` for each pair of points (Traag, Van Dooren, Nesterov
    /// 2011).
    Cpm,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeidenParams {
    objective: Objective,
    resolution: f64,
    n_iterations: usize,
    random_state: u64,
}

impl LeidenParams {
    /// # Errors
    /// `InvalidInput` for a `resolution` that is not finite and > 0, or `n_iterations == 0`.
    pub fn new(objective: Objective, resolution: f64, n_iterations: usize, random_state: u64) -> Result<Self> {
        if !(resolution.is_finite() && resolution > 0.0) {
            return Err(Error::invalid(format!("resolution must be a finite number > 0: got {resolution}")));
        }
        if n_iterations == 0 {
            return Err(Error::invalid("n_iterations must be at least 1: got 0"));
        }
        Ok(Self { objective, resolution, n_iterations, random_state })
    }

    /// Units of progress per point.
    pub fn units_per_row(&self) -> u64 {
        (self.n_iterations as u64).saturating_add(1)
    }
}

/// Communities, numbered by falling size.
#[derive(Debug, Clone, PartialEq)]
pub struct Communities {
    pub labels: Vec<i32>,
    /// Of the objective: modularity in [-1, 1], or the weight inside beyond the expected one for CPM.
    pub quality: f64,
    /// At resolution 1, whatever the objective.
    pub modularity: f64,
    pub n_clusters: usize,
}

/// Leiden communities of a kNN graph with fuzzy edge weights. `weights` count how often a point occurs, towards the
/// numbering of the communities, and in CPM towards their size.
///
/// # Errors
/// `InvalidInput` when the weights do not fit; `Cancelled`.
pub fn leiden(graph: &KnnGraph, weights: Option<&[f32]>, params: &LeidenParams, task: &Task) -> Result<Communities> {
    super::kmeans::check_weights(weights, graph.n(), "sample_weight")?;
    let n = graph.n();
    task.start((n as u64).saturating_mul(params.units_per_row()));
    let mut network = Network::from_fuzzy(fuzzy_graph(graph, task)?);
    task.advance(n as u64);
    let sizes: Vec<f64> = (0..n).map(|i| weights.map_or(1.0, |weights| weights[i] as f64)).collect();
    let degrees = network.mass.clone();
    let pull = match params.objective {
        Objective::Modularity => params.resolution / network.total().max(f64::MIN_POSITIVE),
        Objective::Cpm => {
            network.mass.copy_from_slice(&sizes);
            params.resolution
        }
    };
    let mut labels: Vec<u32> = (0..n as u32).collect();
    for iteration in 0..params.n_iterations {
        let before = labels.clone();
        labels = partition(&network, labels, pull, params.random_state.wrapping_add(iteration as u64), task)?;
        task.advance(n as u64);
        if labels == before {
            break;
        }
    }
    let inside = quality(&network, &labels, pull, task)?;
    let quality_found = match params.objective {
        Objective::Modularity => inside / network.total().max(f64::MIN_POSITIVE),
        // pairs of points, not ordered pairs with the diagonal
        Objective::Cpm => (inside + pull * sizes.iter().map(|size| size * size).sum::<f64>()) / 2.0,
    };
    network.mass = degrees;
    let total = network.total().max(f64::MIN_POSITIVE);
    let modularity = quality(&network, &labels, 1.0 / total, task)? / total;
    let (labels, n_clusters) = super::network::numbered(&labels, &sizes);
    Ok(Communities { labels, quality: quality_found, modularity, n_clusters })
}

/// One iteration of Leiden from a start: a partition whose every community is connected. `pull` is what each unit of
/// mass in a community costs each other unit: `resolution / total` for modularity.
pub fn partition(network: &Network, start: Vec<u32>, pull: f64, seed: u64, task: &Task) -> Result<Vec<u32>> {
    let mut communities = start;
    compact(&mut communities);
    // node of the present level that each node of the first one lies in
    let mut home: Vec<u32> = (0..network.n() as u32).collect();
    let mut owned: Option<Network> = None;
    for level in 0.. {
        let present = owned.as_ref().unwrap_or(network);
        let mut rng = Rng::new(seed, level);
        move_nodes(present, &mut communities, pull, &mut rng, task)?;
        let n_communities = compact(&mut communities);
        if n_communities == present.n() {
            break;
        }
        let mut refined = refine(present, &communities, pull, &mut rng, task)?;
        let n_refined = compact(&mut refined);
        if n_refined == present.n() {
            break;
        }
        let coarse = present.aggregate(&refined, n_refined, task)?;
        let mut of_refined = vec![0u32; n_refined];
        for (node, part) in refined.iter().enumerate() {
            of_refined[*part as usize] = communities[node];
        }
        for node in &mut home {
            *node = refined[*node as usize];
        }
        communities = of_refined;
        owned = Some(coarse);
    }
    let mut labels: Vec<u32> = home.iter().map(|node| communities[*node as usize]).collect();
    split_islands(network, &mut labels, task)?;
    Ok(labels)
}

/// Lets every node move from where it is to the community that gains most, until none does; communities stay
/// connected. Unlike [`partition`] it neither joins nor divides communities.
pub fn settle(network: &Network, labels: &mut [u32], pull: f64, seed: u64, task: &Task) -> Result<()> {
    compact(labels);
    move_nodes(network, labels, pull, &mut Rng::new(seed, 0), task)?;
    split_islands(network, labels, task)?;
    Ok(())
}

/// Sum over communities of (ordered) weight inside less `pull` times mass squared.
///
/// # Errors
/// `Cancelled`.
pub fn quality(network: &Network, labels: &[u32], pull: f64, task: &Task) -> Result<f64> {
    let n_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut mass = vec![0f64; n_labels];
    let mut inside = 0.0;
    for (node, label) in labels.iter().enumerate() {
        if node % BLOCK == 0 {
            task.check()?;
        }
        mass[*label as usize] += network.mass[node];
        inside += network.loops[node];
        inside +=
            network.edges(node).filter(|(to, _)| labels[*to as usize] == *label).map(|(_, w)| w as f64).sum::<f64>();
    }
    Ok(inside - pull * mass.iter().map(|mass| mass * mass).sum::<f64>())
}

/// Fast local moving (section "The Leiden algorithm", lines 13-33 of algorithm A.2): nodes in random order, and again
/// those whose neighbors moved.
fn move_nodes(network: &Network, communities: &mut [u32], pull: f64, rng: &mut Rng, task: &Task) -> Result<()> {
    let n = network.n();
    let mut mass = vec![0f64; n];
    let mut members = vec![0u32; n];
    for (node, community) in communities.iter().enumerate() {
        mass[*community as usize] += network.mass[node];
        members[*community as usize] += 1;
    }
    let mut empty: Vec<u32> = (0..n as u32).rev().filter(|community| members[*community as usize] == 0).collect();
    let mut queue: VecDeque<u32> = shuffled(n, rng).into();
    let mut waiting = vec![true; n];
    let mut links = Links::new(n);
    let mut visits = 0usize;
    while let Some(node) = queue.pop_front() {
        if visits.is_multiple_of(BLOCK) {
            task.check()?;
        }
        visits += 1;
        let node = node as usize;
        waiting[node] = false;
        let own = communities[node];
        let own_mass = network.mass[node];
        links.gather(network, node, communities);
        mass[own as usize] -= own_mass;
        let stay = links.to(own) - pull * own_mass * mass[own as usize];
        let least = stay + ROUNDING * own_mass.max(links.sum);
        let (mut best, mut best_gain) = (own, least);
        for community in &links.touched {
            let gain = links.to(*community) - pull * own_mass * mass[*community as usize];
            if gain > best_gain || (gain == best_gain && best != own && *community < best) {
                (best, best_gain) = (*community, gain);
            }
        }
        if members[own as usize] > 1
            && 0.0 > best_gain
            && let Some(free) = empty.last()
        {
            best = *free;
        }
        mass[best as usize] += own_mass;
        if best != own {
            communities[node] = best;
            members[own as usize] -= 1;
            members[best as usize] += 1;
            if members[best as usize] == 1 {
                empty.pop();
            }
            if members[own as usize] == 0 {
                empty.push(own);
            }
            for (to, _) in network.edges(node) {
                if communities[to as usize] != best && !waiting[to as usize] {
                    waiting[to as usize] = true;
                    queue.push_back(to);
                }
            }
        }
        links.clear();
    }
    Ok(())
}

/// Splits communities into well-connected parts: single nodes join a part of their community, or stay alone
/// (algorithm A.2, lines 34-47). The best part is taken, the limit of small randomness: on kNN graphs of texts the
/// modularity is the reference's to 0.002, on tiny graphs it takes more starts to reach the optimum.
fn refine(network: &Network, communities: &[u32], pull: f64, rng: &mut Rng, task: &Task) -> Result<Vec<u32>> {
    let n = network.n();
    let mut whole = vec![0f64; n];
    for (node, community) in communities.iter().enumerate() {
        whole[*community as usize] += network.mass[node];
    }
    let mut parts: Vec<u32> = (0..n as u32).collect();
    let mut mass = network.mass.clone();
    let mut alone = vec![true; n];
    // weight from each part to the rest of its community
    let mut outward = vec![0f64; n];
    for node in 0..n {
        if node % BLOCK == 0 {
            task.check()?;
        }
        let inside = network.edges(node).filter(|(to, _)| communities[*to as usize] == communities[node]);
        outward[node] = inside.map(|(_, weight)| weight as f64).sum();
    }
    let mut links = Links::new(n);
    for (visits, node) in shuffled(n, rng).into_iter().enumerate() {
        if visits % BLOCK == 0 {
            task.check()?;
        }
        let node = node as usize;
        let all = whole[communities[node] as usize];
        let well_connected = |outward: f64, mass: f64| outward >= pull * mass * (all - mass);
        if !alone[node] || !well_connected(outward[node], network.mass[node]) {
            continue;
        }
        links.gather_where(network, node, &parts, |to| communities[to] == communities[node]);
        let (mut best, mut best_gain) = (node as u32, 0.0);
        for part in &links.touched {
            if !well_connected(outward[*part as usize], mass[*part as usize]) {
                continue;
            }
            let gain = links.to(*part) - pull * network.mass[node] * mass[*part as usize];
            if gain > best_gain || (gain == best_gain && gain > 0.0 && *part < best) {
                (best, best_gain) = (*part, gain);
            }
        }
        if best != node as u32 {
            let to = best as usize;
            outward[to] += outward[node] - 2.0 * links.to(best);
            mass[to] += network.mass[node];
            mass[node] = 0.0;
            parts[node] = best;
            alone[to] = false;
            alone[node] = false;
        }
        links.clear();
    }
    Ok(parts)
}

/// Weight from one node to each community near it.
struct Links {
    weight: Vec<f64>,
    touched: Vec<u32>,
    sum: f64,
}

impl Links {
    fn new(n: usize) -> Self {
        Self { weight: vec![0.0; n], touched: Vec::new(), sum: 0.0 }
    }

    fn gather(&mut self, network: &Network, node: usize, labels: &[u32]) {
        self.gather_where(network, node, labels, |_| true);
    }

    fn gather_where(&mut self, network: &Network, node: usize, labels: &[u32], counts: impl Fn(usize) -> bool) {
        for (to, weight) in network.edges(node) {
            if !counts(to as usize) {
                continue;
            }
            let label = labels[to as usize];
            let slot = &mut self.weight[label as usize];
            if *slot == 0.0 {
                self.touched.push(label);
            }
            *slot += weight as f64;
            self.sum += weight as f64;
        }
    }

    fn to(&self, label: u32) -> f64 {
        self.weight[label as usize]
    }

    fn clear(&mut self) {
        for label in self.touched.drain(..) {
            self.weight[label as usize] = 0.0;
        }
        self.sum = 0.0;
    }
}

/// 0..n in random order (Fisher, Yates).
fn shuffled(n: usize, rng: &mut Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symmetric graph of weighted edges.
    fn network(n: usize, edges: &[(u32, u32, f32)]) -> Network {
        let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n];
        for (a, b, weight) in edges {
            rows[*a as usize].push((*b, *weight));
            rows[*b as usize].push((*a, *weight));
        }
        let mut offsets = vec![0];
        for row in &mut rows {
            row.sort_by_key(|(id, _)| *id);
            offsets.push(offsets[offsets.len() - 1] + row.len());
        }
        let (ids, weights) = rows.into_iter().flatten().unzip();
        Network::from_rows(offsets, ids, weights)
    }

    fn random_edges(n: u32, share: f64, seed: u64) -> Vec<(u32, u32, f32)> {
        let mut rng = Rng::new(seed, 1);
        let pairs = (0..n).flat_map(|a| (0..a).map(move |b| (b, a)));
        let drawn: Vec<(u32, u32, f64, f64)> = pairs.map(|(a, b)| (a, b, rng.unit(), rng.unit())).collect();
        drawn.into_iter().filter(|edge| edge.2 < share).map(|(a, b, _, weight)| (a, b, 0.1 + weight as f32)).collect()
    }

    fn value(network: &Network, labels: &[u32], pull: f64) -> f64 {
        quality(network, labels, pull, &Task::new()).unwrap()
    }

    fn pull_of(network: &Network, resolution: f64) -> f64 {
        resolution / network.total().max(1e-9)
    }

    fn start(n: usize) -> Vec<u32> {
        (0..n as u32).collect()
    }

    fn run(network: &Network, resolution: f64, seed: u64) -> Vec<u32> {
        partition(network, start(network.n()), pull_of(network, resolution), seed, &Task::new()).unwrap()
    }

    /// Best quality over all partitions of few nodes (restricted growth strings).
    fn best_quality(network: &Network, pull: f64) -> f64 {
        fn grow(network: &Network, labels: &mut Vec<u32>, used: u32, pull: f64) -> f64 {
            if labels.len() == network.n() {
                return value(network, labels, pull);
            }
            let mut best = f64::NEG_INFINITY;
            for label in 0..=used {
                labels.push(label);
                best = best.max(grow(network, labels, used.max(label + 1), pull));
                labels.pop();
            }
            best
        }
        grow(network, &mut Vec::new(), 0, pull)
    }

    #[test]
    fn two_cliques_on_a_bridge_part_there() {
        let mut edges = Vec::new();
        for base in [0, 5] {
            edges.extend((0..5).flat_map(|a| (0..a).map(move |b| (base + b, base + a, 1.0))));
        }
        edges.push((4, 5, 1.0));
        assert_eq!(run(&network(10, &edges), 1.0, 0), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn tiny_graphs_reach_the_best_partition() {
        let mut reached = 0;
        for seed in 0..40 {
            let network = network(8, &random_edges(8, 0.4, seed));
            let pull = pull_of(&network, 1.0);
            let best = best_quality(&network, pull);
            // without randomness in refinement one graph of these 40 is solved from few starts only, hence 50; the
            // randomized reference solves it from any
            let iterated = |seed: u64| {
                (0..5)
                    .fold(start(8), |labels, i| partition(&network, labels, pull, 10 * seed + i, &Task::new()).unwrap())
            };
            let found = (0..50).map(|seed| value(&network, &iterated(seed), pull)).fold(f64::MIN, f64::max);
            assert!(found <= best + 1e-5);
            reached += (found >= best - 1e-5) as usize;
        }
        assert_eq!(reached, 40);
    }

    #[test]
    fn communities_are_connected_and_better_than_single_nodes_and_than_moving_alone() {
        for seed in 0..60 {
            let n = 30 + (seed as usize * 7) % 90;
            let network = network(n, &random_edges(n as u32, 0.06, seed));
            for resolution in [0.3, 1.0, 4.0] {
                let pull = pull_of(&network, resolution);
                let labels = run(&network, resolution, seed);
                let mut pieces = labels.clone();
                let mut whole = labels.clone();
                assert_eq!(
                    split_islands(&network, &mut pieces, &Task::new()).unwrap(),
                    compact(&mut whole),
                    "seed {seed}"
                );
                let mut moved = start(n);
                settle(&network, &mut moved, pull, seed, &Task::new()).unwrap();
                let found = value(&network, &labels, pull);
                assert!(found >= value(&network, &start(n), pull));
                assert!(found >= value(&network, &moved, pull) - 0.02 * network.total(), "seed {seed}");
            }
        }
    }

    #[test]
    fn another_iteration_never_lowers_the_quality() {
        for seed in 0..30 {
            let network = network(80, &random_edges(80, 0.08, seed));
            let pull = pull_of(&network, 1.0);
            let mut labels = start(80);
            let mut last = f64::MIN;
            for iteration in 0..5 {
                labels = partition(&network, labels, pull, iteration, &Task::new()).unwrap();
                let now = value(&network, &labels, pull);
                assert!(now >= last - 1e-4, "seed {seed}: {last} -> {now}");
                last = now;
            }
        }
    }

    #[test]
    fn an_aggregated_graph_has_the_quality_of_its_partition() {
        let network = network(50, &random_edges(50, 0.1, 3));
        let mut labels = run(&network, 1.0, 0);
        let n_labels = compact(&mut labels);
        let coarse = network.aggregate(&labels, n_labels, &Task::new()).unwrap();
        let (whole, parts) = (value(&network, &labels, 1e-3), value(&coarse, &start(n_labels), 1e-3));
        assert!((whole - parts).abs() < 1e-6 * network.total());
    }
}
