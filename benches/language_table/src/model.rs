//! What words does a language have? Reads the n-gram model of a lingua crate (probabilities of 1 to 5 letters, taken
//! inside words) and draws words from it. Borders of words are not in the model; they follow from what is missing: where
//! a run of letters goes on less often than it occurs, a word ends; where fewer runs lead to it, one begins.

use std::collections::HashMap;
use std::path::Path;

use crate::random::Random;

type Run = Vec<char>;

/// Longest word that is drawn.
const LONGEST: usize = 24;

pub struct Model {
    /// Continuations of a run at the start of a word, up to 4 letters; None ends the word.
    start: HashMap<Run, Vec<(Option<char>, f64)>>,
    /// Continuations of 4 letters inside a word.
    inside: HashMap<Run, Vec<(Option<char>, f64)>>,
}

impl Model {
    pub fn read(folder: &Path) -> Self {
        let map = fst::Map::new(std::fs::read(folder.join("models/ngrams.fst")).expect("a model")).expect("an fst");
        let mut logs: Vec<(Run, f64)> = Vec::new();
        let mut stream = map.stream();
        use fst::Streamer;
        while let Some((key, bits)) = stream.next() {
            let run: Run = std::str::from_utf8(key).expect("UTF-8").chars().collect();
            logs.push((run, f64::from_bits(bits)));
        }
        Self::from_logs(logs)
    }

    fn from_logs(mut logs: Vec<(Run, f64)>) -> Self {
        // one order of additions, so that equal seeds draw equal words
        logs.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        // how often each run occurs, in units of all letters
        let mut counts: HashMap<Run, f64> = HashMap::with_capacity(logs.len());
        for (run, log) in &logs {
            let before = if run.len() == 1 { 1.0 } else { counts.get(&run[..run.len() - 1]).copied().unwrap_or(0.0) };
            counts.insert(run.clone(), before * log.exp());
        }
        let mut at_start: HashMap<Run, f64> =
            counts.iter().filter(|(run, _)| run.len() <= 4).map(|(run, count)| (run.clone(), *count)).collect();
        let mut ends = counts.clone();
        for (run, count) in logs.iter().map(|(run, _)| (run, counts[run])).filter(|(run, _)| run.len() > 1) {
            *at_start.entry(run[1..].to_vec()).or_default() -= count;
            *ends.entry(run[..run.len() - 1].to_vec()).or_default() -= count;
        }
        // differences of rounded numbers are never exactly nothing
        at_start.retain(|run, count| *count > 0.01 * counts.get(run).copied().unwrap_or(0.0));
        let mut start: HashMap<Run, Vec<(Option<char>, f64)>> = HashMap::new();
        let mut going_on: HashMap<Run, f64> = HashMap::new();
        for (run, count) in logs.iter().filter_map(|(run, _)| at_start.get_key_value(run)) {
            let (last, before) = run.split_last().expect("a run");
            start.entry(before.to_vec()).or_default().push((Some(*last), *count));
            *going_on.entry(before.to_vec()).or_default() += count;
        }
        for (run, count) in at_start.iter().filter(|(run, _)| run.len() < 4) {
            let end = count - going_on.get(run).copied().unwrap_or(0.0);
            if end > 0.02 * count {
                start.entry(run.clone()).or_default().push((None, end));
            }
        }
        let mut inside: HashMap<Run, Vec<(Option<char>, f64)>> = HashMap::new();
        for (run, count) in counts.iter().filter(|(run, _)| run.len() == 5) {
            inside.entry(run[..4].to_vec()).or_default().push((Some(run[4]), *count));
        }
        for (run, count) in counts.iter().filter(|(run, _)| run.len() == 4) {
            let end = ends[run].max(0.0);
            if end > 0.01 * count || !inside.contains_key(run) {
                inside.entry(run.clone()).or_default().push((None, end.max(1e-12)));
            }
        }
        // and one order of the options
        for options in start.values_mut().chain(inside.values_mut()) {
            options.sort_by_key(|(letter, _)| *letter);
        }
        Self { start, inside }
    }

    /// A word, drawn letter by letter.
    pub fn word(&self, random: &mut Random) -> String {
        let mut word: Run = Vec::new();
        while word.len() < LONGEST {
            let options = match word.len() {
                0..=3 => self.start.get(&word),
                n => self.inside.get(&word[n - 4..]),
            };
            match options.map(|options| random.choose(options)) {
                Some(Some(letter)) => word.push(letter),
                _ => break,
            }
        }
        word.into_iter().collect()
    }
}
