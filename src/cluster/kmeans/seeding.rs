//! Where k-means starts: rows that are far apart, found in a few passes over a sample.

use rayon::prelude::*;

use super::assign::Assignment;
use crate::error::Result;
use crate::kernels;
use crate::random::Rng;
use crate::task::Task;
use crate::vectors::Vectors;

/// Rows that are looked at, or 16 per cluster where that is more.
const ROWS: usize = 16_384;
/// Passes that draw candidates.
const ROUNDS: usize = 5;
/// Candidates per cluster that k-means starts from.
pub const MANY: usize = 3;
/// Candidates per cluster where a whole pass follows that places centroids anew.
pub const FEW: usize = 2;
/// Candidates whose distances to each other fit into memory (256 MB).
const MOST_CANDIDATES: usize = 8_192;

/// `k` rows far apart: candidates by k-means|| (Bahmani and others 2012, algorithm 2: each pass draws rows with
/// probability proportional to weight times squared distance to the nearest one so far), and of these, weighted by the
/// rows they stand for, the best by greedy k-means++ (Arthur, Vassilvitskii 2007, section 7). On a seeded sample where
/// there are many rows: the steps that follow cost more than a perfect start saves. `of_each` candidates are drawn for
/// each cluster.
pub fn spread(
    vectors: Vectors<'_>,
    weights: Option<&[f32]>,
    k: usize,
    of_each: usize,
    seed: u64,
    task: &Task,
) -> Result<Vec<f32>> {
    let dim = vectors.dim();
    let sample = sample_rows(vectors.n(), ROWS.max(16 * k), seed);
    let data: Vec<f32> = sample.iter().flat_map(|i| vectors.row(*i as usize).iter().copied()).collect();
    let rows = Vectors::new(&data, sample.len(), dim)?;
    let weight: Vec<f64> = sample.iter().map(|i| weights.map_or(1.0, |weights| weights[*i as usize] as f64)).collect();
    let candidates = candidates(rows, &weight, k, of_each, seed, task)?;
    let chosen: Vec<f32> = candidates.iter().flat_map(|i| rows.row(*i).iter().copied()).collect();
    let mut stands_for = vec![0f64; candidates.len()];
    for (row, label) in nearest(rows, &chosen, task)?.0.iter().enumerate() {
        stands_for[*label as usize] += weight[row];
    }
    let best = plus_plus(Vectors::new(&chosen, candidates.len(), dim)?, &stands_for, k, seed, task)?;
    Ok(best.iter().flat_map(|i| chosen[i * dim..(i + 1) * dim].iter().copied()).collect())
}

/// The nearest of `chosen` for each row, and the squared distance to it.
fn nearest(rows: Vectors<'_>, chosen: &[f32], task: &Task) -> Result<(Vec<u32>, Vec<f64>)> {
    let mut assignment = Assignment::new(rows, chosen).uncounted();
    assignment.step(chosen, task)?;
    Ok((assignment.labels().to_vec(), assignment.squared_distances()))
}

