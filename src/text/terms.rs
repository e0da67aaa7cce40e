//! Which terms a cluster is about: class-based TF-IDF (Grootendorst 2022, BERTopic, section 3.3) over words and phrases,
//! against all clusters and against the nearest ones; counted once per text, so that one long text can't name a cluster.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};

use rayon::prelude::*;

use super::phrases::{each_term, stems, words_of, written};
use crate::cluster::MAX_CLUSTERS;
use crate::error::{Error, Result};
use crate::task::Task;

/// Rows of one block of work; blocks are merged in order.
const BLOCK: usize = 1_024;
/// Share of a cluster's texts at which a term counts half: what stands in few of them can't name it.
const HALF_WEIGHT_SHARE: f64 = 0.1;
/// Most words of a term.
pub const MAX_WORDS: usize = 4;
/// Terms of a cluster that are scored: the heaviest. Rarer ones stand in too few texts to win.
const SCORED: usize = 2_000;
/// A term inside a longer one that stands in this share of its texts says nothing of its own ("york" in "new york").
const CLOSED_SHARE: f64 = 0.75;
/// Sightings of a term after which its commonest spelling is settled.
const SIGHTINGS: u32 = 25;
/// What the share of a term in the nearest cluster with most of it costs: as common there, it counts 1 / (1 + this). More
/// finds rarer terms, which seldom stand together (decision 0027).
const CONTRAST: f64 = 0.25;

/// A term as it is mostly spelled, and its weight in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub text: String,
    pub score: f64,
}

/// What [`top_terms`] looks for.
#[derive(Debug, Clone, Copy)]
pub struct TermParams {
    /// Most terms per cluster.
    pub n_terms: usize,
    /// Fewest texts a term must stand in, except in a cluster that would have none.
    pub min_count: u32,
    /// Most words of a term, up to [`MAX_WORDS`].
    pub max_words: usize,
}

/// The best terms of each cluster `0..n_clusters`, best first; ties in alphabetical order.
///
/// `nearest` gives for each cluster those it must be told from, any number of them, -1 for none: a term that is common
/// there counts less. Noise (-1) counts towards how common a term is.
///
/// # Errors
/// `InvalidInput` when labels, weights or nearest do not fit, or max_words is out of range; `Cancelled`.
pub fn top_terms(
    texts: &[&str],
    labels: &[i32],
    weights: Option<&[f32]>,
    n_clusters: usize,
    nearest: Option<&[i32]>,
    params: TermParams,
    task: &Task,
) -> Result<Vec<Vec<Term>>> {
    check(texts, labels, weights, n_clusters, nearest, params)?;
    let weight_of = |row: u32| weights.map_or(1.0, |weights| weights[row as usize] as f64);
    task.start(3 * texts.len() as u64);

    // pass 1: which terms stand in too few texts
    let counted = Counted::new(texts, params, task)?;

    // pass 2: weight and number of texts per (cluster, term); the last group is noise
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); n_clusters + 1];
    for (row, label) in labels.iter().enumerate() {
        rows[if *label >= 0 { *label as usize } else { n_clusters }].push(row as u32);
    }
    let groups: Vec<Group> = rows
        .par_iter()
        .enumerate()
        .map(|(cluster, rows)| {
            // only small clusters can be without a frequent term; the larger ones are not looked at
            let keeps_all = cluster < n_clusters && rows.len() <= 5 && !counted.has_frequent(texts, rows, params);
            group(texts, rows, weights, keeps_all, &counted, params, task)
        })
        .collect::<Result<_>>()?;

    // totals of the terms that are scored
    let mut position: HashMap<u64, u32, ByKey> = HashMap::default();
    let scored: Vec<Vec<u64>> = groups[..n_clusters].par_iter().map(|group| group.heaviest(SCORED)).collect();
    for key in scored.iter().flatten() {
        let next = position.len() as u32;
        position.entry(*key).or_insert(next);
    }
    let (mut totals, mut n_texts) = (vec![0f64; position.len()], vec![0u32; position.len()]);
    for group in &groups {
        for (key, count) in &group.counts {
            if let Some(place) = position.get(key) {
                totals[*place as usize] += count.weight;
                n_texts[*place as usize] += count.n_texts;
            }
        }
    }

    // The method's A is the average number of words per cluster. With texts of many words that lets request words
    // ("write", "tell") through; the average number of texts instead names mixed clusters by rare words. Between them:
    let total_weight: f64 = (0..texts.len() as u32).map(weight_of).sum();
    let n_words: f64 = groups.iter().map(|group| group.n_words).sum();
    let average = (total_weight * n_words).sqrt() / n_clusters.max(1) as f64;
    let n_nearest = nearest.map_or(0, |nearest| nearest.len() / n_clusters.max(1));
    (0..n_clusters)
        .into_par_iter()
        .map(|cluster| {
            let own = &groups[cluster];
            let near: Vec<&Group> = nearest
                .map_or(&[][..], |nearest| &nearest[cluster * n_nearest..(cluster + 1) * n_nearest])
                .iter()
                .filter(|other| **other >= 0)
                .map(|other| &groups[*other as usize])
                .collect();
            let mut found: Vec<Scored> = scored[cluster]
                .iter()
                .filter_map(|key| {
                    let place = position[key] as usize;
                    if n_texts[place] < params.min_count && !own.keeps_all {
                        return None;
                    }
                    let weight = own.counts[key].weight;
                    let share = weight / own.weight;
                    let rarity = (1.0 + average / totals[place]).ln();
                    let elsewhere = near.iter().map(|other| other.share(*key)).fold(0.0, f64::max);
                    let apart = share / (share + CONTRAST * elsewhere);
                    let score = share * rarity * apart * share / (share + HALF_WEIGHT_SHARE);
                    Some(Scored { key: *key, score, weight, n_texts: own.counts[key].n_texts })
                })
                .collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
            // enough that the last place is not cut among ties, which the alphabet settles below
            found.truncate(4 * params.n_terms + 64);
            let terms = spelled(texts, &rows[cluster], found, params);
            task.advance(rows[cluster].len() as u64);
            task.check()?;
            Ok(closed(terms, params.n_terms))
        })
        .collect()
}

