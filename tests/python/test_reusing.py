"""Are vectors found again in other workspaces, stored as asked, and is the time left told right?"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lmsys_rs import embedding, reusing
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.loading import load
from lmsys_rs.records import EmbedReport, Event
from lmsys_rs.session import Session, open_session
from lmsys_rs.verifying import verify


def vectors_of(texts: list[str]) -> np.ndarray:
    """Unit rows that depend on the text alone."""
    rows = np.array([np.random.default_rng(zlib.crc32(text.encode())).normal(size=64) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class CountingEncoder:
    """Remembers what it was asked."""

    id = "counting-64"
    dim = 64

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        return vectors_of(texts)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LMSYS_REUSE", "1")


def write(path: Path, texts: list[str]) -> Path:
    rows = [{"conversation_id": f"c{i}", "conversation": [{"role": "user", "content": t}]} for i, t in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def embedded(
    folder: Path, texts: list[str], encoder: CountingEncoder, **options: object
) -> tuple[Session, EmbedReport]:
    session = open_session(folder)
    load(session, write(folder.with_suffix(".jsonl"), texts))
    return session, embed(session, encoder, **options)  # type: ignore[arg-type]


FIRST = [f"question number {i} about topic {i % 7}" for i in range(60)]
SECOND = [f"another text {i}" for i in range(20)] + FIRST[10:40]


def test_texts_of_another_workspace_are_not_embedded_again(tmp_path: Path) -> None:
    embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder())[0].close()
    encoder = CountingEncoder()
    session, report = embedded(tmp_path / "b.lmsys", SECOND, encoder)
    with session:
        assert (report.n_new, report.n_reused) == (50, 30)
        assert sorted(encoder.texts) == sorted(SECOND[:20])
        fresh = vectors_of(SECOND)
        np.testing.assert_allclose(session.vectors(session.embedding()), fresh, atol=1e-6)
        assert not verify(session).findings


def test_reuse_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder())[0].close()
    session, report = embedded(tmp_path / "b.lmsys", SECOND, CountingEncoder(), reuse=False)
    session.close()
    assert report.n_reused == 0
    monkeypatch.setenv("LMSYS_REUSE", "0")
    session, report = embedded(tmp_path / "c.lmsys", SECOND, CountingEncoder())
    session.close()
    assert report.n_reused == 0
    assert str(tmp_path / "c.lmsys") not in reusing._listed()


def test_workspaces_that_are_gone_or_broken_are_passed_over(tmp_path: Path) -> None:
    embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder())[0].close()
    (tmp_path / "a.lmsys" / "lmsys.db").write_bytes(b"no database")
    listed = [*reusing._listed(), str(tmp_path / "never"), str(tmp_path)]
    (tmp_path / "cache" / "lmsys" / "workspaces.json").write_text(json.dumps(listed))
    session, report = embedded(tmp_path / "b.lmsys", SECOND, CountingEncoder())
    session.close()
    assert (report.n_new, report.n_reused) == (50, 0)


def test_rows_that_are_no_vectors_are_not_taken(tmp_path: Path) -> None:
    session, _ = embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder())
    session.close()
    file = next((tmp_path / "a.lmsys" / "vectors").iterdir())
    file.write_bytes(b"\0" * file.stat().st_size)
    session, report = embedded(tmp_path / "b.lmsys", SECOND, CountingEncoder())
    session.close()
    assert report.n_reused == 0


def test_a_damaged_list_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "cache" / "lmsys").mkdir(parents=True)
    for text in ("{", "5", '[1, null, {"a": 2}]', "\x00"):
        (tmp_path / "cache" / "lmsys" / "workspaces.json").write_text(text)
        assert reusing._listed() == []


def test_half_precision_takes_half_the_space_and_is_never_a_source_of_full(tmp_path: Path) -> None:
    session, _ = embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder(), dtype="float16")
    with session:
        assert session.embedding().dtype == "float16"
        file = next((session.folder.path / "vectors").iterdir())
        assert (file.suffix, file.stat().st_size) == (".f16", 60 * 64 * 2)
        vectors = session.vectors(session.embedding())
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, vectors_of(FIRST), atol=5e-4)
        assert not verify(session).findings
    encoder = CountingEncoder()
    session, report = embedded(tmp_path / "b.lmsys", FIRST, encoder)
    session.close()
    assert (report.n_reused, len(encoder.texts)) == (0, 60)
    session, report = embedded(tmp_path / "c.lmsys", FIRST, CountingEncoder(), dtype="float16")
    session.close()
    assert report.n_reused == 60


def test_another_dtype_needs_force(tmp_path: Path) -> None:
    session, _ = embedded(tmp_path / "a.lmsys", FIRST, CountingEncoder())
    with session:
        with pytest.raises(InvalidInputError, match="stored as float32, not float16"):
            embed(session, CountingEncoder(), dtype="float16")
        with pytest.raises(InvalidInputError, match="dtype must be float32 or float16"):
            embed(session, CountingEncoder(), dtype="int8")  # type: ignore[arg-type]
        embed(session, CountingEncoder(), dtype="float16", force=True)
        assert [file.suffix for file in (session.folder.path / "vectors").iterdir()] == [".f16"]
        # what is stored stays what it is
        load(session, write(tmp_path / "more.jsonl", SECOND))
        assert embed(session, CountingEncoder()).n_new == 20
        assert session.embedding().dtype == "float16"
        assert not verify(session).findings


def test_progress_is_told_in_tokens_of_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "EMBED_BATCH", 10)
    monkeypatch.setattr(embedding, "LARGEST_BATCH", 10)
    texts = [f"{i} " + "x" * i for i in range(95)]
    with open_session(tmp_path / "a.lmsys") as session:
        load(session, write(tmp_path / "a.jsonl", texts))
        events: list[Event] = []
        embed(session, CountingEncoder(), on_event=events.append)
    told = [event for event in events if event.stage == "embed"]
    total = sum(2 + len(text) // 4 for text in texts)
    assert {event.unit for event in told} == {"tokens"}
    assert {event.total for event in told} == {total}
    done = [event.done for event in told if event.kind == "advanced"]
    assert done == np.cumsum([sum(2 + len(text) // 4 for text in texts[i : i + 10]) for i in range(0, 95, 10)]).tolist()


def test_the_hashes_of_the_text_table_find_their_rows(session: Session, tmp_path: Path) -> None:
    from lmsys_rs.store import reading

    load(session, write(tmp_path / "many.jsonl", [f"text {i}" for i in range(1_203)]))
    with session.store.reading() as connection:
        hashes = reading.text_hashes(connection, 0, 1_203)
        order = pl.Series(np.random.default_rng(0).permutation(1_203))
        asked = pl.concat([hashes[order], pl.Series([b"0123456789abcdef"])])
        found = reading.text_ids_of(connection, asked)
    assert found["position"].to_list() == list(range(1_203))
    assert found["text_id"].to_list() == order.to_list()
