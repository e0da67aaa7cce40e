//! Which resolution suits a graph, and the layers of communities around it. It knows no sizes and no noise; those are
//! in `density.rs`.

use super::community::partition;
use super::network::{Network, compact};
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
    /// nothing finer. `start` are the finest communities; `settle` may change the finest layer before others follow.
    ///
    /// # Errors
    /// `Cancelled`, and what `settle` returns.
    pub fn finer(
        &self,
        flat: &[u32],
        start: &[u32],
        resolution: f64,
        settle: impl FnOnce(&Network, &mut Vec<u32>) -> Result<()>,
    ) -> Result<Vec<Vec<u32>>> {
        let steps = (self.finest() / resolution).log(LAYER_STEP).floor();
        if steps < 1.0 {
            return Ok(Vec::new());
        }
        let inside = self.network.within(flat);
        let mut finer = resolution * LAYER_STEP.powf(steps);
        let mut labels = partition(&inside, crossed(start, flat), self.pull(finer), self.seed, self.task)?;
        settle(&inside, &mut labels)?;
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
/// much of what a split adds to the labels neighbors know of each other. The level taken is the last one whose slope
/// is above the chord's, that is above what neighbors know of the finest labels on average: the knee (Satopaa et al.
/// 2011). Where no level lies above the chord there is no knee: then modularity's own resolution, or one cluster if
/// neighbors know little even there.
pub fn chosen(levels: &[Level]) -> usize {
    let finest = &levels[0];
    let chord = if finest.entropy > 0.0 { finest.information / finest.entropy } else { 0.0 };
    let above = |level: &Level| level.information - chord * level.entropy;
    let mut best = 0;
    for (i, level) in levels.iter().enumerate() {
        // rounding alone must not lift a level above the chord; ties go to the finer level
        if above(level) > above(&levels[best]) + 1e-9 * (1.0 + finest.entropy) {
            best = i;
        }
    }
    if best > 0 && levels[best].entropy > 0.0 {
        return best;
    }
    let own = nearest_level(levels, 1.0);
    if levels[own].information > STRUCTURELESS * levels[own].entropy { own } else { levels.len() - 1 }
}

/// The level whose resolution is next to `resolution`, by ratio.
pub fn nearest_level(levels: &[Level], resolution: f64) -> usize {
    let away = |level: &Level| (level.resolution / resolution).ln().abs();
    (0..levels.len()).min_by(|a, b| away(&levels[*a]).total_cmp(&away(&levels[*b]))).unwrap_or(0)
}

/// Labels of pairs: equal only where both are. Both have labels below n.
fn crossed(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..a.len() as u32).collect();
    let pair = |row: u32| (a[row as usize], b[row as usize]);
    rows.sort_unstable_by_key(|row| (pair(*row), *row));
    let mut labels = vec![0u32; a.len()];
    let mut name = 0;
    for (position, row) in rows.iter().enumerate() {
        name += (position > 0 && pair(rows[position - 1]) != pair(*row)) as u32;
        labels[*row as usize] = name;
    }
    labels
}
