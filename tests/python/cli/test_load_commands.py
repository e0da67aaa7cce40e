"""What comes in: ``load``, ``import``, ``datasets``, their options, and what a command that fails leaves behind."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs.readers import FORMATS
from lmsys_rs.session import open_session
from test_hub import Hub, fake  # noqa: F401  # a fixture
from test_importing import old  # noqa: F401  # a fixture

Cli = Any  # see conftest.py


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def write(path: Path, texts: list[str], **fields: Any) -> Path:
    lines = [
        json.dumps(
            {"conversation_id": f"{path.stem}-{i}", "conversation": [{"role": "user", "content": text}], **fields}
        )
        for i, text in enumerate(texts)
    ]
    path.parent.mkdir(exist_ok=True)
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_folder_becomes_one_data_set(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "logs" / "a.jsonl", ["one", "two"])
    write(tmp_path / "logs" / "b.jsonl.gz", ["three"])
    (tmp_path / "logs" / "notes.md").write_text("not a log")
    code, out, err = cli("load", "logs", "--json")
    assert code == 0
    assert (rows(out)[0]["dataset"], rows(out)[0]["n_files"], rows(out)[0]["n_new"]) == ("logs", 2, 3)
    assert "notes.md: left out, no conversation file by its name" in err


def test_pattern_chooses_files(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "logs" / "a.jsonl", ["one", "two"])
    write(tmp_path / "logs" / "b.jsonl.gz", ["three"])
    code, _, err = cli("load", "logs/*.gz")
    assert code == 0
    assert "logs/*.gz (lmsys): 1 conversations read, 1 new" in err
    code, _, err = cli("load", "logs/*.csv")
    assert code == 1
    assert err == "error: no file matches logs/*.csv; logs has a.jsonl, b.jsonl.gz\n"


@pytest.mark.parametrize(("unit", "texts"), [("first", 1), ("turn", 2), ("dialogue", 1)])
def test_unit(cli: Cli, tmp_path: Path, unit: str, texts: int) -> None:
    turns = [{"role": role, "content": f"{role} {i}"} for i in range(2) for role in ("user", "assistant")]
    (tmp_path / "f.jsonl").write_text(json.dumps({"conversation": turns}) + "\n")
    code, out, _ = cli("load", "f.jsonl", "--unit", unit, "--json")
    assert code == 0
    assert (rows(out)[0]["unit"], rows(out)[0]["n_queries"]) == (unit, texts)
    _, out, _ = cli("datasets", "--json")
    assert rows(out)[0]["unit"] == unit


def test_unknown_unit_is_refused(cli: Cli, sample_file: Path) -> None:
    code, _, err = cli("load", sample_file, "--unit", "sentence")
    assert (code, err) == (1, "error: unit must be one of first, turn, dialogue: 'sentence'\n")


def test_redact(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "f.jsonl", ["write to jane.doe@example.com", "nothing here"])
    code, _, err = cli("load", "f.jsonl", "--redact")
    assert code == 0
    assert "1 conversations had personal data or secrets: replaced" in err
    assert [row["text"] for row in rows(cli("list", "--json")[1])] == ["write to [EMAIL]", "nothing here"]


def test_filters_leave_out_and_say_so(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "f.jsonl", ["hi", "how do I sort a list in Python?", "how do I sort a map in Go?"])
    code, out, err = cli("load", "f.jsonl", "--min-length", 10, "--where", "text LIKE '%Python%'", "--json")
    assert code == 0
    assert (rows(out)[0]["n_new"], rows(out)[0]["n_filtered"]) == (1, 2)
    assert "2 conversations do not pass the filters: left out" in err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--where", "n_trns > 1", "error: where: there is no column 'n_trns': the columns are query_id, "),
        ("--where", "n_turns >", "error: where is no condition in SQL: 'n_turns >'"),
        ("--where", "n_occurrences > 1", "error: n_occurrences is not known before everything is loaded"),
        ("--since", "yesterday", "error: since must be a time such as 2023-04-27"),
        ("--max-memory", "much", "error: a size is a number with a unit, such as 2GB: 'much'"),
        ("--max-memory", "1MB", "error: max_memory must be at least "),
        ("--format", "docx", "error: format must be one of auto, lmsys, "),
        ("--text-column", "nope", "error: {file}: --text-column 'nope' is not a field of this file; it has "),
    ],
)
def test_wrong_options_are_one_line_and_leave_no_workspace(
    cli: Cli, sample_file: Path, option: str, value: str, message: str
) -> None:
    code, out, err = cli("load", sample_file, option, value)
    assert (code, out) == (1, "")
    assert err.startswith(message.format(file=sample_file))
    lines = err.splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))
    assert not list(Path().glob("*.lmsys"))


def test_options_with_a_range_are_usage_errors(cli: Cli, sample_file: Path) -> None:
    assert cli("load", sample_file, "--limit", 0)[0] == 2
    assert cli("load", sample_file, "--min-quality", 2)[0] == 2


def test_load_needs_exactly_one_source(cli: Cli, sample_file: Path) -> None:
    for arguments in ((), (sample_file, "--hf", "me/chats")):
        code, _, err = cli("load", *arguments)
        assert (code, err.splitlines()[0]) == (1, "error: load needs either a file or --hf NAME")


def test_missing_file_leaves_no_workspace_behind(cli: Cli, sample_file: Path) -> None:
    code, _, err = cli("load", "chatz.parquet")
    assert (code, err) == (1, "error: chatz.parquet: No such file or directory\n")
    assert not Path("chatz.lmsys").exists()
    cli("load", sample_file)
    assert [path.name for path in Path().glob("*.lmsys")] == ["sample.lmsys"]


def test_run_that_fails_early_leaves_no_workspace_behind(cli: Cli) -> None:
    assert cli("run", "chatz.parquet") == (1, "", "error: chatz.parquet: No such file or directory\n")
    assert list(Path().iterdir()) == []


def test_failure_leaves_an_existing_workspace_alone(cli: Cli, sample_file: Path) -> None:
    open_session(Path("mine.lmsys")).close()
    assert cli("load", "chatz.parquet", "-w", "mine.lmsys")[0] == 1
    assert Path("mine.lmsys").is_dir()
    cli("load", sample_file, "-w", "full.lmsys")
    assert cli("load", "chatz.parquet", "-w", "full.lmsys")[0] == 1
    assert rows(cli("info", "--json", "-w", "full.lmsys")[1])[0]["n_conversations"] == 300


def test_what_was_read_before_a_fault_is_kept(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.records.BATCH_SIZE", 2)
    monkeypatch.setattr("lmsys_rs.readers.json_stream.CHUNK_BYTES", 200)
    path = write(tmp_path / "f.jsonl", [f"question number {i}" for i in range(40)])
    path.write_text(path.read_text() + "{broken\n")
    code, _, err = cli("load", "f.jsonl", "--strict")
    assert code == 1
    assert err.splitlines()[-2].startswith("error: f.jsonl:41: ")
    assert rows(cli("info", "--json")[1])[0]["n_conversations"] > 0


def test_one_workspace_here_takes_every_file(cli: Cli, sample_file: Path, tmp_path: Path) -> None:
    cli("load", sample_file)
    write(tmp_path / "other.jsonl", ["one more"])
    code, _, err = cli("load", "other.jsonl")
    assert code == 0
    assert err.splitlines()[-1].endswith("sample.lmsys")
    assert [row["name"] for row in rows(cli("datasets", "--json")[1])] == ["sample", "other"]


def test_data_set_is_named_and_described(cli: Cli, sample_file: Path) -> None:
    code, out, _ = cli(
        *("load", sample_file, "--dataset-label", "mine", "--dataset-description", "of May", "--limit", 7, "--json")
    )
    assert code == 0
    assert (rows(out)[0]["dataset"], rows(out)[0]["n_read"], rows(out)[0]["finished"]) == ("mine", 7, False)
    code, out, _ = cli("load", sample_file, "--dataset-label", "mine", "--json")
    assert (rows(out)[0]["n_new"], rows(out)[0]["finished"]) == (293, True)
    code, out, _ = cli("load", sample_file, "--dataset-label", "mine", "--force-reload", "--json")
    assert (rows(out)[0]["n_read"], rows(out)[0]["n_new"]) == (300, 0)


def test_table_of_data_sets(cli: Cli, sample_file: Path) -> None:
    cli("load", sample_file)
    _, out, _ = cli("datasets")
    head, line = out.splitlines()
    assert " ".join(head.split()) == "name format unit files conversations turns queries broken complete source"
    assert line.split()[:5] == ["sample", "lmsys", "first", "1", "300"]


def test_small_amounts_are_not_zero(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "f.jsonl", ["one", "two"])
    _, _, err = cli("load", "f.jsonl")
    assert err.startswith("loading: 1 KiB, done in ")


def test_format_help_names_every_format(cli: Cli) -> None:
    _, out, _ = cli("load", "--help")
    shown = out.replace("│", " ")
    assert all(f" {name}" in shown for name in FORMATS)


def test_parquet_written_by_others_loads(cli: Cli, tmp_path: Path) -> None:
    pl.DataFrame({"prompt": ["one", "two"], "lang": ["de", "en"]}).write_parquet(tmp_path / "p.parquet")
    code, _, _ = cli("load", "p.parquet", "--language-column", "lang", "--model-default", "gpt", "--json")
    assert code == 0
    assert [(row["text"], row["language"], row["model"]) for row in rows(cli("list", "--json")[1])] == [
        ("one", "de", "gpt"),
        ("two", "en", "gpt"),
    ]


# ---- the hub ------------------------------------------------------------------------------------------------------


def test_hub_data_set_is_loaded(cli: Cli, fake: Hub) -> None:  # noqa: F811
    code, out, err = cli("load", "--hf", "me/chats", "--json")
    assert code == 0, err
    assert (rows(out)[0]["dataset"], rows(out)[0]["n_files"], rows(out)[0]["n_new"]) == ("chats", 2, 50)
    assert Path("chats.lmsys").is_dir()
    code, out, _ = cli("load", "--hf", "me/chats", "--hf-files", "data/train-1*", "--json")
    assert code == 0
    assert rows(out)[0]["n_new"] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("chats", "is named owner/name"), ("me/other", "the hub has no Parquet files for it")],
)
def test_unknown_hub_data_set_leaves_no_workspace(cli: Cli, fake: Hub, name: str, message: str) -> None:  # noqa: F811
    code, _, err = cli("load", "--hf", name)
    assert code == 1
    assert message in err.splitlines()[0]
    assert not list(Path().glob("*.lmsys"))


def test_gated_hub_data_set_says_what_to_do(cli: Cli, fake: Hub) -> None:  # noqa: F811
    fake.token = "hf_secret"
    code, _, err = cli("load", "--hf", "me/chats")
    assert code == 1
    assert "refuses access (401): no token" in err
    assert err.splitlines()[-1].startswith("hint: accept the terms at")


# ---- import -------------------------------------------------------------------------------------------------------


def test_import_takes_over_a_queries_db(cli: Cli, old: Any, tmp_path: Path) -> None:  # noqa: F811
    code, out, err = cli("import", old, "-w", "new.lmsys", "--json")
    assert code == 0, err
    report = rows(out)[0]
    assert report["n_conversations"] > 0
    assert len(report["runs"]) == len(rows(cli("runs", "--json", "-w", "new.lmsys")[1]))
    code, _, err = cli("import", old, "-w", "new.lmsys")
    assert code == 0
    assert ": 0 new queries in " in err
    assert "already here" in err


def test_import_of_something_else_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("this is no database, it is a text of some length")
    sqlite3.connect(tmp_path / "b.db").close()
    for name, message in (("none.db", "does not exist"), ("a.db", "is no SQLite database")):
        code, _, err = cli("import", name)
        assert code == 1
        assert message in err.splitlines()[0]
        assert not list(Path().glob("*.lmsys"))
    assert cli("import")[0] == 2
