//! What makes a BERT-family encoder out of tensors: the numbers of config.json, checked, and the names of the tensors.
//! Devlin et al. 2019; Liu et al. 2019 (RoBERTa) and Conneau et al. 2020 (XLM-R) for the positions.

use std::path::Path;

use serde_json::Value;

use super::weights::Tensors;
use crate::error::{Error, Result};

/// The shape of an encoder with absolute positions, GELU and post-LayerNorm.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    pub hidden: usize,
    pub heads: usize,
    pub layers: usize,
    pub epsilon: f32,
    /// Position of the first token: 0, or for RoBERTa's family padding_idx + 1.
    pub first_position: usize,
    /// Rows of the position table, and the longest text they allow.
    pub positions: usize,
}

/// Present in every checkpoint of the family.
const LANDMARK: &str = "embeddings.word_embeddings.weight";
const PREFIXES: [&str; 5] = ["", "bert.", "roberta.", "model.", "encoder."];

/// model_type and whether its positions start after the padding index.
const FAMILY: [(&str, bool); 4] = [("bert", false), ("roberta", true), ("xlm-roberta", true), ("camembert", true)];

impl BertConfig {
    /// Reads config.json.
    ///
    /// # Errors
    /// `Model` when a number is missing or the architecture is another one.
    pub fn read(config: &Value) -> Result<Self> {
        let number = |name: &str| {
            config
                .get(name)
                .and_then(Value::as_u64)
                .map(|value| value as usize)
                .ok_or_else(|| Error::model(format!("config.json has no number '{name}'")))
        };
        let text = |name: &str, default: &str| config.get(name).and_then(Value::as_str).unwrap_or(default).to_owned();
        let refuse = |name: &str, got: &str, need: &str| {
            Err(Error::model(format!("{name} '{got}' is not supported from safetensors: need {need}"))
                .hint("export the model to ONNX (optimum-cli export onnx) and use the folder with its model.onnx"))
        };
        let model_type = text("model_type", "bert");
        let Some((_, shifted)) = FAMILY.iter().find(|(name, _)| *name == model_type) else {
            return refuse("model_type", &model_type, "bert, roberta, xlm-roberta or camembert");
        };
        for (name, need) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            let got = text(name, need);
            if got != need {
                return refuse(name, &got, &format!("'{need}'"));
            }
        }
        let first_position =
            if *shifted { config.get("pad_token_id").and_then(Value::as_u64).unwrap_or(1) as usize + 1 } else { 0 };
        let shapes = Self {
            hidden: number("hidden_size")?,
            heads: number("num_attention_heads")?,
            layers: number("num_hidden_layers")?,
            epsilon: config.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(1e-12) as f32,
            first_position,
            positions: number("max_position_embeddings")?,
        };
        if shapes.layers == 0 || shapes.heads == 0 || !shapes.hidden.is_multiple_of(shapes.heads) {
            return Err(Error::model(format!(
                "config.json: hidden_size {} must be a multiple of num_attention_heads {}, with at least one layer: \
                 got {}",
                shapes.hidden, shapes.heads, shapes.layers
            )));
        }
        Ok(shapes)
    }

    /// Columns of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden / self.heads
    }

    /// Tokens of the longest text.
    pub fn longest(&self) -> usize {
        self.positions.saturating_sub(self.first_position)
    }
}

/// The tensors of a checkpoint of this family.
pub fn tensors(bytes: &[u8]) -> Result<Tensors<'_>> {
    Tensors::parse(bytes, LANDMARK, &PREFIXES)
}

/// As [`tensors`], read from the file when they are asked for.
pub fn open(path: &Path) -> Result<Tensors<'static>> {
    Tensors::open(path, LANDMARK, &PREFIXES)
}

/// Rows of the table of words.
pub fn n_words(tensors: &Tensors<'_>) -> Result<usize> {
    tensors.shape(LANDMARK).map(|shape| shape.first().copied().unwrap_or(0))
}

/// Word rows (vocabulary x hidden) and position rows (positions x hidden). Sentence models never use token type 1, so
/// the row of type 0 is added to the positions.
pub fn tables(tensors: &Tensors<'_>, shapes: &BertConfig) -> Result<(Vec<f32>, Vec<f32>)> {
    let (words, _) = tensors.get(LANDMARK, &[0, shapes.hidden])?;
    let (mut positions, _) =
        tensors.get("embeddings.position_embeddings.weight", &[shapes.positions, shapes.hidden])?;
    let (types, _) = tensors.get("embeddings.token_type_embeddings.weight", &[0, shapes.hidden])?;
    for row in positions.chunks_exact_mut(shapes.hidden) {
        row.iter_mut().zip(&types).for_each(|(value, kind)| *value += kind);
    }
    Ok((words, positions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_architectures_are_refused_with_a_way_out() {
        let config = serde_json::json!({"model_type": "mpnet", "hidden_size": 8});
        let error = BertConfig::read(&config).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("'mpnet' is not supported") && error.contains("ONNX"), "{error}");
    }

    #[test]
    fn positions_of_the_roberta_family_start_after_the_padding() {
        let config = serde_json::json!({"model_type": "xlm-roberta", "hidden_size": 8, "num_attention_heads": 2,
            "num_hidden_layers": 1, "max_position_embeddings": 514, "pad_token_id": 1});
        let shapes = BertConfig::read(&config).unwrap();
        assert_eq!((shapes.first_position, shapes.longest()), (2, 512));
    }
}
