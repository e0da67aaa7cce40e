"""Does the partitioned index find what brute force finds, also filtered, grown, shrunk, saved and read again?"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

Matrix = npt.NDArray[Any]
MISSING = np.iinfo(np.uint32).max


def nearest(Q: Matrix, X: Matrix, ids: Matrix, k: int) -> tuple[Matrix, Matrix]:
    """By distance, then id; padded as the index pads."""
    ids = np.sort(ids)
    all_pairs: Matrix = np.sqrt(((Q[:, None].astype(float) - X[None, ids].astype(float)) ** 2).sum(axis=2))
    order = np.argsort(all_pairs, axis=1, kind="stable")[:, :k]
    found, lengths = np.full((len(Q), k), MISSING, np.uint32), np.full((len(Q), k), np.inf, np.float32)
    found[:, : order.shape[1]] = ids[order]
    lengths[:, : order.shape[1]] = np.take_along_axis(all_pairs, order, axis=1)
    return found, lengths


def clouds(n: int, dim: int, seed: int) -> Matrix:
    """Unit rows around n / 50 centers."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(7).normal(size=(max(1, n // 50), dim))
    X = centers[rng.integers(0, len(centers), n)] + 0.6 * rng.normal(size=(n, dim))
    unit: Matrix = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return unit


def recall_of(found: Matrix, want: Matrix) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found, want, strict=True)]))


@pytest.fixture(scope="module")
def many() -> tuple[Matrix, Matrix, Any]:
    # both from one draw: the queries are of the same kind as the rows
    all_rows = clouds(12_100, 32, 0)
    X, Q = all_rows[:12_000], all_rows[12_000:]
    return X, Q, _core.Index.build(X, engine="partitioned")


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    dim=st.integers(1, 100),
    k=st.integers(1, 70),
    seed=st.integers(0, 99),
    power=st.integers(-15, 15),
    share=st.sampled_from([None, 0.0, 0.1, 0.6, 1.0]),
    m=st.sampled_from([1, 5, 70]),
)
def test_few_rows_are_searched_exactly(
    n: int, dim: int, k: int, seed: int, power: int, share: float | None, m: int
) -> None:
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, dim)) * 10.0**power).astype(np.float32)
    X = X[rng.integers(0, n, size=n)]
    # queries as long as the rows: from far away, distances to all of them are equal but for the rounding of any sum
    Q = np.concatenate([X[:1], rng.normal(size=(m, dim)) * 10.0**power])[:m].astype(np.float32)
    where = None if share is None else rng.random(n) < share
    index = _core.Index.build(X)
    assert index.engine == "partitioned"
    passing = np.arange(n) if where is None else np.flatnonzero(where)
    want, lengths = nearest(Q, X, passing, k)
    for by in [where] if where is None else [where, passing.astype(np.uint32), passing[::-1].astype(np.uint64)]:
        found = index.search(Q, k, where=by)
        np.testing.assert_array_equal(found[0], want)
        np.testing.assert_array_equal(found[1], lengths)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.1, 0.24, 0.26, 0.9, 1.0])
def test_a_filtered_search_is_brute_force(many: tuple[Matrix, Matrix, Any], share: float) -> None:
    X, Q, index = many
    where = np.random.default_rng(2).random(len(X)) < share
    want = nearest(Q, X, np.flatnonzero(where), 10)
    for by in (where, np.flatnonzero(where).astype(np.uint32)):
        for found in (index.search(Q, 10, where=by), index.search(Q[:1], 10, where=by)):
            np.testing.assert_array_equal(found[0], want[0][: len(found[0])])
            np.testing.assert_array_equal(found[1], want[1][: len(found[0])])


def test_one_passing_row_is_found_wherever_it_is(many: tuple[Matrix, Matrix, Any]) -> None:
    X, Q, index = many
    for row in (0, 5_999, len(X) - 1):
        ids, _ = index.search(Q, 3, where=np.array([row, row], dtype=np.uint32))
        assert (ids == [row, MISSING, MISSING]).all()


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_the_recall_that_is_asked_for_is_found(many: tuple[Matrix, Matrix, Any], recall: float) -> None:
    X, Q, index = many
    want, _ = nearest(Q, X, np.arange(len(X)), 10)
    found, lengths = index.search(Q, 10, recall=recall)
    assert recall_of(found, want) >= recall - 0.03
    assert (np.diff(lengths, axis=1) >= 0).all()
    np.testing.assert_array_equal(index.search(Q, 10, recall=1.0)[0], want)
    np.testing.assert_array_equal(_core.Index.build(X, recall=1.0).search(Q, 10)[0], want)


def test_a_batch_finds_what_its_queries_find_alone(many: tuple[Matrix, Matrix, Any]) -> None:
    _, Q, index = many
    together = index.search(Q, 20)
    for i in range(0, len(Q), 7):
        alone = index.search(Q[i : i + 1], 20)
        np.testing.assert_array_equal(together[0][i], alone[0][0])
        np.testing.assert_array_equal(together[1][i], alone[1][0])


