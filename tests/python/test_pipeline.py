"""Embedding once, resuming, and the whole way from a file to a named run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import embedding
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.loading import load
from lmsys_rs.pipeline import workspace_info
from lmsys_rs.session import Session


def test_every_text_gets_its_unit_vector_once(loaded: Session, encoder: Any) -> None:
    first = embed(loaded, encoder)
    again = embed(loaded, encoder)
    assert first.n_new == first.n_texts > 0
    assert again.n_new == 0
    vectors = loaded.vectors(loaded.embedding())
    assert vectors.shape == (first.n_texts, encoder.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_row_of_a_vector_is_the_text_id(loaded: Session, encoder: Any) -> None:
    embed(loaded, encoder)
    from lmsys_rs.store import reading

    with loaded.store.reading() as connection:
        texts = reading.text_page(connection)
    assert np.allclose(loaded.vectors(loaded.embedding()), encoder.embed(texts["text"].to_list()), atol=1e-6)


def test_new_texts_are_appended(session: Session, encoder: Any, sample_file: Path) -> None:
    load(session, sample_file, limit=100)
    before = embed(session, encoder)
    old = np.array(session.vectors(session.embedding()))
    load(session, sample_file)
    after = embed(session, encoder)
    assert after.n_new == after.n_texts - before.n_texts > 0
    assert np.array_equal(session.vectors(session.embedding())[: len(old)], old)


class Failing:
    """Fails in its second batch, as a cut-off process would."""

    id = "failing"
    dim = 2

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.broken = True

    def embed(self, texts: Any) -> npt.NDArray[np.float32]:
        if self.seen and self.broken:
            raise KeyboardInterrupt
        self.seen.extend(texts)
        return np.tile(np.array([0.6, 0.8], dtype=np.float32), (len(texts), 1))


def test_cut_off_embedding_goes_on_at_the_last_batch(loaded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "EMBED_BATCH", 50)
    failing = Failing()
    with pytest.raises(KeyboardInterrupt):
        embed(loaded, failing)
    assert loaded.embedding().n_rows == 50
    failing.broken = False
    report = embed(loaded, failing)
    assert report.n_new == report.n_texts - 50
    assert len(failing.seen) == len(set(failing.seen)) == report.n_texts


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_vectors_that_are_no_directions_are_refused(loaded: Session, bad: float) -> None:
    class Bad:
        id = "bad"
        dim = 2

        def embed(self, texts: Any) -> npt.NDArray[np.float32]:
            return np.full((len(texts), 2), bad, dtype=np.float32)

    with pytest.raises(InvalidInputError, match="is zero or not finite"):
        embed(loaded, Bad())
    assert loaded.embedding().n_rows == 0


def test_wrong_shape_is_refused(loaded: Session) -> None:
    class Wrong:
        id = "wrong"
        dim = 2

        def embed(self, texts: Any) -> npt.NDArray[np.float32]:
            return np.ones((1, 3), dtype=np.float32)

    with pytest.raises(InvalidInputError, match=r"embed must return an array of shape \(\d+, 2\): got \(1, 3\)"):
        embed(loaded, Wrong())


def test_embedding_an_empty_workspace_is_no_error(session: Session, encoder: Any) -> None:
    assert embed(session, encoder).n_texts == 0


def test_vectors_before_embedding_say_what_to_do(loaded: Session) -> None:
    with pytest.raises(StoreError, match=r"nothing is embedded yet\nhint: run: lmsys embed"):
        loaded.embedding()


def test_info_counts_everything(embedded: Session) -> None:
    info = workspace_info(embedded)
    assert (info.n_datasets, info.n_conversations, info.n_queries, info.n_runs) == (1, 300, 300, 0)
    assert info.embeddings[0].n_rows == info.n_texts
    assert info.array_bytes > info.n_texts * 64 * 4
