//! Which hashes were seen before, in 8 to 16 bytes of memory each: a filter in front of a database index.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// The first 8 bytes of hashes of 16. Hashes are spread evenly, so these bytes are their own hash.
#[derive(Debug, Default)]
pub struct SeenHashes(HashSet<u64, BuildHasherDefault<Identity>>);

impl SeenHashes {
    /// Takes hashes in; for each, whether one with the same first 8 bytes was there before (in this call, too).
    pub fn insert(&mut self, hashes: &[[u8; 16]]) -> Vec<bool> {
        self.0.reserve(hashes.len());
        hashes
            .iter()
            .map(|hash| {
                let (first, _) = hash.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
                !self.0.insert(u64::from_le_bytes(*first))
            })
            .collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hash_called_new_is_new(calls in prop::collection::vec(prop::collection::vec(any::<[u8; 16]>(), 0..20), 0..6)) {
            let (mut seen, mut exact) = (SeenHashes::default(), HashSet::new());
            for hashes in calls {
                for (hash, before) in hashes.iter().zip(seen.insert(&hashes)) {
                    prop_assert!(before || !exact.contains(hash));
                    exact.insert(*hash);
                }
            }
            prop_assert!(seen.len() <= exact.len());
        }
    }

    #[test]
    fn what_was_taken_in_is_seen() {
        let mut seen = SeenHashes::default();
        assert_eq!(seen.insert(&[[1; 16], [2; 16], [1; 16]]), [false, false, true]);
        assert_eq!(seen.insert(&[[2; 16], [3; 16]]), [true, false]);
        assert_eq!(seen.len(), 3);
    }
}
