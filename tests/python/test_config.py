"""Settings come from the environment, now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from lmsys_rs.config import onnxruntime_library, settings
from lmsys_rs.errors import InvalidInputError


def test_cache_dir_follows_xdg_cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert settings().cache_dir == tmp_path / "lmsys"


@pytest.mark.skipif(sys.platform != "linux", reason="the default cache folder differs by platform")
def test_cache_dir_is_under_home_without_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings().cache_dir == tmp_path / ".cache" / "lmsys"


def test_hub_endpoint_loses_its_trailing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert settings().hub_endpoint == "https://mirror.example"


@pytest.mark.parametrize(("text", "expected"), [("4", 4), ("0", None), ("", None)])
def test_thread_count_is_read_and_zero_means_all(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", text)
    assert settings().n_threads == expected


def test_thread_count_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "many")
    with pytest.raises(InvalidInputError, match="RAYON_NUM_THREADS must be a whole number: 'many'"):
        settings()


def test_onnxruntime_library_is_found_without_importing_the_package() -> None:
    already_imported = "onnxruntime" in sys.modules
    library = onnxruntime_library()
    assert library.is_absolute()
    assert library.is_file()
    assert ("onnxruntime" in sys.modules) == already_imported


def test_without_onnxruntime_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert onnxruntime_library() is None
