//! Clusters of a kNN graph without a number of clusters, at several layers: communities (`community.rs`) at the
//! resolution that neighbors can follow (`resolution.rs`), memberships, noise, and the nearest cluster of noise. It
//! reads the graph only, never vectors.
//!
//! Serial but for the edge weights, so the same bits on any number of threads.

use super::NOISE;
use super::community::settle;
use super::network::{Network, compact, numbered};
use super::resolution::{Search, chosen, nearest_level};
use crate::error::{Error, Result};
use crate::graph::KnnGraph;
use crate::graph::forest::UnionFind;
use crate::graph::fuzzy::fuzzy_graph;
use crate::task::Task;

/// Units of progress per point.
pub const UNITS_PER_ROW: u64 = 4;
/// Points between two looks at the stop flag.
const BLOCK: usize = 4_096;
/// A modified z-score above this marks an outlier (Iglewicz, Hoaglin 1993, "How to detect and handle outliers").
const OUTLYING: f64 = 3.5;
/// Standard deviation of a normal distribution by its median absolute deviation.
const DEVIATION_PER_MAD: f64 = 1.4826;
/// At most one text in this many is called noise for its distance.
const TEXTS_PER_OUTLIER: usize = 10;

#[derive(Debug, Clone, PartialEq)]
pub struct DensityParams {
    min_cluster_size: usize,
    resolution: Option<f64>,
    random_state: u64,
}

impl DensityParams {
    /// `resolution` of modularity for the flat clusters; chosen from the graph when absent.
    ///
    /// # Errors
    /// `InvalidInput` for `min_cluster_size == 0`, or a `resolution` that is not finite and > 0.
    pub fn new(min_cluster_size: usize, resolution: Option<f64>, random_state: u64) -> Result<Self> {
        if min_cluster_size == 0 {
            return Err(Error::invalid("min_cluster_size must be at least 1: got 0"));
        }
        if let Some(resolution) = resolution
            && !(resolution.is_finite() && resolution > 0.0)
        {
            return Err(Error::invalid(format!("resolution must be a finite number > 0: got {resolution}")));
        }
        Ok(Self { min_cluster_size, resolution, random_state })
    }
}

/// Clusters of n points, in every layer numbered by falling size; -1 = noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Density {
    /// One of the layers.
    pub labels: Vec<i32>,
    /// Finest first; each cluster lies within one of the next layer.
    pub layers: Vec<Vec<i32>>,
    /// Share of a point's edge weight that stays in its cluster; for noise, in the nearest one.
    pub membership: Vec<f32>,
    /// The own label; for noise the cluster it is linked to, -1 where there is none.
    pub nearest: Vec<i32>,
    pub n_clusters: usize,
    /// Of modularity, of `labels`.
    pub resolution: f64,
}

/// Finds the clusters. `weights` count how often a point occurs, towards the sizes of clusters.
///
/// # Errors
/// `InvalidInput` when the weights do not fit; `Cancelled`.
pub fn density(graph: &KnnGraph, weights: Option<&[f32]>, params: &DensityParams, task: &Task) -> Result<Density> {
    super::kmeans::check_weights(weights, graph.n(), "sample_weight")?;
    let n = graph.n();
    task.start(UNITS_PER_ROW * n as u64);
    let least = params.min_cluster_size as f64;
    let sizes: Vec<f64> = (0..n).map(|i| weights.map_or(1.0, |weights| weights[i] as f64)).collect();
    let network = Network::from_fuzzy(fuzzy_graph(graph, task)?);
    task.advance(n as u64);

    let search = Search { network: &network, k: graph.k(), seed: params.random_state, task };
    let levels = search.levels()?;
    task.advance(n as u64);
    let level = match params.resolution {
        Some(resolution) => nearest_level(&levels, resolution),
        None => chosen(&levels),
    };
    let resolution = params.resolution.unwrap_or(levels[level].resolution);

    // points moved between whole communities only so far: now each for itself
    let mut flat = levels[level].labels.clone();
    settle(&network, &mut flat, search.pull(resolution), params.random_state, task)?;
    absorb_small(&network, &mut flat, &sizes, least, task)?;
    task.advance(n as u64);

    let mut layers = search.finer(&flat, &levels[0].labels, resolution, |inside, labels| {
        absorb_small(inside, labels, &sizes, least, task)
    })?;
    drop(levels);
    layers.push(flat);
    let default = layers.len() - 1;
    layers.extend(search.coarser(&layers[default], resolution)?);
    let noise = noise(graph, &layers[0], &sizes, least, task)?;
    task.advance(n as u64);
    let mut found = describe(&network, &layers[default], &noise, &sizes, task)?;
    found.resolution = resolution;
    let without_noise = |labels: &Vec<u32>| renumbered(labels, &noise, &sizes).0;
    found.layers = layers.iter().map(without_noise).collect();
    // a layer that says what the next finer one says is left out
    let flat = found.labels.clone();
    found.layers.dedup();
    debug_assert!(found.layers.contains(&flat));
    Ok(found)
}

