//! Which terms a cluster is about: class-based TF-IDF (Grootendorst 2022, BERTopic, section 3.3) over words, two-word
//! phrases and character pairs, counted once per text so that one long text can't name a cluster.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::words::{Word, content_words};
use crate::cluster::MAX_CLUSTERS;
use crate::error::{Error, Result};
use crate::task::Task;

/// Characters of a text that are looked at: a topic shows early, and pasted documents stay cheap.
const LONGEST_TEXT: usize = 4_000;
/// Texts of one block of work; blocks are merged in order.
const BLOCK: usize = 1_024;
/// Share of a cluster's texts at which a term counts half: what stands in few of them can't name it.
const HALF_WEIGHT_SHARE: f64 = 0.02;
/// Spellings remembered per term.
const SPELLINGS: usize = 6;

/// A term as it is mostly spelled, and its weight in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub text: String,
    pub score: f64,
}

/// The best `n_terms` terms of each cluster `0..n_clusters`, best first; ties in alphabetical order.
///
/// Only terms in at least `min_count` texts count, except in a cluster that would have none. Noise (-1) counts
/// towards how common a term is.
///
/// # Errors
/// `InvalidInput` when labels or weights do not fit the texts; `Cancelled`.
pub fn top_terms(
    texts: &[&str],
    labels: &[i32],
    weights: Option<&[f32]>,
    n_clusters: usize,
    n_terms: usize,
    min_count: u32,
    task: &Task,
) -> Result<Vec<Vec<Term>>> {
    if labels.len() != texts.len() {
        return Err(Error::invalid(format!(
            "labels must have one value per text: {} != {}",
            labels.len(),
            texts.len()
        )));
    }
    crate::cluster::kmeans::check_weights(weights, texts.len(), "weights")?;
    if n_clusters > MAX_CLUSTERS {
        return Err(Error::invalid(format!("n_clusters must be at most {MAX_CLUSTERS}: got {n_clusters}")));
    }
    if let Some(row) = labels.iter().position(|label| *label >= n_clusters as i32) {
        return Err(Error::invalid(format!(
            "labels must be below n_clusters = {n_clusters}: row {row} has {}",
            labels[row]
        )));
    }
    task.start(2 * texts.len() as u64);

    // pass 1: in how many texts each term stands
    let mut n_texts_with: HashMap<u64, u32> = HashMap::new();
    for group in texts.chunks(BLOCK * 16) {
        let parts: Vec<HashMap<u64, u32>> = group
            .par_chunks(BLOCK)
            .map(|block| {
                task.check()?;
                let mut counts = HashMap::new();
                for text in block {
                    for key in terms_of(text).into_keys() {
                        *counts.entry(key).or_insert(0) += 1;
                    }
                }
                task.advance(block.len() as u64);
                Ok(counts)
            })
            .collect::<Result<_>>()?;
        for (key, count) in parts.into_iter().flatten() {
            *n_texts_with.entry(key).or_insert(0) += count;
        }
    }

    // pass 2: weights per (cluster, term) and spellings, for the terms that are left
    let sparse = clusters_without(texts, labels, n_clusters, &n_texts_with, min_count);
    let mut counts: Vec<HashMap<u64, f64>> = vec![HashMap::new(); n_clusters];
    let mut totals: HashMap<u64, f64> = HashMap::new();
    let mut spellings: HashMap<u64, Vec<(String, u32)>> = HashMap::new();
    let mut cluster_weight = vec![0f64; n_clusters];
    let (mut total_weight, mut n_terms_counted) = (0f64, 0f64);
    for (group_start, group) in (0..).step_by(BLOCK * 16).zip(texts.chunks(BLOCK * 16)) {
        let found: Vec<HashMap<u64, String>> = group
            .par_iter()
            .enumerate()
            .map(|(offset, text)| {
                let label = labels[group_start + offset];
                let keep_all = label >= 0 && sparse[label as usize];
                let mut terms = terms_of(text);
                terms.retain(|key, _| keep_all || n_texts_with.get(key).is_some_and(|count| *count >= min_count));
                terms
            })
            .collect();
        task.check()?;
        for (offset, terms) in found.into_iter().enumerate() {
            let i = group_start + offset;
            let weight = weights.map_or(1.0, |weights| weights[i] as f64);
            total_weight += weight;
            n_terms_counted += weight * terms.len() as f64;
            let cluster = (labels[i] >= 0).then_some(labels[i] as usize);
            if let Some(cluster) = cluster {
                cluster_weight[cluster] += weight;
            }
            for (key, surface) in terms {
                *totals.entry(key).or_insert(0.0) += weight;
                if let Some(cluster) = cluster {
                    *counts[cluster].entry(key).or_insert(0.0) += weight;
                }
                let known = spellings.entry(key).or_default();
                match known.iter().position(|(spelling, _)| *spelling == surface) {
                    Some(position) => known[position].1 += 1,
                    None if known.len() < SPELLINGS => known.push((surface, 1)),
                    None => {}
                }
            }
        }
        task.advance(group.len() as u64);
    }

    // The method's A is the average number of words per cluster. With texts of many words that lets request words
    // ("write", "tell") through; the average number of texts instead names mixed clusters by rare words. Between them:
    let average = (total_weight * n_terms_counted).sqrt() / n_clusters.max(1) as f64;
    Ok(counts
        .into_par_iter()
        .zip(cluster_weight)
        .map(|(counts, in_cluster)| {
            let mut scored: Vec<(u64, f64)> = counts
                .into_iter()
                .map(|(key, count)| {
                    let share = count / in_cluster;
                    let rarity = (1.0 + average / totals[&key]).ln();
                    (key, share * rarity * share / (share + HALF_WEIGHT_SHARE))
                })
                .collect();
            // the alphabet settles ties: keys are hashes and mean nothing
            scored.sort_by(|a, b| {
                b.1.total_cmp(&a.1).then_with(|| spelled(&spellings[&a.0]).cmp(spelled(&spellings[&b.0])))
            });
            scored.truncate(n_terms);
            scored.into_iter().map(|(key, score)| Term { text: spelled(&spellings[&key]).to_owned(), score }).collect()
        })
        .collect())
}

