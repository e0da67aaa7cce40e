"""The commands as a person types them: output, JSON keys, exit codes, errors, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import embedding, models
from lmsys_rs.cli import app
from lmsys_rs.loading import load
from lmsys_rs.session import open_session
from lmsys_rs.store import reading
from typer.testing import CliRunner

SNAPSHOTS = Path(__file__).parent / "snapshots"
COMMANDS = [
    "run", "load", "import", "embed", "datasets", "choose-k", "cluster", "cluster kmeans", "cluster density",
    "cluster hdbscan", "cluster mixture", "label", "assign", "map", "runs", "list", "show", "facets",
    "near-duplicates", "list-clusters", "inspect", "search", "export", "eval", "sql", "verify", "delete", "clear",
    "db", "db upgrade", "db downgrade", "db check", "db backup", "models", "models list", "models pull",
    "models path", "models show", "models distill", "info", "sample",
    "summarize", "summaries", "summaries list", "summaries show", "summaries compare", "summaries use",
    "prompts", "prompts show", "prompts export", "prompts check", "merge-clusters", "show-hierarchy",
    "search-cluster", "privacy", "generate", "classify", "classify run", "classify templates", "classify list",
    "classify export", "classify pivot", "classify next", "classify review", "classify delete", "edit",
    "edit view-query", "edit move-query", "edit move-queries", "edit rename-cluster", "edit merge-clusters",
    "edit split-cluster", "edit delete-cluster", "edit tag-cluster", "edit flag-cluster", "edit undo", "edit redo",
    "edit history", "edit audit", "edit orphaned", "edit select-bad-clusters", "edit review", "edit add-rule",
    "edit rules", "edit remove-rule", "edit apply-rules",
]  # fmt: skip
Cli = Callable[..., tuple[int, str, str]]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def snapshot(name: str, text: str) -> None:
    """Compare with the stored text; `LMSYS_UPDATE_SNAPSHOTS=1` stores it anew."""
    path = SNAPSHOTS / f"{name}.txt"
    text = re.sub(r"\d{8}-\d{6}", "YYYYMMDD-HHMMSS", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    if os.environ.get("LMSYS_UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=100)
    assert result.exit_code == 0
    is_group = command in ("cluster", "db", "models", "summaries", "prompts", "classify", "edit")
    assert is_group or f"Example: lmsys {command}" in re.sub(r"\s+", " ", result.output)


def test_command_list_is_complete(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    names = re.findall(r"^│ ([a-z][a-z-]*) ", out.split("Commands")[1], re.M)
    assert sorted(names) == sorted({command.split()[0] for command in COMMANDS})


def test_no_arguments_show_help_as_a_usage_error(cli: Cli) -> None:
    assert cli()[0] == 2


def test_unknown_command_and_option_are_usage_errors(cli: Cli) -> None:
    assert cli("frobnicate")[0] == 2
    assert cli("runs", "--frobnicate")[0] == 2


def test_load_reports_and_repeats_quietly(cli: Cli, sample_file: Path, tmp_path: Path) -> None:
    code, out, err = cli("load", sample_file)
    assert (code, out) == (0, "")
    assert "300 conversations read, 300 new, 300 queries" in err
    assert (tmp_path / "sample.lmsys" / "lmsys.db").exists()
    code, out, err = cli("load", sample_file, "--json")
    assert code == 0
    assert json_lines(out)[0]["already_loaded"] is True
    assert "nothing new, sample is loaded already" in err


def test_load_tells_broken_lines_and_strict_fails(cli: Cli, tmp_path: Path) -> None:
    row = json.dumps({"conversation": [{"role": "user", "content": "hi"}]})
    (tmp_path / "f.jsonl").write_text(f"{row}\n{{broken\n{row}\n")
    code, _, err = cli("load", "f.jsonl")
    assert code == 0
    assert "f.jsonl:2: skipped: " in err
    code, _, err = cli("load", "f.jsonl", "--strict", "--dataset-label", "again")
    assert code == 1
    assert err.splitlines()[-2].startswith("error: f.jsonl:2: ")
    assert err.splitlines()[-1].startswith("hint: ")


def test_options_of_the_old_tool_are_accepted_with_a_word(cli: Cli, sample_file: Path) -> None:
    code, _, err = cli("load", sample_file, "--use-chroma", "--db-batch-size", "5000", "--db-path", "old.lmsys")
    assert code == 0
    assert "--use-chroma, --db-batch-size has no effect" in err
    assert Path("old.lmsys").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "none.parquet"], "error: none.parquet: No such file or directory"),
        (["runs"], "error: no workspace here"),
        (["runs", "-w", "none.lmsys"], "error: there is no workspace at none.lmsys"),
        (["run"], "error: run needs a file, or --sample"),
        (["models", "path", "no-such"], "error: unknown model 'no-such'"),
    ],
)
def test_failures_are_one_line_and_exit_1(cli: Cli, arguments: list[str], message: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(message)
    assert "Traceback" not in err


def test_two_workspaces_must_be_told_apart(cli: Cli, analysed: str, sample_file: Path) -> None:
    cli("load", sample_file, "-w", "other.lmsys")
    code, _, err = cli("runs")
    assert code == 1
    assert "there are 2 workspaces here: chats.lmsys, other.lmsys" in err


def test_workspace_comes_from_the_environment(
    cli: Cli, analysed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("LMSYS_WORKSPACE", str(tmp_path / "chats.lmsys"))
    assert cli("runs", "--json")[0] == 0


def test_runs(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("runs")
    assert code == 0
    snapshot("runs", out)
    _, out, _ = cli("runs", "--latest", "--json")
    assert json_lines(out)[0]["run_id"] == analysed


def test_cluster_commands_make_runs(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("cluster", "kmeans", "--n-clusters", 4, "--language", "English", "--json")
    assert code == 0
    record = json_lines(out)[0]
    assert record["n_clusters"] == 4
    assert record["labeled"] is True
    assert record["filters"] == {"language": "English"}
    code, out, _ = cli("cluster", "hdbscan", "--min-cluster-size", 5, "--space", "graph", "--json")
    assert code == 0
    assert json_lines(out)[0]["algorithm"] == "hdbscan"
    code, out, _ = cli("cluster", "mixture", "--algorithm", "gmm", "--n-components", 3, "--space", "pca", "--json")
    assert code == 0
    assert json_lines(out)[0]["algorithm"] == "gmm"


def test_too_many_clusters_say_how_many_are_possible(cli: Cli, analysed: str) -> None:
    code, _, err = cli("cluster", "kmeans", "--n-clusters", 5000)
    assert code == 1
    assert re.search(r"error: n_clusters must be <= the number of distinct texts: 5000 > \d+\nhint: use at most", err)


def test_choose_k_prints_the_curve_and_the_advice(cli: Cli, analysed: str) -> None:
    code, out, err = cli("choose-k", "--k", 2, "--k", 5, "--n-repeats", 2, "--json")
    assert code == 0, err
    found = json_lines(out)
    assert [row["k"] for row in found] == [2, 5]
    assert set(found[0]) == {"k", "inertia", "stability", "stability_error", "silhouette", "advised"}
    assert sum(row["advised"] for row in found) == 1
    code, out, err = cli("choose-k", "--k", 2, "--k", 5, "--n-repeats", 2)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert out.count("advised") == 1
    assert "advised: lmsys cluster kmeans --n-clusters" in err
    code, _, err = cli("choose-k", "--k", 100_000)
    assert code == 1
    assert "error: ks must be between 1 and" in err


def test_list_clusters(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("list-clusters", "latest", "--json", "--show-examples", 2)
    rows = json_lines(out)
    assert [row["num_queries"] for row in rows] == sorted((row["num_queries"] for row in rows), reverse=True)
    assert {len(row["examples"]) for row in rows} == {2}
    assert len({row["title"] for row in rows}) == 6
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-4)
    code, out, _ = cli("list-clusters", analysed, "--limit", 2)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert out.splitlines()[0].split() == ["id", "title", "queries", "share", "example"]


def test_inspect_cluster_zero(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("inspect", "latest", 0, "--json", "--show-queries", 3)
    assert code == 0
    found = json_lines(out)[0]
    assert found["cluster_id"] == 0
    assert len(found["queries"]) == 3
    assert cli("inspect", "latest", 0)[0] == 0
    code, _, err = cli("inspect", "latest", 77)
    assert code == 1
    assert "has no cluster 77: its clusters are 0 to 5" in err


def test_list_of_cluster_zero_is_not_everything(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("list", "--cluster-id", 0, "--limit", 500, "--json")
    rows = json_lines(out)
    assert {row["cluster_id"] for row in rows} == {0}
    assert 0 < len(rows) < 300


def test_list_filters_by_model_within_a_run(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("list", "--run-id", "latest", "--model", "synthetic-model-c", "--limit", 500, "--json")
    assert {row["model"] for row in json_lines(out)} == {"synthetic-model-c"}


def test_list_pages_by_key(cli: Cli, analysed: str) -> None:
    _, out, err = cli("list", "--limit", 100, "--json")
    assert err == "more: --after 100\n"
    _, out, err = cli("list", "--limit", 250, "--after", 100, "--json")
    assert [row["query_id"] for row in json_lines(out)] == list(range(101, 301))
    assert err == ""


def test_list_table(cli: Cli, analysed: str) -> None:
    snapshot("list", cli("list", "--limit", 5)[1])


def test_search_json_has_the_known_shape(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("search", "write a SQL query", "--run-id", "latest", "--json", "-n", 3)
    assert code == 0
    found = json_lines(out)[0]
    assert {"text", "run_id", "applied_clusters", "results", "facets"} <= set(found)
    assert found["run_id"] == analysed
    assert {"query_id", "distance", "snippet", "model", "language", "cluster_id"} <= set(found["results"][0])
    assert set(found["facets"]) == {"clusters", "language", "model"}
    assert set(found["facets"]["clusters"][0]) == {"cluster_id", "count", "meta"}
    assert len(found["results"]) == 3


def test_search_filters_and_shows_a_table(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("search", "write a SQL query", "--language", "German", "-n", 4, "--json")
    assert {hit["language"] for hit in json_lines(out)[0]["results"]} == {"German"}
    code, out, _ = cli("search", "write a SQL query", "--cluster-ids", "0,1", "--by", "cluster", "--facets")
    assert code == 0
    assert out.splitlines()[0].split() == ["distance", "query", "cluster", "model", "language", "text"]
    code, out, _ = cli("search", "sql", "--xml", "-n", 1)
    assert out.startswith("<results>\n  <result query_id=")


def test_search_clusters_json(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("search", "sql", "--search-type", "clusters", "--json", "-n", 2)
    found = json_lines(out)[0]
    assert set(found) == {"text", "run_id", "results"}
    assert set(found["results"][0]) == {"cluster_id", "distance", "title", "description", "num_queries"}


@pytest.mark.parametrize(
    "arguments",
    [("--cluster-ids", "one"), ("--by", "mood"), ("--search-type", "people")],
)
def test_search_options_are_checked(cli: Cli, analysed: str, arguments: tuple[str, str]) -> None:
    code, _, err = cli("search", "x", *arguments)
    assert code == 1
    assert err.startswith("error: ")


def test_export_writes_the_known_columns(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("export", "latest")
    assert (code, out) == (0, "export.csv: 300 queries\n")
    assert pl.read_csv("export.csv").columns == [
        *("query_id", "cluster_id", "query_text", "model", "language", "cluster_title", "cluster_description"),
    ]
    assert cli("export", "latest", "--format", "json")[0] == 0
    assert len(json.loads(Path("export.json").read_text(encoding="utf-8"))) == 300


def test_map_writes_one_file(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("map", "latest", "--json")
    assert code == 0
    assert json_lines(out)[0]["path"] == "map.html"
    assert Path("map.html").stat().st_size > 1000


def test_info_and_datasets(cli: Cli, analysed: str) -> None:
    _, out, _ = cli("info", "--json")
    assert json_lines(out)[0]["n_conversations"] == 300
    assert "conversations   300" in cli("info")[1]
    _, out, _ = cli("datasets", "--json")
    assert json_lines(out)[0]["name"] == "sample"


def test_models_list(cli: Cli) -> None:
    _, out, _ = cli("models", "list", "--json")
    assert json_lines(out)[0]["name"] == "all-MiniLM-L6-v2"


def test_run_does_everything_and_a_second_one_nothing(
    cli: Cli, sample_file: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "load_encoder", lambda name, on_event: encoder)
    code, out, err = cli("run", sample_file, "--clusters", 9, "--show", 4)
    assert code == 0, err
    assert len(out.splitlines()) == 5
    assert Path("map.html").exists()
    code, out, err = cli("run", sample_file, "--clusters", 9, "--json")
    assert code == 0
    first, *clusters = json_lines(out)
    assert first["embed"]["n_new"] == 0
    assert first["load"]["already_loaded"] is True
    assert len(clusters) == 9
    assert len(json_lines(cli("runs", "--json")[1])) == 1


def test_sample_is_written(cli: Cli) -> None:
    assert cli("sample", "s.jsonl", "--n", 10) == (0, "s.jsonl: 10 synthetic conversations\n", "")


def test_user_text_cannot_write_to_the_terminal(cli: Cli, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2Jhello"
    row = json.dumps({"conversation": [{"role": "user", "content": evil}], "model": "\x1b[31mred"})
    (tmp_path / "f.jsonl").write_text(row + "\n")
    cli("load", "f.jsonl")
    _, out, _ = cli("list")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "hello" in out


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child")
def test_ctrl_c_stops_within_a_second_and_the_load_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame({"text": [f"question number {i}" for i in range(400_000)]}).write_parquet(path)
    command = [sys.executable, "-m", "lmsys_rs", "load", str(path), "--workspace", str(tmp_path / "w.lmsys")]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    database = tmp_path / "w.lmsys" / "lmsys.db-wal"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (database.exists() and database.stat().st_size > 1_000_000):
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = child.communicate(timeout=20)
    assert time.monotonic() - started < 1.5
    assert child.returncode == 130
    assert err.splitlines()[-1] == "interrupted; run the same command again to go on where it stopped"
    assert "Traceback" not in err
    with open_session(tmp_path / "w.lmsys") as session:
        with session.store.reading() as connection:
            kept = reading.counts(connection)["n_conversations"]
        assert 0 < kept < 400_000
        report = load(session, path, limit=kept + 1_000)
        assert (report.n_read, report.n_new) == (1_000, 1_000)


def test_closed_pipe_is_no_error(tmp_path: Path, sample_file: Path) -> None:
    shell = f"{sys.executable} -m lmsys_rs load {sample_file} -w w.lmsys 2>/dev/null && " + (
        f"{sys.executable} -m lmsys_rs list -w w.lmsys --limit 300 --json | head -1"
    )
    result = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_model_names_complete_the_registry() -> None:
    assert models.DEFAULT_MODEL in models.REGISTRY