def test_the_bits_do_not_depend_on_threads(many: tuple[Matrix, Matrix, Any]) -> None:
    X, Q, _ = many
    found = []
    try:
        for n_threads in (1, 2, 7):
            _core.configure(n_threads=n_threads)
            index = _core.Index.build(X, recall=0.9)
            found.append(index.search(Q, 10) + index.search(Q, 10, where=np.arange(0, 900, 3, dtype=np.uint32)))
    finally:
        _core.configure(n_threads=os.cpu_count() or 1)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_thousands_of_equal_rows_come_by_their_ids() -> None:
    X = np.full((9_000, 24), 0.25, np.float32)
    X[6_000:] = clouds(3_000, 24, 3)
    index = _core.Index.build(X)
    assert index.search(X[:1], 50)[0].tolist() == [list(range(50))]
    where = np.arange(9_000) % 3 == 1
    assert index.search(X[:1], 5, where=where)[0].tolist() == [[1, 4, 7, 10, 13]]


def test_zero_rows_and_queries_have_distances() -> None:
    X = np.zeros((10, 70), np.float32)
    X[3] = 1
    ids, lengths = _core.Index.build(X).search(np.zeros((1, 70), np.float32), 10)
    assert ids.tolist() == [[0, 1, 2, 4, 5, 6, 7, 8, 9, 3]]
    assert lengths[0, -1] == np.float32(np.sqrt(70))


def test_queries_far_longer_than_the_rows_are_measured() -> None:
    X = clouds(200, 8, 4)
    Q = (X[:3] * 1e30).astype(np.float32)
    for where in (None, np.arange(200) % 2 == 0):
        want = nearest(Q, X, np.arange(200) if where is None else np.flatnonzero(where), 5)
        np.testing.assert_array_equal(_core.Index.build(X).search(Q, 5, where=where)[1], want[1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), start=st.sampled_from([1, 30, 5_000]))
def test_what_is_inserted_is_found_and_what_is_deleted_is_not(seed: int, start: int) -> None:
    rng = np.random.default_rng(seed)
    X = clouds(start, 12, seed)
    index = _core.Index.build(X, recall=1.0)
    alive = np.arange(start)
    for _ in range(6):
        if rng.random() < 0.5:
            more = clouds(int(rng.integers(1, 80)), 12, int(rng.integers(1_000)))
            ids = index.insert(more)
            assert ids.tolist() == list(range(len(X), len(X) + len(more)))
            X, alive = np.concatenate([X, more]), np.concatenate([alive, ids.astype(np.int64)])
        else:
            gone = rng.integers(0, len(X), size=int(rng.integers(0, 40)))
            assert index.delete(gone) == np.isin(alive, gone).sum()
            alive = np.setdiff1d(alive, gone)
        assert len(index) == len(alive)
        Q = clouds(3, 12, seed + 1)
        where = rng.random(len(X)) < 0.3
        np.testing.assert_array_equal(index.search(Q, 8)[0], nearest(Q, X, alive, 8)[0])
        passing = alive[where[alive]]
        np.testing.assert_array_equal(index.search(Q, 8, where=where)[0], nearest(Q, X, passing, 8)[0])


def test_searches_go_on_while_rows_come_and_go(many: tuple[Matrix, Matrix, Any]) -> None:
    X, Q, _ = many
    index = _core.Index.build(X)
    stop = threading.Event()
    wrong: list[Any] = []

    def look() -> None:
        while not stop.is_set():
            ids, lengths = index.search(Q[:1], 10)
            if (ids == MISSING).any() or not np.isfinite(lengths).all():
                wrong.append(ids)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        index.delete(index.insert(X[:50])[::2])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index) == len(X) + 20 * 25


