//! Which rows are odd for their cluster: the mean distance to their neighbors in the kNN graph (Angiulli, Pizzuti 2002),
//! as a robust z-score of the cluster. Outlier scores of HDBSCAN's tree are in `cluster/tree.rs`.

use rayon::prelude::*;

use super::members;
use crate::error::Result;
use crate::graph::KnnGraph;
use crate::task::Task;

/// Standard deviation of a normal distribution by its median, and by its mean, absolute deviation (Iglewicz, Hoaglin
/// 1993, "How to detect and handle outliers").
const DEVIATION_PER_MAD: f64 = 1.4826;
const DEVIATION_PER_MEAN_AD: f64 = 1.2533;

/// Per row `(distance - median) / deviation` over the rows of its cluster, medians by weight; noise is compared with all
/// rows. Above 3.5 it is odd (Iglewicz, Hoaglin 1993); 0 where all distances are equal, or a row has no neighbor.
///
/// The deviation is that of the median absolute deviation; where more than half of the distances are equal, of the mean.
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the graph; `Cancelled`.
pub fn knn_outlier_scores(
    graph: &KnnGraph,
    labels: &[i32],
    n_clusters: usize,
    weights: Option<&[f32]>,
    task: &Task,
) -> Result<Vec<f32>> {
    crate::cluster::kmeans::check_weights(weights, graph.n(), "weights")?;
    let mut groups = members(labels, n_clusters, graph.n())?;
    task.start(graph.n() as u64);
    let distances: Vec<Option<f64>> = (0..graph.n()).into_par_iter().map(|row| mean_distance(graph, row)).collect();
    let (all, noise) =
        ((0..graph.n() as u32).collect(), (0..graph.n() as u32).filter(|i| labels[*i as usize] < 0).collect());
    // (rows compared with, rows that get a score)
    let mut tasks: Vec<(Vec<u32>, Vec<u32>)> = groups.drain(..).map(|rows| (rows.clone(), rows)).collect();
    tasks.push((all, noise));
    let scored: Vec<Vec<(u32, f32)>> = tasks
        .par_iter()
        .map(|(rows, scored)| {
            task.check()?;
            if scored.is_empty() {
                return Ok(Vec::new());
            }
            let values: Vec<(f64, f64)> = rows
                .iter()
                .filter_map(|row| Some((distances[*row as usize]?, weights.map_or(1.0, |w| w[*row as usize] as f64))))
                .collect();
            let (middle, deviation) = spread(values);
            task.advance(scored.len() as u64);
            let score = |row: &u32| match distances[*row as usize] {
                Some(distance) if deviation > 0.0 => (*row, ((distance - middle) / deviation) as f32),
                _ => (*row, 0.0),
            };
            Ok(scored.iter().map(score).collect())
        })
        .collect::<Result<_>>()?;
    let mut scores = vec![0f32; graph.n()];
    for (row, score) in scored.into_iter().flatten() {
        scores[row as usize] = score;
    }
    Ok(scores)
}

fn mean_distance(graph: &KnnGraph, row: usize) -> Option<f64> {
    let (sum, count) = graph.neighbors(row).fold((0.0, 0usize), |(sum, n), (_, d)| (sum + d as f64, n + 1));
    (count > 0 && sum.is_finite()).then(|| sum / count as f64)
}

/// (median, standard deviation by the absolute deviations from it) of (value, weight); zeros of nothing.
fn spread(mut values: Vec<(f64, f64)>) -> (f64, f64) {
    let middle = median(&mut values);
    for (value, _) in &mut values {
        *value = (*value - middle).abs();
    }
    let by_median = DEVIATION_PER_MAD * median(&mut values);
    if by_median > 0.0 {
        return (middle, by_median);
    }
    let (sum, weight) = values.iter().fold((0.0, 0.0), |(sum, total), (value, w)| (sum + value * w, total + w));
    (middle, if weight > 0.0 { DEVIATION_PER_MEAN_AD * sum / weight } else { 0.0 })
}

/// The lower weighted median; 0 of nothing. Sorts.
fn median(values: &mut [(f64, f64)]) -> f64 {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (value, weight) in values.iter() {
        below += weight;
        if below >= half {
            return *value;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::exact;
    use crate::vectors::Vectors;

    #[test]
    fn the_row_far_from_its_cluster_is_odd() {
        let data: Vec<f32> = (0..20).map(|i| i as f32).chain([100.0]).chain((0..5).map(|i| 1e4 + i as f32)).collect();
        let vectors = Vectors::new(&data, 26, 1).unwrap();
        let graph = exact::build(vectors, 3, &Task::new()).unwrap();
        let labels: Vec<i32> = (0..26).map(|i| (i > 20) as i32).collect();
        let scores = knn_outlier_scores(&graph, &labels, 2, None, &Task::new()).unwrap();
        assert!(scores[20] > 3.5 && scores.iter().enumerate().all(|(i, s)| s.is_finite() && (i == 20 || *s <= 3.5)));
        let noise = knn_outlier_scores(&graph, &[-1; 26], 0, None, &Task::new()).unwrap();
        assert!(noise[20] > 3.5);
    }

    #[test]
    fn duplicates_and_weights() {
        let mut data = vec![0f32; 10];
        data.extend([1.0, 5.0]);
        let graph = exact::build(Vectors::new(&data, 12, 1).unwrap(), 2, &Task::new()).unwrap();
        let scores = knn_outlier_scores(&graph, &[0; 12], 1, None, &Task::new()).unwrap();
        assert!(scores[..10].iter().all(|s| *s == 0.0) && scores[11] > scores[10] && scores[11].is_finite());
        assert_eq!(median(&mut [(1.0, 1.0), (2.0, 1.0), (9.0, 5.0)]), 9.0);
        assert_eq!(spread(Vec::new()), (0.0, 0.0));
    }
}
