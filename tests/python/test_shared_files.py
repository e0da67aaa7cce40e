"""Every conversation file beside the repository loads with the row count its README states, from Python and the CLI."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lmsys_rs import verifying, views
from lmsys_rs.loading import load
from lmsys_rs.readers import ColumnMapping
from lmsys_rs.session import open_session

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TABLE_ROW = re.compile(r"^\| ((?:chats|raw|labelled)/\S+) \| ([\d,]+) \|", re.MULTILINE)


def stated() -> dict[str, int]:
    """File to rows, as the README of the data says."""
    readme = SHARED / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return {name: int(rows.replace(",", "")) for name, rows in TABLE_ROW.findall(text)}


FILES = stated()
# these hold texts beside labels, not conversations: the column is named
TEXT_COLUMNS = {"labelled/near_duplicates_hwu64.parquet": "text_a"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_file_loads_from_python_with_its_row_count(shared_data: Path, tmp_path: Path, name: str) -> None:
    with open_session(tmp_path / "w.lmsys") as session:
        report = load(session, shared_data / name, mapping=ColumnMapping(text=TEXT_COLUMNS.get(name)))
        assert (report.n_read, report.n_new, report.n_problems) == (FILES[name], FILES[name], 0)
        assert views.datasets(session).collect()["n_conversations"].to_list() == [FILES[name]]
        assert verifying.verify(session).is_sound
        assert load(session, shared_data / name, mapping=ColumnMapping(text=TEXT_COLUMNS.get(name))).already_loaded


@pytest.mark.slow
def test_every_file_loads_through_the_command_into_one_workspace(shared_data: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "all.lmsys"
    for name, rows in FILES.items():
        column = ["--text-column", TEXT_COLUMNS[name]] if name in TEXT_COLUMNS else []
        command = [sys.executable, "-m", "lmsys_rs", "load", str(shared_data / name), "-w", str(workspace), "--json"]
        out = subprocess.run([*command, *column], capture_output=True, text=True, check=False)
        assert out.returncode == 0, out.stderr
        assert json.loads(out.stdout)["n_new"] == rows, name
    with open_session(workspace) as session:
        assert views.datasets(session).collect()["n_conversations"].sum() == sum(FILES.values())


@pytest.mark.slow
def test_folder_of_files_is_one_data_set(shared_data: Path, tmp_path: Path) -> None:
    names = [name for name in FILES if name.startswith("raw/")]
    with open_session(tmp_path / "w.lmsys") as session:
        report = load(session, shared_data / "raw")
    assert (report.n_files, report.n_read, report.format) == (len(names), sum(FILES[n] for n in names), "mixed")