/// The most frequent spelling; ties go to the alphabetically last one, which is lower case.
fn spelled(spellings: &[(String, u32)]) -> &str {
    spellings.iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0))).map_or("", |(spelling, _)| spelling)
}

/// Key and spelling of every distinct word and phrase of the text.
fn terms_of(text: &str) -> HashMap<u64, String> {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(position, _)| position);
    let words = content_words(&text[..end]);
    let mut terms = HashMap::with_capacity(2 * words.len());
    let mut before: Option<&Word> = None;
    for word in &words {
        terms.entry(xxh3_64(word.term.as_bytes())).or_insert_with(|| word.surface.clone());
        if let Some(before) =
            before.filter(|before| word.joined && !word.pair && !before.pair && before.term != word.term)
        {
            let phrase = format!("{} {}", before.term, word.term);
            terms.entry(xxh3_64(phrase.as_bytes())).or_insert_with(|| format!("{} {}", before.surface, word.surface));
        }
        before = Some(word);
    }
    terms
}

/// Clusters in which no term reaches `min_count`: their rare terms are better than none.
fn clusters_without(
    texts: &[&str],
    labels: &[i32],
    n_clusters: usize,
    n_texts_with: &HashMap<u64, u32>,
    min_count: u32,
) -> Vec<bool> {
    let mut sizes = vec![0usize; n_clusters];
    for label in labels.iter().filter(|label| **label >= 0) {
        sizes[*label as usize] += 1;
    }
    // only small clusters can be without; the larger ones are not looked at
    let small: HashSet<usize> = (0..n_clusters).filter(|cluster| sizes[*cluster] <= 5).collect();
    let mut without: Vec<bool> = (0..n_clusters).map(|cluster| small.contains(&cluster)).collect();
    for (text, label) in texts.iter().zip(labels) {
        if *label >= 0
            && without[*label as usize]
            && terms_of(text).keys().any(|key| n_texts_with.get(key).is_some_and(|count| *count >= min_count))
        {
            without[*label as usize] = false;
        }
    }
    without
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_named_by_what_sets_them_apart() {
        let texts = [
            "Write a Python function to sort a list",
            "Python code that reads a file",
            "fix my Python script please",
            "best recipe for chocolate cake",
            "chocolate cake without eggs",
            "how to bake a chocolate cake",
        ];
        let labels = [0, 0, 0, 1, 1, 1];
        let terms = top_terms(&texts, &labels, None, 2, 3, 2, &Task::new()).unwrap();
        assert_eq!(terms[0][0].text, "Python");
        let best: Vec<_> = terms[1].iter().map(|term| term.text.as_str()).collect();
        assert!(best.contains(&"chocolate cake"), "{best:?}");
    }

    #[test]
    fn a_cluster_of_rare_words_still_has_terms() {
        let terms =
            top_terms(&["zyzzyva", "apple pie", "apple tart"], &[0, 1, 1], None, 2, 3, 2, &Task::new()).unwrap();
        assert_eq!(terms[0][0].text, "zyzzyva");
    }

    #[test]
    fn repeating_a_word_in_one_text_does_not_help_it() {
        let texts = ["spam spam spam spam spam ham", "ham eggs", "ham bread"];
        let terms = top_terms(&texts, &[0, 0, 0], None, 1, 1, 1, &Task::new()).unwrap();
        assert_eq!(terms[0][0].text, "ham");
    }

    #[test]
    fn labels_that_do_not_fit_are_refused() {
        assert!(top_terms(&["a"], &[0, 1], None, 2, 3, 1, &Task::new()).is_err());
        assert!(top_terms(&["a"], &[2], None, 2, 3, 1, &Task::new()).is_err());
    }
}
