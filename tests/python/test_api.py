"""What a notebook does, with the objects it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmsys_rs as lm
import polars as pl
import pytest
from lmsys_rs.api import MapFile, shown


@pytest.fixture
def ws(tmp_path: Path, sample_file: Path, encoder: Any) -> Any:
    with lm.open(tmp_path / "my.lmsys", progress=False) as workspace:
        workspace.load(sample_file)
        workspace.embed(encoder)
        yield workspace


def test_the_way_of_the_readme(ws: Any, tmp_path: Path) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=8)).label()
    map_file = run.map()
    assert map_file.path.stat().st_size > 1000
    assert "<iframe" in map_file._repr_html_()
    assert run.map(tmp_path / "m.html").path == tmp_path / "m.html"
    assert repr(run).startswith(f"Run('{run.id}': ")
    assert "8 clusters" in repr(run)
    assert "300 conversations" in repr(ws)


def test_run_frames_agree(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=5)).label()
    clusters, members = run.clusters(), run.memberships()
    assert clusters["cluster_id"].to_list()[0] == clusters.sort("n_queries", descending=True)["cluster_id"][0]
    sizes = members.group_by("cluster_id").len().sort("cluster_id")
    assert sizes["len"].to_list() == clusters.sort("cluster_id")["size"].to_list()
    assert run.cluster(0).title == clusters.filter(pl.col("cluster_id") == 0)["title"].item()
    assert run.queries(0).height == run.cluster(0).n_queries
    assert run.queries().height == 300
    with pytest.raises(KeyError):
        run.cluster(99)


def test_a_run_is_judged(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=6)).label()
    quality = run.quality(n_boots=3)
    assert quality["cluster_id"].to_list() == list(range(6))
    assert quality["title"].to_list() == run.clusters().sort("cluster_id")["title"].to_list()
    assert quality["size"].sum() == run.record.n_queries
    assert quality["stability"].is_between(0, 1).all()
    assert quality.equals(run.quality(n_boots=3))
    assert run.quality(n_boots=0)["stability"].null_count() == 6
    pairs = run.merge_suggestions()
    assert pairs["score"].is_sorted(descending=True)
    assert {"title_a", "title_b", "mixing", "relative_distance"} <= set(pairs.columns)
    assert run.merge_suggestions(min_score=1.01).is_empty()
    outliers = run.outliers()
    assert outliers["score"].is_sorted(descending=True)
    assert sorted(outliers["text_id"].to_list()) == run.memberships()["text_id"].to_list()
    groups = run.group_clusters(2)
    assert groups["cluster_id"].to_list() == list(range(6))
    assert groups["group"].n_unique() == 2
    assert run.group_clusters(linkage="ward").height == 6
    with pytest.raises(lm.InvalidInputError, match="n_clusters must be <= the number of rows: 7 > 6"):
        run.group_clusters(7)


def test_a_number_of_clusters_is_advised(ws: Any) -> None:
    table = ws.choose_k([2, 6, 12], n_repeats=2)
    assert table["advised"].sum() == 1
    assert table.equals(ws.choose_k([2, 6, 12], n_repeats=2))
    language = ws.queries().collect()["language"].mode()[0]
    assert ws.choose_k([2], language=language, n_repeats=1)["inertia"].item() < table["inertia"][0]
    assert ws.choose_k(limit=1)["k"].to_list() == [1]
    with pytest.raises(lm.InvalidInputError, match="no query passes"):
        ws.choose_k(model="nobody")


def test_a_run_of_one_text_and_one_of_noise_are_judged(ws: Any) -> None:
    one = ws.cluster(lm.KMeans(n_clusters=1), limit=1)
    assert one.quality()["size"].to_list() == [1.0]
    assert one.merge_suggestions().is_empty()
    assert one.outliers()["score"].to_list() == [0.0]
    assert one.group_clusters()["group"].to_list() == [0]
    noise = ws.cluster(lm.DBSCAN(eps=1e-9, min_samples=200))
    assert noise.record.n_clusters == 0
    assert noise.quality().is_empty()
    assert noise.merge_suggestions().is_empty()
    assert noise.outliers().height == noise.record.n_texts
    with pytest.raises(lm.InvalidInputError, match="no clusters to group"):
        noise.group_clusters()


def test_runs_are_found_again(ws: Any) -> None:
    first = ws.cluster(lm.KMeans(n_clusters=3))
    second = ws.cluster(lm.KMeans(n_clusters=4))
    assert ws.run().id == second.id
    assert ws.run(first.id).record == first.record
    assert ws.runs()["run_id"].to_list() == [second.id, first.id]
    with pytest.raises(lm.InvalidInputError, match="there is no run"):
        ws.run("nope")


def test_search_uses_the_encoder_of_the_vectors(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=4)).label()
    assert ws.search("recipe", n_results=3, language="English").results[0].language == "English"
    assert run.search("recipe", cluster_ids=[0]).results[0].cluster_id == 0
    assert len(run.search_clusters("recipe", n_results=2)) == 2


def test_frames_of_the_workspace(ws: Any) -> None:
    assert ws.datasets()["name"].to_list() == ["sample"]
    assert ws.queries(limit=7).collect().height == 7
    assert ws.queries(language="German").collect()["language"].unique().to_list() == ["German"]
    assert ws.texts().collect()["text_id"].to_list() == list(range(ws.vectors().shape[0]))
    assert ws.info().n_conversations == 300


def test_export_and_plot_write_files(ws: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = ws.cluster(lm.KMeans(n_clusters=3)).label()
    assert run.export(tmp_path / "e.parquet") == 300
    assert run.plot(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_missing_workspace_is_not_made_when_not_asked(tmp_path: Path) -> None:
    with pytest.raises(lm.StoreError, match="there is no workspace"):
        lm.open(tmp_path / "none.lmsys", create=False)


def test_progress_is_one_line_on_stderr(tmp_path: Path, sample_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lm.open(tmp_path / "my.lmsys", progress=True) as workspace:
        workspace.load(sample_file)
    out, err = capsys.readouterr()
    assert out == ""
    assert "load: done" in err


def test_a_large_map_is_named_not_stored_in_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "<map>.html"
    page.write_text("x" * 100)
    assert "iframe" in MapFile(page)._repr_html_()
    monkeypatch.setattr(shown, "LARGEST_INLINE", 99)
    html = MapFile(page)._repr_html_()
    assert "iframe" not in html
    assert "&lt;map&gt;.html" in html


def test_names_edits_and_trees_in_a_notebook(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=10)).label()
    run.edit.rename(3, "My own words", reason="clearer")
    assert run.cluster(3).title == "My own words"
    preview = run.edit.merge([1], 2, dry_run=True)
    assert preview.edit_id is None
    assert run.record.n_clusters == 10
    run.edit.merge([1], 2)
    assert run.record.n_clusters == 9
    assert run.edit.history()["kind"].to_list() == ["rename", "merge"]
    run.edit.undo()
    run.edit.redo()
    run.edit.undo()
    assert run.record.n_clusters == 10
    result = run.edit.add_rule(matching="python", title="Python")
    assert result.n_matching > 0
    assert "Python" in run.clusters()["title"].to_list()
    run.edit.delete(0)
    assert run.edit.orphaned().height > 0
    run.edit.tag(2, quality="low")
    run.edit.flag(2, "later")
    assert run.review(limit=3)
    assert run.build_hierarchy(target_levels=2).level_sizes
    in_clusters = run.clusters().filter(pl.col("cluster_id") >= 0)["n_queries"].sum()
    assert sum(node.n_queries for node in run.hierarchy()) == in_clusters
    run.summarize(alias="a")
    run.summarize(alias="b")
    assert run.summaries()["alias"].to_list() == ["b", "a"]
    assert run.use_summary("a").summaries()["in_use"].to_list() == [False, True]
    comparison = run.compare_summaries("a", "b")
    assert comparison.same == 1.0
    assert comparison.agreement == pytest.approx(1, abs=1e-5)
    assert all(one.n_users is None for one in run.privacy())
    assert run.generate(2, 3)


def test_labels_in_a_notebook(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=5)).label()
    report = ws.classify("task-type")
    assert ws.labels("task-type").height == report.n_labelled
    assert run.pivot("task-type")["n_queries"].sum() == 300
    unsure = ws.least_certain(limit=4)
    assert ws.review_label("task-type", unsure["query_id"].to_list()[:2], "coding") == 2
    assert ws.queries(where="label_task_type = 'coding'").collect().height > 0


def test_models_are_checked_before_anything_is_sent(ws: Any) -> None:
    run = ws.cluster(lm.KMeans(n_clusters=4)).label()
    with pytest.raises(lm.InvalidInputError, match="unknown provider 'opena': did you mean openai"):
        run.summarize("opena/gpt-4o-mini")
    estimate = run.estimate("openai/gpt-4o-mini")
    assert estimate.n_calls == 4
    assert estimate.price is not None
    with pytest.raises(lm.Unauthorized, match="OPENAI_API_KEY"):
        run.summarize("openai/gpt-4o-mini")
