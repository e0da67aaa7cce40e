"""What a long job is said to cost, and when it is refused before it starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lmsys_rs import _core, planning
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.loading import load
from lmsys_rs.planning import Plan, announce, parse_size, plan_clustering, plan_embedding, plan_loading, window_rows
from lmsys_rs.records import Event
from lmsys_rs.session import Session
from lmsys_rs.store import reading

GB = 10**9


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * GB, 100 * GB, 12_345))


def plan(**values: Any) -> Plan:
    usual = {
        "job": "loading",
        "n_rows": 10,
        "unit": "conversations",
        "seconds": 1.0,
        "disk_bytes": 1,
        "memory_bytes": 1,
    }
    return Plan(**{**usual, **values})


# ---- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0", 0), ("2048", 2048), ("1k", 1000), ("1kB", 1000), ("1KiB", 1024), ("500 MB", 500 * 10**6), ("2GB", 2 * GB),
        ("1.5g", 1_500_000_000), ("2GiB", 2 << 30), (" 1 TiB ", 1 << 40), ("0.5 mib", 1 << 19), ("7b", 7), (4096, 4096),
        (None, None),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str | int | None, n_bytes: int | None) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 2", "1XB", "GB", "1,5GB", "1e9", "inf", "1GBps", "٣GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="a size is a number with a unit, such as 2GB: "):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "disk", "memory", "said"),
    [
        (0.2, 10, 400, "loading: 10 conversations, about 0 s, 1 MB on disk, at most 1 MB of memory"),
        (89, 1_400_000, 2 * GB, "loading: 10 conversations, about 89 s, 1 MB on disk, at most 2.0 GB of memory"),
        (600, 35 * GB, GB, "loading: 10 conversations, about 10 min, 35.0 GB on disk, at most 1.0 GB of memory"),
        (7200, GB, GB, "loading: 10 conversations, about 2.0 h, 1.0 GB on disk, at most 1.0 GB of memory"),
    ],
)
def test_plan_is_one_line(seconds: float, disk: int, memory: int, said: str) -> None:
    assert str(plan(seconds=seconds, disk_bytes=disk, memory_bytes=memory)) == said


# ---- announcements ------------------------------------------------------------------------------------------------


def test_long_jobs_are_announced_and_short_ones_are_not(session: Session) -> None:
    events: list[Event] = []
    announce(session, plan(seconds=19), on_event=events.append)
    assert events == []
    announce(session, plan(seconds=21, n_rows=1_000_000), on_event=events.append)
    assert [(event.kind, event.message[:32]) for event in events] == [("note", "loading: 1,000,000 conversations")]


def test_job_beyond_the_memory_is_refused(session: Session) -> None:
    announce(session, plan(memory_bytes=GB), max_memory=GB, on_event=print)
    with pytest.raises(InvalidInputError) as refused:
        announce(session, plan(memory_bytes=2 * GB), max_memory=GB, on_event=print)
    assert str(refused.value) == (
        "loading: 10 conversations, about 1 s, 1 MB on disk, at most 2.0 GB of memory is more than the allowed 1.0 GB\n"
        "hint: allow more, or choose fewer with --limit"
    )
    with pytest.raises(InvalidInputError, match="hint: the program alone takes 335 MB"):
        announce(session, plan(memory_bytes=2 * GB), max_memory=10**6, on_event=print)


def test_job_beyond_the_disk_is_refused(session: Session, full_disk: None) -> None:
    announce(session, plan(disk_bytes=12_345), on_event=print)
    with pytest.raises(StoreError) as refused:
        announce(session, plan(disk_bytes=3 * GB), on_event=print)
    assert str(refused.value) == (
        "loading: 10 conversations, about 1 s, 3.0 GB on disk, at most 1 MB of memory: there are 1 MB free\n"
        "hint: free some space, or use another disk"
    )


def test_every_long_job_asks_for_room_first(
    loaded: Session, encoder: Any, sample_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 100))
    with pytest.raises(StoreError, match=r"loading: .* MB free"):
        load(loaded, sample_file, force=True)
    with pytest.raises(StoreError, match=r"embedding: .* MB free"):
        embed(loaded, encoder)
    with loaded.store.reading() as connection:
        assert sum(e.n_rows for e in reading.embeddings(connection)) == 0


def test_clustering_asks_for_room_first(embedded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 100))
    with pytest.raises(StoreError, match=r"clustering: .* MB free"):
        cluster(embedded, _core.KMeans(n_clusters=3))


def test_nothing_new_needs_no_room(loaded: Session, sample_file: Path, full_disk: None) -> None:
    assert load(loaded, sample_file).already_loaded


def test_jobs_obey_max_memory(embedded: Session, encoder: Any, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"conversation": [{"role": "user", "content": "something new"}]}) + "\n")
    with pytest.raises(InvalidInputError, match=r"max_memory must be at least"):
        load(embedded, path, max_memory=10**6)
    load(embedded, path, max_memory=GB)
    with pytest.raises(InvalidInputError, match=r"embedding: .* is more than the allowed 1 MB"):
        embed(embedded, encoder, max_memory=10**6)
    embed(embedded, encoder, max_memory=GB)
    with pytest.raises(InvalidInputError, match=r"clustering: .* is more than the allowed 1 MB"):
        cluster(embedded, _core.KMeans(n_clusters=3), max_memory=10**6)


# ---- rates --------------------------------------------------------------------------------------------------------


def test_loading_grows_with_rows_and_bytes() -> None:
    small, large = plan_loading(1_000, 10**6), plan_loading(10**6, GB)
    assert large.seconds == pytest.approx(1000 * small.seconds)
    assert large.seconds == pytest.approx(10**6 / planning.CONVERSATIONS_PER_S)
    assert large.disk_bytes > GB
    assert plan_loading(0, 0).seconds == 0


def test_memory_of_loading_is_bounded_by_the_window() -> None:
    assert plan_loading(10**6, GB).memory_bytes == pytest.approx(plan_loading(10**7, 10 * GB).memory_bytes, rel=1e-3)
    assert plan_loading(10**6, GB, max_memory=600 * 10**6).memory_bytes <= 600 * 10**6


def test_windows_fit_into_the_allowed_memory() -> None:
    assert window_rows(10**6, GB, None) == planning.MAX_WINDOW
    assert window_rows(10**6, GB, 100 * GB) == planning.MAX_WINDOW
    fits = window_rows(10**6, 10 * GB, GB)
    assert planning.MIN_WINDOW <= fits < planning.MAX_WINDOW
    assert planning.BASE_BYTES + 4 * fits * 4 * 10_000 <= GB
    with pytest.raises(InvalidInputError, match=r"max_memory must be at least \d+ MB for this file: 100 MB"):
        window_rows(10**6, GB, 100 * 10**6)
    # the smallest that is named is enough
    with pytest.raises(InvalidInputError) as refused:
        window_rows(10**6, 10 * GB, 1)
    named = parse_size(str(refused.value).split("at least ")[1].split(" for")[0])
    assert named is not None
    assert window_rows(10**6, 10 * GB, named + 10**6) >= planning.MIN_WINDOW


def test_embedding_counts_tokens_up_to_the_model_limit() -> None:
    short, long = plan_embedding(1000, 42_000, 384), plan_embedding(1000, 10**9, 384)
    assert short.seconds == pytest.approx((42_000 / 4.2 + 2000) / planning.TOKENS_PER_S["ort"])
    assert long.seconds == pytest.approx(256 * 1000 / planning.TOKENS_PER_S["ort"])
    assert short.disk_bytes == 1000 * 384 * 4


def test_a_small_graph_costs_the_square_and_a_large_one_less() -> None:
    def seconds(n: int) -> float:
        return plan_clustering(n, 384, algorithm="hdbscan", n_clusters=0, needs_graph=True).seconds

    assert seconds(8_000) == pytest.approx(4 * seconds(4_000))
    assert seconds(100_000) < 100 * seconds(10_000) / 2
    kmeans = plan_clustering(10_000, 384, algorithm="kmeans", n_clusters=50, needs_graph=False)
    assert kmeans.seconds < seconds(10_000)
    assert (
        kmeans.memory_bytes < plan_clustering(10_000, 384, algorithm="h", n_clusters=0, needs_graph=True).memory_bytes
    )
