//! Which resolution suits a graph, and the layers of communities around it. It knows no sizes and no noise; those are
//! in `density.rs`.

use super::community::{partition, settle};
use super::network::{Network, compact, grouped};
use crate::error::Result;
use crate::task::Task;

/// Resolutions are searched in these steps: about one in six communities merges at each.
const STEP: f64 = std::f64::consts::SQRT_2;
/// A layer has about half the clusters of the next finer one: their number grows as the square root of the resolution.
const LAYER_STEP: f64 = 4.0;
/// No coarser resolution is looked at: at 1/64 of modularity's own even the largest sets have a handful of clusters.
const COARSEST: f64 = 1.0 / 64.0;
/// Share of a label that neighbors tell about each other in data without clusters (Gaussian and uniform, 8 to 384
/// dimensions, modularity's own resolution: 0.26 to 0.38; texts: 0.45 and more). At most this: one cluster.
const STRUCTURELESS: f64 = 0.4;

/// A knee is one only if it stands this far above the chord, as a share of the finest level's entropy: labelled texts
/// have 0.03 and more, texts without clusters up to 0.003.
const LEAST_LIFT: f64 = 0.01;
/// Levels that stand this high, as a share of the highest, are as good as it: the seed alone moves them by 0.01.
const FLAT_TOP: f64 = 0.99;

/// Communities at one resolution, and what neighbors tell about them.
pub struct Level {
    pub resolution: f64,
    pub labels: Vec<u32>,
    pub information: f64,
    pub entropy: f64,
}

/// The search of one graph: a falling resolution, each level made of whole communities of the one before.
pub struct Search<'a> {
    pub network: &'a Network,
    /// Neighbors per row of the kNN graph.
    pub k: usize,
    pub seed: u64,
    pub task: &'a Task,
}

impl Search<'_> {
    /// What mass costs mass at a resolution of modularity.
    pub fn pull(&self, resolution: f64) -> f64 {
        resolution / self.network.total().max(f64::MIN_POSITIVE)
    }

    /// The resolution at which points must be linked by 1/k on average to stay together: communities are then about
    /// as large as a neighbor list, and the graph knows nothing finer.
    fn finest(&self) -> f64 {
        let n = self.network.n() as f64;
        (n * n / (self.k as f64 * self.network.total().max(1.0))).max(1.0)
    }

    /// Levels from the finest to the coarsest; at least one.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn levels(&self) -> Result<Vec<Level>> {
        let mut resolution = self.finest();
        let alone = (0..self.network.n() as u32).collect();
        let mut labels = partition(self.network, alone, self.pull(resolution), self.seed, self.task)?;
        let n_labels = compact(&mut labels);
        let mut coarse = self.network.aggregate(&labels, n_labels, self.task)?;
        let mut levels = Vec::new();
        loop {
            let (information, entropy) = coarse.information();
            levels.push(Level { resolution, labels: labels.clone(), information, entropy });
            let before = coarse.n();
            while coarse.n() == before {
                resolution /= STEP;
                if before == 1 || resolution < COARSEST {
                    return Ok(levels);
                }
                coarse = self.merge(coarse, &mut labels, resolution)?;
            }
        }
    }

    /// Layers inside `flat`, finest first, at whole layer steps above `resolution`; none where the graph knows
    /// nothing finer. `start` are the finest communities; `adjust` may change the finest layer before others follow.
    ///
    /// # Errors
    /// `Cancelled`, and what `adjust` returns.
    pub fn finer(
        &self,
        flat: &[u32],
        start: &[u32],
        resolution: f64,
        adjust: impl FnOnce(&Network, &mut [u32]) -> Result<()>,
    ) -> Result<Vec<Vec<u32>>> {
        let steps = (self.finest() / resolution).log(LAYER_STEP).floor();
        if steps < 1.0 {
            return Ok(Vec::new());
        }
        let inside = self.network.within(flat, self.task)?;
        let mut finer = resolution * LAYER_STEP.powf(steps);
        let mut labels = crossed(start, flat);
        settle(&inside, &mut labels, self.pull(finer), self.seed, self.task)?;
        adjust(&inside, &mut labels)?;
        let n_labels = compact(&mut labels);
        let mut coarse = inside.aggregate(&labels, n_labels, self.task)?;
        let mut layers = vec![labels.clone()];
        for _ in 1..steps as usize {
            finer /= LAYER_STEP;
            let before = coarse.n();
            coarse = self.merge(coarse, &mut labels, finer)?;
            if coarse.n() < before {
                layers.push(labels.clone());
            }
        }
        Ok(layers)
    }

    /// Layers made of whole clusters of `flat`, finest first, at whole layer steps below `resolution`.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn coarser(&self, flat: &[u32], resolution: f64) -> Result<Vec<Vec<u32>>> {
        let mut labels = flat.to_vec();
        let n_labels = compact(&mut labels);
        let mut coarse = self.network.aggregate(&labels, n_labels, self.task)?;
        let mut layers = Vec::new();
        let mut resolution = resolution / LAYER_STEP;
        while resolution >= COARSEST && coarse.n() > 2 {
            let before = coarse.n();
            coarse = self.merge(coarse, &mut labels, resolution)?;
            if coarse.n() == 1 {
                break;
            }
            if coarse.n() < before {
                layers.push(labels.clone());
            }
            resolution /= LAYER_STEP;
        }
        Ok(layers)
    }

    /// Merges the nodes of `coarse` at a lower resolution; `labels` name nodes of it before and after.
    fn merge(&self, coarse: Network, labels: &mut [u32], resolution: f64) -> Result<Network> {
        let alone = (0..coarse.n() as u32).collect();
        let mut merged = partition(&coarse, alone, self.pull(resolution), self.seed, self.task)?;
        let n_merged = compact(&mut merged);
        if n_merged == coarse.n() {
            return Ok(coarse);
        }
        for label in labels {
            *label = merged[*label as usize];
        }
        coarse.aggregate(&merged, n_merged, self.task)
    }
}

