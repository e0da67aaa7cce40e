//! The graph of a BERT encoder, built from safetensors through ONNX Runtime's model editor, so that users need neither
//! torch nor an export step. Devlin et al. 2019; the layout of the weights is that of transformers' `BertModel`.

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};

/// Opset with LayerNormalization (17) and Gelu (20).
const OPSET: u32 = 20;

struct Shapes {
    hidden: usize,
    heads: usize,
    layers: usize,
    epsilon: f32,
}

/// A session of the encoder: inputs `input_ids`, `position_ids` (batch x length, i64) and `attention_bias`
/// (batch x 1 x 1 x length, f32: 0 or a large negative number); output `last_hidden_state`.
pub fn build(weights: &SafeTensors<'_>, config: &Value, options: &SessionBuilder) -> Result<Session> {
    let shapes = read_shapes(config)?;
    let mut builder = Builder { weights, prefix: find_prefix(weights)?, graph: Graph::new().map_err(engine)? };
    builder
        .graph
        .set_inputs([
            outlet("input_ids", TensorElementType::Int64, &[-1, -1]),
            outlet("position_ids", TensorElementType::Int64, &[-1, -1]),
            outlet("attention_bias", TensorElementType::Float32, &[-1, 1, 1, -1]),
        ])
        .map_err(engine)?;
    builder
        .graph
        .set_outputs([outlet("last_hidden_state", TensorElementType::Float32, &[-1, -1, shapes.hidden as i64])])
        .map_err(engine)?;
    builder.embeddings(&shapes)?;
    let mut hidden = "embedded".to_owned();
    for layer in 0..shapes.layers {
        let output =
            if layer + 1 == shapes.layers { "last_hidden_state".to_owned() } else { format!("hidden.{layer}") };
        builder.layer(&shapes, layer, &hidden, &output)?;
        hidden = output;
    }
    let mut model = Model::new([Opset::new(ONNX_DOMAIN, OPSET).map_err(engine)?]).map_err(engine)?;
    model.set_graph(builder.graph).map_err(engine)?;
    model.into_session(options).map_err(engine)
}

fn read_shapes(config: &Value) -> Result<Shapes> {
    let number = |name: &str| {
        config
            .get(name)
            .and_then(Value::as_u64)
            .map(|value| value as usize)
            .ok_or_else(|| Error::model(format!("config.json has no number '{name}'")))
    };
    let text = |name: &str, default: &str| config.get(name).and_then(Value::as_str).unwrap_or(default).to_owned();
    let known = [
        ("model_type", "bert", "bert"),
        ("hidden_act", "gelu", "gelu"),
        ("position_embedding_type", "absolute", "absolute"),
    ];
    for (name, default, need) in known {
        let got = text(name, default);
        if got != need {
            return Err(Error::model(format!("{name} '{got}' is not supported from safetensors: need '{need}'"))
                .hint("export the model to ONNX (optimum-cli export onnx) and use the folder with its model.onnx"));
        }
    }
    let shapes = Shapes {
        hidden: number("hidden_size")?,
        heads: number("num_attention_heads")?,
        layers: number("num_hidden_layers")?,
        epsilon: config.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(1e-12) as f32,
    };
    if shapes.layers == 0 || shapes.heads == 0 || !shapes.hidden.is_multiple_of(shapes.heads) {
        return Err(Error::model(format!(
            "config.json: hidden_size {} must be a multiple of num_attention_heads {}, with at least one layer: got {}",
            shapes.hidden, shapes.heads, shapes.layers
        )));
    }
    Ok(shapes)
}

/// Checkpoints name tensors with or without the class in front.
fn find_prefix(weights: &SafeTensors<'_>) -> Result<&'static str> {
    ["", "bert."]
        .into_iter()
        .find(|prefix| weights.tensor(&format!("{prefix}embeddings.word_embeddings.weight")).is_ok())
        .ok_or_else(|| Error::model("the safetensors file has no tensor 'embeddings.word_embeddings.weight'"))
}

struct Builder<'a> {
    weights: &'a SafeTensors<'a>,
    prefix: &'static str,
    graph: Graph,
}

