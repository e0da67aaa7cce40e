//! Nearest centroid and nearest rows of a block of rows: a product in f32 makes the shortlist, exact f64 distances
//! settle it. No n x k matrix is ever held: only one tile.

use std::cmp::Ordering;

use super::{Isa, dots, squared_distance, squared_norm};

/// Columns of one tile: 512 f32 rows of 384 are 0.75 MB, inside a 1-2 MB L2 with the row block.
const TILE_COLUMNS: usize = 512;
/// Extra candidates kept beyond k, for rows whose f32 order differs from the exact one.
const SLACK: usize = 8;

/// A row id and its squared distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    pub id: u32,
    pub squared_distance: f64,
}

impl Nearest {
    const NONE: Self = Self { id: u32::MAX, squared_distance: f64::INFINITY };

    fn before(&self, other: &Self) -> bool {
        self.squared_distance.total_cmp(&other.squared_distance).then(self.id.cmp(&other.id)).is_lt()
    }
}

/// How far the f32 score `|c|^2 - 2 x.c` may be from the exact one: the standard bound on a dot product's rounding
/// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), doubled for the factor 2 and again for two
/// scores that are compared.
fn tolerance(dim: usize, norm_a: f32, norm_b: f32) -> f32 {
    4.0 * dim as f32 * f32::EPSILON * (norm_a * norm_b + norm_b * norm_b)
}

/// The nearest of `centroids` for each row of `rows`; ties go to the smaller id.
///
/// `squared_norms` are those of the centroids. `out` has one entry per row.
pub fn nearest_centroid(
    isa: Isa,
    rows: &[f32],
    centroids: &[f32],
    squared_norms: &[f32],
    dim: usize,
    out: &mut [Nearest],
) {
    let (m, k) = (rows.len() / dim, squared_norms.len());
    let largest_norm = squared_norms.iter().fold(0f32, |a, b| a.max(*b)).sqrt();
    let mut scores = vec![0f32; m * k];
    let mut tile = vec![0f32; m * TILE_COLUMNS.min(k)];
    for start in (0..k).step_by(TILE_COLUMNS) {
        let end = (start + TILE_COLUMNS).min(k);
        let width = end - start;
        dots(isa, rows, &centroids[start * dim..end * dim], dim, &mut tile[..m * width]);
        for (tile_row, score_row) in tile.chunks_exact(width).zip(scores.chunks_exact_mut(k)) {
            for ((dot, norm), score) in tile_row.iter().zip(&squared_norms[start..end]).zip(&mut score_row[start..end])
            {
                *score = norm - 2.0 * dot;
            }
        }
    }
    for ((row, score_row), nearest) in rows.chunks_exact(dim).zip(scores.chunks_exact(k)).zip(out) {
        let best = score_row.iter().fold(f32::INFINITY, |a, b| a.min(*b));
        let limit = best + tolerance(dim, squared_norm(row).sqrt() as f32, largest_norm);
        *nearest = Nearest::NONE;
        for (id, score) in score_row.iter().enumerate() {
            // written so that scores beyond float32 (NaN) are measured, too
            if score.partial_cmp(&limit) == Some(Ordering::Greater) {
                continue;
            }
            let squared_distance = squared_distance(row, &centroids[id * dim..(id + 1) * dim]);
            let candidate = Nearest { id: id as u32, squared_distance };
            if candidate.before(nearest) {
                *nearest = candidate;
            }
        }
    }
}

/// Points that are searched: `n x dim` rows, their squared norms, and which of them may be found.
#[derive(Clone, Copy)]
pub struct Points<'a> {
    pub rows: &'a [f32],
    pub squared_norms: &'a [f32],
    pub dim: usize,
    pub pass: Option<&'a [bool]>,
}