/// About `of_each` rows per cluster, ascending, far apart.
fn candidates(
    rows: Vectors<'_>,
    weight: &[f64],
    k: usize,
    of_each: usize,
    seed: u64,
    task: &Task,
) -> Result<Vec<usize>> {
    let wanted = (of_each * k).max(k + 16).min(MOST_CANDIDATES.max(k + k / 4)).min(rows.n());
    let mut rng = Rng::new(seed, 0);
    let mut chosen = vec![draw(weight, rng.unit())];
    let mut squared = vec![f64::INFINITY; rows.n()];
    let mut new = chosen.clone();
    for round in 0..ROUNDS {
        let data: Vec<f32> = new.iter().flat_map(|i| rows.row(*i).iter().copied()).collect();
        let found = nearest(rows, &data, task)?.1;
        squared.iter_mut().zip(found).for_each(|(known, found)| *known = known.min(found));
        // distinct rows, drawn without putting back (exponential keys: Efraimidis, Spirakis 2006); a row of distance 0
        // is drawn only when no other is left
        let mut keys: Vec<(f64, usize)> = (0..rows.n())
            .map(|i| {
                (-(1.0 - Rng::new(seed, ((round + 1) * rows.n() + i) as u64).unit()).ln() / (weight[i] * squared[i]), i)
            })
            .collect();
        chosen.iter().for_each(|i| keys[*i].0 = f64::INFINITY);
        let n = (wanted - chosen.len()).div_ceil(ROUNDS - round).min(rows.n() - chosen.len());
        if n == 0 {
            break;
        }
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        keys.select_nth_unstable_by(n - 1, order);
        let known: std::collections::HashSet<usize> = chosen.iter().copied().collect();
        new = keys[..n].iter().map(|(_, i)| *i).filter(|i| !known.contains(i)).collect();
        new.sort_unstable();
        chosen.extend(&new);
        if new.is_empty() {
            break;
        }
    }
    // all that is left where rows were too few
    if chosen.len() < k {
        let known: std::collections::HashSet<usize> = chosen.iter().copied().collect();
        let rest: Vec<usize> = (0..rows.n()).filter(|i| !known.contains(i)).take(k - chosen.len()).collect();
        chosen.extend(rest);
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// Greedy k-means++: each next one is the best of some that are drawn.
fn plus_plus(points: Vectors<'_>, weight: &[f64], k: usize, seed: u64, task: &Task) -> Result<Vec<usize>> {
    let n = points.n();
    let squared = |a: usize, b: usize| kernels::squared_distance(points.row(a), points.row(b)) as f32;
    // all distances are needed again and again
    let table = if n <= MOST_CANDIDATES {
        let mut table = vec![0f32; n * n];
        table.par_chunks_mut(n).enumerate().try_for_each(|(a, row)| {
            task.check()?;
            row[..a].iter_mut().enumerate().for_each(|(b, value)| *value = squared(b, a));
            Ok(())
        })?;
        for a in 0..n {
            for b in 0..a {
                table[b * n + a] = table[a * n + b];
            }
        }
        Some(table)
    } else {
        None
    };
    let distances = |a: usize| -> Vec<f32> {
        match &table {
            Some(table) => table[a * n..(a + 1) * n].to_vec(),
            None => (0..n).into_par_iter().map(|b| squared(a.min(b), a.max(b))).collect(),
        }
    };
    // without the table every trial is a pass over the points
    let n_trials = if table.is_some() { 2 + (k as f64).ln() as usize } else { 1 };
    let mut nearest = vec![f32::INFINITY; n];
    let mut mass = weight.to_vec();
    let mut chosen = Vec::with_capacity(k);
    let mut taken = vec![false; n];
    for position in 0..k.min(n) {
        task.check()?;
        let mut rng = Rng::new(seed, u64::MAX - position as u64);
        let trials = if position == 0 { 1 } else { n_trials };
        let mut best: Option<(f64, usize, Vec<f32>)> = None;
        for _ in 0..trials {
            let candidate = draw(&mass, rng.unit());
            let distances = distances(candidate);
            let left = distances.iter().zip(&nearest).zip(weight).map(|((d, known), w)| d.min(*known) as f64 * w).sum();
            if best.as_ref().is_none_or(|(least, _, _)| left < *least) {
                best = Some((left, candidate, distances));
            }
        }
        let Some((_, mut candidate, distances)) = best else { break };
        if taken[candidate] {
            // nothing is left but copies of what was chosen
            candidate = taken.iter().position(|taken| !taken).unwrap_or(candidate);
        }
        taken[candidate] = true;
        chosen.push(candidate);
        for i in 0..n {
            nearest[i] = nearest[i].min(distances[i]);
            mass[i] = nearest[i] as f64 * weight[i];
        }
    }
    Ok(chosen)
}

/// `wanted` distinct rows of `n`, ascending; all where there are fewer.
pub fn sample_rows(n: usize, wanted: usize, seed: u64) -> Vec<u32> {
    if n <= wanted {
        return (0..n as u32).collect();
    }
    // selection sampling (Knuth, The Art of Computer Programming 2, algorithm 3.4.2 S)
    let mut rng = Rng::new(seed, u64::MAX);
    let mut chosen = Vec::with_capacity(wanted);
    for row in 0..n {
        if rng.unit() * ((n - row) as f64) < (wanted - chosen.len()) as f64 {
            chosen.push(row as u32);
        }
    }
    chosen
}

/// Position at `share` of the total mass; a position of mass 0 only when all are 0.
fn draw(mass: &[f64], share: f64) -> usize {
    let total: f64 = mass.iter().sum();
    if total <= 0.0 {
        return ((share * mass.len() as f64) as usize).min(mass.len() - 1);
    }
    let target = share * total;
    let mut sum = 0.0;
    let mut last = 0;
    for (i, value) in mass.iter().enumerate() {
        if *value > 0.0 {
            sum += value;
            last = i;
            if sum > target {
                return i;
            }
        }
    }
    last
}

/// `k` distinct rows, drawn with probability proportional to weight (exponential keys: Efraimidis, Spirakis 2006).
pub fn random_rows(vectors: Vectors<'_>, weights: Option<&[f32]>, k: usize, seed: u64) -> Vec<f32> {
    let mut keys: Vec<(f64, usize)> = (0..vectors.n())
        .map(|i| {
            let draw = 1.0 - Rng::new(seed, i as u64).unit();
            (-draw.ln() / weights.map_or(1.0, |weights| weights[i] as f64), i)
        })
        .collect();
    keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    keys[..k].iter().flat_map(|(_, i)| vectors.row(*i).iter().copied()).collect()
}
