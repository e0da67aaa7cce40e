"""The commands about models: what one is, and how a fast one is made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmsys_rs import distilling
from lmsys_rs.session import Session

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `models distill` asks for, without doing it."""
    asked: dict[str, Any] = {}

    def distill(source: str, output: Path, **options: Any) -> Path:
        asked.update(options, source=source, output=output)
        output.mkdir()
        return output

    monkeypatch.setattr(distilling, "distill", distill)
    return asked


def test_show_says_what_runs_a_model(cli: Cli, model_folder: Path) -> None:
    code, out, err = cli("models", "show", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["name"], facts["engine"], facts["dimensions"], facts["max_tokens"], facts["pooling"]) == (
        *("all-MiniLM-L6-v2", "native", 384, 256, "mean"),
    )
    assert facts["cached"] is True
    assert facts["device"] in facts["isas"] or facts["device"].split()[0] in {isa[:6] for isa in facts["isas"]}
    assert facts["files"]["model.safetensors"] == (model_folder / "model.safetensors").stat().st_size
    _, out, _ = cli("models", "show", model_folder, "--engine", "ort")
    assert "engine      ort" in out
    assert "why         asked for" in out


@pytest.mark.usefixtures("model_folder")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--provider", "cuda"], "error: the ONNX Runtime .* has no provider cuda"),
        (["--provider", "cuda", "--engine", "native"], "error: the provider cuda needs the engine ort: got native"),
        (["--provider", "gpu"], "error: provider must be one of cpu, cuda, "),
        (["--engine", "static"], "error: the engine static needs a table of token vectors"),
    ],
)
def test_what_cannot_be_had_is_said_never_replaced(cli: Cli, options: list[str], message: str) -> None:
    code, out, err = cli("models", "show", *options)
    assert (code, out) == (1, "")
    assert re.match(message, err)


def test_distill_prints_the_folder(cli: Cli, seen: dict[str, Any]) -> None:
    code, out, _ = cli("models", "distill", "all-MiniLM-L6-v2", "table", "--dims", 64, "--sif", 0.01)
    assert (code, out) == (0, "table\n")
    assert (seen["source"], seen["dims"], seen["sif"], seen["texts"]) == ("all-MiniLM-L6-v2", 64, 0.01, None)


def test_distill_reads_texts_of_a_file_or_a_workspace(cli: Cli, seen: dict[str, Any], loaded: Session) -> None:
    Path("texts.txt").write_bytes("one\n  två \n\xff\n".encode("latin-1"))
    assert cli("models", "distill", "m", "one", "--texts", "texts.txt")[0] == 0
    assert seen["texts"].to_list() == ["one", "tv\ufffd", "\ufffd"]
    folder = loaded.folder.path
    assert cli("models", "distill", "m", "two", "--texts", folder)[0] == 0
    assert len(seen["texts"]) > 100
    code, _, err = cli("models", "distill", "m", "three", "--texts", "none.txt")
    assert (code, err) == (1, "error: none.txt: No such file or directory\n")


def test_a_distilled_model_embeds(cli: Cli, tmp_path: Path, sample_file: Path) -> None:
    from lmsys_rs.models import Encoder

    code, out, err = cli("models", "distill", "all-MiniLM-L6-v2", "table", "--dims", 32, "--json")
    assert code == 0, err
    made = json.loads(out)
    encoder = Encoder(tmp_path / "table")
    assert (made["dimensions"], made["id"]) == (32, encoder.id)
    cake, tart, code_text = encoder.embed(["how to bake a cake", "recipe for a fruit cake", "sort a list in Python"])
    assert float(np.dot(cake, tart)) > float(np.dot(cake, code_text)) + 0.2
    assert cli("load", sample_file, "-w", "w.lmsys")[0] == 0
    code, out, err = cli("embed", "--embedding-model", "table", "-w", "w.lmsys", "--json")
    assert code == 0, err
    assert json.loads(out)["n_new"] > 100
