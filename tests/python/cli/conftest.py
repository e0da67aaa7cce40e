"""What the tests of commands need: a way to call one, and a workspace with a named run in the current folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lmsys_rs import _core
from lmsys_rs import search as searching
from lmsys_rs.cli import main
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.session import open_session

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LMSYS_WORKSPACE", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lmsys", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def analysed(cli: Cli, tmp_path: Path, sample_file: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A workspace with one named run in the current folder; searches use the word encoder."""
    monkeypatch.setattr(searching, "encoder_of", lambda embedding: encoder)
    with open_session(tmp_path / "chats.lmsys") as session:
        load(session, sample_file)
        embed(session, encoder)
        run = label(session, cluster(session, _core.KMeans(n_clusters=6)).run_id)
    return run.run_id
