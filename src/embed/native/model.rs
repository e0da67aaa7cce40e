//! A BERT encoder on the tile kernels: weights packed once for all threads, and the forward pass over texts that stand one
//! after the other, without padding.

use super::super::bert::{self, BertConfig};
use super::super::weights::Tensors;
use crate::error::Result;
use crate::kernels::tiles::{AttentionScratch, Floats, Kernels, Norm, Packed, Values, padded};

pub struct Model {
    pub kernels: Kernels,
    pub shapes: BertConfig,
    /// Vocabulary x hidden.
    words: Vec<f32>,
    /// Positions x hidden; the token type is added to them.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Queries (scaled for the softmax), keys and values of all heads.
    queries_keys_values: Packed,
    projection: Packed,
    attention_norm: Norm,
    wide: Packed,
    narrow: Packed,
    output_norm: Norm,
}

/// Memory of one worker: activations of one batch.
pub struct Workspace {
    x: Floats,
    values: Values,
    queries_keys_values: Values,
    context: Values,
    wide: Values,
    attention: AttentionScratch,
}

/// Texts of one forward pass: their tokens one after the other, and how many each has.
#[derive(Debug, Default)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub lengths: Vec<usize>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.ids.clear();
        self.lengths.clear();
    }
}

impl Model {
    pub fn load(kernels: Kernels, tensors: &Tensors<'_>, shapes: BertConfig) -> Result<Self> {
        let (words, positions) = bert::tables(tensors, &shapes)?;
        let norm = read_norm(tensors, "embeddings.LayerNorm", &shapes)?;
        let layers = (0..shapes.layers)
            .map(|layer| Layer::load(kernels, tensors, &shapes, &format!("encoder.layer.{layer}")))
            .collect::<Result<_>>()?;
        Ok(Self { kernels, words, positions, norm, layers, shapes })
    }

    pub fn n_words(&self) -> usize {
        self.words.len() / self.shapes.hidden
    }

    /// Bytes of activations that a token adds to a batch.
    pub fn token_bytes(&self) -> usize {
        let value = if self.kernels.is_bf16() { 2 } else { 4 };
        let hidden = padded(self.shapes.hidden);
        let heads = self.shapes.heads * padded(self.shapes.head_width());
        let wide = self.layers.iter().map(|layer| layer.wide.n_outputs()).max().unwrap_or(0);
        4 * hidden + value * (hidden + 4 * heads + wide)
    }

    /// Memory for batches of up to `n_tokens`, each text of up to `longest`.
    pub fn workspace(&self, n_tokens: usize, longest: usize) -> Workspace {
        let values = |columns| Values::zeros(self.kernels, n_tokens, columns);
        let heads = self.shapes.heads * padded(self.shapes.head_width());
        let wide = self.layers.iter().map(|layer| layer.wide.n_outputs()).max().unwrap_or(0);
        Workspace {
            x: Floats::zeros(n_tokens, self.shapes.hidden),
            values: values(self.shapes.hidden),
            queries_keys_values: values(3 * heads),
            context: values(heads),
            wide: values(wide),
            attention: AttentionScratch::new(longest, self.shapes.head_width()),
        }
    }

    /// Hidden states of the batch, `shapes.hidden` columns and padding: a row of every token, or with `first_only` one of
    /// the first token of every text. Then the last layer is computed for those alone once attention has seen them all.
    ///
    /// Ids are below `n_words`, texts no longer than the workspace's longest and not empty.
    pub fn forward<'a>(&self, batch: &Batch, first_only: bool, memory: &'a mut Workspace) -> &'a Floats {
        let (kernels, mut n) = (self.kernels, batch.ids.len());
        let Workspace { x, values, queries_keys_values, context, wide, attention } = memory;
        self.embed_tokens(batch, x);
        kernels.layer_norm(x, n, &self.norm, values);
        for (i, layer) in self.layers.iter().enumerate() {
            kernels.store(values, n, &layer.queries_keys_values, false, queries_keys_values);
            kernels.attend(queries_keys_values, &batch.lengths, self.shapes.heads, attention, context);
            if first_only && i + 1 == self.layers.len() {
                let mut first = 0;
                for (text, length) in batch.lengths.iter().enumerate() {
                    context.copy_row(first, text);
                    x.copy_row(first, text);
                    first += length;
                }
                n = batch.lengths.len();
            }
            kernels.add(context, n, &layer.projection, x);
            kernels.layer_norm(x, n, &layer.attention_norm, values);
            kernels.store(values, n, &layer.wide, true, wide);
            kernels.add(wide, n, &layer.narrow, x);
            kernels.layer_norm(x, n, &layer.output_norm, values);
        }
        x
    }

    fn embed_tokens(&self, batch: &Batch, x: &mut Floats) {
        let hidden = self.shapes.hidden;
        let positions = batch.lengths.iter().flat_map(|length| 0..*length);
        for (row, (id, position)) in batch.ids.iter().zip(positions).enumerate() {
            let word = &self.words[*id as usize * hidden..][..hidden];
            let place = &self.positions[(self.shapes.first_position + position) * hidden..][..hidden];
            for ((sum, word), place) in x.row_mut(row).iter_mut().zip(word).zip(place) {
                *sum = word + place;
            }
        }
    }
}

