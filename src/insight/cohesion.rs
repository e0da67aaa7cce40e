//! How well each cluster holds together and stands apart: sizes, cohesion, separation, simplified silhouettes, and the
//! share of neighbors that lie outside. It needs centroids and one graph, never all pairs.

use rayon::prelude::*;

use super::{check_graph, members};
use crate::error::Result;
use crate::graph::{KnnGraph, MISSING};
use crate::index::{Exact, Index};
use crate::kernels::{dot, squared_distance, squared_norm};
use crate::task::Task;
use crate::vectors::Vectors;

/// One value per cluster `0..n_clusters`; those of an empty cluster are 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Cohesion {
    /// Sum of the weights of the rows.
    pub sizes: Vec<f64>,
    /// Weighted mean cosine of the rows to the centroid.
    pub cosine: Vec<f64>,
    /// Weighted mean distance of the rows to the centroid.
    pub distance: Vec<f64>,
    /// Distance of the centroid to the nearest other one; infinite where there is none.
    pub separation: Vec<f64>,
    /// The cluster of that centroid; -1 where there is none.
    pub nearest: Vec<i32>,
    /// Weighted mean silhouette of the rows.
    pub silhouette: Vec<f64>,
    /// Weighted share of the rows' neighbors that are not in the cluster; empty without a graph.
    pub spillover: Vec<f64>,
    /// One value per row: simplified silhouette (Hruschka, de Castro, Campello 2004), `(b - a) / max(a, b)` with the
    /// distances to the own and the nearest other centroid; 0 for noise, for a row alone in its cluster, and where
    /// there is no other cluster.
    pub row_silhouette: Vec<f32>,
}

/// Measures the clusters.
///
/// # Errors
/// `InvalidInput` when labels, weights or graph do not fit the rows; `Cancelled`.
pub fn cohesion(
    vectors: Vectors<'_>,
    labels: &[i32],
    n_clusters: usize,
    graph: Option<&KnnGraph>,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Cohesion> {
    let n = vectors.n();
    let centres = Centres::new(vectors, labels, n_clusters, weights, task)?;
    let spillover = graph.map(|graph| spillover(graph, labels, &centres, weights, task)).transpose()?;
    let row_silhouette = silhouettes(vectors, labels, &centres, task)?;
    let weight_of = |row: u32| weights.map_or(1.0, |weights| weights[row as usize] as f64);
    let mean = |values: &(dyn Fn(u32) -> f64 + Sync)| -> Vec<f64> {
        let of = |rows: &Vec<u32>| rows.iter().map(|row| weight_of(*row) * values(*row)).sum::<f64>();
        centres.members.par_iter().zip(&centres.sizes).map(|(rows, size)| share(of(rows), *size)).collect()
    };
    let silhouette = mean(&|row| row_silhouette[row as usize] as f64);
    let cosine = mean(&|row| {
        let (row, centre) = (vectors.row(row as usize), centres.row(labels[row as usize]));
        share(dot(row, centre), (squared_norm(row) * squared_norm(centre)).sqrt())
    });
    let (separation, nearest) = nearest_centres(&centres, vectors.dim(), task)?;
    debug_assert_eq!(row_silhouette.len(), n);
    Ok(Cohesion {
        distance: centres.radii(vectors, weights),
        sizes: centres.sizes,
        cosine,
        separation,
        nearest,
        silhouette,
        spillover: spillover.unwrap_or_default(),
        row_silhouette,
    })
}

/// Rows, weights and centroids of all clusters; the centroid of an empty one is 0.
pub(super) struct Centres {
    pub members: Vec<Vec<u32>>,
    pub sizes: Vec<f64>,
    centroids: Vec<f32>,
    dim: usize,
}

impl Centres {
    pub fn new(
        vectors: Vectors<'_>,
        labels: &[i32],
        n_clusters: usize,
        weights: Option<&[f32]>,
        task: &Task,
    ) -> Result<Self> {
        crate::cluster::kmeans::check_weights(weights, vectors.n(), "weights")?;
        let members = members(labels, n_clusters, vectors.n())?;
        let dim = vectors.dim();
        let of_rows = |rows: &Vec<u32>| {
            task.check()?;
            let (mut sums, mut size) = (vec![0f64; dim], 0f64);
            for &row in rows {
                let weight = weights.map_or(1.0, |weights| weights[row as usize] as f64);
                size += weight;
                for (sum, value) in sums.iter_mut().zip(vectors.row(row as usize)) {
                    *sum += weight * *value as f64;
                }
            }
            Ok((size, sums.into_iter().map(|sum| share(sum, size) as f32).collect::<Vec<f32>>()))
        };
        let (sizes, centroids): (Vec<f64>, Vec<Vec<f32>>) =
            members.par_iter().map(of_rows).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self { members, sizes, centroids: centroids.concat(), dim })
    }

    pub fn row(&self, cluster: i32) -> &[f32] {
        &self.centroids[cluster as usize * self.dim..(cluster as usize + 1) * self.dim]
    }

    /// Weighted mean distance of the rows of each cluster to their centroid.
    pub fn radii(&self, vectors: Vectors<'_>, weights: Option<&[f32]>) -> Vec<f64> {
        let weight_of = |row: u32| weights.map_or(1.0, |weights| weights[row as usize] as f64);
        let clusters = self.members.par_iter().zip(&self.sizes).enumerate();
        clusters
            .map(|(cluster, (rows, size))| {
                let centre = self.row(cluster as i32);
                let apart = |row: &u32| squared_distance(vectors.row(*row as usize), centre).sqrt();
                share(rows.iter().map(|row| weight_of(*row) * apart(row)).sum(), *size)
            })
            .collect()
    }

    /// Clusters that have rows, and their centroids one after the other.
    pub fn of_clusters_with_rows(&self) -> (Vec<i32>, Vec<f32>) {
        let clusters: Vec<i32> =
            (0..self.members.len()).filter(|c| !self.members[*c].is_empty()).map(|c| c as i32).collect();
        let centroids = clusters.iter().flat_map(|cluster| self.row(*cluster)).copied().collect();
        (clusters, centroids)
    }
}

