//! Which messages of a tree are the conversation: the path from a leaf up to its root. A tree that is none (a parent
//! that is missing, a circle) gives the path as far as it goes.

use std::collections::{HashMap, HashSet};

/// A message's place: its id and that of the message it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub id: &'a str,
    pub parent: Option<&'a str>,
}

/// Positions of the messages from the root to the leaf, in that order.
pub(super) fn path_to(leaf: &str, places: &[Place<'_>]) -> Vec<usize> {
    let by_id: HashMap<&str, usize> = places.iter().enumerate().map(|(at, place)| (place.id, at)).collect();
    let mut path = Vec::new();
    let mut seen = HashSet::new();
    let mut next = by_id.get(leaf).copied();
    while let Some(at) = next.filter(|at| seen.insert(*at)) {
        path.push(at);
        next = places[at].parent.and_then(|parent| by_id.get(parent).copied());
    }
    path.reverse();
    path
}

/// How many leaves lie off the path.
pub(super) fn other_leaves(path: &[usize], places: &[Place<'_>]) -> usize {
    let parents: HashSet<&str> = places.iter().filter_map(|place| place.parent).collect();
    let on_path: HashSet<usize> = path.iter().copied().collect();
    (0..places.len()).filter(|at| !on_path.contains(at) && !parents.contains(places[*at].id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(id: &'a str, parent: Option<&'a str>) -> Place<'a> {
        Place { id, parent }
    }

    #[test]
    fn the_path_leads_from_the_root_to_the_leaf() {
        let places = [
            place("c", Some("b")),
            place("a", None),
            place("b", Some("a")),
            place("d", Some("b")),
            place("e", Some("d")),
        ];
        assert_eq!(path_to("c", &places), [1, 2, 0]);
        assert_eq!(path_to("nobody", &places), [0; 0]);
        assert_eq!(other_leaves(&[1, 2, 0], &places), 1);
    }

    #[test]
    fn circles_end() {
        let places = [place("a", Some("b")), place("b", Some("a"))];
        assert_eq!(path_to("a", &places), [1, 0]);
    }
}
