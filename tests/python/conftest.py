"""What many tests need: an encoder that needs no model, a small loaded workspace, and the real model for some."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs.embedding import embed
from lmsys_rs.loading import load
from lmsys_rs.sample import write_sample
from lmsys_rs.session import Session, open_session

# tests are strangers to each other and to the workspaces of whoever runs them; programs they start inherit this
os.environ["LMSYS_REUSE"] = "0"

# the provider stand-in serves the tests of every front end
sys.path.insert(0, str(Path(__file__).resolve().parent / "llm"))

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


class WordEncoder:
    """Counts hashed words: close for texts that share words, the same everywhere, and quick."""

    id = "words-64"
    dim = 64

    def embed(self, texts: Any) -> npt.NDArray[np.float32]:
        vectors = np.full((len(texts), self.dim), 1e-3, dtype=np.float32)
        for i, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[i, int(hashlib.md5(word.encode()).hexdigest(), 16) % self.dim] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 synthetic conversations as Parquet."""
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.parquet", n_conversations=300, seed=1)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An empty workspace."""
    with open_session(tmp_path / "test.lmsys") as opened:
        yield opened


@pytest.fixture
def loaded(session: Session, sample_file: Path) -> Session:
    """A workspace with the sample loaded, not embedded."""
    load(session, sample_file)
    return session


@pytest.fixture
def embedded(loaded: Session, encoder: WordEncoder) -> Session:
    """A workspace with the sample loaded and embedded with the word encoder."""
    embed(loaded, encoder)
    return loaded


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The real model, from the cache or fetched once."""
    from lmsys_rs.models import resolve

    return resolve("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real conversation files that are kept beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is not at {SHARED_DATA}")
    return SHARED_DATA