/// The `k` nearest of `points` for each row of `rows`, ascending by distance, then id.
///
/// `skip(i)` is the id row `i` must not find (itself). Writes `k` entries per row into `out`; where fewer pass, the
/// rest has id `u32::MAX` and infinite distance.
pub fn nearest_rows(
    isa: Isa,
    rows: &[f32],
    points: Points<'_>,
    k: usize,
    skip: impl Fn(usize) -> Option<u32>,
    out: &mut [Nearest],
) {
    let Points { squared_norms, dim, pass, .. } = points;
    let (m, n) = (rows.len() / dim, squared_norms.len());
    let keep = k.min(n) + SLACK;
    let mut shortlists: Vec<Shortlist> = (0..m).map(|_| Shortlist::new(keep)).collect();
    let mut tile = vec![0f32; m * TILE_COLUMNS.min(n)];
    for start in (0..n).step_by(TILE_COLUMNS) {
        let end = (start + TILE_COLUMNS).min(n);
        let width = end - start;
        dots(isa, rows, &points.rows[start * dim..end * dim], dim, &mut tile[..m * width]);
        for (i, (tile_row, shortlist)) in tile.chunks_exact(width).zip(&mut shortlists).enumerate() {
            let skipped = skip(i);
            for (j, (dot, norm)) in tile_row.iter().zip(&squared_norms[start..end]).enumerate() {
                let score = norm - 2.0 * dot;
                // written so that the common case is one comparison
                if score < shortlist.worst {
                    let id = (start + j) as u32;
                    if Some(id) != skipped && pass.is_none_or(|pass| pass[id as usize]) {
                        shortlist.push(score, id);
                    }
                }
            }
        }
    }
    let largest_norm = squared_norms.iter().fold(0f32, |a, b| a.max(*b)).sqrt();
    for (i, ((row, shortlist), found)) in
        rows.chunks_exact(dim).zip(&mut shortlists).zip(out.chunks_exact_mut(k)).enumerate()
    {
        let exact = |id: u32| Nearest {
            id,
            squared_distance: squared_distance(row, &points.rows[id as usize * dim..(id as usize + 1) * dim]),
        };
        let nearest = if shortlist.holds_the_nearest(k, dim, squared_norm(row).sqrt() as f32, largest_norm) {
            shortlist.entries.iter().map(|&(_, id)| exact(id)).collect()
        } else {
            // so many rows are nearly as near that f32 can't tell: all are measured, the shortlist was for nothing
            let skipped = skip(i);
            let passes = |id: &u32| Some(*id) != skipped && pass.is_none_or(|pass| pass[*id as usize]);
            (0..n as u32).filter(passes).map(exact).collect()
        };
        fill(found, nearest);
    }
}

/// The first of `nearest` in order, and nothing where there are too few.
fn fill(found: &mut [Nearest], mut nearest: Vec<Nearest>) {
    let by_distance =
        |a: &Nearest, b: &Nearest| a.squared_distance.total_cmp(&b.squared_distance).then(a.id.cmp(&b.id));
    if nearest.len() > found.len() {
        nearest.select_nth_unstable_by(found.len() - 1, by_distance);
        nearest.truncate(found.len());
    }
    nearest.sort_unstable_by(by_distance);
    found.fill(Nearest::NONE);
    for (slot, nearest) in found.iter_mut().zip(nearest) {
        *slot = nearest;
    }
}

/// The best `keep` (score, id) seen so far as a binary max-heap; ids come in ascending order, so a tie never
/// replaces a smaller id.
struct Shortlist {
    keep: usize,
    worst: f32,
    entries: Vec<(f32, u32)>,
}

impl Shortlist {
    fn new(keep: usize) -> Self {
        Self { keep, worst: f32::INFINITY, entries: Vec::with_capacity(keep) }
    }

    /// Whether no row outside the list can be among the `k` nearest, whatever the rounding of the scores: either the
    /// list is not full, or its worst entry is farther than the k-th by more than the rounding.
    ///
    /// The bound grows with the root of `dim`, not with `dim`: rounding errors of a sum of many terms cancel (Higham,
    /// section 2.8); eight times the expected error leaves room.
    fn holds_the_nearest(&self, k: usize, dim: usize, norm_a: f32, norm_b: f32) -> bool {
        let size = norm_a * norm_b + norm_b * norm_b;
        if !size.is_finite() {
            return false;
        }
        if self.entries.len() < self.keep {
            return true;
        }
        let mut scores: Vec<f32> = self.entries.iter().map(|(score, _)| *score).collect();
        scores.sort_unstable_by(f32::total_cmp);
        let rounding = 8.0 * (dim as f32).sqrt() * f32::EPSILON * size;
        self.worst - scores[k.min(scores.len()) - 1] > rounding
    }

    fn push(&mut self, score: f32, id: u32) {
        if self.entries.len() < self.keep {
            self.entries.push((score, id));
            let mut child = self.entries.len() - 1;
            while child > 0 {
                let parent = (child - 1) / 2;
                if !after(self.entries[child], self.entries[parent]) {
                    break;
                }
                self.entries.swap(child, parent);
                child = parent;
            }
        } else {
            self.entries[0] = (score, id);
            let mut parent = 0;
            loop {
                let mut largest = parent;
                for child in [2 * parent + 1, 2 * parent + 2] {
                    if child < self.keep && after(self.entries[child], self.entries[largest]) {
                        largest = child;
                    }
                }
                if largest == parent {
                    break;
                }
                self.entries.swap(parent, largest);
                parent = largest;
            }
        }
        if self.entries.len() == self.keep {
            self.worst = self.entries[0].0;
        }
    }
}