/// The level that splits as far as neighbors can follow.
///
/// Drawn as information over entropy, the levels make a curve from (0, 0) up to the finest level. Its slope is how
/// much of what a split adds to the labels neighbors know of each other. The level wanted is the last one whose slope
/// is above the chord's, that is above what neighbors know of the finest labels on average: there the curve is
/// farthest above its chord, at its knee (Satopaa et al. 2011, "Finding a Kneedle in a haystack"). Of levels that
/// differ by less than the seed makes them differ, the finest is taken.
///
/// Without a knee it is modularity's own resolution, or one cluster if neighbors know little even there.
pub fn chosen(levels: &[Level]) -> usize {
    let finest = &levels[0];
    let chord = if finest.entropy > 0.0 { finest.information / finest.entropy } else { 0.0 };
    let lift = |level: &Level| level.information - chord * level.entropy;
    let highest = levels.iter().map(lift).fold(0.0, f64::max);
    if highest > LEAST_LIFT * finest.entropy {
        return levels.iter().position(|level| lift(level) >= FLAT_TOP * highest).unwrap_or(0);
    }
    let own = nearest_level(levels, 1.0);
    if levels[own].information > STRUCTURELESS * levels[own].entropy { own } else { levels.len() - 1 }
}

/// The level whose resolution is next to `resolution`, by ratio.
pub fn nearest_level(levels: &[Level], resolution: f64) -> usize {
    let away = |level: &Level| (level.resolution / resolution).ln().abs();
    (0..levels.len()).min_by(|a, b| away(&levels[*a]).total_cmp(&away(&levels[*b]))).unwrap_or(0)
}

/// Labels of pairs: equal only where both are. Both are numbered without gaps.
fn crossed(a: &[u32], b: &[u32]) -> Vec<u32> {
    let count = |labels: &[u32]| labels.iter().max().map_or(0, |label| *label as usize + 1);
    let (starts, rows) = grouped(a, count(a));
    // (label of a, name) that each label of b was last given
    let mut given = vec![(u32::MAX, 0u32); count(b)];
    let mut labels = vec![0u32; a.len()];
    let mut names = 0;
    for group in starts.windows(2) {
        for row in &rows[group[0]..group[1]] {
            let (own, slot) = (a[*row as usize], &mut given[b[*row as usize] as usize]);
            if slot.0 != own {
                *slot = (own, names);
                names += 1;
            }
            labels[*row as usize] = slot.1;
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Vec<Level> {
        let resolution = |i: usize| 8.0 / 2f64.powi(i as i32);
        let level = |(i, &(entropy, information))| Level {
            resolution: resolution(i),
            labels: Vec::new(),
            information,
            entropy,
        };
        points.iter().enumerate().map(level).collect()
    }

    #[test]
    fn the_knee_is_chosen() {
        assert_eq!(chosen(&curve(&[(6.0, 4.0), (5.0, 3.9), (4.0, 3.6), (2.0, 1.8), (0.0, 0.0)])), 2);
    }

    #[test]
    fn without_a_knee_it_is_resolution_1_or_one_cluster() {
        // neighbors know half at every level, then a third
        assert_eq!(chosen(&curve(&[(6.0, 3.0), (5.0, 2.5), (4.0, 2.0), (2.0, 1.0), (0.0, 0.0)])), 3);
        assert_eq!(chosen(&curve(&[(6.0, 2.0), (5.0, 1.6), (4.0, 1.3), (2.0, 0.6), (0.0, 0.0)])), 4);
    }

    #[test]
    fn crossed_labels_are_equal_only_where_both_are() {
        assert_eq!(crossed(&[0, 0, 1, 1, 0], &[0, 1, 1, 1, 0]), [0, 1, 2, 2, 0]);
    }
}