/// Clusters smaller than `least` join the one they are most linked to; those linked to none stay.
fn absorb_small(network: &Network, labels: &mut [u32], sizes: &[f64], least: f64, task: &Task) -> Result<()> {
    loop {
        let n_labels = compact(labels);
        let mut size = vec![0f64; n_labels];
        for (label, weight) in labels.iter().zip(sizes) {
            size[*label as usize] += weight;
        }
        if size.iter().all(|size| *size >= least) {
            return Ok(());
        }
        let coarse = network.aggregate(labels, n_labels, task)?;
        let mut small: Vec<u32> = (0..n_labels as u32).filter(|label| size[*label as usize] < least).collect();
        small.sort_by(|a, b| size[*a as usize].total_cmp(&size[*b as usize]).then(a.cmp(b)));
        let mut sets = UnionFind::new(n_labels);
        let mut joined = false;
        for label in small {
            let root = sets.find(label);
            if size[root as usize] >= least {
                continue;
            }
            let heaviest = coarse.edges(label as usize).filter(|(to, _)| sets.find(*to) != root).fold(
                None,
                |best: Option<(u32, f32)>, (to, weight)| match best {
                    Some((_, most)) if weight <= most => best,
                    _ => Some((to, weight)),
                },
            );
            if let Some((to, _)) = heaviest {
                let together = size[root as usize] + size[sets.find(to) as usize];
                sets.union(root, to);
                size[sets.find(root) as usize] = together;
                joined = true;
            }
        }
        for label in labels.iter_mut() {
            *label = sets.find(*label);
        }
        if !joined {
            return Ok(());
        }
    }
}

/// Texts unlike their neighbors, and clusters too small to be one. `finest` is the finest layer: no cluster of it may
/// fall below `least` by losing outliers.
///
/// A text is unlike its neighbors when it is much farther from them than they are from theirs (Breunig et al. 2000,
/// local outlier factor, with mean distances), compared with how that ratio varies over all texts, and farther than
/// the median text is.
fn noise(graph: &KnnGraph, finest: &[u32], sizes: &[f64], least: f64, task: &Task) -> Result<Vec<bool>> {
    let n = graph.n();
    let distance: Vec<f64> = (0..n).map(|i| mean(graph.neighbors(i).map(|(_, d)| d as f64))).collect();
    task.check()?;
    let usual = median(distance.clone());
    let mut remoteness = Vec::with_capacity(n);
    for i in 0..n {
        if i % BLOCK == 0 {
            task.check()?;
        }
        let around = mean(graph.neighbors(i).map(|(j, _)| distance[j as usize]));
        // a heap of equal texts is at distance 0 from its own: then any distance is infinitely far
        remoteness.push(if distance[i] == around { 0.0 } else { (distance[i] / around).ln() });
    }
    let middle = median(remoteness.clone());
    let deviation = DEVIATION_PER_MAD * median(remoteness.iter().map(|value| (value - middle).abs()).collect());
    let threshold = middle + OUTLYING * deviation;
    let mut outliers: Vec<u32> = if deviation > 0.0 {
        (0..n as u32)
            .filter(|i| remoteness[*i as usize] > threshold.max(0.0) && distance[*i as usize] > usual)
            .collect()
    } else {
        Vec::new()
    };
    outliers.sort_by(|a, b| remoteness[*b as usize].total_cmp(&remoteness[*a as usize]).then(a.cmp(b)));
    outliers.truncate(n / TEXTS_PER_OUTLIER);

    let n_labels = finest.iter().max().map_or(0, |label| *label as usize + 1);
    let mut size = vec![0f64; n_labels];
    for (label, weight) in finest.iter().zip(sizes) {
        size[*label as usize] += weight;
    }
    let mut noise: Vec<bool> = finest.iter().map(|label| size[*label as usize] < least).collect();
    for outlier in outliers {
        let (i, cluster) = (outlier as usize, finest[outlier as usize] as usize);
        if !noise[i] && size[cluster] - sizes[i] >= least {
            size[cluster] -= sizes[i];
            noise[i] = true;
        }
    }
    Ok(noise)
}

