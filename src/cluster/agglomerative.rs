//! Which clusters join at which distance: agglomerative clustering of up to some 20,000 weighted points (centroids with
//! sizes), the whole tree at once, to be cut at any level. O(n^2) time by nearest-neighbor chains (Muellner 2011,
//! "Modern hierarchical, agglomerative clustering algorithms", figure 2), n^2 / 2 distances of 4 bytes in memory.
//! More points are clustered first, and their centroids joined here.

use rayon::prelude::*;

use super::network::numbered;
use crate::error::{Error, Result};
use crate::graph::forest::UnionFind;
use crate::kernels::squared_distance;
use crate::task::Task;
use crate::vectors::Vectors;

/// More points than this would need more than 2 GiB for their distances.
pub const MAX_POINTS: usize = 32_768;

/// Rows whose distances are measured together.
const BLOCK: usize = 32;
/// Rows that pass by a block between two looks at the stop flag.
const ROWS_PER_CHECK: usize = 256;

/// How far apart two clusters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// Mean distance of their points (UPGMA; Sokal, Michener 1958).
    Average,
    /// Root of twice the growth of the sum of squared distances to the centroids (Ward 1963); of two single points their
    /// distance.
    Ward,
}

/// Two nodes that join: points are `0..n`, the merge in place `m` makes node `n + m`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The smaller of the two.
    pub left: u32,
    pub right: u32,
    pub distance: f64,
    /// Weight of both.
    pub size: f64,
}

/// The tree: `n - 1` merges by distance, as in the linkage matrix of SciPy, and the weights of the points.
#[derive(Debug, Clone, PartialEq)]
pub struct Agglomeration {
    pub merges: Vec<Merge>,
    pub weights: Vec<f64>,
}

/// Joins points until one cluster is left. A weight of w is w equal points. Among equal distances the smaller ids join
/// first.
///
/// # Errors
/// `InvalidInput` for more than `MAX_POINTS` points, or weights that do not fit; `Cancelled`.
pub fn agglomerate(
    vectors: Vectors<'_>,
    weights: Option<&[f32]>,
    linkage: Linkage,
    task: &Task,
) -> Result<Agglomeration> {
    let n = vectors.n();
    if n > MAX_POINTS {
        return Err(Error::invalid(format!("at most {MAX_POINTS} rows can be joined: got {n}"))
            .hint("cluster them with KMeans first and join its cluster_centers_"));
    }
    super::kmeans::check_weights(weights, n, "sample_weight")?;
    let weights: Vec<f64> = (0..n).map(|i| weights.map_or(1.0, |weights| weights[i] as f64)).collect();
    task.start(2 * n as u64);
    let mut distances = Distances::measure(vectors, &weights, linkage, task)?;
    let joined = chain(&mut distances, &weights, linkage, task)?;
    let unscaled = |distance: f32| {
        let distance = match linkage {
            Linkage::Average => distance as f64,
            Linkage::Ward => (distance as f64).sqrt(),
        };
        distance * distances.unit
    };
    let merges = in_order(joined.into_iter().map(|(a, b, distance)| (a, b, unscaled(distance))).collect(), &weights);
    Ok(Agglomeration { merges, weights })
}

impl Agglomeration {
    /// Labels of the level with `n_clusters` clusters, numbered by falling weight, then by first point.
    ///
    /// # Errors
    /// `InvalidInput` for 0 clusters or more than points.
    pub fn cut(&self, n_clusters: usize) -> Result<Vec<i32>> {
        let n = self.weights.len();
        if n_clusters == 0 {
            return Err(Error::invalid("n_clusters must be at least 1: got 0"));
        }
        if n_clusters > n {
            return Err(Error::invalid(format!("n_clusters must be <= the number of rows: {n_clusters} > {n}")));
        }
        let mut sets = UnionFind::new(n);
        // any point of each node
        let mut point: Vec<u32> = (0..n as u32).collect();
        for merge in &self.merges[..n - n_clusters] {
            let (a, b) = (point[merge.left as usize], point[merge.right as usize]);
            sets.union(a, b);
            point.push(a);
        }
        let roots: Vec<u32> = (0..n as u32).map(|i| sets.find(i)).collect();
        Ok(numbered(&roots, &self.weights).0)
    }

