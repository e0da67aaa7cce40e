//! Which texts are near-duplicates: pairs of alike signatures, found by banding, pairs of a neighbor graph, and the groups
//! that pairs make. The number of pairs is linear in the number of texts; what a signature is, `shingles` says.

use rayon::prelude::*;

use super::shingles::{N_VALUES, Signature};
use crate::error::{Error, Result};
use crate::task::Task;

/// Values that must be equal in one band: two texts of similarity s share a band with 1 - (1 - s^ROWS)^BANDS, at 0.6
/// 0.9992. More bands would only cost time.
const ROWS: usize = 2;
const BANDS: usize = 16;

/// Pairs (i, j), i < j, sorted, whose signatures agree in at least `fewest_equal` values. In each bucket every text is
/// paired with the first one and with the one before it in the order of signatures: at most two pairs per text and
/// band, and equal signatures always connected.
///
/// # Errors
/// `Cancelled`; `InvalidInput` for more than 2^32 - 1 signatures.
pub fn similar_pairs(signatures: &[Signature], fewest_equal: usize, task: &Task) -> Result<Vec<[u32; 2]>> {
    let n = u32::try_from(signatures.len()).map_err(|_| Error::invalid("there are too many signatures"))?;
    task.start(BANDS as u64);
    // ties of a bucket go by the whole signature: alike texts are then next to each other
    let mut rank: Vec<u32> = (0..n).collect();
    rank.par_sort_unstable_by(|a, b| (&signatures[*a as usize], a).cmp(&(&signatures[*b as usize], b)));
    let mut pairs: Vec<[u32; 2]> = Vec::new();
    for band in 0..BANDS {
        task.check()?;
        let key = |id: u32| {
            let values = &signatures[id as usize][band * N_VALUES / BANDS..][..ROWS];
            u32::from(values[0]) << 16 | u32::from(values[1])
        };
        let mut order: Vec<(u32, u32)> = rank.par_iter().map(|id| (key(*id), *id)).collect();
        // stable: within a bucket the order of signatures stays
        order.par_sort_by_key(|(key, _)| *key);
        let found: Vec<[u32; 2]> = order
            .par_chunk_by(|a, b| a.0 == b.0)
            .filter(|bucket| bucket.len() > 1)
            .flat_map_iter(|bucket| {
                let chain = bucket.windows(2).map(|pair| (pair[0].1, pair[1].1));
                let star = bucket[2..].iter().map(|(_, id)| (bucket[0].1, *id));
                chain
                    .chain(star)
                    .filter(|(a, b)| n_equal(&signatures[*a as usize], &signatures[*b as usize]) >= fewest_equal)
            })
            .map(|(a, b)| [a.min(b), a.max(b)])
            .collect();
        pairs.extend(found);
        task.advance(1);
    }
    pairs.par_sort_unstable();
    pairs.dedup();
    Ok(pairs)
}

fn n_equal(a: &Signature, b: &Signature) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}

/// Pairs (i, j), i < j, sorted, of rows that are at most `max_distance` apart in lists of `k` neighbors each. A list
/// ends at the first id that is no row.
pub fn pairs_within(indices: &[u32], distances: &[f32], k: usize, max_distance: f32) -> Vec<[u32; 2]> {
    let n_rows = (indices.len() / k.max(1)) as u32;
    let mut pairs: Vec<[u32; 2]> = (0..n_rows)
        .into_par_iter()
        .flat_map_iter(|row| {
            let list = row as usize * k..(row as usize + 1) * k;
            let neighbors = indices[list.clone()].iter().zip(&distances[list]);
            neighbors
                .take_while(move |(id, distance)| **id < n_rows && **distance <= max_distance)
                .map(move |(id, _)| [row.min(*id), row.max(*id)])
        })
        .collect();
    pairs.par_sort_unstable();
    pairs.dedup();
    pairs
}