/// 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn silhouettes(vectors: Vectors<'_>, labels: &[i32], centres: &Centres, task: &Task) -> Result<Vec<f32>> {
    let (clusters, centroids) = centres.of_clusters_with_rows();
    if clusters.len() < 2 {
        return Ok(vec![0.0; vectors.n()]);
    }
    let index = Exact::build(Vectors::new(&centroids, clusters.len(), vectors.dim())?);
    // the nearest other centroid is among the two nearest
    let found = index.search(vectors, 2, None, task)?;
    let of_row = |row: usize| {
        let label = labels[row];
        if label < 0 || centres.members[label as usize].len() < 2 {
            return 0.0;
        }
        let own = squared_distance(vectors.row(row), centres.row(label)).sqrt();
        let two = found.ids[2 * row..2 * row + 2].iter().zip(&found.distances[2 * row..2 * row + 2]);
        let other = two.filter(|(id, _)| **id != MISSING && clusters[**id as usize] != label).map(|(_, d)| *d as f64);
        let other = other.fold(f64::INFINITY, f64::min);
        // f32 can't hold the distances of the largest values
        if other.is_infinite() { 1.0 } else { share(other - own, other.max(own)) }
    };
    Ok((0..vectors.n()).into_par_iter().map(|row| of_row(row) as f32).collect())
}

fn nearest_centres(centres: &Centres, dim: usize, task: &Task) -> Result<(Vec<f64>, Vec<i32>)> {
    let (clusters, centroids) = centres.of_clusters_with_rows();
    let n = centres.members.len();
    let (mut separation, mut nearest) = (vec![f64::INFINITY; n], vec![-1; n]);
    if clusters.len() < 2 {
        return Ok((separation, nearest));
    }
    let rows = Vectors::new(&centroids, clusters.len(), dim)?;
    let found = Exact::build(rows).search(rows, 2, None, task)?;
    for (place, cluster) in clusters.iter().enumerate() {
        let two = &found.ids[2 * place..2 * place + 2];
        if let Some(other) = two.iter().find(|id| **id != MISSING && **id as usize != place) {
            nearest[*cluster as usize] = clusters[*other as usize];
            separation[*cluster as usize] = squared_distance(rows.row(place), rows.row(*other as usize)).sqrt();
        }
    }
    Ok((separation, nearest))
}

fn spillover(
    graph: &KnnGraph,
    labels: &[i32],
    centres: &Centres,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<f64>> {
    check_graph(graph, labels.len())?;
    let leaving = |row: u32| {
        let (mut out, mut all) = (0usize, 0usize);
        for (other, _) in graph.neighbors(row as usize) {
            all += 1;
            out += (labels[other as usize] != labels[row as usize]) as usize;
        }
        weights.map_or(1.0, |weights| weights[row as usize] as f64) * share(out as f64, all as f64)
    };
    let of_cluster = |(rows, size): (&Vec<u32>, &f64)| {
        task.check()?;
        Ok(share(rows.iter().map(|row| leaving(*row)).sum(), *size))
    };
    centres.members.par_iter().zip(&centres.sizes).map(of_cluster).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;

    #[test]
    fn two_pairs_and_a_row_alone() {
        let data = [0.0f32, 0.0, 0.0, 2.0, 10.0, 0.0, 10.0, 4.0, 50.0, 50.0, 3.0, 3.0];
        let vectors = Vectors::new(&data, 6, 2).unwrap();
        let labels = [0, 0, 1, 1, 2, -1];
        let graph = exact::build(vectors, 1, &Task::new()).unwrap();
        let found = cohesion(vectors, &labels, 4, Some(&graph), None, &Task::new()).unwrap();
        assert_eq!(found.sizes, [2.0, 2.0, 1.0, 0.0]);
        assert_eq!(found.distance, [1.0, 2.0, 0.0, 0.0]);
        assert_eq!(found.nearest, [1, 0, 1, -1]);
        assert!((found.separation[0] - 101f64.sqrt()).abs() < 1e-9 && found.separation[3].is_infinite());
        // row 0: a = 1, b = distance to (10, 2)
        assert!((found.row_silhouette[0] as f64 - (1.0 - 1.0 / 104f64.sqrt())).abs() < 1e-6);
        assert_eq!(found.row_silhouette[4..], [0.0, 0.0]);
        assert_eq!(found.spillover, [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn one_cluster_no_cluster_and_equal_rows_have_numbers() {
        let data = [1.0f32; 8];
        let vectors = Vectors::new(&data, 4, 2).unwrap();
        for labels in [[0, 0, 0, 0], [-1, -1, -1, -1], [0, 0, 1, 1], [0, 1, 2, 3]] {
            let found = cohesion(vectors, &labels, 4, None, Some(&[1.0, 2.0, 3.0, 4.0]), &Task::new()).unwrap();
            let values = found.cosine.iter().chain(&found.distance).chain(&found.silhouette);
            assert!(values.chain(&found.separation).all(|value| !value.is_nan()));
            assert!(found.row_silhouette.iter().all(|value| *value == 0.0));
        }
    }
}
