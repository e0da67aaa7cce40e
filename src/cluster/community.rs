//! Communities of a weighted graph: the Leiden algorithm (Traag, Waltman, van Eck 2019): local moving, refinement,
//! aggregation. It does not choose a resolution; `density.rs` does.
//!
//! Serial, so the same bits on any number of threads; ties go to the community at hand, then to the smaller id.

use std::collections::VecDeque;

use super::network::{Network, compact, split_islands};
use crate::error::{Error, Result};
use crate::graph::KnnGraph;
use crate::graph::fuzzy::fuzzy;
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
    let mut network = Network::from_fuzzy(fuzzy(graph, task)?);
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
    let inside = quality(&network, &labels, pull);
    let quality_found = match params.objective {
        Objective::Modularity => inside / network.total().max(f64::MIN_POSITIVE),
        // pairs of points, not ordered pairs with the diagonal
        Objective::Cpm => (inside + pull * sizes.iter().map(|size| size * size).sum::<f64>()) / 2.0,
    };
    network.mass = degrees;
    let total = network.total().max(f64::MIN_POSITIVE);
    let modularity = quality(&network, &labels, 1.0 / total) / total;
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
    split_islands(network, &mut labels);
    Ok(labels)
}

/// Sum over communities of (ordered) weight inside less `pull` times mass squared.
pub fn quality(network: &Network, labels: &[u32], pull: f64) -> f64 {
    let n_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut mass = vec![0f64; n_labels];
    let mut inside = 0.0;
    for (node, label) in labels.iter().enumerate() {
        mass[*label as usize] += network.mass[node];
        inside += network.loops[node];
        inside +=
            network.edges(node).filter(|(to, _)| labels[*to as usize] == *label).map(|(_, w)| w as f64).sum::<f64>();
    }
    inside - pull * mass.iter().map(|mass| mass * mass).sum::<f64>()
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
/// (algorithm A.2, lines 34-47). The best part is taken, the limit of small randomness.
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
    let mut outward: Vec<f64> = (0..n)
        .map(|node| {
            let inside = network.edges(node).filter(|(to, _)| communities[*to as usize] == communities[node]);
            inside.map(|(_, weight)| weight as f64).sum()
        })
        .collect();
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
