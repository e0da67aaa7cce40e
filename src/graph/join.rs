//! Neighbors of neighbors: who is near to my neighbors is likely near to me (Dong, Moses, Li 2011, section 2). Not row by
//! row: a few rows that stand together share most of these candidates, and a product of all of them with all candidates
//! costs less than picking out the pairs.

use super::partitioned::{Near, Points, settle};
use crate::error::Result;
use crate::kernels;
use crate::kernels::tiles::{Columns, Hits, Rows};
use crate::task::Task;

/// Rows that look together: one panel.
const BLOCK_ROWS: usize = 32;
/// Neighbors of each neighbor that are looked at.
const OF_NEIGHBOR: usize = 6;
/// Rows that name a row as neighbor, of which this many are looked at.
const BACKWARDS: usize = 4;
/// Candidates that are converted at a time.
const CANDIDATES: usize = 512;

/// Shows every row the neighbors of its neighbors, and those that name it.
pub fn join(points: &Points<'_>, near: &mut Near, task: &Task) -> Result<()> {
    let dim = points.vectors.dim();
    let backwards = backwards(near, points.n());
    near.replace(BLOCK_ROWS, |near, places| {
        task.check()?;
        let mut candidates: Vec<u32> = Vec::with_capacity(BLOCK_ROWS * near.k() * OF_NEIGHBOR);
        for place in places.clone() {
            let named_by = &backwards[place * BACKWARDS..(place + 1) * BACKWARDS];
            let named_by = named_by.iter().filter(|id| **id != super::MISSING);
            for neighbor in near.ids(place).iter().chain(named_by) {
                candidates.push(*neighbor);
                candidates.extend(near.ids(*neighbor as usize).iter().take(OF_NEIGHBOR));
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let columns = Columns::new(points.kernels, places.len(), dim, points.scale, |i| points.row(places.start + i));
        let mut lists = points.open(near, places.clone(), |i| columns.lengths(i), |i| columns.half(i));
        let (mut rows, mut hits) = (Rows::with_room(points.kernels, CANDIDATES, dim), Hits::default());
        for candidates in candidates.chunks(CANDIDATES) {
            rows.refill(points.kernels, points.scale, candidates.iter().map(|id| points.row(*id as usize)));
            // what is known stands in the lists already: twice, it would count as two
            kernels::scan(
                points.kernels,
                (&rows, 0..candidates.len()),
                &columns,
                |row| candidates[row],
                |i, other| {
                    let place = places.start + i;
                    place != other as usize && !near.ids(place).contains(&other)
                },
                |i, other| points.measure(places.start + i, other as usize),
                &mut lists,
                &mut hits,
            );
        }
        Ok(settle(points, &lists, places))
    })
}

/// For every place up to [`BACKWARDS`] places that name it, those first that name it as nearer.
fn backwards(near: &Near, n: usize) -> Vec<u32> {
    let mut named_by = vec![super::MISSING; n * BACKWARDS];
    let mut counts = vec![0u8; n];
    for position in 0..near.k() {
        for place in 0..n {
            let Some(neighbor) = near.ids(place).get(position) else { continue };
            let neighbor = *neighbor as usize;
            if (counts[neighbor] as usize) < BACKWARDS {
                named_by[neighbor * BACKWARDS + counts[neighbor] as usize] = place as u32;
                counts[neighbor] += 1;
            }
        }
    }
    named_by
}
