"""Hierarchies: trees that lose no cluster, and a model whose answers may be short, wrong or missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from lmsys_rs import _core, curation
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.hierarchies import FIRST_PARENT, HierarchyReport, TreeNode, build, level_sizes, plan, tree
from lmsys_rs.labeling import label
from lmsys_rs.llm import Limits, Model, resolve_model
from lmsys_rs.records import RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading
from lmsys_rs.titles import is_generic, normalized
from stand_in import StandIn, prompt_of, schema_of, serving

QUICK = Limits(concurrency=8, rpm=0, tpm=0, timeout_s=2.0)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    return label(embedded, cluster(embedded, _core.KMeans(n_clusters=24)).run_id)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[StandIn, Model]]]:
    with ExitStack() as stack:

        def start(answer: Any, **options: Any) -> tuple[StandIn, Model]:
            provider = stack.enter_context(serving(answer, **options))
            return provider, resolve_model("openai/gpt-4o-mini", base_url=provider.url, price=(1.0, 2.0))

        yield start


def shown(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = re.search(rf"<{name} (\w+)>\n(.*?)\n</{name} \1>", prompt_of(body), re.DOTALL)
    assert found is not None
    return [json.loads(line) for line in found[2].splitlines() if line != "(none)"]


def clio(body: Mapping[str, Any]) -> dict[str, Any]:
    """A model that groups by the first letter of a title."""
    properties = schema_of(body)["properties"]
    if "assignments" in properties:
        parents = {parent["title"][-1]: parent["id"] for parent in shown(body, "parents")}
        return {
            "assignments": [
                {"cluster": one["id"], "group": parents.get(one["title"][0].upper(), 0)}
                for one in shown(body, "clusters")
            ]
        }
    if "groups" in properties:
        name = "proposals" if "<proposals" in prompt_of(body) else "clusters"
        letters = sorted(
            {(one["title"][-1] if name == "proposals" else one["title"][0]).upper() for one in shown(body, name)}
        )
        return {"groups": [{"name": f"Harbour side {letter}", "description": "d"} for letter in letters]}
    old = shown(body, "old_title")[0]["text"]
    return {"title": f"{old} {len(shown(body, 'clusters'))}", "description": "What they share."}


def flat(nodes: tuple[TreeNode, ...]) -> list[TreeNode]:
    return [one for node in nodes for one in (node, *flat(node.children))]


def checked(session: Session, run: RunRecord, report: HierarchyReport) -> list[TreeNode]:
    """Every cluster is there once, parents have children, counts add up, titles differ."""
    _, nodes = tree(session, report.hierarchy_id)
    every = flat(nodes)
    with session.store.reading() as connection:
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id >= 0}
    assert sorted(node.node_id for node in every if node.level == 0) == sorted(clusters)
    for node in every:
        if node.level:
            assert len(node.children) >= 2
            assert node.n_queries == sum(child.n_queries for child in node.children)
            assert all(child.level < node.level for child in node.children)
            assert node.node_id // FIRST_PARENT == node.level
            assert is_generic(node.title) is None
        else:
            assert node.n_queries == clusters[node.node_id].n_queries
    titles = [normalized(node.title) for node in every]
    assert len(set(titles)) == len(titles)
    return every


def test_level_sizes_fall_geometrically() -> None:
    assert level_sizes(200, 3, 0.35) == [70, 24]
    assert level_sizes(3, 5, 0.35) == [2]
    assert level_sizes(2, 3, 0.5) == []
    with pytest.raises(InvalidInputError, match="target_levels must be >= 2"):
        level_sizes(10, 1, 0.5)
    with pytest.raises(InvalidInputError, match="merge_ratio"):
        level_sizes(10, 3, 1.0)


def test_geometric_tree_holds_every_cluster_once(embedded: Session, run: RunRecord, encoder: Any) -> None:
    report = build(embedded, run.run_id, encoder=encoder)
    every = checked(embedded, run, report)
    assert report.level_sizes[0] <= 8
    assert report.level_sizes[1] <= 3
    assert (report.n_calls, report.cost) == (0, 0)
    assert max(node.level for node in every) == 2
    assert re.fullmatch(rf"hier-{run.run_id}-\d{{8}}-\d{{6}}", report.hierarchy_id)


def test_the_same_tree_comes_out_twice(embedded: Session, run: RunRecord, encoder: Any) -> None:
    trees = [tree(embedded, build(embedded, run.run_id, encoder=encoder).hierarchy_id)[1] for _ in range(2)]
    assert trees[0] == trees[1]
    with embedded.store.reading() as connection:
        assert len(naming.hierarchies(connection, run.run_id)) == 2


def test_a_model_groups_and_the_second_time_is_free(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve(clio)
    report = build(embedded, run.run_id, model=model, neighborhood_size=8, limits=QUICK)
    checked(embedded, run, report)
    assert report.n_calls == len(provider.paid) > 4
    estimate = plan(embedded, run.run_id, model, neighborhood_size=8)
    assert report.n_calls / 2 < estimate.n_calls < 3 * report.n_calls
    assert report.input_tokens / 4 < estimate.input_tokens < 4 * report.input_tokens
    assert estimate.price is not None
    assert report.cost is not None
    assert report.cost > 0
    again = build(embedded, run.run_id, model=model, neighborhood_size=8, limits=QUICK)
    assert (again.n_calls, again.cost) == (0, 0.0)
    assert tree(embedded, again.hierarchy_id)[1] == tree(embedded, report.hierarchy_id)[1]
    assert not provider.paid_twice()


def test_what_fits_none_gets_no_parent(embedded: Session, run: RunRecord, serve: Any) -> None:
    def strict(body: Mapping[str, Any]) -> Any:
        value = clio(body)
        for one in value.get("assignments", ())[::2]:
            one["group"] = 0
        return value

    _, model = serve(strict)
    report = build(embedded, run.run_id, model=model, limits=QUICK, target_levels=2)
    every = checked(embedded, run, report)
    assert report.n_orphans > 0
    assert report.stopped is None
    assert sum(node.level == 0 for node in every) == 24


@pytest.mark.parametrize(
    "wrong",
    [
        {"assignments": []},
        {"assignments": [{"cluster": 1, "group": 1}] * 30},
        {"assignments": [{"cluster": 1, "group": 99}]},
        {"assignments": [{"cluster": -5, "group": 1}]},
    ],
)
def test_wrong_counts_cost_parents_but_never_the_tree(
    embedded: Session, run: RunRecord, serve: Any, wrong: dict[str, Any]
) -> None:
    _, model = serve(lambda body: wrong if "assignments" in schema_of(body)["properties"] else clio(body))
    report = build(embedded, run.run_id, model=model, limits=QUICK)
    checked(embedded, run, report)


@pytest.mark.parametrize("n_names", [0, 1, 60])
def test_a_list_of_any_length_will_do(embedded: Session, run: RunRecord, serve: Any, n_names: int) -> None:
    def odd(body: Mapping[str, Any]) -> Any:
        if "<proposals" in prompt_of(body):
            names = [f"Harbour side {chr(65 + i % 26)}{'x' * (i // 26)}" for i in range(n_names)]
            return {"groups": [{"name": name, "description": "d"} for name in names]}
        return clio(body)

    _, model = serve(odd)
    report = build(embedded, run.run_id, model=model, limits=QUICK, neighborhood_size=6)
    checked(embedded, run, report)


@pytest.mark.parametrize("faults", [{"refusal": 1.0}, {"malformed": 1.0}])
def test_a_model_that_says_nothing_leaves_the_geometric_tree(
    embedded: Session, run: RunRecord, serve: Any, faults: dict[str, float]
) -> None:
    _, model = serve(clio, faults=faults)
    report = build(embedded, run.run_id, model=model, limits=QUICK)
    checked(embedded, run, report)
    assert report.stopped == "it proposed no usable name"


def test_faults_on_the_way_change_nothing(embedded: Session, run: RunRecord, serve: Any) -> None:
    _, model = serve(clio)
    calm = build(embedded, run.run_id, model=model, limits=QUICK)
    expected = tree(embedded, calm.hierarchy_id)[1]
    with embedded.store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM llm_entry")
    provider, model = serve(clio, faults={"500": 0.15, "cut-before": 0.1, "429": 0.1}, seed=3, retry_after=0.1)
    rough = build(embedded, run.run_id, model=model, limits=QUICK)
    assert tree(embedded, rough.hierarchy_id)[1] == expected
    assert not provider.paid_twice()


def test_the_tree_follows_edits(embedded: Session, run: RunRecord, encoder: Any) -> None:
    report = build(embedded, run.run_id, encoder=encoder)
    curation.rename_cluster(embedded, run.run_id, 3, "My own words")
    curation.merge_clusters(embedded, run.run_id, [5], 3)
    every = {node.node_id: node for node in flat(tree(embedded, report.hierarchy_id)[1])}
    assert every[3].title == "My own words"
    assert 5 not in every


def test_hierarchies_are_found_by_run_too(embedded: Session, run: RunRecord, encoder: Any) -> None:
    with pytest.raises(InvalidInputError, match="no hierarchies yet"):
        tree(embedded)
    report = build(embedded, run.run_id, encoder=encoder)
    assert tree(embedded, run.run_id)[0].hierarchy_id == report.hierarchy_id
    with pytest.raises(InvalidInputError, match="there is no hierarchy 'x'"):
        tree(embedded, "x")


def test_two_clusters_are_no_hierarchy(embedded: Session) -> None:
    two = cluster(embedded, _core.KMeans(n_clusters=2))
    with pytest.raises(InvalidInputError, match="has 2 clusters: a hierarchy needs at least 3"):
        build(embedded, two.run_id)


def test_a_list_of_names_that_say_nothing_leaves_the_proposals(embedded: Session, run: RunRecord, serve: Any) -> None:
    def vague(body: Mapping[str, Any]) -> Any:
        if "<proposals" in prompt_of(body):
            return {"groups": [{"name": "Various", "description": "d"}]}
        return json.loads(json.dumps(clio(body)).replace("Things like", "Harbour"))

    _, model = serve(vague)
    report = build(embedded, run.run_id, model=model, limits=QUICK, neighborhood_size=6)
    checked(embedded, run, report)
    assert report.level_sizes[0] > 0
