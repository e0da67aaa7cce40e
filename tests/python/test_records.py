"""Records turn into plain JSON values."""

from __future__ import annotations

import json
from pathlib import Path

from lmsys_rs.records import ClusterHit, Filters, Problem, SearchResult, to_json


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