    /// Labels after all merges below `distance`: clusters that far apart stay apart.
    ///
    /// # Errors
    /// `InvalidInput` when `distance` is NaN or negative.
    pub fn cut_at(&self, distance: f64) -> Result<Vec<i32>> {
        if distance.is_nan() || distance < 0.0 {
            return Err(Error::invalid(format!("distance_threshold must be a number >= 0: got {distance}")));
        }
        let n_merges = self.merges.partition_point(|merge| merge.distance < distance);
        self.cut(self.weights.len() - n_merges)
    }

    /// Number of clusters where successive merges are farthest apart in distance; 1 when all distances are equal.
    pub fn widest_gap(&self) -> usize {
        let mut widest = (0.0, 1);
        for (m, pair) in self.merges.windows(2).enumerate() {
            let gap = pair[1].distance - pair[0].distance;
            // of equal gaps the one with fewer clusters
            if gap >= widest.0 && gap > 0.0 {
                widest = (gap, self.merges.len() - m);
            }
        }
        widest.1
    }
}

/// Distances of all pairs `i < j`, row after row, in units of `unit`; squared for Ward.
struct Distances {
    values: Vec<f32>,
    n: usize,
    unit: f64,
}

impl Distances {
    fn measure(vectors: Vectors<'_>, weights: &[f64], linkage: Linkage, task: &Task) -> Result<Self> {
        let n = vectors.n();
        // f32 holds neither the squares of the largest values nor those of the smallest
        let largest = if vectors.largest() > 0.0 { vectors.largest() as f64 } else { 1.0 };
        let heaviest = weights.iter().fold(0.0, |a: f64, b| a.max(*b));
        let mut values = vec![0f32; n * (n - 1) / 2];
        let mut rest = &mut values[..];
        let mut rows = Vec::with_capacity(n);
        for i in 0..n {
            let (row, below) = rest.split_at_mut(n - 1 - i);
            rows.push(row);
            rest = below;
        }
        // a block of rows stays in the cache while all others pass by
        rows.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, rows)| {
            for j in block * BLOCK + 1..n {
                if j % ROWS_PER_CHECK == 0 {
                    task.check()?;
                }
                for (i, row) in (block * BLOCK..j).zip(rows.iter_mut()) {
                    let squared = squared_distance(vectors.row(i), vectors.row(j)) / (largest * largest);
                    row[j - i - 1] = match linkage {
                        Linkage::Average => squared.sqrt() as f32,
                        Linkage::Ward => {
                            let (a, b) = (weights[i] / heaviest, weights[j] / heaviest);
                            (squared * 2.0 * a * b / (a + b)) as f32
                        }
                    };
                }
            }
            task.advance(rows.len() as u64);
            Ok(())
        })?;
        let unit = match linkage {
            Linkage::Average => largest,
            Linkage::Ward => largest * heaviest.sqrt(),
        };
        Ok(Self { values, n, unit })
    }

    fn at(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i.min(j), i.max(j));
        i * (2 * self.n - i - 1) / 2 + j - i - 1
    }

    fn get(&self, i: u32, j: u32) -> f32 {
        self.values[self.at(i as usize, j as usize)]
    }
}