/// Labels, membership and nearest cluster of one layer.
fn describe(network: &Network, labels: &[u32], noise: &[bool], sizes: &[f64], task: &Task) -> Result<Density> {
    let (found, n_clusters) = renumbered(labels, noise, sizes);
    // every row's number, noise included; -1 where the whole cluster is noise
    let n_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut number = vec![NOISE; n_labels];
    for (label, found) in labels.iter().zip(&found).filter(|(_, found)| **found != NOISE) {
        number[*label as usize] = *found;
    }
    let nearest: Vec<i32> = labels.iter().map(|label| number[*label as usize]).collect();
    let mut membership = vec![0f32; labels.len()];
    for (i, share) in membership.iter_mut().enumerate() {
        if i % BLOCK == 0 {
            task.check()?;
        }
        let (mut own, mut all) = (0f64, 0f64);
        for (to, weight) in network.edges(i) {
            all += weight as f64;
            own += if labels[to as usize] == labels[i] { weight as f64 } else { 0.0 };
        }
        if all > 0.0 && nearest[i] != NOISE {
            *share = (own / all) as f32;
        }
    }
    Ok(Density { labels: found, layers: Vec::new(), membership, nearest, n_clusters, resolution: 1.0 })
}

/// Labels by falling size, counted without noise, which is -1; how many there are.
fn renumbered(labels: &[u32], noise: &[bool], sizes: &[f64]) -> (Vec<i32>, usize) {
    let kept: Vec<usize> = (0..labels.len()).filter(|i| !noise[*i]).collect();
    let (numbers, n_clusters) = numbered(
        &kept.iter().map(|i| labels[*i]).collect::<Vec<_>>(),
        &kept.iter().map(|i| sizes[*i]).collect::<Vec<_>>(),
    );
    let mut found = vec![NOISE; labels.len()];
    for (i, number) in kept.into_iter().zip(numbers) {
        found[i] = number;
    }
    (found, n_clusters)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    if count > 0 { sum / count as f64 } else { 0.0 }
}

/// The upper median; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::random::Rng;
    use crate::vectors::Vectors;

    /// Balls of `sizes` points around far corners, in 6 dimensions.
    fn balls(sizes: &[usize]) -> (KnnGraph, Vec<usize>) {
        let mut rng = Rng::new(7, 0);
        let truth: Vec<usize> = sizes.iter().enumerate().flat_map(|(ball, size)| vec![ball; *size]).collect();
        let data: Vec<f32> = truth
            .iter()
            .flat_map(|ball| (0..6).map(|d| if ball >> d & 1 == 1 { 9.0 } else { 0.0 }).collect::<Vec<f64>>())
            .map(|centre| (centre + rng.normal()) as f32)
            .collect();
        let vectors = Vectors::new(&data, truth.len(), 6).unwrap();
        (exact::build(vectors, 15, &Task::new()).unwrap(), truth)
    }

    fn found(graph: &KnnGraph, weights: Option<&[f32]>) -> Density {
        density(graph, weights, &DensityParams::new(5, None, 0).unwrap(), &Task::new()).unwrap()
    }

    #[test]
    fn balls_of_uneven_size_are_found_and_numbered_by_size() {
        let (graph, truth) = balls(&[40, 400, 120, 25]);
        let clusters = found(&graph, None);
        assert_eq!(clusters.n_clusters, 4);
        let rank = [2, 0, 1, 3];
        assert!(clusters.nearest.iter().zip(&truth).all(|(label, ball)| *label == rank[*ball]));
        assert!(clusters.labels.iter().zip(&clusters.nearest).all(|(label, near)| label == near || *label == NOISE));
    }

    #[test]
    fn layers_are_nested_and_hold_the_labels() {
        let (graph, _) = balls(&[300, 300, 300, 300, 300]);
        let clusters = found(&graph, None);
        assert!(clusters.layers.contains(&clusters.labels));
        for pair in clusters.layers.windows(2) {
            let mut above = std::collections::BTreeMap::new();
            for (fine, coarse) in pair[0].iter().zip(&pair[1]) {
                assert_eq!(above.entry(*fine).or_insert(*coarse), coarse);
            }
            assert!(pair[0].iter().max() > pair[1].iter().max());
        }
    }

    #[test]
    fn weights_count_towards_the_least_size() {
        let graph = KnnGraph::from_parts(vec![1, 0, 3, 2], vec![1.0; 4], 4, 1).unwrap();
        assert_eq!(found(&graph, None).labels, vec![NOISE; 4]);
        assert_eq!(found(&graph, Some(&[1.0, 1.0, 3.0, 3.0])).labels, vec![NOISE, NOISE, 0, 0]);
    }

    #[test]
    fn a_stopped_task_ends_the_search() {
        let (graph, _) = balls(&[100, 100]);
        let task = Task::new();
        task.stop();
        let params = DensityParams::new(5, None, 0).unwrap();
        assert_eq!(density(&graph, None, &params, &task), Err(Error::Cancelled));
    }
}
