"""The pages tell the truth: commands and options as the program has them, links that lead somewhere, code that runs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lmsys_rs as lm
import numpy as np
import pytest
from lmsys_rs.cli import app
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "web").glob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*words, name))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


COMMANDS = dict(walk(get_command(app)))
every_command = pytest.mark.parametrize("name", COMMANDS)


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(line: str) -> list[str]:
    """Code spans in the first column of a table row."""
    return re.findall(r"`([^`]+)`", line.split("|")[1]) if line.startswith("|") else []


# ---- commands ----------------------------------------------------------------------------------------------------


@every_command
def test_command_has_an_example_in_its_help(name: str) -> None:
    example = COMMANDS[name].epilog or ""
    assert example.startswith(f"Example: lmsys {name}")


@every_command
def test_command_has_a_line_in_the_readme(name: str) -> None:
    listed = [code for line in read(README).splitlines() for code in cells(line)]
    assert any(re.fullmatch(rf"lmsys {name}( [A-Z]+)*", code) for code in listed)


def test_readme_names_no_other_commands() -> None:
    listed = [code for line in read(README).splitlines() for code in cells(line) if code.startswith("lmsys ")]
    assert {re.sub(r"( [A-Z]+)+$", "", code.removeprefix("lmsys ")) for code in listed} == set(COMMANDS)


@every_command
def test_every_option_is_on_the_page_of_commands(name: str) -> None:
    text = read(ROOT / "docs" / "cli.md")
    section = text.split(f"\n## lmsys {name}\n")[1].split("\n## ")[0]
    listed = {code for line in section.splitlines() for code in cells(line)}
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            assert set(parameter.opts) <= listed


def test_page_of_commands_is_what_its_script_writes() -> None:
    script = load_script(ROOT / "docs" / "write_cli.py")
    assert read(script.PAGE) == script.page(), "run: python docs/write_cli.py"


# ---- links, decisions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(read(path)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        file, _, heading = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        if heading:
            headings = [re.sub(r"[^\w\- ]", "", h).strip().replace(" ", "-").lower() for h in headings_of(found)]
            assert heading in headings, target


def headings_of(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", read(path), flags=re.MULTILINE)


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{i:04}" for i in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=page_name)
def test_decision_has_status_date_choice_and_alternatives(path: Path) -> None:
    lines = read(path).splitlines()
    assert lines[0].startswith(f"# {path.name[:4]} ")
    assert re.fullmatch(r"Status: (accepted|replaced by \d{4})", lines[2])
    assert re.fullmatch(r"Date: \d{4}-\d\d-\d\d", lines[3])
    assert {"## Choice", "## The two best alternatives"} <= set(lines)
    assert any(line.startswith("## Measurement") for line in lines)


def test_every_dependency_has_its_line() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    page = read(ROOT / "docs" / "decisions" / "0011-dependencies.md")
    cargo = tomllib.loads(read(ROOT / "Cargo.toml"))
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    wanted = [*cargo["dependencies"], *cargo["dev-dependencies"]]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted.append(re.split(r"[<>=~!; \[]", requirement)[0])
    missing = [name for name in wanted if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)]
    assert missing == []


# ---- the files that pages name ------------------------------------------------------------------------------------


def test_files_that_the_architecture_page_names_exist() -> None:
    text = read(ROOT / "docs" / "architecture.md")
    folders = (
        ROOT,
        ROOT / "python" / "lmsys_rs",
        ROOT / "src",
        ROOT / "src" / "embed",
        ROOT / "python/lmsys_rs/readers",
    )
    planned = {"store.py", "project.rs"}  # named as what was planned
    for name in set(re.findall(r"`([\w./]+\.(?:py|rs|html|pyi))`", text)) - planned:
        assert any((folder / name).exists() for folder in folders), name


def test_every_room_is_on_the_architecture_page() -> None:
    text = read(ROOT / "docs" / "architecture.md")
    package = {path.stem for path in (ROOT / "python" / "lmsys_rs").glob("*.py")}
    package |= {path.parent.name for path in (ROOT / "python" / "lmsys_rs").glob("*/__init__.py")}
    core = {path.stem for path in (ROOT / "src").glob("*.rs")} | {
        path.parent.name for path in ROOT.glob("src/*/mod.rs")
    }
    missing = [name for name in sorted(package | core) if not re.search(rf"\b{name}\b", text)]
    assert missing == []


# ---- the README's code -------------------------------------------------------------------------------------------


def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lm.write_sample("chats.parquet", n_conversations=260)
    blocks = re.findall(r"^```python\n(.*?)^```", read(README), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert len(names["run"].clusters()) == 200
    texts = names["ws"].texts().collect()["text"].to_list()
    names |= {"texts": texts, "Q": names["ws"].vectors()[:3], "mask": np.arange(len(texts)) < 50}
    exec(compile(blocks[1], "README.md", "exec"), names)
    assert names["X"].shape == (len(texts), 384)
    assert names["g"].indices.shape == (len(texts), 15)
    assert names["ids"].shape == (3, 10)
    assert names["ids"].max() < 50
    names["ws"].close()