fn after(a: (f32, u32), b: (f32, u32)) -> bool {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).is_gt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = crate::random::Rng::new(seed, 7);
        // few distinct values, so that ties and duplicates occur
        (0..rows * dim).map(|_| (rng.below(5) as f32 - 2.0) / 4.0).collect()
    }

    fn norms(points: &[f32], dim: usize) -> Vec<f32> {
        points.chunks_exact(dim).map(|row| super::super::squared_norm(row) as f32).collect()
    }

    fn brute_force(row: &[f32], points: &[f32], dim: usize, skip: Option<u32>) -> Vec<Nearest> {
        let mut all: Vec<Nearest> = points
            .chunks_exact(dim)
            .enumerate()
            .filter(|(id, _)| Some(*id as u32) != skip)
            .map(|(id, point)| Nearest { id: id as u32, squared_distance: squared_distance(row, point) })
            .collect();
        all.sort_by(|a, b| a.squared_distance.total_cmp(&b.squared_distance).then(a.id.cmp(&b.id)));
        all
    }

    proptest! {
        #[test]
        fn the_nearest_centroid_is_the_brute_force_one(m in 1usize..40, k in 1usize..600, dim in 1usize..20, seed in 0u64..500) {
            let (rows, centroids) = (matrix(m, dim, seed), matrix(k, dim, seed + 1));
            for isa in [Isa::Scalar, Isa::Avx512] {
                let mut got = vec![Nearest::NONE; m];
                nearest_centroid(isa, &rows, &centroids, &norms(&centroids, dim), dim, &mut got);
                for (row, got) in rows.chunks_exact(dim).zip(&got) {
                    prop_assert_eq!(*got, brute_force(row, &centroids, dim, None)[0]);
                }
            }
        }

        #[test]
        fn nearest_rows_have_the_brute_force_distances(m in 1usize..20, n in 1usize..700, dim in 1usize..12, k in 1usize..20, seed in 0u64..500) {
            let (rows, points) = (matrix(m, dim, seed), matrix(n, dim, seed + 1));
            for isa in [Isa::Scalar, Isa::Avx512] {
                let mut got = vec![Nearest::NONE; m * k];
                let norms = norms(&points, dim);
                let all = Points { rows: &points, squared_norms: &norms, dim, pass: None };
                nearest_rows(isa, &rows, all, k, |i| Some(i as u32), &mut got);
                for (i, (row, got)) in rows.chunks_exact(dim).zip(got.chunks_exact(k)).enumerate() {
                    let want = brute_force(row, &points, dim, Some(i as u32));
                    for (position, got) in got.iter().enumerate() {
                        match want.get(position) {
                            Some(want) => prop_assert!((got.squared_distance - want.squared_distance).abs() < 1e-5),
                            None => prop_assert_eq!(*got, Nearest::NONE),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_float32_cannot_tell_apart_are_measured() {
        let points: Vec<f32> = (0..400u32).map(|i| 100.0 + (i * 37 % 400) as f32 * 3e-5).collect();
        let norms = norms(&points, 1);
        let all = Points { rows: &points, squared_norms: &norms, dim: 1, pass: None };
        let mut got = vec![Nearest::NONE; 400 * 3];
        nearest_rows(Isa::Avx512, &points, all, 3, |i| Some(i as u32), &mut got);
        for (i, got) in got.chunks_exact(3).enumerate() {
            assert_eq!(got, &brute_force(&points[i..=i], &points, 1, Some(i as u32))[..3]);
        }
    }

    #[test]
    fn centroids_whose_squares_are_beyond_float32_are_found() {
        let points = [1e25f32, -2e25, 3e25, 1e25];
        let mut got = [Nearest::NONE; 2];
        nearest_centroid(Isa::Avx512, &points[..2], &points[2..], &norms(&points[2..], 1), 1, &mut got);
        assert_eq!(got.map(|nearest| nearest.id), [1, 1]);
    }

    #[test]
    fn a_filter_is_applied_before_ranking() {
        let points = [0.0f32, 1.0, 2.0, 3.0];
        let mut got = [Nearest::NONE; 2];
        let pass = [false, false, true, true];
        let norms = norms(&points, 1);
        let some = Points { rows: &points, squared_norms: &norms, dim: 1, pass: Some(&pass) };
        nearest_rows(Isa::Avx512, &[0.1], some, 2, |_| None, &mut got);
        assert_eq!(got.map(|nearest| nearest.id), [2, 3]);
    }
}
