"""Are ONNX files run as they should: pooled where they give token rows, left alone where they pool themselves?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bert_oracle import Matrix, embed, load, write_tokenizer
from lmsys_rs.errors import ModelError
from onnx import TensorProto, helper
from tokenizers import Tokenizer


def write_onnx(path: Path, pooled: bool, inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> Matrix:
    """One layer: a row per token (batch, length, 8), or the first token's row (batch, 8). Returns the table."""
    table = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])]
    shape: list[Any] = ["batch", "length", 8]
    if pooled:
        nodes.append(helper.make_node("Gather", ["tokens", "first"], ["output"], axis=1))
        shape = ["batch", 8]
    else:
        nodes.append(helper.make_node("Identity", ["tokens"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.ravel()),
            helper.make_tensor("first", TensorProto.INT64, [], [0]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return table


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer.json")
    return tmp_path


def token_rows(folder: Path, table: Matrix, text: str) -> Matrix:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows: Matrix = table[tokenizer.encode(text).ids]
    return rows


@pytest.mark.parametrize("inputs", [("input_ids", "attention_mask"), ("input_ids", "attention_mask", "token_type_ids")])
@pytest.mark.parametrize("where", ["model.onnx", "onnx/model.onnx"])
def test_an_onnx_file_with_token_rows_is_pooled(onnx_folder: Path, inputs: tuple[str, ...], where: str) -> None:
    (onnx_folder / where).parent.mkdir(exist_ok=True)
    table = write_onnx(onnx_folder / where, pooled=False, inputs=inputs)
    texts = ["a", "b c", "h e l l o w o r l d", ""]
    rows = [token_rows(onnx_folder, table, text) for text in texts]
    mean = embed(load(onnx_folder, normalize=False), texts)
    np.testing.assert_allclose(mean, [row.mean(axis=0) for row in rows], atol=1e-6)
    cls = embed(load(onnx_folder, normalize=False, pooling="cls"), texts)
    np.testing.assert_allclose(cls, [row[0] for row in rows], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embed(load(onnx_folder), texts), axis=1), 1.0, atol=1e-6)


def test_an_onnx_file_that_pools_itself_is_taken_as_it_is(onnx_folder: Path) -> None:
    table = write_onnx(onnx_folder / "model.onnx", pooled=True)
    found = embed(load(onnx_folder, normalize=False), ["a", "b c d", ""])
    np.testing.assert_allclose(found, np.tile(table[2], (3, 1)), atol=1e-6)


def test_an_onnx_file_of_any_name_can_be_named(onnx_folder: Path) -> None:
    write_onnx(onnx_folder / "quantised.onnx", pooled=False)
    with pytest.raises(ModelError, match=r"none of model\.safetensors"):
        load(onnx_folder)
    assert load(onnx_folder, weights=str(onnx_folder / "quantised.onnx")).dim == 8


def test_onnx_files_that_cannot_be_used_are_refused_with_the_reason(onnx_folder: Path) -> None:
    path = onnx_folder / "model.onnx"
    write_onnx(path, pooled=False, inputs=("input_ids", "pixel_values"))
    with pytest.raises(ModelError, match="input 'pixel_values'"):
        embed(load(onnx_folder), ["a"])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load(onnx_folder)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load(onnx_folder)