impl Layer {
    fn load(kernels: Kernels, tensors: &Tensors<'_>, shapes: &BertConfig, from: &str) -> Result<Self> {
        let hidden = shapes.hidden;
        let dense = |part: &str, shape: [usize; 2]| -> Result<Packed> {
            let (weight, found) = tensors.get(&format!("{from}.{part}.weight"), &shape)?;
            let (bias, _) = tensors.get(&format!("{from}.{part}.bias"), &[found[0]])?;
            Ok(Packed::new(kernels, &weight, &bias, found[1]))
        };
        let (n_wide, _) = tensors.get(&format!("{from}.intermediate.dense.bias"), &[0])?;
        Ok(Self {
            queries_keys_values: read_heads(kernels, tensors, shapes, from)?,
            projection: read_projection(kernels, tensors, shapes, from)?,
            attention_norm: read_norm(tensors, &format!("{from}.attention.output.LayerNorm"), shapes)?,
            wide: dense("intermediate.dense", [n_wide.len(), hidden])?,
            narrow: dense("output.dense", [hidden, n_wide.len()])?,
            output_norm: read_norm(tensors, &format!("{from}.output.LayerNorm"), shapes)?,
        })
    }
}

/// The three matrices as one, every head padded to whole panels. The queries carry the scale of the softmax and the
/// change of base: 2^(log2(e) / sqrt(width) q.k) is exp(q.k / sqrt(width)).
fn read_heads(kernels: Kernels, tensors: &Tensors<'_>, shapes: &BertConfig, from: &str) -> Result<Packed> {
    let (hidden, width) = (shapes.hidden, shapes.head_width());
    let wide = padded(width);
    let n_outputs = 3 * shapes.heads * wide;
    let (mut weight, mut bias) = (vec![0f32; n_outputs * hidden], vec![0f32; n_outputs]);
    for (which, part) in ["query", "key", "value"].into_iter().enumerate() {
        let name = format!("{from}.attention.self.{part}");
        let (rows, _) = tensors.get(&format!("{name}.weight"), &[hidden, hidden])?;
        let (offsets, _) = tensors.get(&format!("{name}.bias"), &[hidden])?;
        let scale = if which == 0 { std::f32::consts::LOG2_E / (width as f32).sqrt() } else { 1.0 };
        for (i, (row, offset)) in rows.chunks_exact(hidden).zip(offsets).enumerate() {
            let to = (which * shapes.heads + i / width) * wide + i % width;
            weight[to * hidden..(to + 1) * hidden].iter_mut().zip(row).for_each(|(to, from)| *to = scale * from);
            bias[to] = scale * offset;
        }
    }
    Ok(Packed::new(kernels, &weight, &bias, hidden))
}

/// The projection after the heads; it reads padded heads.
fn read_projection(kernels: Kernels, tensors: &Tensors<'_>, shapes: &BertConfig, from: &str) -> Result<Packed> {
    let (hidden, width) = (shapes.hidden, shapes.head_width());
    let (rows, _) = tensors.get(&format!("{from}.attention.output.dense.weight"), &[hidden, hidden])?;
    let (bias, _) = tensors.get(&format!("{from}.attention.output.dense.bias"), &[hidden])?;
    let wide = padded(width);
    let n_inputs = shapes.heads * wide;
    let mut weight = vec![0f32; hidden * n_inputs];
    for (row, to) in rows.chunks_exact(hidden).zip(weight.chunks_exact_mut(n_inputs)) {
        for (head, values) in row.chunks_exact(width).enumerate() {
            to[head * wide..head * wide + width].copy_from_slice(values);
        }
    }
    Ok(Packed::new(kernels, &weight, &bias, n_inputs))
}

fn read_norm(tensors: &Tensors<'_>, name: &str, shapes: &BertConfig) -> Result<Norm> {
    let (weight, _) = tensors.get(&format!("{name}.weight"), &[shapes.hidden])?;
    let (bias, _) = tensors.get(&format!("{name}.bias"), &[shapes.hidden])?;
    Ok(Norm::new(&weight, &bias, shapes.epsilon))
}
