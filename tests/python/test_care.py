"""The workspace as a thing to trust: one writer, damage that is found and mended, deletion, read-only disks, moving."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import _core, assigning, deleting, drawing, selection, verifying, views, workspace
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.labeling import label
from lmsys_rs.layouts import knn_graph, layout
from lmsys_rs.loading import load
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading


@pytest.fixture
def full(embedded: Session) -> Session:
    """A workspace with everything in it that there can be."""
    label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    layout(embedded, embedded.embedding(), selection.select(embedded).text_ids)
    return embedded


def jsonl(path: Path, texts: list[str], prefix: str = "") -> Path:
    rows = [
        {"conversation_id": f"{prefix}{i}", "conversation": [{"role": "user", "content": text}]}
        for i, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ---- one writer ---------------------------------------------------------------------------------------------------


def test_second_writer_is_told_who_writes(session: Session, sample_file: Path) -> None:
    with (
        open_session(session.folder.path) as other,
        session.writer("load"),
        pytest.raises(StoreError, match=rf"in use: lmsys load \(process {os.getpid()} on .*, since .*writes to it"),
    ):
        load(other, sample_file)
    assert load(session, sample_file).n_new == 300


HOLD = """
import sys, time
from lmsys_rs.session import open_session
with open_session(sys.argv[1]) as session, session.writer("embed"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_of_a_killed_writer_is_free_again(session: Session, sample_file: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(session.folder.path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=rf"lmsys embed \(process {child.pid} on"):
        load(session, sample_file)
    assert selection.queries(session).height == 0  # reading is possible
    child.kill()
    child.wait()
    child.stdout.close()
    assert load(session, sample_file).n_new == 300


# ---- damage -------------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def of_kind(session: Session, kind: str) -> Path:
    patterns = {
        "segment": "conversations/*.parquet",
        "columns": "columns/*.arrow",
        "vectors": "vectors/*.f32",
        "graph": "graphs/*.indices.npy",
        "projection": "projections/*.npy",
        "near_duplicates": "signals/*.npy",
        "signatures": "signals/*.u16",
    }
    return next(iter(sorted(session.folder.path.glob(patterns[kind]))))


def picture(session: Session) -> dict[str, Any]:
    """What must be the same after mending."""
    return {
        "conversations": views.conversations(session).collect().write_json(),
        "texts": views.texts(session).collect().rows(),
        "queries": views.queries(session).collect().rows(),
        "vectors": np.array(session.vectors(session.embedding())).tobytes(),
        "layout": layout(session, session.embedding(), selection.select(session).text_ids).tobytes(),
    }


def test_sound_workspace_has_no_findings(full: Session) -> None:
    report = verifying.verify(full)
    assert report.findings == ()
    assert report.n_files == 10


@pytest.mark.parametrize(
    "kind", ["segment", "columns", "vectors", "graph", "projection", "near_duplicates", "signatures"]
)
@pytest.mark.parametrize("how", ["a bit", "cut", "gone"])
def test_damage_is_found_and_mended(full: Session, encoder: Any, kind: str, how: str) -> None:
    before = picture(full)
    path = of_kind(full, kind)
    if how == "a bit":
        damage(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path.unlink()
    full.kept.clear()
    report = verifying.verify(full)
    assert {finding.kind for finding in report.findings} == {kind}
    assert not report.is_sound
    mended = verifying.repair(full, report, encoder=lambda embedding: encoder)
    assert mended.is_sound
    assert picture(full) == before
    assert verifying.verify(full).is_sound


def test_segment_whose_source_has_changed_is_not_mended(session: Session, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", ["one", "two"])
    load(session, path)
    path.write_text("something else\n")
    damage(of_kind(session, "segment"))
    report = verifying.repair(session, verifying.verify(session))
    assert not report.is_sound
    assert [finding.repaired for finding in report.findings] == [False]


def test_what_a_killed_writer_left_is_removed(full: Session) -> None:
    folder = full.folder.path
    (folder / "conversations" / "0000009999-0000010000.parquet").write_bytes(b"never committed")
    (folder / "graphs" / ".half.npy.123").write_bytes(b"half")
    report = verifying.verify(full)
    assert [(finding.kind, report.is_sound) for finding in report.findings] == [("left over", True)]
    verifying.repair(full, report)
    assert verifying.verify(full).findings == ()
    assert not list(folder.rglob(".half*"))


def test_counts_that_are_wrong_are_counted_again(full: Session) -> None:
    with full.store.writing() as connection:
        connection.exec_driver_sql("UPDATE dataset SET n_queries = 7")
    report = verifying.verify(full)
    assert [finding.problem for finding in report.findings] == ["data set sample: 7 queries are said, 300 are there"]
    assert verifying.repair(full, report).is_sound


# ---- disks --------------------------------------------------------------------------------------------------------


def test_full_disk_keeps_what_was_complete(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.records.BATCH_SIZE", 100)
    path = tmp_path / "f.parquet"
    pl.DataFrame({"text": [f"question {i} about something" for i in range(20_000)]}).write_parquet(path)
    real, calls = pl.DataFrame.write_parquet, 0

    def full(self: pl.DataFrame, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        load(session, path)
    kept = selection.queries(session, limit=None).height
    assert 0 < kept < 20_000
    assert verifying.verify(session).is_sound
    assert load(session, path).n_new == 20_000 - kept


def test_read_only_workspace_can_be_read(full: Session, encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = full.folder.path
    full.store.close()
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(workspace.os, "access", lambda path, mode: False)
    with open_session(folder) as session:
        assert session.read_only
        assert selection.queries(session).height == 50
        assert sum(frame["n_queries"].sum() for frame in selection.facets(session, by=("model",)).values()) == 300
        assert views.turns(session).collect().height > 300
        assert verifying.verify(session).is_sound
        with pytest.raises(StoreError, match="cannot be written: it is open read-only"):
            embed(session, encoder, force=True)
    assert sorted(folder.rglob("*")) == before


def test_workspace_can_be_moved_and_copied_while_idle(full: Session, tmp_path: Path) -> None:
    before, folder = picture(full), full.folder.path
    full.store.close()
    shutil.copytree(folder, tmp_path / "copy.lmsys")
    folder.rename(tmp_path / "moved.lmsys")
    for name in ("copy.lmsys", "moved.lmsys"):
        with open_session(tmp_path / name) as session:
            assert picture(session) == before
            assert verifying.verify(session).is_sound


# ---- deletion -----------------------------------------------------------------------------------------------------


def test_deleted_data_set_is_gone_with_its_texts_and_runs(full: Session, encoder: Any, tmp_path: Path) -> None:
    load(full, jsonl(tmp_path / "secret.jsonl", ["my very secret question", "another secret question"]))
    embed(full, encoder)
    both = cluster(full, _core.KMeans(n_clusters=2))
    plan = deleting.plan_deletion(full, "secret")
    assert (plan.n_conversations, plan.n_texts, plan.runs) == (2, 2, (both.run_id,))
    assert deleting.delete_dataset(full, "secret") == plan
    assert verifying.verify(full).is_sound
    assert views.datasets(full).collect()["name"].to_list() == ["sample"]
    assert selection.queries(full, limit=None).height == 300
    for file in full.folder.path.rglob("*"):
        if file.is_file() and "vectors" not in file.parts:
            assert b"secret question" not in file.read_bytes(), file
    # the numbers of what is gone are not given to anything else
    before = views.texts(full).collect().height
    load(full, jsonl(tmp_path / "next.jsonl", ["quite new"], prefix="n"))
    assert views.texts(full).collect().height == before + 1
    assert selection.queries(full, limit=None)["query_id"].max() == 303


def test_text_that_another_data_set_asks_stays(session: Session, tmp_path: Path) -> None:
    load(session, jsonl(tmp_path / "one.jsonl", ["shared", "only one"]))
    load(session, jsonl(tmp_path / "two.jsonl", ["shared", "only two"]))
    deleting.delete_dataset(session, "one")
    assert selection.queries(session)["text"].to_list() == ["shared", "only two"]
    assert load(session, tmp_path / "one.jsonl").n_new == 2
    assert verifying.verify(session).is_sound


def test_clear_leaves_an_empty_workspace(full: Session, sample_file: Path) -> None:
    deleting.clear(full)
    assert views.queries(full).collect().height == 0
    assert verifying.verify(full).is_sound
    assert load(full, sample_file).n_new == 300


def test_unknown_data_set_cannot_be_deleted(full: Session) -> None:
    with pytest.raises(InvalidInputError, match="there is no data set 'x': there are sample"):
        deleting.delete_dataset(full, "x")


# ---- growing ------------------------------------------------------------------------------------------------------


def test_new_texts_are_assigned_to_the_nearest_cluster(full: Session, encoder: Any, tmp_path: Path) -> None:
    run = cluster(full, _core.KMeans(n_clusters=4))
    old = {row[0]: row[1] for row in views.memberships(full, run.run_id).collect().rows()}
    texts = selection.queries(full, limit=None)["text"].unique(maintain_order=True).to_list()
    load(full, jsonl(tmp_path / "more.jsonl", [f"{text} please" for text in texts[:60]]))
    embed(full, encoder)
    report = assigning.assign(full, run.run_id)
    assert report.n_new == report.n_assigned == 60
    assert report.n_noise == 0
    assert sum(growth.n_new for growth in report.growth) == 60
    members = views.memberships(full, run.run_id).collect()
    assert members.filter("assigned").height == 60
    assert {row[0]: row[1] for row in members.filter(~pl.col("assigned")).rows()} == old
    # nearly the same text falls where the text it was made from is
    labels = dict(members.select("text_id", "cluster_id").rows())
    by_text = dict(views.texts(full).select("text", "text_id").collect().rows())
    same = [labels[by_text[f"{text} please"]] == labels[by_text[text]] for text in texts[:60]]
    assert np.mean(same) > 0.85
    with full.store.reading() as connection:
        record = reading.get_run(connection, run.run_id)
        clusters = reading.clusters(connection, run.run_id)
    assert record.n_assigned == 60
    assert sum(c.size for c in clusters) == record.n_texts + 60
    assert assigning.assign(full, run.run_id).n_new == 0
    assert verifying.verify(full).is_sound


def test_assigned_texts_move_no_other_on_the_map(full: Session, encoder: Any, tmp_path: Path) -> None:
    run = cluster(full, _core.KMeans(n_clusters=4))
    before = drawing.map_data(full, run.run_id)
    texts = selection.queries(full, limit=None)["text"].unique(maintain_order=True).to_list()
    load(full, jsonl(tmp_path / "more.jsonl", [f"{text} please" for text in texts[:60]]))
    embed(full, encoder)
    assigning.assign(full, run.run_id)
    after = drawing.map_data(full, run.run_id)
    places = dict(zip(after.texts, after.xy.tolist(), strict=True))
    assert len(places) == len(before.texts) + 60
    assert [places[text] for text in before.texts] == before.xy.tolist()
    assert np.isfinite(after.xy).all()


def test_far_texts_mean_drift(full: Session, encoder: Any, tmp_path: Path) -> None:
    run = cluster(full, _core.KMeans(n_clusters=4))
    strange = [f"zzq{i} vvk{i * 7} qqx{i * 13}" for i in range(40)]
    load(full, jsonl(tmp_path / "strange.jsonl", strange))
    embed(full, encoder)
    report = assigning.assign(full, run.run_id)
    assert report.share_far > 3 * report.expected_share_far
    assert report.should_recluster
    assert "far from every cluster" in report.reasons[0]


def test_density_run_leaves_far_texts_out(full: Session, encoder: Any, tmp_path: Path) -> None:
    run = cluster(full, _core.HDBSCAN(min_cluster_size=6), space="graph")
    load(full, jsonl(tmp_path / "strange.jsonl", [f"zzq{i} vvk{i * 7}" for i in range(10)]))
    embed(full, encoder)
    report = assigning.assign(full, run.run_id)
    members = views.memberships(full, run.run_id).collect().filter("assigned")
    assert report.n_noise == members.filter(pl.col("cluster_id") == -1).height > 0


def test_graph_grows_with_the_texts(
    full: Session, encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(full, jsonl(tmp_path / "more.jsonl", [f"one more question number {i}" for i in range(50)]))
    embed(full, encoder)
    ids = selection.select(full).text_ids
    anew = _core.KnnGraph.build(np.asarray(full.vectors(full.embedding()))[ids], 15)
    grown = knn_graph(full, full.embedding(), ids)
    assert np.array_equal(grown.indices, anew.indices)
    assert np.array_equal(grown.distances, anew.distances)


# ---- units and redaction --------------------------------------------------------------------------------------------

TALK = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "first question"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "second question, mail me at jane.doe@example.com"},
    {"role": "assistant", "content": "sure"},
]


@pytest.mark.parametrize(
    ("unit", "texts", "positions"),
    [
        ("first", ["first question"], [1]),
        ("turn", ["first question", "second question, mail me at jane.doe@example.com"], [1, 3]),
        (
            "dialogue",
            [
                "System: be kind\n\nUser: first question\n\nAssistant: first answer\n\n"
                "User: second question, mail me at jane.doe@example.com\n\nAssistant: sure"
            ],
            [-1],
        ),
    ],
)
def test_unit_decides_what_a_query_is(
    session: Session, tmp_path: Path, unit: str, texts: list[str], positions: list[int]
) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"conversation_id": "c", "conversation": TALK}) + "\n")
    report = load(session, path, unit=unit)
    assert report.unit == unit
    assert report.dataset == {"first": "f", "turn": "f-turns", "dialogue": "f-dialogues"}[unit]
    found = views.queries(session).collect()
    assert found["text"].to_list() == texts
    assert found["position"].to_list() == positions
    assert views.turns(session).collect().height == 5


def test_unit_of_a_data_set_stays(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"conversation_id": "c", "conversation": TALK}) + "\n")
    load(session, path, dataset="f", unit="turn")
    with pytest.raises(InvalidInputError, match=r"loaded with unit turn, not dialogue\nhint: .*f-dialogues"):
        load(session, path, dataset="f", unit="dialogue")
    assert load(session, path, dataset="f").already_loaded


def test_redaction_reaches_turns_texts_and_extra_fields(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    row = {"conversation_id": "c", "conversation": TALK, "note": "write to jane.doe@example.com", "n": 3}
    path.write_text(json.dumps(row) + "\n" + json.dumps({"conversation_id": "d", "conversation": TALK[:3]}) + "\n")
    report = load(session, path, unit="turn", redact=True)
    assert report.n_redacted == 1
    assert views.queries(session).collect()["text"][1] == "second question, mail me at [EMAIL]"
    extra = json.loads(views.conversations(session).collect()["extra"][0])
    assert extra == {"note": "write to [EMAIL]", "n": 3}
    session.store.fold_log()
    for file in session.folder.path.rglob("*"):
        assert not file.is_file() or b"jane.doe" not in file.read_bytes(), file
    # a reload finds the same conversations, although their texts were changed
    assert load(session, path, unit="turn", redact=True, force=True).n_new == 0


def test_personal_data_can_be_filtered_without_redaction(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"conversation_id": "c", "conversation": TALK}) + "\n")
    load(session, path, unit="turn")
    from lmsys_rs.conditions import make_filters

    assert selection.queries(session, make_filters(where="personal > 0")).height == 1