/// Merges in the order in which they are found: (point of one cluster, point of the other, distance). The cluster that
/// two make is kept in the place of the smaller one.
fn chain(distances: &mut Distances, weights: &[f64], linkage: Linkage, task: &Task) -> Result<Vec<(u32, u32, f32)>> {
    let n = weights.len();
    let mut sizes = weights.to_vec();
    let mut active: Vec<u32> = (0..n as u32).collect();
    let mut is_active = vec![true; n];
    let mut merges = Vec::with_capacity(n - 1);
    let mut chain: Vec<u32> = Vec::new();
    while active.len() > 1 {
        task.check()?;
        // rounding may have made a cluster join that stands deeper in the chain
        while chain.last().is_some_and(|top| !is_active[*top as usize]) {
            chain.pop();
        }
        let Some(&top) = chain.last() else {
            chain.push(active[0]);
            continue;
        };
        let before = if chain.len() > 1 { Some(chain[chain.len() - 2]) } else { None };
        let before = before.filter(|before| is_active[*before as usize] && *before != top);
        // the one before wins ties, so that distances fall along the chain and it ends
        let mut nearest = before.map_or((f32::INFINITY, u32::MAX), |before| (distances.get(top, before), before));
        for &other in &active {
            if other != top {
                let distance = distances.get(top, other);
                if distance < nearest.0 || nearest.1 == u32::MAX {
                    nearest = (distance, other);
                }
            }
        }
        let (distance, other) = nearest;
        if Some(other) != before {
            chain.push(other);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (kept, gone) = (top.min(other), top.max(other));
        merges.push((kept, gone, distance));
        is_active[gone as usize] = false;
        if let Ok(place) = active.binary_search(&gone) {
            active.remove(place);
        }
        join(distances, &active, &sizes, linkage, (kept, gone, distance));
        sizes[kept as usize] += sizes[gone as usize];
        task.advance(1);
    }
    Ok(merges)
}

/// Distances of the joined cluster to all others, from those of its two parts (Lance, Williams 1967).
fn join(
    distances: &mut Distances,
    active: &[u32],
    sizes: &[f64],
    linkage: Linkage,
    (kept, gone, between): (u32, u32, f32),
) {
    let (a, b) = (sizes[kept as usize], sizes[gone as usize]);
    for &other in active.iter().filter(|other| **other != kept) {
        let (to_a, to_b) = (distances.get(kept, other) as f64, distances.get(gone, other) as f64);
        let joined = match linkage {
            Linkage::Average => (a * to_a + b * to_b) / (a + b),
            Linkage::Ward => {
                let c = sizes[other as usize];
                ((a + c) * to_a + (b + c) * to_b - c * between as f64) / (a + b + c)
            }
        };
        let place = distances.at(kept as usize, other as usize);
        distances.values[place] = joined.max(0.0) as f32;
    }
}

/// The merges by distance, with nodes for points.
fn in_order(mut joined: Vec<(u32, u32, f64)>, weights: &[f64]) -> Vec<Merge> {
    let n = weights.len();
    // stable: of equal distances a cluster is made before it joins another
    joined.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut sets = UnionFind::new(n);
    let mut node: Vec<u32> = (0..n as u32).collect();
    let mut size = weights.to_vec();
    let mut merges = Vec::with_capacity(joined.len());
    for (a, b, distance) in joined {
        let (a, b) = (sets.find(a), sets.find(b));
        let (left, right) = (node[a as usize], node[b as usize]);
        let merged = size[a as usize] + size[b as usize];
        merges.push(Merge { left: left.min(right), right: left.max(right), distance, size: merged });
        sets.union(a, b);
        let root = sets.find(a) as usize;
        node[root] = (n + merges.len() - 1) as u32;
        size[root] = merged;
    }
    merges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn points(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0);
        (0..n * dim).map(|_| rng.normal() as f32).collect()
    }

    fn tree(data: &[f32], dim: usize, weights: Option<&[f32]>, linkage: Linkage) -> Agglomeration {
        let vectors = Vectors::new(data, data.len() / dim, dim).unwrap();
        agglomerate(vectors, weights, linkage, &Task::new()).unwrap()
    }

    /// All distances again after every merge: by definition, not by Lance and Williams.
    fn brute_force(data: &[f32], dim: usize, weights: &[f32], linkage: Linkage) -> Vec<f64> {
        let row = |i: usize| &data[i * dim..(i + 1) * dim];
        let mut clusters: Vec<Vec<usize>> = (0..weights.len()).map(|i| vec![i]).collect();
        let weight = |c: &[usize]| c.iter().map(|i| weights[*i] as f64).sum::<f64>();
        let centre = |c: &[usize]| -> Vec<f64> {
            (0..dim)
                .map(|d| c.iter().map(|i| weights[*i] as f64 * row(*i)[d] as f64).sum::<f64>() / weight(c))
                .collect()
        };
        let apart = |a: &[usize], b: &[usize]| match linkage {
            Linkage::Average => {
                let pairs = a.iter().flat_map(|i| b.iter().map(move |j| (*i, *j)));
                let total: f64 = pairs
                    .map(|(i, j)| (weights[i] * weights[j]) as f64 * squared_distance(row(i), row(j)).sqrt())
                    .sum();
                total / (weight(a) * weight(b))
            }
            Linkage::Ward => {
                let squared: f64 = centre(a).iter().zip(centre(b)).map(|(x, y)| (x - y).powi(2)).sum();
                (2.0 * weight(a) * weight(b) / (weight(a) + weight(b)) * squared).sqrt()
            }
        };
        let mut found = Vec::new();
        while clusters.len() > 1 {
            let pairs = (0..clusters.len()).flat_map(|a| (a + 1..clusters.len()).map(move |b| (a, b)));
            let (distance, a, b) = pairs
                .map(|(a, b)| (apart(&clusters[a], &clusters[b]), a, b))
                .min_by(|x, y| x.0.total_cmp(&y.0))
                .unwrap();
            let gone = clusters.remove(b);
            clusters[a].extend(gone);
            found.push(distance);
        }
        found
    }

    #[test]
    fn merges_are_those_of_the_definition() {
        for linkage in [Linkage::Average, Linkage::Ward] {
            for seed in 0..20 {
                let n = 2 + seed as usize * 2;
                let data = points(n, 3, seed);
                let weights: Vec<f32> = (0..n).map(|i| (1 + i % 4) as f32).collect();
                let found = tree(&data, 3, Some(&weights), linkage);
                let want = brute_force(&data, 3, &weights, linkage);
                for (merge, want) in found.merges.iter().zip(&want) {
                    assert!((merge.distance - want).abs() < 1e-5 * want.max(1.0), "{linkage:?} {merge:?} {want}");
                }
                assert_eq!(found.merges.last().unwrap().size, weights.iter().sum::<f32>() as f64);
            }
        }
    }

    #[test]
    fn a_weight_of_three_is_a_row_three_times() {
        let data = points(12, 2, 3);
        let weights: Vec<f32> = (0..12).map(|i| (1 + i % 3) as f32).collect();
        let repeated: Vec<f32> =
            (0..12).flat_map(|i| std::iter::repeat_n(data[i * 2..(i + 1) * 2].to_vec(), 1 + i % 3)).flatten().collect();
        for linkage in [Linkage::Average, Linkage::Ward] {
            let (weighted, plain) = (tree(&data, 2, Some(&weights), linkage), tree(&repeated, 2, None, linkage));
            let skipped = plain.merges.len() - weighted.merges.len();
            for (a, b) in weighted.merges.iter().zip(&plain.merges[skipped..]) {
                assert!((a.distance - b.distance).abs() < 1e-5 && a.size == b.size);
            }
        }
    }

    #[test]
    fn cuts_are_numbered_by_weight_and_nested() {
        let tree = tree(&[0.0, 0.1, 5.0, 5.1, 5.2, 9.0], 1, None, Linkage::Average);
        assert_eq!(tree.cut(3).unwrap(), [1, 1, 0, 0, 0, 2]);
        assert_eq!(tree.cut(1).unwrap(), [0; 6]);
        assert_eq!(tree.cut(6).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(tree.cut_at(1.0).unwrap(), tree.cut(3).unwrap());
        assert_eq!(tree.cut_at(0.0).unwrap(), tree.cut(6).unwrap());
        assert_eq!(tree.cut_at(f64::INFINITY).unwrap(), tree.cut(1).unwrap());
        assert!(tree.cut(0).is_err() && tree.cut(7).is_err() && tree.cut_at(f64::NAN).is_err());
        assert_eq!(tree.widest_gap(), 3);
    }

    #[test]
    fn equal_points_join_first_and_smaller_ids_before_larger() {
        let data = [1.0f32, 0.0, 1.0, 0.0, 1.0];
        for linkage in [Linkage::Average, Linkage::Ward] {
            let tree = tree(&data, 1, None, linkage);
            assert!(tree.merges[..3].iter().all(|merge| merge.distance == 0.0));
            assert_eq!((tree.merges[0].left, tree.merges[0].right), (0, 2));
            assert_eq!(tree.cut(2).unwrap(), [0, 1, 0, 1, 0]);
            assert_eq!(tree.widest_gap(), 2);
        }
        let one = agglomerate(Vectors::new(&[1.0], 1, 1).unwrap(), None, Linkage::Ward, &Task::new()).unwrap();
        assert_eq!((one.cut(1).unwrap(), one.widest_gap(), one.merges.len()), (vec![0], 1, 0));
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let data = points(300, 8, 1);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| tree(&data, 8, None, Linkage::Ward))
        };
        assert!(run(1) == run(2) && run(1) == run(7));
    }

    #[test]
    fn a_stopped_task_stops() {
        let task = Task::new();
        task.stop();
        let data = points(50, 2, 0);
        let vectors = Vectors::new(&data, 50, 2).unwrap();
        assert_eq!(agglomerate(vectors, None, Linkage::Ward, &task), Err(Error::Cancelled));
    }
}
