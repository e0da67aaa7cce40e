"""The workspace as a thing to keep: ``verify``, ``delete``, ``clear`` and ``db``."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from lmsys_rs import workspace
from test_migrations import old  # noqa: F401  # a fixture

Cli = Any  # see conftest.py


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def damage(pattern: str) -> Path:
    """Flip a bit of the first file that matches."""
    path = next(iter(sorted(Path().glob(pattern))))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    return path


# ---- verify -------------------------------------------------------------------------------------------------------


def test_sound_workspace_is_said_to_be_so(cli: Cli, analysed: str) -> None:
    code, out, err = cli("verify")
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == "everything is as it was written"
    code, out, _ = cli("verify", "--json")
    assert code == 0
    assert rows(out)[0]["sound"] is True
    assert rows(out)[0]["findings"] == []


def test_damage_fails_until_it_is_repaired(cli: Cli, analysed: str) -> None:
    path = damage("chats.lmsys/columns/*.arrow")
    code, out, err = cli("verify")
    assert code == 1
    assert out.splitlines()[0].split() == ["kind", "what", "problem", "remedy", "mended"]
    assert path.name in out
    assert err.splitlines()[-1] == "hint: lmsys verify --repair"
    code, out, _ = cli("verify", "--json")
    assert code == 1
    assert rows(out)[0]["sound"] is False
    assert rows(out)[0]["findings"][0]["repaired"] is False
    code, out, _ = cli("verify", "--repair", "--json")
    assert code == 0
    assert rows(out)[0]["findings"][0]["repaired"] is True
    assert cli("verify")[0] == 0


def test_damage_that_cannot_be_mended_stays_a_failure(cli: Cli, sample_file: Path, tmp_path: Path) -> None:
    source = tmp_path / "once.parquet"
    source.write_bytes(sample_file.read_bytes())
    cli("load", source)
    source.unlink()
    damage("once.lmsys/conversations/*.parquet")
    code, out, _ = cli("verify", "--repair")
    assert code == 1
    assert " no" in out.splitlines()[1]


def test_leftovers_are_no_failure_and_are_removed(cli: Cli, analysed: str) -> None:
    stray = Path("chats.lmsys/columns/queries-0-9-9.arrow")
    stray.write_bytes(b"half a file")
    code, out, _ = cli("verify")
    assert code == 0
    assert "left over" in out
    assert cli("verify", "--repair")[0] == 0
    assert not stray.exists()


def test_damaged_database_is_a_finding(cli: Cli, analysed: str) -> None:
    path = Path("chats.lmsys/lmsys.db")
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 9] = b"\xff" * (4096 * 4)
    path.write_bytes(bytes(content))
    code, out, _ = cli("verify", "--json")
    assert code == 1
    assert {finding["kind"] for finding in rows(out)[0]["findings"]} == {"database"}


# ---- delete, clear ------------------------------------------------------------------------------------------------


def test_deletion_needs_a_yes(cli: Cli, analysed: str) -> None:
    for command in (("delete", "--dataset", "sample"), ("delete", "--run", "latest"), ("clear",)):
        code, out, err = cli(*command)
        assert (code, out) == (1, "")
        assert err.splitlines()[-2:] == [err.splitlines()[-2], "hint: add --yes"]
        assert "nobody can be asked here" in err
    assert rows(cli("info", "--json")[1])[0]["n_conversations"] == 300


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code", "kept"), [("n\n", 1, 300), ("y\n", 0, 0)])
def test_deletion_asks_on_a_terminal(
    cli: Cli, analysed: str, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, kept: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    found, out, _ = cli("delete", "--dataset", "sample")
    assert (found, out) == (code, "")
    assert rows(cli("info", "--json")[1])[0]["n_conversations"] == kept


def test_data_set_is_deleted_with_its_runs(cli: Cli, analysed: str) -> None:
    code, out, err = cli("delete", "--dataset", "sample", "--yes", "--json")
    assert code == 0
    assert err.startswith("sample: 300 conversations, 300 queries, ")
    assert err.rstrip().endswith(f"and runs {analysed}")
    assert (rows(out)[0]["datasets"], rows(out)[0]["runs"]) == (["sample"], [analysed])
    assert cli("runs", "--json")[1] == ""
    assert cli("datasets", "--json")[1] == ""


def test_run_is_deleted_alone(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("delete", "--run", "latest", "--yes", "--json")
    assert (code, rows(out)) == (0, [{"run_id": analysed}])
    assert cli("runs", "--json")[1] == ""
    assert rows(cli("info", "--json")[1])[0]["n_conversations"] == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "error: delete needs either --dataset or --run"),
        (("--dataset", "a", "--run", "b"), "error: delete needs either --dataset or --run"),
        (("--dataset", "none", "--yes"), "error: there is no data set 'none': there are sample"),
        (("--run", "none", "--yes"), "error: there is no run 'none'"),
    ],
)
def test_delete_says_what_there_is(cli: Cli, analysed: str, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = cli("delete", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(message)


def test_clear_takes_everything_and_loading_starts_anew(cli: Cli, analysed: str, sample_file: Path) -> None:
    code, _, err = cli("clear", "--yes")
    assert (code, err.splitlines()[-1]) == (0, "deleted")
    counts = rows(cli("info", "--json")[1])[0]
    assert (counts["n_conversations"], counts["n_queries"], counts["n_runs"]) == (0, 0, 0)
    assert cli("verify")[0] == 0
    assert rows(cli("load", sample_file, "--json")[1])[0]["n_new"] == 300
    assert cli("clear", "--yes", "--json")[0] == 0
    assert cli("clear", "--yes", "--json")[0] == 0  # also with nothing in it


# ---- db -----------------------------------------------------------------------------------------------------------


def version_of(folder: Path) -> str:
    connection = sqlite3.connect(folder / "lmsys.db")
    try:
        found: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    finally:
        connection.close()
    return found


def test_old_schema_is_checked_upgraded_and_brought_back(cli: Cli, old: Path) -> None:  # noqa: F811
    code, out, _ = cli("db", "check", "-w", old, "--json")
    assert (code, rows(out)) == (1, [{"version": "0001", "newest": "0004", "differences": None}])
    assert version_of(old) == "0001"  # looking changes nothing
    assert "not compared" in cli("db", "check", "-w", old)[1]
    code, out, _ = cli("db", "upgrade", "-w", old, "--json")
    assert code == 0
    assert (rows(out)[0]["before"], rows(out)[0]["after"]) == ("0001", "0004")
    assert Path(rows(out)[0]["backup"]).exists()
    assert cli("db", "check", "-w", old) == (0, "schema       0004\nnewest       0004\ndifferences  none\n", "")
    code, _, err = cli("db", "downgrade", "0001", "-w", old)
    assert code == 0
    assert err.startswith("schema 0004 -> 0001; backup: ")
    assert version_of(old) == "0001"
    assert cli("verify", "-w", old)[0] == 0  # every other command upgrades by itself
    assert version_of(old) == "0004"


def test_upgrade_of_a_new_schema_does_nothing(cli: Cli, analysed: str) -> None:
    assert cli("db", "upgrade") == (0, "", "the schema is 0004 already\n")
    assert not Path("chats.lmsys/backups").exists()


def test_unknown_schema_is_refused(cli: Cli, analysed: str) -> None:
    code, _, err = cli("db", "downgrade", "0042")
    assert (code, err) == (1, "error: there is no schema '0042': this program knows 0001, 0002, 0003, 0004\n")
    assert cli("db", "downgrade")[0] == 2


def test_newer_schema_is_refused_by_every_command(cli: Cli, analysed: str) -> None:
    connection = sqlite3.connect("chats.lmsys/lmsys.db")
    connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.commit()
    connection.close()
    for command in (("info",), ("db", "check"), ("db", "upgrade"), ("db", "downgrade", "0001"), ("list",)):
        code, out, err = cli(*command)
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert "0099" in err.splitlines()[0]


def test_backup_is_a_database_of_its_own(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("db", "backup")
    assert code == 0
    assert Path(out.strip()).parent == Path("chats.lmsys/backups").resolve()
    code, out, _ = cli("db", "backup", "-o", "copy.db", "--json")
    assert (code, rows(out)) == (0, [{"path": "copy.db"}])
    connection = sqlite3.connect("copy.db")
    assert connection.execute("SELECT count(*) FROM query").fetchone() == (300,)
    connection.close()


def test_backup_of_a_read_only_workspace_needs_a_place(
    cli: Cli, analysed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.os, "access", lambda path, mode: not mode & os.W_OK)
    code, _, err = cli("db", "backup")
    assert (code, err.splitlines()[-1]) == (1, "hint: name another place with --output")
    assert cli("db", "backup", "-o", "copy.db")[0] == 0


def test_read_only_workspace_can_be_asked_but_not_changed(
    cli: Cli, analysed: str, sample_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.os, "access", lambda path, mode: not mode & os.W_OK)
    for command in (("info",), ("list",), ("facets",), ("verify",), ("sql", "SELECT count(*) FROM turns"), ("runs",)):
        assert cli(*command)[0] == 0
    for command in (
        ("load", sample_file, "-w", "chats.lmsys"),
        ("clear", "--yes"),
        ("delete", "--run", "latest", "--yes"),
        ("db", "downgrade", "0001"),
        ("cluster", "kmeans", "--n-clusters", "3"),
    ):
        code, _, err = cli(*command)
        assert code == 1
        assert err.splitlines()[-2].endswith("chats.lmsys cannot be written: it is open read-only")
    assert Path("chats.lmsys").is_dir()


@pytest.mark.parametrize(
    "command",
    ["verify", "db check", "db upgrade", "db backup", "delete --run x --yes", "clear --yes", "sql --views", "facets"],
)
def test_missing_workspace_is_not_made(cli: Cli, command: str) -> None:
    code, out, err = cli(*command.split(), "-w", "none.lmsys")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no workspace at none.lmsys")
    assert not Path("none.lmsys").exists()
