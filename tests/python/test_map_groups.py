"""Does a map show a hierarchy: the groups that are written, the tree beside the map, and the titles at each zoom?

Built on the map and the browser of `test_map`; a map without groups is tested there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import _core, curation, drawing
from lmsys_rs import map as lmap
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.hierarchies import build, tree
from lmsys_rs.labeling import label
from lmsys_rs.map_groups import branches, flat_groups, shade
from lmsys_rs.session import Session
from test_map import XSS, MapPage, OpenMap, block, browser, make, open_map, plain

__all__ = ["browser", "open_map"]  # fixtures

GROUPS = (
    lmap.MapGroup(
        title="Everyday",
        description="food and fun",
        groups=[lmap.MapGroup(title="Pastime", cluster_ids=[2, 3])],
        cluster_ids=[1],
    ),
)


def meta_of(data: lmap.MapData) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(block(lmap.html(data), "meta"))
    return found


def islands(n_tops: int = 4, n_inner: int = 3, n_clusters: int = 3, **changes: Any) -> lmap.MapData:
    """Groups of groups of clusters, each level close together and far from the next."""
    n = n_tops * n_inner * n_clusters
    ids = np.repeat(np.arange(n), 8)
    sizes = (n_inner * n_clusters, n_clusters, 1)
    places = np.zeros((n, 2))
    for reach, size in zip((100.0, 18.0, 3.0), sizes, strict=True):
        angle = 2 * np.pi * ((np.arange(n) // size) / (7 if size == 1 else n / size if size == sizes[0] else n_inner))
        places += reach * np.column_stack([np.cos(angle), np.sin(angle)])
    xy = places[ids] + np.random.default_rng(0).normal(size=(len(ids), 2)) * 0.2
    groups = [
        lmap.MapGroup(
            title=f"Top {top}",
            groups=[
                lmap.MapGroup(
                    title=f"Group {top}.{inner}",
                    cluster_ids=[(top * n_inner + inner) * n_clusters + i for i in range(n_clusters)],
                )
                for inner in range(n_inner)
            ],
        )
        for top in range(n_tops)
    ]
    clusters = [lmap.MapCluster(cluster_id=i, title=f"Cluster number {i}") for i in range(n)]
    fields: dict[str, Any] = {"xy": xy, "cluster_ids": ids, "clusters": clusters, "groups": groups}
    return plain(len(ids), **{**fields, **changes})


# --- what is written --------------------------------------------------------------------------------------------------


def test_groups_come_after_their_parents_and_count_what_is_in_them() -> None:
    meta = meta_of(make(groups=GROUPS))
    assert [(g["title"], g["description"], g["parent"], g["size"], g["points"]) for g in meta["groups"]] == [
        ("Everyday", "food and fun", -1, 160, 160),
        ("Pastime", "", 0, 80, 80),
    ]
    assert [(c["title"], c["group"]) for c in meta["clusters"]] == [
        ("Python questions", -1), ("Recipes", 0), ("Poems", 1), ("旅行", 1),
    ]  # fmt: skip


def test_without_groups_the_page_does_not_know_of_them() -> None:
    meta = meta_of(make())
    assert "groups" not in meta
    assert all("group" not in cluster for cluster in meta["clusters"])
    grouped = meta_of(make(groups=[lmap.MapGroup(title="of clusters that are gone", cluster_ids=[77])]))
    assert grouped == meta


def test_a_group_lies_on_a_point_of_one_of_its_clusters() -> None:
    xy = np.array([[-9.0, 0], [-9, 1], [9, 0], [9, 1], [0, 8]])
    ids = np.array([0, 0, 1, 1, 2])
    groups = [lmap.MapGroup(title="both sides", cluster_ids=[0, 1])]
    group = meta_of(plain(5, xy=xy, cluster_ids=ids, clusters=[], groups=groups))["groups"][0]
    assert abs(group["x"]) == pytest.approx(1.0)


def test_a_group_of_clusters_without_points_has_no_place() -> None:
    clusters = [lmap.MapCluster(cluster_id=i, title="empty", size=3) for i in (5, 6)]
    groups = [lmap.MapGroup(title=" ", cluster_ids=[5, 6])]
    group = meta_of(plain(2, cluster_ids=np.zeros(2, int), clusters=clusters, groups=groups))["groups"][0]
    assert (group["title"], group["x"], group["size"], group["points"]) == ("Group", None, 6, 0)


def test_a_cluster_in_two_groups_is_refused() -> None:
    groups = [lmap.MapGroup(title="a", cluster_ids=[1]), lmap.MapGroup(title="b", cluster_ids=[2, 1])]
    with pytest.raises(InvalidInputError, match="a cluster once: 1 is there twice"):
        plain(4, groups=groups)


def test_clusters_of_one_branch_have_shades_of_one_colour() -> None:
    meta = meta_of(islands(n_tops=8, n_inner=1, n_clusters=3))
    color_of = {i: {c["color"] for c in meta["clusters"] if c["id"] // 3 == i} for i in range(8)}
    assert [len(colors) for colors in color_of.values()] == [3] * 8
    assert len(set.union(*color_of.values())) == 24
    assert all(color_of[i] == {shade(base, n) for n in range(3)} for i in range(8) for base in [bases(meta, i)])


def bases(meta: dict[str, Any], top: int) -> str:
    (color,) = [g["color"] for g in meta["groups"] if g["title"] == f"Top {top}"]
    return str(color)


def test_branches_are_on_the_first_level_that_has_enough() -> None:
    data = islands(n_tops=2, n_inner=3, n_clusters=2, clusters=[])
    flat = flat_groups(data.groups, {i: i for i in range(13)})
    assert len(set(branches(flat, 2))) == 3  # two tops, and cluster 12 that is in no group
    assert len(set(branches(flat, 7))) == 7
    assert len(set(branches(flat, 99))) == 7
    assert branches(flat_groups([], {4: 0, 5: 1}), 7) == [0, 1]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_plot_with_groups_is_written(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    assert lmap.write_plot(make(groups=GROUPS), tmp_path / f"map{suffix}").stat().st_size > 1000


# --- what a run hands over --------------------------------------------------------------------------------------------


def titles(groups: Any) -> list[str]:
    return [title for group in groups for title in (group.title, *titles(group.groups))]


def test_the_newest_hierarchy_of_the_run_is_shown_unless_asked_otherwise(embedded: Session, tmp_path: Path) -> None:
    other = label(embedded, cluster(embedded, _core.KMeans(n_clusters=5)).run_id)
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=12)).run_id)
    assert drawing.map_data(embedded, run.run_id).groups == []
    first = build(embedded, run.run_id, target_levels=3).hierarchy_id
    second = build(embedded, run.run_id, target_levels=2).hierarchy_id
    build(embedded, other.run_id)

    def shown(hierarchy: str | None) -> list[str]:
        return titles(drawing.map_data(embedded, run.run_id, hierarchy=hierarchy).groups)

    def expected(name: str) -> list[str]:
        def walk(nodes: Any) -> list[str]:
            return [t for n in nodes if n.level for t in (n.title, *walk(n.children))]

        return walk(tree(embedded, name)[1])

    assert shown(None) == shown("latest") == shown(second) == expected(second)
    assert shown(first) == expected(first) != expected(second)
    assert shown("none") == []
    with pytest.raises(InvalidInputError, match=f"{first} is a hierarchy of {run.run_id}, not of {other.run_id}"):
        drawing.write_map(embedded, other.run_id, tmp_path / "map.html", hierarchy=first)
    with pytest.raises(InvalidInputError, match="no hierarchy 'nope'"):
        drawing.write_map(embedded, run.run_id, tmp_path / "map.html", hierarchy="nope")


def test_a_deleted_cluster_is_in_no_group_and_every_other_one_is_once(embedded: Session) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=12)).run_id)
    build(embedded, run.run_id)
    curation.delete_cluster(embedded, run.run_id, 4)
    data = drawing.map_data(embedded, run.run_id)
    grouped = [i for group in data.groups for i in group.all_cluster_ids()]
    assert 4 not in grouped
    assert set(grouped) <= {c.cluster_id for c in data.clusters}
    assert len(set(grouped)) == len(grouped)


# --- what the page does -----------------------------------------------------------------------------------------------


def names(page: MapPage) -> list[str]:
    found: list[str] = page.page.locator("#clusters .row .name").all_text_contents()
    return found


def focused(page: MapPage) -> str:
    return str(page.get("document.activeElement.querySelector('.name')?.textContent ?? document.activeElement.id"))


def press(page: MapPage, *keys: str) -> None:
    for key in keys:
        page.page.keyboard.press(key)


def test_the_list_is_a_tree_that_opens_and_closes(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    assert names(page) == ["Everyday", "Python questions", "Noise"]
    page.page.click("#clusters .row >> nth=0 >> .twist")
    assert names(page) == ["Everyday", "Pastime", "Recipes", "Python questions", "Noise"]
    assert page.get("lmsysMap.selectedGroup()") is None
    page.page.click("#clusters .row >> text=Pastime >> xpath=.. >> .twist")
    assert names(page) == ["Everyday", "Pastime", "Poems", "旅行", "Recipes", "Python questions", "Noise"]
    page.page.click("#clusters .row >> nth=0 >> .twist")
    assert names(page) == ["Everyday", "Python questions", "Noise"]
    assert page.errors == []


def test_the_tree_says_to_assistive_technology_what_it_is(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    page.page.click("#clusters .row >> nth=0 >> .twist")
    facts = ("role", "aria-level", "aria-posinset", "aria-setsize", "aria-expanded", "aria-selected")
    rows = page.page.locator("#clusters .row").all()
    said = [[row.get_attribute(fact) for fact in facts] for row in rows]
    assert page.page.get_attribute("#clusters", "role") == "tree"
    assert said == [
        ["treeitem", "1", "1", "3", "true", "false"],
        ["treeitem", "2", "1", "2", "false", "false"],
        ["treeitem", "2", "2", "2", None, "false"],
        ["treeitem", "1", "2", "3", None, "false"],
        ["treeitem", "1", "3", "3", None, "false"],
    ]
    assert page.page.locator("#clusters [tabindex='0']").count() == 1


def test_keys_walk_open_close_and_choose(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    page.page.focus("#cluster-filter")
    press(page, "Tab")
    assert focused(page) == "Everyday"
    press(page, "ArrowRight")
    assert (focused(page), len(names(page))) == ("Everyday", 5)
    press(page, "ArrowRight")
    assert focused(page) == "Pastime"
    press(page, "ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    assert (focused(page), page.get("lmsysMap.selectedCluster()")) == ("旅行", 3)
    press(page, " ")
    assert page.get("lmsysMap.selectedCluster()") is None
    press(page, "ArrowLeft")
    assert focused(page) == "Pastime"
    press(page, "ArrowLeft", "ArrowLeft")
    assert focused(page) == "Everyday"
    press(page, "ArrowLeft")
    assert names(page) == ["Everyday", "Python questions", "Noise"]
    press(page, "End", "ArrowDown")
    assert focused(page) == "Noise"
    press(page, "Home", "ArrowUp")
    assert focused(page) == "Everyday"
    press(page, "Escape")
    assert focused(page) == "canvas"


def test_a_group_highlights_the_texts_of_its_clusters_and_flies_there(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    sizes = {c: page_count(page, c) for c in ("Recipes", "Poems", "旅行")}
    page.page.fill("#cluster-filter", "")
    assert names(page)[:4] == ["Everyday", "Pastime", "Poems", "旅行"]  # what was chosen stays in sight
    page.page.click("#clusters .row >> text=Everyday")
    assert page.get("lmsysMap.selectedGroup()") == "Everyday"
    assert page.get("lmsysMap.selectedCluster()") is None
    assert page.get("lmsysMap.emphasised()") == sum(sizes.values()) == 160
    assert "Everyday" in page.page.inner_text("#filters")
    page.page.click("#clusters .row >> text=Pastime")
    assert page.get("lmsysMap.emphasised()") == sizes["Poems"] + sizes["旅行"]
    page.wait("Math.abs(lmsysMap.zoom() - 1) > 0.05")
    page.page.click("#clusters .row >> text=Pastime")
    assert page.get("lmsysMap.emphasised()") == 400


def page_count(page: MapPage, title: str) -> int:
    page.page.fill("#cluster-filter", title)
    page.page.click(f"#clusters .row >> text={title}")
    found = int(page.get("lmsysMap.emphasised()"))
    page.page.keyboard.press("Escape")
    return found


def test_the_filter_shows_matches_with_what_they_are_in(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    page.page.fill("#cluster-filter", "poems")
    assert names(page) == ["Everyday", "Pastime", "Poems"]
    page.page.fill("#cluster-filter", "pastime")
    assert names(page) == ["Everyday", "Pastime"]
    page.page.click("#clusters .row >> nth=1 >> .twist")
    assert names(page) == ["Everyday", "Pastime", "Poems", "旅行"]
    page.page.fill("#cluster-filter", "no such")
    assert names(page) == []
    assert "has that name" in page.page.inner_text("#clusters")
    page.page.fill("#cluster-filter", "")
    assert names(page) == ["Everyday", "Python questions", "Noise"]


def test_a_cluster_chosen_on_the_map_is_shown_in_the_tree(open_map: OpenMap) -> None:
    page = open_map(make(groups=GROUPS))
    page.page.mouse.click(*page.at(6))
    assert page.get("lmsysMap.selectedCluster()") == 2
    assert page.page.locator("#clusters [aria-selected='true'] .name").inner_text() == "Poems"
    assert "Poems" in page.get("lmsysMap.visibleLabels()")


def test_zooming_in_names_the_tops_then_the_groups_then_the_clusters(open_map: OpenMap) -> None:
    page = open_map(islands())
    assert page.get("lmsysMap.visibleLabels().sort()") == ["Top 0", "Top 1", "Top 2", "Top 3"]
    x, y = page.at(0)
    page.page.mouse.move(x, y)
    kinds: list[str] = []
    for _ in range(40):
        page.page.mouse.wheel(0, -100)
        page.get("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        labels = page.get("lmsysMap.visibleLabels()")
        kind = next((k for k in ("Top", "Group", "Cluster") if any(name.startswith(k) for name in labels)), "none")
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
        if kind == "Cluster":
            break
    assert kinds == ["Top", "Group", "Cluster"]
    assert "Cluster number 0" in page.get("lmsysMap.visibleLabels()")
    page.rest()
    boxes = page.get("[...document.querySelectorAll('.label')].map((l) => l.getBoundingClientRect().toJSON())")
    assert not any(
        a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )


def test_a_click_on_a_title_chooses_the_group(open_map: OpenMap) -> None:
    page = open_map(islands())
    page.page.click(".label >> text=Top 2")
    assert page.get("lmsysMap.selectedGroup()") == "Top 2"
    assert page.get("lmsysMap.emphasised()") == 9 * 8
    assert sorted(page.page.locator(".label.faint").all_inner_texts()) == ["Top 0", "Top 1", "Top 3"]


@pytest.mark.parametrize("groups", [(), GROUPS])
def test_noise_is_chosen_like_a_cluster_and_holds_no_title(open_map: OpenMap, groups: Any) -> None:
    page = open_map(make(groups=groups))
    page.page.click("#clusters .row >> text=Noise")
    assert page.get("lmsysMap.selectedCluster()") == -1
    assert page.get("lmsysMap.emphasised()") == 80
    assert page.page.locator(".label").count() == page.page.locator(".label.faint").count() > 0


def test_a_chosen_group_is_shown_with_the_titles_in_it(open_map: OpenMap) -> None:
    page = open_map(islands())
    page.page.click("#clusters .row >> text=Top 2")
    inner = ["Group 2.0", "Group 2.1", "Group 2.2"]
    page.wait(f"{json.dumps(inner)}.every((title) => lmsysMap.visibleLabels().includes(title))")
    assert not set(inner) & set(page.page.locator(".label.faint").all_inner_texts())


def test_hostile_titles_of_groups_are_inert(open_map: OpenMap) -> None:
    hostile = XSS.strip()
    rtl = "\u202eمرحبا <b>(1)</b>"
    groups = [
        lmap.MapGroup(title=XSS, description=XSS, cluster_ids=[0, 1]),
        lmap.MapGroup(title=rtl, groups=[lmap.MapGroup(title="x" * 3000, cluster_ids=[2, 3])]),
    ]
    data = make(groups=groups)
    assert "onerror" not in lmap.html(data)
    page = open_map(data)
    assert names(page)[:2] == [hostile, rtl]
    page.page.click("#clusters .row >> nth=0")
    page.page.click("#clusters .row >> nth=1 >> .twist")
    page.page.fill("#cluster-filter", "<img")
    assert names(page) == [hostile]
    page.rest()
    assert page.get("lmsysMap.selectedGroup()") == hostile
    assert page.get("window.pwned") is None
    assert page.page.locator("img, #clusters b, .label b").count() == 0
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


def test_without_groups_the_list_stays_a_list_of_buttons(open_map: OpenMap) -> None:
    page = open_map(make())
    assert page.page.locator("#clusters button.row[aria-pressed]").count() == 5
    assert page.page.locator("[role=tree], [role=treeitem], .twist").count() == 0
    assert page.page.get_attribute("#clusters", "role") is None


def test_a_group_without_points_does_nothing_bad(open_map: OpenMap) -> None:
    clusters = [lmap.MapCluster(cluster_id=i, title=f"empty {i}", size=3) for i in (5, 6)]
    groups = [lmap.MapGroup(title="Nothing here", cluster_ids=[5, 6])]
    page = open_map(
        plain(30, cluster_ids=np.full(30, -1), clusters=clusters, groups=groups, texts=pl.Series(["t"] * 30))
    )
    page.page.click("#clusters .row >> text=Nothing here")
    page.rest()
    assert page.get("lmsysMap.emphasised()") == 0
    assert page.errors == []
