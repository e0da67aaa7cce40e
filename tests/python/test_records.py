"""Records: as plain JSON values, and the weights of a selection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from lmsys_rs.records import ClusterHit, Filters, Problem, SearchResult, Selection, to_json


def test_nested_records_become_objects_and_lists() -> None:
    hit = ClusterHit(cluster_id=0, distance=0.5, title="a", description="b", num_queries=3)
    answer = to_json(SearchResult(text="q", run_id=None, results=(), applied_clusters=(hit,)))
    assert answer["applied_clusters"] == [
        {"cluster_id": 0, "distance": 0.5, "title": "a", "description": "b", "num_queries": 3}
    ]
    assert json.loads(json.dumps(answer)) == answer


def test_paths_become_strings() -> None:
    assert to_json({"path": Path("a/b"), "problem": Problem(3, "bad")}) == {
        "path": "a/b",
        "problem": {"line": 3, "message": "bad"},
    }


def test_filters_keep_only_what_is_set() -> None:
    assert Filters(model="m").to_dict() == {"model": "m"}
    assert Filters().to_dict() == {}


@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 9)), st.lists(st.integers(0, 40), unique=True), st.integers(0, 1)
)
def test_weights_are_those_of_the_same_text(known: dict[int, int], wanted: list[int], missing: int) -> None:
    ids = sorted(known)
    chosen = Selection(np.array(ids, dtype=np.uint32), np.array([known[i] for i in ids], dtype=np.float32))
    found = chosen.weights_of(np.array(wanted, dtype=np.uint32), missing=missing)
    assert found.tolist() == [known.get(i, missing) for i in wanted]