@pytest.mark.parametrize("mmap", [True, False])
def test_an_index_that_was_saved_finds_the_same(many: tuple[Matrix, Matrix, Any], tmp_path: Path, mmap: bool) -> None:
    X, Q, _ = many
    index = _core.Index.build(X, recall=0.9)
    index.insert(Q[:30])
    index.delete(np.arange(5, 500, 5))
    index.save(tmp_path / "index")
    again = _core.Index.load(tmp_path / "index", mmap=mmap)
    assert (len(again), again.dim, again.engine) == (len(index), index.dim, "partitioned")
    for arguments in ({}, {"recall": 0.99}, {"where": np.arange(3_000, dtype=np.uint32)}):
        for a, b in zip(index.search(Q, 10, **arguments), again.search(Q, 10, **arguments), strict=True):
            np.testing.assert_array_equal(a, b)
    # onto the file it reads from
    assert again.insert(Q[:2]).tolist() == [12_030, 12_031]
    again.save(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    third = _core.Index.load(tmp_path / "index")
    np.testing.assert_array_equal(third.search(Q, 10)[0], again.search(Q, 10)[0])


def test_rows_of_a_mapped_file_are_read_where_they_lie(many: tuple[Matrix, Matrix, Any], tmp_path: Path) -> None:
    X, Q, index = many
    np.save(tmp_path / "rows.npy", X)
    mapped = _core.Index.build(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    mapped.insert(Q[:5])
    index = _core.Index.build(X)
    index.insert(Q[:5])
    for a, b in zip(index.search(Q, 10), mapped.search(Q, 10), strict=True):
        np.testing.assert_array_equal(a, b)
    # one that could be made writable again is copied
    own = X.copy()
    own.setflags(write=False)
    copied = _core.Index.build(own)
    own.setflags(write=True)
    own[:] = 0
    np.testing.assert_array_equal(copied.search(Q[:20], 5)[0], _core.Index.build(X).search(Q[:20], 5)[0])


def test_a_file_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _core.Index.build(clouds(300, 12, 5)).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in [0, 7, 8, 100, *rng.integers(0, len(whole), 20).tolist(), len(whole) - 1]:
        path.write_bytes(whole[:length])
        for mmap in (True, False):
            with pytest.raises(InvalidInputError, match="no whole index file") as caught:
                _core.Index.load(path, mmap=mmap)
            assert caught.value.hint == "build the index again and save it"
    path.write_bytes(whole + b"\0")
    with pytest.raises(InvalidInputError, match="need"):
        _core.Index.load(path)
    padding = 0
    for at in [0, 7, 8, 16, 60, *rng.integers(0, len(whole), 200).tolist(), len(whole) - 1]:
        changed = bytearray(whole)
        changed[at] ^= 0x41
        path.write_bytes(changed)
        try:
            _core.Index.load(path, mmap=False)
        except InvalidInputError as error:
            assert "no whole index file" in str(error)  # noqa: PT017
        else:
            padding += 1  # the zeros before the rows mean nothing
    assert padding < 5
    with pytest.raises(FileNotFoundError):
        _core.Index.load(tmp_path / "nowhere")
    with pytest.raises(OSError, match="nowhere"):
        _core.Index.build(np.ones((2, 2))).save(tmp_path / "nowhere" / "index")


def test_what_does_not_fit_is_refused() -> None:
    X = clouds(30, 4, 6)
    index = _core.Index.build(X)
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: _core.Index.build(X, recall=0.0), "recall must be above 0 and at most 1: got 0"),
        (lambda: _core.Index.build(X * np.nan), "row 0"),
        (lambda: _core.Index.build(X, engine="ivf"), "partitioned or hnsw: got 'ivf'"),  # type: ignore[arg-type]
        (lambda: index.search(X, recall=1.5), "recall must be above 0 and at most 1: got 1.5"),
        (lambda: index.search(X[:, :3]), "4 columns as the index: got 3"),
        (lambda: index.search(X, 0), "k must be at least 1: got 0"),
        (lambda: index.search(X, where=np.ones(29, bool)), "29 != 30"),
        (lambda: index.search(X, where=np.array([30], np.uint32)), "below 30: got 30"),
        (lambda: index.search(X, where=np.ones(30)), "bool"),
        (lambda: index.insert(X[:, :3]), "X must have 4 columns as the index: got 3"),
        (lambda: index.insert(X * np.inf), "row 0"),
        (lambda: index.insert(X * 1e30), "at most .* for this index"),
        (lambda: index.delete([3, 30]), "ids must be below 30: got 30"),
        (lambda: index.delete([-1]), "ids: .*-1"),
        (lambda: _core.Index.build(X, engine="exact").insert(X), '"exact" can\'t take new rows'),
        (lambda: _core.Index.build(X, engine="hnsw").save("x"), '"hnsw" can\'t be saved'),
        (lambda: _core.Index.build(X, engine="exact").search(X, recall=0.9), '"exact" takes no recall'),
    ]
    for call, words in refused:
        with pytest.raises(InvalidInputError, match=words):
            call()
    assert len(index) == 30
    ids, _ = _core.Index.build(X, engine="exact").search(X[:1], 3, where=np.array([4, 2], np.uint32))
    assert sorted(ids[0].tolist()) == [2, 4, MISSING]


def test_all_may_be_deleted() -> None:
    index = _core.Index.build(clouds(20, 4, 8))
    assert index.delete(range(20)) == 20
    ids, lengths = index.search(np.ones((2, 4)), 3)
    assert (ids == MISSING).all()
    assert np.isinf(lengths).all()
    assert index.insert(np.ones((1, 4))).tolist() == [20]
    assert index.search(np.ones((1, 4)), 1)[0].tolist() == [[20]]
