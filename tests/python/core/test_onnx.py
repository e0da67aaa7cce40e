"""Are ONNX files run as they should: pooled where they give token rows, left alone where they pool themselves?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bert_oracle import Matrix, embed, load, write_tiny, write_tokenizer
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.models import Encoder
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


def test_an_onnx_file_is_found_from_any_folder(onnx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (onnx_folder / "onnx").mkdir()
    write_onnx(onnx_folder / "onnx" / "quantised.onnx", pooled=False)
    monkeypatch.chdir(onnx_folder / "onnx")
    for path in (onnx_folder / "onnx" / "quantised.onnx", Path("quantised.onnx").resolve()):
        assert (Encoder(path).dim, Encoder(path).engine) == (8, "ort")


def available_providers() -> list[str]:
    import onnxruntime

    names: list[str] = onnxruntime.get_available_providers()
    return names


NAMES = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


@pytest.mark.parametrize(
    "provider", ["cuda", "cuda:1", "tensorrt", "rocm", "migraphx", "coreml", "directml", "openvino"]
)
def test_a_provider_that_cannot_be_had_is_an_error_never_the_cpu(onnx_folder: Path, provider: str) -> None:
    if NAMES[provider.split(":")[0]] in available_providers():
        pytest.skip(f"this runtime has {provider}")
    write_onnx(onnx_folder / "model.onnx", pooled=False)
    with pytest.raises(ModelError, match=rf"has no provider {provider.split(':')[0]}\nhint: pip install onnxruntime"):
        load(onnx_folder, provider=provider)


def test_the_cpu_is_a_provider(onnx_folder: Path) -> None:
    write_onnx(onnx_folder / "model.onnx", pooled=False)
    assert load(onnx_folder, provider="cpu").device == "cpu"
    for wrong in ("gpu", "cuda:", "cpu:1"):
        with pytest.raises(InvalidInputError, match=rf"provider must be one of cpu, cuda, .*: got '{wrong}'"):
            load(onnx_folder, provider=wrong)


KINDS = "sentence_transformers.models."


@pytest.mark.parametrize("weights", ["safetensors", "onnx"])
def test_a_module_that_would_be_left_out_is_refused(tmp_path: Path, weights: str) -> None:
    write_tiny(tmp_path)
    if weights == "onnx":
        write_onnx(tmp_path / "model.onnx", pooled=False)
        (tmp_path / "model.safetensors").unlink()

    def modules(*names: str) -> None:
        lines = [{"idx": i, "name": str(i), "path": "", "type": KINDS + name} for i, name in enumerate(names)]
        (tmp_path / "modules.json").write_text(json.dumps(lines))

    modules("Transformer", "Pooling", "Dropout", "Normalize")
    assert load(tmp_path).dim == 8
    modules("Transformer", "Pooling", "Dense", "Normalize")
    with pytest.raises(
        ModelError, match=r"modules\.json lists the module 'Dense', .*\nhint: export the whole model to"
    ):
        load(tmp_path)
    (tmp_path / "modules.json").write_text('{"type": "Dense"}')
    with pytest.raises(ModelError, match=r"modules\.json is damaged"):
        load(tmp_path)


@pytest.mark.parametrize("engine", ["native", "ort"])
def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, engine: str) -> None:
    write_tiny(tmp_path)
    path = tmp_path / "tokenizer.json"
    file = json.loads(path.read_text())
    file["model"]["vocab"]["zz"] = 30
    path.write_text(json.dumps(file))
    with pytest.raises(ModelError, match="vocabulary of 31 tokens, the model has 30 of them"):
        load(tmp_path, engine=engine)
