//! One epoch of UMAP's stochastic gradient descent (McInnes, Healy, Melville 2018, section 3.2), as vector code: sixteen
//! points side by side. Which points there are and for how many epochs is decided in `umap`.
//!
//! Every point moves only itself and reads the others where they stood before the epoch, so the result does not depend
//! on who computes which point. Within an epoch its moves follow each other: a pull along each edge that is due, and
//! after each of them some pushes from random points.
//!
//! The random points of the sixteen lanes are neighbors in memory: lane `l` of a push reads the point `offset` places
//! behind its own, with one offset for all lanes. For each point alone that is a uniform draw among all others, and
//! the load is two vectors instead of sixteen single values.

// several arrays are walked at once by lane and axis: the form that becomes vector code
#![allow(clippy::needless_range_loop)]

use super::curve::{Curve, power};
use crate::random::Rng;

/// Points that move side by side.
pub const LANES: usize = 16;
/// The reference implementation's bound on one coordinate of one step.
const CLIP: f32 = 4.0;

/// Edges of the points that move, in compressed rows, with how often each is due.
pub struct Schedule {
    pub offsets: Vec<usize>,
    pub targets: Vec<u32>,
    /// Share of the epochs in which an edge is due, in units of 2^-32.
    pub rates: Vec<u32>,
}

impl Schedule {
    /// The edges of point `i` that are due in `epoch`. The phase of an edge is a hash of its place: with one phase for
    /// all, the edges of equal weight would be due in the same epochs.
    #[inline(always)]
    fn due(&self, i: usize, epoch: u32, due: &mut Vec<u32>) {
        due.clear();
        let edges = self.offsets[i]..self.offsets[i + 1];
        due.resize(edges.len(), 0);
        let mut n_due = 0;
        for ((target, rate), edge) in self.targets[edges.clone()].iter().zip(&self.rates[edges.clone()]).zip(edges) {
            let phase = (edge as u32).wrapping_mul(0x9E37_79B9) ^ 0x5bd1_e995;
            // the sum of rates has just passed a whole number
            let is_due = phase.wrapping_add(epoch.wrapping_mul(*rate)) < *rate;
            due[n_due] = *target;
            n_due += usize::from(is_due);
        }
        due.truncate(n_due);
    }
}

/// What does not change during an epoch.
pub struct Epoch<'a> {
    pub schedule: &'a Schedule,
    /// Coordinates of the points that pull, row-major.
    pub others: &'a [f32],
    /// The same as columns, for pushes: one after the other, in each the first `LANES` values repeated behind the last.
    pub columns: &'a [f32],
    pub n_others: usize,
    pub curve: Curve,
    pub epoch: usize,
    /// Learning rate of this epoch for pushes, and for pulls.
    pub push_rate: f32,
    pub pull_rate: f32,
    pub n_negatives: usize,
    /// Whether the points that move are the others themselves: then none is pushed by itself.
    pub is_own: bool,
    pub seed: u64,
}

/// Moves `own`, up to `LANES` rows of `D` coordinates, of which the first is point `first`.
#[inline(always)]
pub fn move_points<const D: usize>(own: &mut [f32], first: usize, epoch: &Epoch, due: &mut [Vec<u32>; LANES]) {
    let n_lanes = own.len() / D;
    let mut at = [[0f32; LANES]; D];
    let mut most = 0;
    for lane in 0..LANES {
        due[lane].clear();
        if lane < n_lanes {
            epoch.schedule.due(first + lane, epoch.epoch as u32, &mut due[lane]);
            most = most.max(due[lane].len());
            for axis in 0..D {
                at[axis][lane] = own[lane * D + axis];
            }
        }
    }
    let mut rng = Rng::new(epoch.seed, (epoch.epoch as u64) << 32 | (first / LANES) as u64);
    let from = first % epoch.n_others;
    for slot in 0..most {
        let mut pull_rates = [0f32; LANES];
        let mut push_rates = [0f32; LANES];
        // a lane that has no more edges is pulled by itself, at no rate
        let mut other = at;
        for lane in 0..LANES {
            if let Some(target) = due[lane].get(slot) {
                (pull_rates[lane], push_rates[lane]) = (epoch.pull_rate, epoch.push_rate);
                let row = &epoch.others[*target as usize * D..*target as usize * D + D];
                for axis in 0..D {
                    other[axis][lane] = row[axis];
                }
            }
        }
        pull(&mut at, &other, &pull_rates, epoch.curve);
        // The pushes after one pull all start from where it led. If each waited for the one before, the CPU would wait
        // for the end of each polynomial; that way it computes several at once.
        let from_here = at;
        for _ in 0..epoch.n_negatives {
            let draw = if epoch.is_own { 1 + rng.below(epoch.n_others - 1) } else { rng.below(epoch.n_others) };
            let start = if from + draw < epoch.n_others { from + draw } else { from + draw - epoch.n_others };
            for axis in 0..D {
                let column = &epoch.columns[axis * (epoch.n_others + LANES)..];
                other[axis].copy_from_slice(&column[start..start + LANES]);
            }
            push(&mut at, &from_here, &other, &push_rates, epoch.curve);
        }
    }
    for (lane, row) in own.chunks_exact_mut(D).enumerate() {
        for axis in 0..D {
            row[axis] = at[axis][lane];
        }
    }
}

#[inline(always)]
fn squared<const D: usize>(at: &[[f32; LANES]; D], other: &[[f32; LANES]; D]) -> [f32; LANES] {
    let mut sum = [0f32; LANES];
    for axis in 0..D {
        for lane in 0..LANES {
            let difference = at[axis][lane] - other[axis][lane];
            sum[lane] += difference * difference;
        }
    }
    sum
}

#[inline(always)]
fn pull<const D: usize>(at: &mut [[f32; LANES]; D], other: &[[f32; LANES]; D], rates: &[f32; LANES], curve: Curve) {
    let squared = squared(at, other);
    let mut factors = [0f32; LANES];
    for lane in 0..LANES {
        let d2 = squared[lane].max(f32::MIN_POSITIVE);
        let power = power(d2, curve.b);
        factors[lane] = 2.0 * curve.a * curve.b * power / (d2 * (1.0 + curve.a * power));
    }
    for axis in 0..D {
        for lane in 0..LANES {
            let away = other[axis][lane] - at[axis][lane];
            let step = rates[lane] * (factors[lane] * away).clamp(-CLIP, CLIP);
            // never past the other point: both ends of an edge may move in one epoch
            at[axis][lane] += step.min(away.abs()).max(-away.abs());
        }
    }
}

#[inline(always)]
fn push<const D: usize>(
    at: &mut [[f32; LANES]; D],
    from: &[[f32; LANES]; D],
    other: &[[f32; LANES]; D],
    rates: &[f32; LANES],
    curve: Curve,
) {
    let squared = squared(from, other);
    let mut factors = [0f32; LANES];
    for lane in 0..LANES {
        let d2 = squared[lane];
        let power = power(d2.max(f32::MIN_POSITIVE), curve.b);
        factors[lane] = 2.0 * curve.b / ((0.001 + d2) * (1.0 + curve.a * power));
    }
    for axis in 0..D {
        for lane in 0..LANES {
            let away = from[axis][lane] - other[axis][lane];
            at[axis][lane] += rates[lane] * (factors[lane] * away).clamp(-CLIP, CLIP);
        }
    }
}