/// The group of each of `n` texts that `pairs` connect: the smallest text of the group.
///
/// # Errors
/// `InvalidInput` when a pair names a text that does not exist.
pub fn groups(n: usize, pairs: &[u32]) -> Result<Vec<u32>> {
    let n = u32::try_from(n).map_err(|_| Error::invalid(format!("n must be below 2^32: got {n}")))?;
    let mut parent: Vec<u32> = (0..n).collect();
    for (row, pair) in pairs.as_chunks::<2>().0.iter().enumerate() {
        if let Some(id) = pair.iter().find(|id| **id >= n) {
            return Err(Error::invalid(format!("pairs: row {row} names {id}, but there are {n} texts")));
        }
        let (a, b) = (root(&mut parent, pair[0]), root(&mut parent, pair[1]));
        // the smaller root stays a root, so it is the smallest of its group
        parent[a.max(b) as usize] = a.min(b);
    }
    Ok((0..n).map(|id| root(&mut parent, id)).collect())
}

/// Halves the path on its way: nearly constant time per call.
fn root(parent: &mut [u32], mut id: u32) -> u32 {
    while parent[id as usize] != id {
        let above = parent[parent[id as usize] as usize];
        parent[id as usize] = above;
        id = above;
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shingles::{form, signature};
    use super::*;

    fn groups_of(texts: &[String]) -> Vec<u32> {
        let signatures: Vec<Signature> = texts.iter().map(|text| signature(text)).collect();
        let pairs = similar_pairs(&signatures, 77, &Task::new()).expect("pairs");
        groups(texts.len(), pairs.as_flattened()).expect("groups")
    }

    #[test]
    fn alike_texts_are_candidates_and_others_are_not() {
        let texts = [
            "please turn on the light in the kitchen".to_owned(),
            "what will the weather be like in Berlin tomorrow".to_owned(),
            "Please turn on the lights in the kitchen!".to_owned(),
        ];
        assert_eq!(groups_of(&texts), [0, 1, 0]);
    }

    #[test]
    fn one_large_bucket_makes_a_linear_number_of_pairs() {
        let signatures = vec![signature("the same text"); 1000];
        let pairs = similar_pairs(&signatures, 77, &Task::new()).expect("pairs");
        assert!(pairs.len() <= 2 * 1000, "{}", pairs.len());
        assert!(pairs.iter().all(|[a, b]| a < b) && pairs.is_sorted());
    }

    #[test]
    fn a_group_is_named_by_its_smallest_member() {
        assert_eq!(groups(6, &[5, 3, 3, 1, 2, 4]).expect("groups"), [0, 1, 2, 1, 2, 1]);
        assert!(groups(2, &[0, 2]).is_err());
    }

    #[test]
    fn pairs_of_a_graph_end_at_the_distance() {
        let pairs = pairs_within(&[1, 2, 0, u32::MAX, 0, 1], &[0.1, 0.4, 0.1, f32::INFINITY, 0.4, 0.5], 2, 0.4);
        assert_eq!(pairs, [[0, 1], [0, 2]]);
    }

    proptest! {
        #[test]
        fn texts_of_equal_form_are_never_split(
            texts in prop::collection::vec("[ab]{1,3}( [ab!]{1,3}){0,3}", 1..60)
        ) {
            let found = groups_of(&texts);
            for i in 0..texts.len() {
                for j in 0..i {
                    if form(&texts[i]) == form(&texts[j]) {
                        prop_assert_eq!(found[i], found[j]);
                    }
                }
            }
        }

        #[test]
        fn groups_are_what_a_walk_finds(n in 1usize..30, seed in prop::collection::vec((0u32..30, 0u32..30), 0..40)) {
            let pairs: Vec<u32> =
                seed.iter().filter(|(a, b)| (*a.max(b) as usize) < n).flat_map(|(a, b)| [*a, *b]).collect();
            let mut slow: Vec<u32> = (0..n as u32).collect();
            for _ in 0..n {
                for pair in pairs.chunks_exact(2) {
                    let least = slow[pair[0] as usize].min(slow[pair[1] as usize]);
                    slow[pair[0] as usize] = least;
                    slow[pair[1] as usize] = least;
                }
            }
            prop_assert_eq!(groups(n, &pairs).expect("groups"), slow);
        }
    }
}
