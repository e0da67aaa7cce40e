"""Export: every query of a run once, in every format the same."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from lmsys_rs import _core, exporting
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.exporting import EXPORT_FORMATS, export
from lmsys_rs.labeling import label
from lmsys_rs.session import Session

COLUMNS = ["query_id", "cluster_id", "query_text", "model", "language", "cluster_title", "cluster_description"]
READ = {"csv": pl.read_csv, "json": pl.read_json, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}


@pytest.mark.parametrize("format_", EXPORT_FORMATS)
def test_every_format_holds_every_query_once(
    embedded: Session, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE_ROWS", 70)  # several pages
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    path = tmp_path / f"out.{format_}"
    assert export(embedded, "latest", path) == 300
    frame = READ[format_](path)
    assert frame.columns == COLUMNS
    assert frame["query_id"].to_list() == list(range(1, 301))
    assert frame["cluster_id"].n_unique() == run.n_clusters
    assert frame["cluster_title"].null_count() == 0
    assert [file.name for file in tmp_path.glob(".out*")] == []


def test_export_covers_only_the_texts_of_the_run(embedded: Session, tmp_path: Path) -> None:
    from lmsys_rs.records import Filters

    run = cluster(embedded, _core.KMeans(n_clusters=2), filters=Filters(language="German"))
    assert export(embedded, run.run_id, tmp_path / "out.csv") == run.n_queries
    assert pl.read_csv(tmp_path / "out.csv")["language"].unique().to_list() == ["German"]


def test_unknown_format_is_refused(embedded: Session, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="must be one of csv, json, jsonl, parquet: 'xlsx'"):
        export(embedded, "latest", tmp_path / "out.xlsx")
