"""``lmsys edit …``: what is printed, and that nothing happens in a dry run."""

from __future__ import annotations

import json
from typing import Any

import pytest

Cli = Any  # see conftest.py


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def query_in(cli: Cli, cluster: int) -> int:
    return int(rows(cli("list", "--cluster-id", cluster, "--limit", 1, "--json")[1])[0]["query_id"])


def sizes(cli: Cli) -> dict[int, int]:
    return {row["cluster_id"]: row["num_queries"] for row in rows(cli("list-clusters", "latest", "--json")[1])}


def test_move_is_previewed_done_and_undone(cli: Cli, analysed: str) -> None:
    before = sizes(cli)
    query = query_in(cli, 0)
    code, _, err = cli("edit", "move-query", "latest", "--query-id", query, "--to-cluster", 1, "--dry-run")
    assert code == 0
    assert err.startswith("dry run, nothing was changed: move_query, 1 texts")
    assert sizes(cli) == before
    code, out, err = cli("edit", "move-query", "latest", "--query-id", query, "--to-cluster", 1, "--reason", "why not")
    assert code == 0
    assert out.splitlines()[0].split()[:3] == ["id", "before", "after"]
    assert "lmsys edit undo takes it back" in err
    assert sizes(cli) != before
    (place,) = rows(cli("edit", "view-query", query, "--json")[1])[0]["clusters"]
    assert (place["run_id"], place["cluster_id"]) == (analysed, 1)
    assert rows(cli("edit", "undo", "--json")[1])[0]["kind"] == "move_query"
    assert sizes(cli) == before
    assert cli("edit", "redo")[0] == 0
    assert sizes(cli) != before


def test_names_notes_and_history(cli: Cli, analysed: str) -> None:
    assert cli("edit", "rename-cluster", "latest", "--cluster-id", 2, "--title", "Mine", "--editor", "ada")[0] == 0
    assert cli("edit", "tag-cluster", "latest", "--cluster-id", 2, "--coherence", 5, "--quality", "high")[0] == 0
    assert cli("edit", "flag-cluster", "latest", "--cluster-id", 2, "--flag", "done")[0] == 0
    code, out, _ = cli("edit", "history", "latest", "--cluster-id", 2, "--json")
    assert code == 0
    assert [(row["kind"], row["editor"]) for row in rows(out)] == [("rename", "ada"), ("tag", "cli"), ("flag", "cli")]
    audit = rows(cli("edit", "audit", "--since", "2020", "--json")[1])
    assert [row["n_texts"] for row in audit] == [0, 0, 0]
    assert cli("edit", "audit", "--since", "2999", "--json")[1] == ""
    assert "Mine" in cli("inspect", "latest", 2)[1]


def test_merge_split_delete_and_orphans(cli: Cli, analysed: str) -> None:
    before = sizes(cli)
    assert cli("edit", "merge-clusters", "latest", "--source", "1,2", "--target", 0, "--new-title", "Big")[0] == 0
    assert sizes(cli)[0] == before[0] + before[1] + before[2]
    query = query_in(cli, 0)
    assert cli("edit", "split-cluster", "latest", "--cluster-id", 0, "--query-ids", query, "--new-title", "One")[0] == 0
    assert 6 in sizes(cli)
    assert cli("edit", "delete-cluster", "latest", "--cluster-id", 3, "--orphan")[0] == 0
    code, out, err = cli("edit", "orphaned", "--json", "--limit", 3)
    assert code == 0
    assert len(rows(out)) == 3
    assert "texts are in no cluster because of an edit" in err
    assert cli("verify")[0] == 0
    assert len(rows(cli("edit", "select-bad-clusters", "latest", "--max-size", 1, "--json")[1])) == 1


def test_rules_are_listed_applied_and_removed(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("edit", "add-rule", "latest", "--matching", "python", "--title", "Python", "--json")
    assert code == 0
    assert rows(out)[0]["n_matching"] > 0
    assert rows(cli("edit", "rules", "--json")[1])[0]["title"] == "Python"
    assert rows(cli("edit", "apply-rules", "--json")[1])[0]["edit"] is None
    assert cli("edit", "remove-rule", 1)[0] == 0
    assert cli("edit", "rules", "--json")[1] == ""


def test_review_says_what_to_do(cli: Cli, analysed: str) -> None:
    code, out, err = cli("edit", "review", "--limit", 2)
    assert code == 0
    assert out.splitlines()[0].split() == ["id", "queries", "score", "title", "why"]
    assert err.splitlines()[-1].startswith("hint: lmsys ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("delete-cluster", "latest", "--cluster-id", "1"), "needs --orphan or --move-to"),
        (("move-queries", "latest", "--query-ids", "1,x", "--to-cluster", "1"), "query-ids must be numbers"),
        (("add-rule", "latest", "--to-cluster", "1"), "needs --matching or --where"),
        (("undo",), "has nothing to undo"),
        (("rename-cluster", "latest", "--cluster-id", "77", "--title", "x"), "has no cluster 77"),
        (("view-query", "99999"), "there is no query 99999"),
    ],
)
def test_wrong_use_is_told(cli: Cli, analysed: str, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = cli("edit", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
