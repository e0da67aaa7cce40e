//! Centroids in groups of like ones, and a quick search among them: only the groups whose centres are nearest are looked
//! at. What it finds is nearly always the nearest, and good enough to place rows; labels are settled elsewhere.

use super::tiles::{Columns, GROUP, Kernels, Rows, TopTwos};
use super::{dot, squared_distance};

/// The centroids in an order where each run of [`GROUP`] holds similar ones: halved again and again along the line
/// through two of them that are far apart.
pub fn order_by_likeness(centroids: &[f32], dim: usize) -> Vec<u32> {
    let row = |i: u32| &centroids[i as usize * dim..(i as usize + 1) * dim];
    let mut order: Vec<u32> = (0..(centroids.len() / dim) as u32).collect();
    let mut open: Vec<std::ops::Range<usize>> = std::iter::once(0..order.len()).collect();
    while let Some(range) = open.pop() {
        let part = &mut order[range.clone()];
        if part.len() <= GROUP {
            continue;
        }
        let farthest = |from: u32, part: &[u32]| {
            let far = part.iter().map(|i| (squared_distance(row(from), row(*i)), *i));
            far.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).map_or(from, |(_, i)| i)
        };
        let one = farthest(part[0], part);
        let other = farthest(one, part);
        let mut keyed: Vec<(f64, u32)> =
            part.iter().map(|i| (dot(row(*i), row(one)) - dot(row(*i), row(other)), *i)).collect();
        keyed.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        part.iter_mut().zip(keyed).for_each(|(place, (_, i))| *place = i);
        let groups = part.len().div_ceil(GROUP);
        let middle = range.start + groups / 2 * GROUP;
        open.extend([range.start..middle, middle..range.end]);
    }
    order
}

/// Centroids, packed in groups, and the centres of the groups.
pub struct Grouped {
    kernels: Kernels,
    order: Vec<u32>,
    columns: Columns,
    centers: Columns,
}

/// Memory of one thread.
pub struct Scratch {
    gathered: Rows,
    found: TopTwos,
    scores: Vec<f32>,
    /// Per group the rows that look at it.
    visitors: Vec<Vec<usize>>,
}

impl Grouped {
    pub fn new(kernels: Kernels, centroids: &[f32], dim: usize, scale: f32) -> Self {
        let order = order_by_likeness(centroids, dim);
        let row = |i: u32| &centroids[i as usize * dim..(i as usize + 1) * dim];
        let means: Vec<f32> = order
            .chunks(GROUP)
            .flat_map(|group| {
                let mut mean = vec![0f64; dim];
                for i in group {
                    mean.iter_mut().zip(row(*i)).for_each(|(sum, value)| *sum += *value as f64);
                }
                mean.into_iter().map(|sum| (sum / group.len() as f64) as f32).collect::<Vec<_>>()
            })
            .collect();
        let columns = Columns::new(kernels, order.len(), dim, scale, |column| row(order[column]));
        let centers =
            Columns::new(kernels, means.len() / dim, dim, scale, |group| &means[group * dim..(group + 1) * dim]);
        Self { kernels, order, columns, centers }
    }

    pub fn scratch(&self, n_rows: usize, dim: usize) -> Scratch {
        Scratch {
            gathered: Rows::with_room(self.kernels, n_rows, dim),
            found: TopTwos::default(),
            scores: Vec::new(),
            visitors: vec![Vec::new(); self.columns.n_groups()],
        }
    }

    /// For each row the score and the number of the nearest centroid among the `n_probes` groups of the nearest centres.
    pub fn nearest(&self, rows: &Rows, n_probes: usize, scratch: &mut Scratch, out: &mut [(f32, u32)]) {
        let n_groups = self.columns.n_groups();
        assert_eq!(out.len(), rows.n());
        out.fill((f32::NEG_INFINITY, 0));
        let Scratch { gathered, found, scores, visitors } = scratch;
        let all = n_probes >= n_groups;
        if !all {
            self.kernels.scores(rows, rows.n(), &self.centers, scores);
            let width = self.centers.n_groups() * GROUP;
            visitors.iter_mut().for_each(Vec::clear);
            let mut order: Vec<u32> = Vec::with_capacity(n_groups);
            for (row, scores) in scores.chunks_exact(width).take(rows.n()).enumerate() {
                order.clear();
                order.extend(0..n_groups as u32);
                let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
                order.select_nth_unstable_by(n_probes - 1, by_score);
                order[..n_probes].iter().for_each(|group| visitors[*group as usize].push(row));
            }
        }
        for group in 0..n_groups {
            let n = if all { rows.n() } else { visitors[group].len() };
            if n == 0 {
                continue;
            }
            if !all {
                gathered.gather(rows, visitors[group].iter().copied());
            }
            self.kernels.top_two(if all { rows } else { gathered }, n, &self.columns, group, 1, found);
            for i in 0..n {
                let best = &mut out[if all { i } else { visitors[group][i] }];
                if found.best[i] > best.0 {
                    *best = (found.best[i], self.order[found.columns[i] as usize]);
                }
            }
        }
    }
}
