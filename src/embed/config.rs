//! What a model folder says about itself: which weights, which pooling, how many tokens. Reads the files that
//! sentence-transformers writes; guesses nothing that changes vectors.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::bert::BertConfig;
use super::ort::Provider;
use crate::error::{Error, Result};

/// How token vectors become one text vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Mean over the tokens that are not padding.
    Mean,
    /// The first token.
    Cls,
}

impl Pooling {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

/// What a caller may override.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Path of the weights; by default model.safetensors, model.onnx or onnx/model.onnx of the folder.
    pub weights: Option<PathBuf>,
    pub max_length: Option<usize>,
    pub pooling: Option<Pooling>,
    pub normalize: bool,
    /// Where the engine ort computes.
    pub provider: Provider,
}

/// Where the weights are and how they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// An encoder.
    Safetensors(PathBuf),
    Onnx(PathBuf),
    /// A table of token vectors.
    Table(PathBuf),
}

impl Weights {
    pub fn path(&self) -> &Path {
        match self {
            Self::Safetensors(path) | Self::Onnx(path) | Self::Table(path) => path,
        }
    }
}

/// Everything that decides a model's vectors.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    pub weights: Weights,
    pub tokenizer: PathBuf,
    pub max_length: usize,
    pub pooling: Pooling,
    pub normalize: bool,
    /// config.json; Null when there is none (plain ONNX file).
    pub architecture: Value,
}