impl Builder<'_> {
    /// word + position + type 0, then LayerNorm. Sentence models never use type 1, so type 0 is added to positions.
    fn embeddings(&mut self, shapes: &Shapes) -> Result<()> {
        let (mut positions, shape) = self.tensor("embeddings.position_embeddings.weight", &[0, shapes.hidden])?;
        let (types, _) = self.tensor("embeddings.token_type_embeddings.weight", &[0, shapes.hidden])?;
        for row in positions.chunks_exact_mut(shapes.hidden) {
            row.iter_mut().zip(&types).for_each(|(value, kind)| *value += kind);
        }
        self.initializer("position_embeddings", &positions, &shape)?;
        let (words, shape) = self.tensor("embeddings.word_embeddings.weight", &[0, shapes.hidden])?;
        self.initializer("word_embeddings", &words, &shape)?;
        self.node("Gather", "words", &["word_embeddings", "input_ids"], vec![])?;
        self.node("Gather", "positions", &["position_embeddings", "position_ids"], vec![])?;
        self.node("Add", "summed", &["words", "positions"], vec![])?;
        self.layer_norm("embeddings.LayerNorm", shapes, "summed", "embedded")
    }

    fn layer(&mut self, shapes: &Shapes, layer: usize, input: &str, output: &str) -> Result<()> {
        let from = format!("encoder.layer.{layer}");
        let name = |part: &str| format!("{part}.{layer}");
        let width = shapes.hidden / shapes.heads;
        // the softmax scale 1 / sqrt(width) is folded into the queries
        let scale = 1.0 / (width as f32).sqrt();
        self.dense(
            &format!("{from}.attention.self.query"),
            [shapes.hidden, shapes.hidden],
            scale,
            input,
            &name("query"),
        )?;
        self.dense(&format!("{from}.attention.self.key"), [shapes.hidden, shapes.hidden], 1.0, input, &name("key"))?;
        self.dense(
            &format!("{from}.attention.self.value"),
            [shapes.hidden, shapes.hidden],
            1.0,
            input,
            &name("value"),
        )?;
        let heads = [0, 0, shapes.heads as i64, width as i64];
        self.integers(&name("to_heads"), &heads)?;
        self.integers(&name("from_heads"), &[0, 0, shapes.hidden as i64])?;
        for (part, order) in [("query", [0i64, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])] {
            let split = name(&format!("{part}_split"));
            self.node("Reshape", &split, &[&name(part), &name("to_heads")], vec![])?;
            let order = Attribute::new("perm", order.to_vec()).map_err(engine)?;
            self.node("Transpose", &name(&format!("{part}_heads")), &[&split], vec![order])?;
        }
        self.node("MatMul", &name("scores"), &[&name("query_heads"), &name("key_heads")], vec![])?;
        self.node("Add", &name("masked"), &[&name("scores"), "attention_bias"], vec![])?;
        let axis = Attribute::new("axis", -1i64).map_err(engine)?;
        self.node("Softmax", &name("attention"), &[&name("masked")], vec![axis])?;
        self.node("MatMul", &name("context_heads"), &[&name("attention"), &name("value_heads")], vec![])?;
        let order = Attribute::new("perm", vec![0i64, 2, 1, 3]).map_err(engine)?;
        self.node("Transpose", &name("context_split"), &[&name("context_heads")], vec![order])?;
        self.node("Reshape", &name("context"), &[&name("context_split"), &name("from_heads")], vec![])?;
        self.dense(
            &format!("{from}.attention.output.dense"),
            [shapes.hidden, shapes.hidden],
            1.0,
            &name("context"),
            &name("projected"),
        )?;
        self.node("Add", &name("attended"), &[&name("projected"), input], vec![])?;
        self.layer_norm(&format!("{from}.attention.output.LayerNorm"), shapes, &name("attended"), &name("middle"))?;
        self.dense(&format!("{from}.intermediate.dense"), [0, shapes.hidden], 1.0, &name("middle"), &name("wide"))?;
        self.node("Gelu", &name("activated"), &[&name("wide")], vec![])?;
        self.dense(&format!("{from}.output.dense"), [shapes.hidden, 0], 1.0, &name("activated"), &name("narrow"))?;
        self.node("Add", &name("fed"), &[&name("narrow"), &name("middle")], vec![])?;
        self.layer_norm(&format!("{from}.output.LayerNorm"), shapes, &name("fed"), output)
    }

    /// `input * weight^T + bias`, both times `scale`. A 0 in `shape` (out, in) fits any size.
    fn dense(&mut self, from: &str, shape: [usize; 2], scale: f32, input: &str, output: &str) -> Result<()> {
        let (weight, found) = self.tensor(&format!("{from}.weight"), &shape)?;
        let (bias, _) = self.tensor(&format!("{from}.bias"), &[found[0]])?;
        // transformers stores (out, in); MatMul wants (in, out)
        let mut transposed = vec![0f32; weight.len()];
        for (row, values) in weight.chunks_exact(found[1]).enumerate() {
            for (column, value) in values.iter().enumerate() {
                transposed[column * found[0] + row] = scale * value;
            }
        }
        let bias: Vec<f32> = bias.iter().map(|value| scale * value).collect();
        let (weight_name, bias_name, product) =
            (format!("{output}.weight"), format!("{output}.bias"), format!("{output}.product"));
        self.initializer(&weight_name, &transposed, &[found[1], found[0]])?;
        self.initializer(&bias_name, &bias, &[found[0]])?;
        self.node("MatMul", &product, &[input, &weight_name], vec![])?;
        self.node("Add", output, &[&product, &bias_name], vec![])
    }

    fn layer_norm(&mut self, from: &str, shapes: &Shapes, input: &str, output: &str) -> Result<()> {
        let (scale_name, bias_name) = (format!("{output}.norm_weight"), format!("{output}.norm_bias"));
        let (scale, _) = self.tensor(&format!("{from}.weight"), &[shapes.hidden])?;
        let (bias, _) = self.tensor(&format!("{from}.bias"), &[shapes.hidden])?;
        self.initializer(&scale_name, &scale, &[shapes.hidden])?;
        self.initializer(&bias_name, &bias, &[shapes.hidden])?;
        let epsilon = Attribute::new("epsilon", shapes.epsilon).map_err(engine)?;
        self.node("LayerNormalization", output, &[input, &scale_name, &bias_name], vec![epsilon])
    }

    fn node(&mut self, operator: &str, output: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Result<()> {
        let node = Node::new(operator, ONNX_DOMAIN, output, inputs, [output], attributes).map_err(engine)?;
        self.graph.add_node(node).map_err(engine)
    }

    fn initializer(&mut self, name: &str, values: &[f32], shape: &[usize]) -> Result<()> {
        let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        let mut tensor = Tensor::<f32>::new(&Allocator::default(), shape).map_err(engine)?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        self.graph.add_initializer(name, tensor, false).map_err(engine)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> Result<()> {
        let mut tensor = Tensor::<i64>::new(&Allocator::default(), [values.len() as i64]).map_err(engine)?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        self.graph.add_initializer(name, tensor, false).map_err(engine)
    }

    /// Values as f32 and the shape found; a 0 in `shape` fits any size.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<usize>)> {
        let name = format!("{}{name}", self.prefix);
        let view = self
            .weights
            .tensor(&name)
            .map_err(|_| Error::model(format!("the safetensors file has no tensor '{name}'")))?;
        let fits = view.shape().len() == shape.len()
            && view.shape().iter().zip(shape).all(|(got, need)| *need == 0 || got == need);
        if !fits {
            return Err(Error::model(format!(
                "tensor '{name}' has shape {:?}: need {shape:?} (0 = any)",
                view.shape()
            )));
        }
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::BF16 => {
                bytes.as_chunks::<2>().0.iter().map(|b| f32::from_bits((u16::from_le_bytes(*b) as u32) << 16)).collect()
            }
            Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| half_to_f32(u16::from_le_bytes(*b))).collect(),
            other => return Err(Error::model(format!("tensor '{name}' has type {other:?}: need F32, F16 or BF16"))),
        };
        Ok((values, view.shape().to_vec()))
    }
}

/// IEEE 754 half precision, subnormals included.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = ((bits >> 10 & 0x1f) as i32, (bits & 0x3ff) as f32);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

fn outlet(name: &str, ty: TensorElementType, shape: &[i64]) -> Outlet {
    let dimension_symbols = SymbolicDimensions::empty(shape.len());
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(shape.iter().copied()), dimension_symbols })
}

pub fn engine<E: std::fmt::Display>(error: E) -> Error {
    Error::model(format!("ONNX Runtime: {error}"))
}

/// Reads the file of weights; the bytes must outlive the view.
pub fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| Error::model(format!("the safetensors file is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read() {
        for (bits, want) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x0000, 0.0)]
        {
            assert_eq!(half_to_f32(bits), want);
        }
        assert!(half_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn foreign_architectures_are_refused_with_a_way_out() {
        let config = serde_json::json!({"model_type": "mpnet", "hidden_size": 8});
        let error = read_shapes(&config).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("'mpnet' is not supported") && error.contains("ONNX"), "{error}");
    }
}
