//! How is the table learnt? Softmax regression over hashed features, by AdaGrad with one step size per row that falls to
//! zero; then eight bits per weight.

use crate::corpus::{self, Corpus};
use crate::random::Random;
use crate::text::language::families::Family;
use crate::text::language::features::{features, is_language};

/// How often a language is drawn: a little of how often it is asked in LMSYS-Chat-1M, where English is three quarters.
pub fn share(language: &str) -> f64 {
    match language {
        "English" => 12.0,
        "Russian" => 4.0,
        "Portuguese" | "Spanish" | "German" | "French" | "Italian" | "Polish" | "Vietnamese" | "Dutch" | "Turkish"
        | "Hungarian" | "Swedish" | "Czech" | "Arabic" | "Hindi" => 2.0,
        "Ukrainian" | "Indonesian" | "Finnish" | "Romanian" | "Danish" | "Norwegian" | "Catalan" | "Persian" => 1.4,
        "Albanian" | "Azerbaijani" | "Basque" | "Irish" | "Latin" | "Macedonian" | "Serbian" | "Somali" | "Welsh"
        | "Yoruba" | "Zulu" => 0.4,
        "Malay" => 1.2,
        _ => 0.8,
    }
}

const RATE: f32 = 1.5;

pub struct Table {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// The buckets of a text.
pub fn buckets(text: &str, family: &Family) -> Vec<u32> {
    let mut found = Vec::new();
    let tokens: Vec<&str> = text.split_whitespace().filter(|token| is_language(token)).collect();
    features(&tokens, family.script, |hash| found.push((hash >> (64 - family.bits)) as u32));
    found
}

pub fn train(family: &Family, corpora: &[Corpus], n_texts: usize) -> Table {
    let width = family.width();
    let mut random = Random::new(11);
    let english = family.languages.iter().position(|language| *language == "English");
    let mut table = Table { weights: vec![0.0; width << family.bits], bias: vec![0.0; width] };
    let mut squares = vec![1e-3f32; 1 << family.bits];
    let shares: Vec<(usize, f64)> = family.languages.iter().map(|language| share(language)).enumerate().collect();
    let mut loss = 0.0;
    for step in 0..n_texts {
        let of = random.choose(&shares);
        let found = buckets(&corpus::text(corpora, of, english, &mut random), family);
        if found.is_empty() {
            continue;
        }
        let scale = 1.0 / (found.len() as f32).sqrt();
        let mut slope = table.probabilities(&found, scale, corpora.len());
        loss += f64::from(-slope[of].max(1e-9).ln());
        slope[of] -= 1.0;
        let size: f32 = slope.iter().map(|value| value * value).sum::<f32>() * scale * scale;
        let rate = RATE * (1.0 - step as f32 / n_texts as f32);
        for bucket in found {
            let bucket = bucket as usize;
            squares[bucket] += size;
            let step = rate * scale / squares[bucket].sqrt();
            let row = &mut table.weights[bucket * width..(bucket + 1) * width];
            row.iter_mut().zip(&slope).for_each(|(weight, slope)| *weight -= step * slope);
        }
        table.bias.iter_mut().zip(&slope).for_each(|(bias, slope)| *bias -= 0.01 * slope);
        if (step + 1) % 250_000 == 0 {
            eprintln!("{:?}: {} texts, loss {:.4}", family.script, step + 1, loss / 250_000.0);
            loss = 0.0;
        }
    }
    table
}

impl Table {
    fn probabilities(&self, buckets: &[u32], scale: f32, n_languages: usize) -> Vec<f32> {
        let width = self.bias.len();
        let mut sums = vec![0.0f32; width];
        for bucket in buckets {
            let row = &self.weights[*bucket as usize * width..(*bucket as usize + 1) * width];
            sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
        }
        let mut logits: Vec<f32> = sums.iter().zip(&self.bias).map(|(sum, bias)| sum * scale + bias).collect();
        logits[n_languages..].fill(f32::NEG_INFINITY);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
        let total: f32 = logits.iter().sum();
        logits.iter_mut().for_each(|logit| *logit /= total);
        logits
    }

    /// Little-endian: scale, bias per column (f32), then the weights (i8) by row.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut sizes: Vec<f32> = self.weights.iter().map(|weight| weight.abs()).filter(|size| *size > 0.0).collect();
        sizes.sort_by(f32::total_cmp);
        // the few largest weights are cut: they would cost the others their precision
        let largest = sizes[(sizes.len() as f64 * 0.9995) as usize];
        let scale = largest / 127.0;
        let mut bytes = scale.to_le_bytes().to_vec();
        self.bias.iter().for_each(|bias| bytes.extend(bias.to_le_bytes()));
        bytes.extend(self.weights.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8 as u8));
        bytes
    }
}

/// The runs of three symbols of the languages that are drawn often: 15 for one in 16 runs, 14 for half of that, 0 for
/// less than one in 2^19.
pub fn runs(family: &Family, corpora: &[Corpus]) -> Vec<u8> {
    let shares: Vec<Vec<f64>> = family
        .languages
        .iter()
        .zip(corpora)
        .filter(|(language, _)| share(language) >= 0.8)
        .map(|(_, corpus)| corpus.runs())
        .collect();
    let most = |run: usize| shares.iter().map(|shares| shares[run]).fold(0.0, f64::max);
    (0..shares[0].len()).map(|run| (most(run).log2() + 19.0).round().clamp(0.0, 15.0) as u8).collect()
}