fn check(
    texts: &[&str],
    labels: &[i32],
    weights: Option<&[f32]>,
    n_clusters: usize,
    nearest: Option<&[i32]>,
    params: TermParams,
) -> Result<()> {
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
    if !(1..=MAX_WORDS).contains(&params.max_words) {
        return Err(Error::invalid(format!("max_words must be 1 to {MAX_WORDS}: got {}", params.max_words)));
    }
    let Some(nearest) = nearest else { return Ok(()) };
    if nearest.len() % n_clusters.max(1) != 0 {
        return Err(Error::invalid(format!("nearest must have one row per cluster: {n_clusters}")));
    }
    match nearest.iter().find(|other| **other >= n_clusters as i32) {
        Some(other) => Err(Error::invalid(format!("nearest must be below n_clusters = {n_clusters}: got {other}"))),
        None => Ok(()),
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type ByKey = BuildHasherDefault<KeyHasher>;

/// Distinct keys of a text, ascending.
fn keys_of(text: &str, max_words: usize) -> Vec<u64> {
    let mut keys = Vec::new();
    each_term(&words_of(text), max_words, |key, _| keys.push(key));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// In how many texts the terms of each bucket stand, up to 255. A term in a bucket below `min_count` is rare; of the
/// others some are, which share their bucket. So memory is bounded while all terms are seen, most of them once.
struct Counted {
    buckets: Vec<AtomicU8>,
}

impl Counted {
    fn new(texts: &[&str], params: TermParams, task: &Task) -> Result<Self> {
        let n_buckets =
            if params.min_count > 1 { (64 * texts.len()).next_power_of_two().clamp(1 << 16, 1 << 28) } else { 1 };
        let counted = Self { buckets: (0..n_buckets).map(|_| AtomicU8::new(0)).collect() };
        texts.par_chunks(BLOCK).try_for_each(|block| {
            task.check()?;
            if params.min_count > 1 {
                for key in block.iter().flat_map(|text| keys_of(text, params.max_words)) {
                    // stops well below 255, whatever the threads do between the two steps
                    let bucket = counted.bucket(key);
                    if bucket.load(Ordering::Relaxed) < params.min_count.min(128) as u8 {
                        bucket.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            task.advance(block.len() as u64);
            Ok(())
        })?;
        Ok(counted)
    }

    fn bucket(&self, key: u64) -> &AtomicU8 {
        &self.buckets[(key >> 20) as usize & (self.buckets.len() - 1)]
    }

    fn is_frequent(&self, key: u64, min_count: u32) -> bool {
        min_count <= 1 || self.bucket(key).load(Ordering::Relaxed) >= min_count.min(128) as u8
    }

    fn has_frequent(&self, texts: &[&str], rows: &[u32], params: TermParams) -> bool {
        rows.iter()
            .flat_map(|row| keys_of(texts[*row as usize], params.max_words))
            .any(|key| self.is_frequent(key, params.min_count))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    weight: f64,
    n_texts: u32,
}

/// The terms of one cluster.
struct Group {
    counts: HashMap<u64, Count, ByKey>,
    weight: f64,
    /// Words and two-word phrases, by weight: what the method calls the words of a cluster.
    n_words: f64,
    keeps_all: bool,
}

impl Group {
    fn share(&self, key: u64) -> f64 {
        self.counts.get(&key).map_or(0.0, |count| count.weight / self.weight)
    }

    /// Up to `n` keys by falling weight.
    fn heaviest(&self, n: usize) -> Vec<u64> {
        let mut keys: Vec<(f64, u64)> = self.counts.iter().map(|(key, count)| (count.weight, *key)).collect();
        let order = |a: &(f64, u64), b: &(f64, u64)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if keys.len() > n {
            keys.select_nth_unstable_by(n, order);
            keys.truncate(n);
        }
        keys.sort_unstable_by(order);
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

fn group(
    texts: &[&str],
    rows: &[u32],
    weights: Option<&[f32]>,
    keeps_all: bool,
    counted: &Counted,
    params: TermParams,
    task: &Task,
) -> Result<Group> {
    let blocks: Vec<Group> = rows
        .par_chunks(BLOCK)
        .map(|block| {
            task.check()?;
            let mut part = Group { counts: HashMap::default(), weight: 0.0, n_words: 0.0, keeps_all };
            for row in block {
                let weight = weights.map_or(1.0, |weights| weights[*row as usize] as f64);
                part.weight += weight;
                for key in keys_of(texts[*row as usize], params.max_words) {
                    if keeps_all || counted.is_frequent(key, params.min_count) {
                        let count = part.counts.entry(key).or_default();
                        count.weight += weight;
                        count.n_texts += 1;
                        part.n_words += weight;
                    }
                }
            }
            task.advance(block.len() as u64);
            Ok(part)
        })
        .collect::<Result<_>>()?;
    let mut blocks = blocks.into_iter();
    let mut whole = blocks.next().unwrap_or(Group { counts: HashMap::default(), weight: 0.0, n_words: 0.0, keeps_all });
    for part in blocks {
        whole.weight += part.weight;
        whole.n_words += part.n_words;
        for (key, count) in part.counts {
            let sum = whole.counts.entry(key).or_default();
            sum.weight += count.weight;
            sum.n_texts += count.n_texts;
        }
    }
    Ok(whole)
}

struct Scored {
    key: u64,
    score: f64,
    weight: f64,
    n_texts: u32,
}

struct Spelled {
    text: String,
    stems: Vec<String>,
    score: f64,
    weight: f64,
}

/// The terms with their commonest spelling among the cluster's first texts with them.
fn spelled(texts: &[&str], rows: &[u32], found: Vec<Scored>, params: TermParams) -> Vec<Spelled> {
    struct Seen {
        spellings: HashMap<String, u32>,
        stems: Vec<String>,
        left: u32,
    }
    let mut seen: HashMap<u64, Seen, ByKey> = found
        .iter()
        .map(|term| {
            let left = term.n_texts.min(SIGHTINGS);
            (term.key, Seen { spellings: HashMap::new(), stems: Vec::new(), left })
        })
        .collect();
    let mut unsettled = seen.len();
    for row in rows {
        if unsettled == 0 {
            break;
        }
        let words = words_of(texts[*row as usize]);
        let mut here = HashSet::new();
        each_term(&words, params.max_words, |key, term| {
            if let Some(seen) = seen.get_mut(&key).filter(|seen| seen.left > 0 && here.insert(key)) {
                *seen.spellings.entry(written(term)).or_default() += 1;
                if seen.stems.is_empty() {
                    seen.stems = stems(term);
                }
                seen.left -= 1;
                unsettled -= usize::from(seen.left == 0);
            }
        });
    }
    let mut terms: Vec<Spelled> = found
        .into_iter()
        .filter_map(|term| {
            let seen = seen.remove(&term.key)?;
            // ties go to the alphabetically last one, which is lower case
            let (text, _) = seen.spellings.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)))?;
            Some(Spelled { text, stems: seen.stems, score: term.score, weight: term.weight })
        })
        .collect();
    // the alphabet settles ties: keys are hashes and mean nothing
    terms.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text)));
    terms
}

/// Without the terms that nearly always stand inside the same longer one, which takes their place.
fn closed(terms: Vec<Spelled>, n_terms: usize) -> Vec<Term> {
    let inside = |short: &Spelled, long: &Spelled| {
        long.stems.len() > short.stems.len()
            && long.weight >= CLOSED_SHARE * short.weight
            && long.stems.windows(short.stems.len()).any(|part| part == short.stems)
    };
    let keeps: Vec<bool> = terms.iter().map(|term| !terms.iter().any(|other| inside(term, other))).collect();
    let mut kept: Vec<Term> = Vec::new();
    for (term, _) in terms.into_iter().zip(keeps).filter(|(_, keep)| *keep) {
        kept.push(Term { text: term.text, score: term.score });
    }
    kept.truncate(n_terms);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: TermParams = TermParams { n_terms: 10, min_count: 1, max_words: 4 };

    fn found(texts: &[&str], labels: &[i32], n_clusters: usize, params: TermParams) -> Vec<Vec<String>> {
        named(top_terms(texts, labels, None, n_clusters, None, params, &Task::new()).unwrap())
    }

    fn named(terms: Vec<Vec<Term>>) -> Vec<Vec<String>> {
        terms.into_iter().map(|terms| terms.into_iter().map(|term| term.text).collect()).collect()
    }

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
        let terms = found(&texts, &[0, 0, 0, 1, 1, 1], 2, TermParams { n_terms: 3, min_count: 2, max_words: 4 });
        assert_eq!(terms[0][0], "Python");
        assert_eq!(terms[1][0], "chocolate cake");
    }

    #[test]
    fn a_phrase_holds_its_stop_words() {
        let texts = ["lost or stolen card", "my lost or stolen card", "a lost or stolen card!", "change my pin"];
        let terms = found(&texts, &[0, 0, 0, 1], 2, ALL);
        assert_eq!(terms[0], ["lost or stolen card"]);
    }

    #[test]
    fn what_the_nearest_clusters_share_counts_less() {
        let texts = ["card arrival", "card arrival", "card payment", "card payment", "weather", "rain"];
        let labels = [0, 0, 1, 1, 2, 2];
        let nearest = [1, 0, -1];
        let score = |nearest: Option<&[i32]>| {
            let params = TermParams { n_terms: 9, min_count: 1, max_words: 1 };
            let terms = top_terms(&texts, &labels, None, 3, nearest, params, &Task::new()).unwrap();
            terms[0].iter().find(|term| term.text == "card").unwrap().score
        };
        assert!((score(Some(&nearest)) - score(None) / (1.0 + CONTRAST)).abs() < 1e-9);
    }

    #[test]
    fn a_cluster_of_rare_words_still_has_terms() {
        let params = TermParams { n_terms: 3, min_count: 2, max_words: 2 };
        let terms = found(&["zyzzyva", "apple pie", "apple tart"], &[0, 1, 1], 2, params);
        assert_eq!(terms[0][0], "zyzzyva");
    }

    #[test]
    fn repeating_a_word_in_one_text_does_not_help_it() {
        let texts = ["spam spam spam spam spam ham", "ham eggs", "ham bread"];
        assert_eq!(found(&texts, &[0, 0, 0], 1, TermParams { n_terms: 1, ..ALL })[0], ["ham"]);
    }

    #[test]
    fn words_without_spaces_are_found_whole() {
        let texts = ["什么是机器学习", "机器学习的应用", "我想学机器学习", "巴黎的天气", "巴黎天气怎么样"];
        let terms = found(&texts, &[0, 0, 0, 1, 1], 2, TermParams { n_terms: 3, min_count: 2, max_words: 4 });
        assert_eq!(terms[0], ["机器学习"]);
        assert!(terms[1].contains(&"巴黎".to_owned()) && terms[1].contains(&"天气".to_owned()), "{terms:?}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let texts: Vec<String> =
            (0..5_000).map(|i| format!("topic {} about thing{} and word{}", i % 7, i % 31, i % 11)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let labels: Vec<i32> = (0..5_000).map(|i| i % 7 - 1).collect();
        let weights: Vec<f32> = (0..5_000).map(|i| 1.0 + (i % 5) as f32 / 3.0).collect();
        let with = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let params = TermParams { min_count: 2, ..ALL };
            pool.install(|| top_terms(&texts, &labels, Some(&weights), 6, None, params, &Task::new()).unwrap())
        };
        assert_eq!(with(1), with(5));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |labels: &[i32], nearest: Option<&[i32]>, max_words| {
            let params = TermParams { max_words, ..ALL };
            top_terms(&["a"], labels, None, 2, nearest, params, &Task::new()).is_err()
        };
        assert!(refused(&[0, 1], None, 4));
        assert!(refused(&[2], None, 4));
        assert!(refused(&[0], Some(&[1]), 4));
        assert!(refused(&[0], Some(&[1, 2]), 4));
        assert!(refused(&[0], None, 5));
        assert!(!refused(&[0], Some(&[1, -1]), 4));
    }
}
