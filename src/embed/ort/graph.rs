//! The graph of a BERT encoder, built from safetensors through ONNX Runtime's model editor, so that users need neither
//! torch nor an export step. Devlin et al. 2019; the layout of the weights is that of transformers' `BertModel`.

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use super::super::bert::{self, BertConfig};
use super::super::weights::Tensors;
use crate::error::{Error, Result};

/// Opset with LayerNormalization (17) and Gelu (20).
const OPSET: u32 = 20;

/// A session of the encoder: inputs `input_ids`, `position_ids` (batch x length, i64) and `attention_bias`
/// (batch x 1 x 1 x length, f32: 0 or a large negative number); output `last_hidden_state`.
pub fn build(weights: &Tensors<'_>, shapes: &BertConfig, options: &SessionBuilder) -> Result<Session> {
    let mut builder = Builder { weights, graph: Graph::new().map_err(failed)? };
    builder
        .graph
        .set_inputs([
            outlet("input_ids", TensorElementType::Int64, &[-1, -1]),
            outlet("position_ids", TensorElementType::Int64, &[-1, -1]),
            outlet("attention_bias", TensorElementType::Float32, &[-1, 1, 1, -1]),
        ])
        .map_err(failed)?;
    builder
        .graph
        .set_outputs([outlet("last_hidden_state", TensorElementType::Float32, &[-1, -1, shapes.hidden as i64])])
        .map_err(failed)?;
    builder.embeddings(shapes)?;
    let mut hidden = "embedded".to_owned();
    for layer in 0..shapes.layers {
        let output =
            if layer + 1 == shapes.layers { "last_hidden_state".to_owned() } else { format!("hidden.{layer}") };
        builder.layer(shapes, layer, &hidden, &output)?;
        hidden = output;
    }
    let mut model = Model::new([Opset::new(ONNX_DOMAIN, OPSET).map_err(failed)?]).map_err(failed)?;
    model.set_graph(builder.graph).map_err(failed)?;
    model.into_session(options).map_err(failed)
}

struct Builder<'a> {
    weights: &'a Tensors<'a>,
    graph: Graph,
}

impl Builder<'_> {
    /// word + position (with type 0 in it), then LayerNorm.
    fn embeddings(&mut self, shapes: &BertConfig) -> Result<()> {
        let (words, positions) = bert::tables(self.weights, shapes)?;
        self.initializer("position_embeddings", &positions, &[shapes.positions, shapes.hidden])?;
        self.initializer("word_embeddings", &words, &[words.len() / shapes.hidden, shapes.hidden])?;
        self.node("Gather", "words", &["word_embeddings", "input_ids"], vec![])?;
        self.node("Gather", "positions", &["position_embeddings", "position_ids"], vec![])?;
        self.node("Add", "summed", &["words", "positions"], vec![])?;
        self.layer_norm("embeddings.LayerNorm", shapes, "summed", "embedded")
    }

    fn layer(&mut self, shapes: &BertConfig, layer: usize, input: &str, output: &str) -> Result<()> {
        let from = format!("encoder.layer.{layer}");
        let name = |part: &str| format!("{part}.{layer}");
        let width = shapes.head_width();
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
            let order = Attribute::new("perm", order.to_vec()).map_err(failed)?;
            self.node("Transpose", &name(&format!("{part}_heads")), &[&split], vec![order])?;
        }
        self.node("MatMul", &name("scores"), &[&name("query_heads"), &name("key_heads")], vec![])?;
        self.node("Add", &name("masked"), &[&name("scores"), "attention_bias"], vec![])?;
        let axis = Attribute::new("axis", -1i64).map_err(failed)?;
        self.node("Softmax", &name("attention"), &[&name("masked")], vec![axis])?;
        self.node("MatMul", &name("context_heads"), &[&name("attention"), &name("value_heads")], vec![])?;
        let order = Attribute::new("perm", vec![0i64, 2, 1, 3]).map_err(failed)?;
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
        let (weight, found) = self.weights.get(&format!("{from}.weight"), &shape)?;
        let (bias, _) = self.weights.get(&format!("{from}.bias"), &[found[0]])?;
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

    fn layer_norm(&mut self, from: &str, shapes: &BertConfig, input: &str, output: &str) -> Result<()> {
        let (scale_name, bias_name) = (format!("{output}.norm_weight"), format!("{output}.norm_bias"));
        let (scale, _) = self.weights.get(&format!("{from}.weight"), &[shapes.hidden])?;
        let (bias, _) = self.weights.get(&format!("{from}.bias"), &[shapes.hidden])?;
        self.initializer(&scale_name, &scale, &[shapes.hidden])?;
        self.initializer(&bias_name, &bias, &[shapes.hidden])?;
        let epsilon = Attribute::new("epsilon", shapes.epsilon).map_err(failed)?;
        self.node("LayerNormalization", output, &[input, &scale_name, &bias_name], vec![epsilon])
    }

    fn node(&mut self, operator: &str, output: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Result<()> {
        let node = Node::new(operator, ONNX_DOMAIN, output, inputs, [output], attributes).map_err(failed)?;
        self.graph.add_node(node).map_err(failed)
    }

    fn initializer(&mut self, name: &str, values: &[f32], shape: &[usize]) -> Result<()> {
        let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        let mut tensor = Tensor::<f32>::new(&Allocator::default(), shape).map_err(failed)?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        self.graph.add_initializer(name, tensor, false).map_err(failed)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> Result<()> {
        let mut tensor = Tensor::<i64>::new(&Allocator::default(), [values.len() as i64]).map_err(failed)?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        self.graph.add_initializer(name, tensor, false).map_err(failed)
    }
}

fn outlet(name: &str, ty: TensorElementType, shape: &[i64]) -> Outlet {
    let dimension_symbols = SymbolicDimensions::empty(shape.len());
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(shape.iter().copied()), dimension_symbols })
}

pub fn failed<E: std::fmt::Display>(error: E) -> Error {
    Error::model(format!("ONNX Runtime: {error}"))
}
