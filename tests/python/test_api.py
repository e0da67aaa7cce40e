"""What a notebook does, with the objects it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmsys_rs as lm
import polars as pl
import pytest
from lmsys_rs import api
from lmsys_rs.api import MapFile


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
    monkeypatch.setattr(api, "LARGEST_INLINE", 99)
    shown = MapFile(page)._repr_html_()
    assert "iframe" not in shown
    assert "&lt;map&gt;.html" in shown