#[derive(Deserialize, Default)]
struct PoolingFile {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

/// One line of modules.json of sentence-transformers.
#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Modules of sentence-transformers that are done here; Dropout does nothing outside training.
const KNOWN_MODULES: [&str; 4] = ["Transformer", "Pooling", "Normalize", "Dropout"];
const TABLE_MODULE: &str = "StaticEmbedding";
/// model_type of a table of token vectors.
const TABLE_TYPE: &str = "model2vec";

/// Fields of config.json that decide what a BERT computes with given weights.
const DECIDES_VECTORS: [&str; 6] = [
    "model_type",
    "hidden_act",
    "position_embedding_type",
    "num_attention_heads",
    "num_hidden_layers",
    "layer_norm_eps",
];

/// Longest input of a model that states none.
const DEFAULT_MAX_LENGTH: usize = 512;
/// Stands for "not cut" in a model that says so: memory stays bounded.
const LONGEST_TABLE_INPUT: usize = 1_000_000;

/// Reads the folder of a model.
///
/// # Errors
/// `Model` when a file is missing or damaged, or the pooling is one we do not have.
pub fn read_folder(folder: &Path, settings: &Settings) -> Result<ModelConfig> {
    if !folder.is_dir() {
        return Err(Error::model(format!("no model folder at {}", folder.display())));
    }
    let architecture = read_json(&folder.join("config.json"))?.unwrap_or(Value::Null);
    let modules = read_modules(folder)?;
    if let Some(place) = place_of_table(folder, &architecture, &modules) {
        return read_table(&place, architecture, settings);
    }
    check_modules(folder, &modules)?;
    let weights = find_weights(folder, settings.weights.as_deref())?;
    let tokenizer = find_tokenizer(folder)?;
    if architecture.is_null() && matches!(weights, Weights::Safetensors(_)) {
        return Err(Error::model(format!("{} has no config.json, which safetensors weights need", folder.display())));
    }
    let pooling = match settings.pooling {
        Some(pooling) => pooling,
        None => read_pooling(folder)?,
    };
    let positions = longest_input(&architecture);
    let stated = read_json(&folder.join("sentence_bert_config.json"))?
        .and_then(|value| value.get("max_seq_length").and_then(Value::as_u64))
        .map(|n| n as usize);
    let max_length =
        settings.max_length.or(stated).unwrap_or(DEFAULT_MAX_LENGTH.min(positions.unwrap_or(DEFAULT_MAX_LENGTH)));
    if max_length < 3 || positions.is_some_and(|positions| max_length > positions) {
        return Err(Error::invalid(format!(
            "max_length must be between 3 and the model's {} positions: got {max_length}",
            positions.unwrap_or(DEFAULT_MAX_LENGTH)
        )));
    }
    Ok(ModelConfig { weights, tokenizer, max_length, pooling, normalize: settings.normalize, architecture })
}

/// The folder of a model2vec table, or of a StaticEmbedding of sentence-transformers.
fn place_of_table(folder: &Path, architecture: &Value, modules: &[Module]) -> Option<PathBuf> {
    if let Some(module) = modules.iter().find(|module| module.name() == TABLE_MODULE) {
        return Some(folder.join(&module.path));
    }
    let is_table = architecture.get("model_type").and_then(Value::as_str) == Some(TABLE_TYPE);
    is_table.then(|| folder.to_owned())
}

fn read_table(folder: &Path, architecture: Value, settings: &Settings) -> Result<ModelConfig> {
    let weights = match find_weights(folder, settings.weights.as_deref())? {
        Weights::Safetensors(path) => Weights::Table(path),
        other => other,
    };
    let stated = match architecture.get("max_length") {
        Some(Value::Null) => LONGEST_TABLE_INPUT,
        value => value.and_then(Value::as_u64).map_or(DEFAULT_MAX_LENGTH, |n| n as usize),
    };
    let max_length = settings.max_length.unwrap_or(stated);
    if !(1..=LONGEST_TABLE_INPUT).contains(&max_length) {
        return Err(Error::invalid(format!(
            "max_length must be between 1 and {LONGEST_TABLE_INPUT}: got {max_length}"
        )));
    }
    if settings.pooling == Some(Pooling::Cls) {
        return Err(Error::invalid("a table of token vectors has pooling mean only: got pooling='cls'"));
    }
    let tokenizer = find_tokenizer(folder)?;
    let normalize = settings.normalize;
    Ok(ModelConfig { weights, tokenizer, max_length, pooling: Pooling::Mean, normalize, architecture })
}

impl Module {
    /// "Pooling" of "sentence_transformers.models.Pooling".
    fn name(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }
}

fn read_modules(folder: &Path) -> Result<Vec<Module>> {
    let path = folder.join("modules.json");
    let Some(value) = read_json(&path)? else {
        return Ok(Vec::new());
    };
    serde_json::from_value(value).map_err(|error| Error::model(format!("{} is damaged: {error}", path.display())))
}

/// A module that is left out would change the vectors without a word.
fn check_modules(folder: &Path, modules: &[Module]) -> Result<()> {
    let Some(other) = modules.iter().map(Module::name).find(|name| !KNOWN_MODULES.contains(name)) else {
        return Ok(());
    };
    let path = folder.join("modules.json");
    Err(Error::model(format!(
        "{} lists the module '{other}', which is not done here: known are {}",
        path.display(),
        KNOWN_MODULES.join(", ")
    ))
    .hint(
        "export the whole model to ONNX (optimum-cli export onnx --library sentence_transformers) into a folder of its \
         own, without modules.json",
    ))
}

fn find_tokenizer(folder: &Path) -> Result<PathBuf> {
    let tokenizer = folder.join("tokenizer.json");
    if tokenizer.is_file() {
        return Ok(tokenizer);
    }
    Err(Error::model(format!("{} has no tokenizer.json", folder.display()))
        .hint("save the model with a fast tokenizer (tokenizer.save_pretrained)"))
}

impl ModelConfig {
    /// "<first 16 hex digits of the hash of weights, tokenizer and architecture>-<pooling>-<max_length>[-raw]".
    ///
    /// The name says which vectors may be mixed: equal names, equal vectors (up to rounding).
    pub fn id(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        for path in [self.weights.path(), &self.tokenizer] {
            hash_file(path, &mut hash)?;
        }
        // an ONNX file holds its architecture; of config.json only what changes vectors counts, since its owners add
        // notes (versions, paths) to it
        if matches!(self.weights, Weights::Safetensors(_)) {
            for name in DECIDES_VECTORS {
                hash.update(format!("{name}={}\n", self.architecture.get(name).unwrap_or(&Value::Null)).as_bytes());
            }
        }
        let digest = format!("{:032x}", hash.digest128());
        let raw = if self.normalize { "" } else { "-raw" };
        Ok(format!("{}-{}-{}{raw}", &digest[..16], self.pooling.name(), self.max_length))
    }
}

/// Tokens that the table of positions allows; RoBERTa's family does not use its first rows.
fn longest_input(architecture: &Value) -> Option<usize> {
    match BertConfig::read(architecture) {
        Ok(shapes) => Some(shapes.longest()),
        Err(_) => architecture.get("max_position_embeddings").and_then(Value::as_u64).map(|n| n as usize),
    }
}

fn hash_file(path: &Path, hash: &mut Xxh3) -> Result<()> {
    use std::io::Read;
    let failed = |error| Error::model(format!("cannot read {}: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn find_weights(folder: &Path, given: Option<&Path>) -> Result<Weights> {
    let of_kind = |path: PathBuf| -> Result<Weights> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Ok(Weights::Safetensors(path)),
            Some("onnx") => Ok(Weights::Onnx(path)),
            _ => Err(Error::model(format!("weights must be a .safetensors or .onnx file: got {}", path.display()))),
        }
    };
    if let Some(path) = given {
        if !path.is_file() {
            return Err(Error::model(format!("no weights at {}", path.display())));
        }
        return of_kind(path.to_owned());
    }
    for name in ["model.safetensors", "model.onnx", "onnx/model.onnx"] {
        let path = folder.join(name);
        if path.is_file() {
            return of_kind(path);
        }
    }
    Err(Error::model(format!("{} has none of model.safetensors, model.onnx, onnx/model.onnx", folder.display())))
}

fn read_pooling(folder: &Path) -> Result<Pooling> {
    let path = folder.join("1_Pooling").join("config.json");
    let Some(value) = read_json(&path)? else {
        return Ok(Pooling::Mean);
    };
    let file: PoolingFile = serde_json::from_value(value)
        .map_err(|error| Error::model(format!("{} is damaged: {error}", path.display())))?;
    match (file.pooling_mode_mean_tokens, file.pooling_mode_cls_token) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::Cls),
        _ => Err(Error::model(format!("{} asks for a pooling other than mean or cls", path.display()))
            .hint("pass pooling='mean' or pooling='cls' to choose one yourself")),
    }
}

fn read_json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |error: String| Error::model(format!("{} is damaged: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string()))
}
