"""Who may know whom. A new arrow is a change of docs/architecture.md and of this file, or it is not made."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "lmsys_rs"
SOURCE = ROOT / "src"

# module (first part of the name inside the package) -> what it may import of the package.
# "_core" is the extension; `errors` and `config` are for everyone.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "config": set(),
    "records": set(),
    "knowledge": set(),
    "engine": {"_core"},
    "prefetch": set(),
    "extras": set(),
    "conditions": {"records"},
    # these never know each other
    "readers": {"records", "extras", "_core"},
    "store": {"records", "knowledge", "_core", "migrations"},
    "workspace": {"records"},
    "locking": set(),
    "models": {"records", "_core"},
    "llm": {"records"},
    "distilling": {"records", "models", "_core"},
    "map": {"records", "map_clusters", "plot"},
    "map_clusters": {"records", "map", "map_groups"},
    "map_groups": {"map"},
    "plot": {"records", "map_clusters", "map"},
    "sample_topics": set(),
    "sample": {"sample_topics"},
    "migrations": {"store"},
    # an open workspace is folder, database and the right to write together
    "session": {"records", "store", "workspace", "locking"},
    "segments": {"records", "workspace", "extras"},
    # what use cases share: which queries, which vectors
    "columns": {"records", "session", "store"},
    "layouts": {"records", "session", "store", "workspace", "_core"},
    "duplicates": {"records", "session", "store", "layouts", "_core"},
    "templates": set(),
    "heads": set(),
    "labels": {"records", "knowledge", "session", "store", "conditions", "templates"},
    "selection": {"records", "session", "store", "columns", "conditions", "duplicates", "labels"},
    "views": {"records", "session", "store", "columns", "conditions", "duplicates", "segments", "selection"},
    "insight": {"_core"},
    # use cases
    "judging": {"records", "session", "store", "layouts", "selection", "insight", "languages", "_core"},
    "planning": {"records", "session", "store"},
    "preparing": {"records", "store", "conditions", "extras", "_core"},
    "signals": {"records", "session", "store", "columns", "duplicates", "preparing"},
    "loading": {
        *(
            "records",
            "session",
            "store",
            "readers",
            "segments",
            "columns",
            "duplicates",
            "preparing",
            "prefetch",
            "planning",
        ),
    },
    "hub": set(),
    "hub_loading": {"records", "session", "readers", "loading", "hub"},
    "importing": {
        *("records", "session", "store", "conditions", "duplicates", "layouts", "loading", "preparing"),
    },
    "reusing": {"records", "session", "store"},
    "embedding": {"records", "session", "store", "models", "layouts", "planning", "reusing"},
    "clustering": {"records", "session", "store", "labels", "layouts", "languages", "selection", "planning", "_core"},
    "assigning": {"records", "session", "store", "languages", "selection", "clustering", "_core"},
    "evaluating": {"models", "_core"},
    # whether a title says anything, and what clusters are called: over strings and arrays
    "titles": set(),
    "titling": {"titles"},
    "naming": {"titles", "titling", "_core"},
    # a title is checked with the model that made the vectors
    "labeling": {"records", "session", "store", "models", "layouts", "selection", "naming"},
    "grouping": {"records", "llm", "privacy", "prompts", "titles", "_core"},
    "hierarchies": {
        *("records", "knowledge", "session", "store", "selection", "languages", "labeling", "naming"),
        *("journal", "llm", "grouping", "_core"),
    },
    "classifying": {
        *("records", "knowledge", "session", "store", "layouts", "selection", "labels", "templates", "heads"),
        *("languages", "labeling", "naming", "journal", "llm", "prompts", "_core"),
    },
    "generating": {
        *("records", "session", "store", "layouts", "languages", "labeling", "naming", "journal", "llm", "prompts"),
        *("privacy", "_core"),
    },
    "renaming": {"records", "session", "store", "layouts", "labeling", "naming", "_core"},
    "curation": {"records", "knowledge", "session", "store", "selection", "renaming"},
    "rules": {"records", "knowledge", "session", "store", "conditions", "selection", "curation"},
    "languages": {"records", "session", "store", "columns", "layouts"},
    "reviewing": {"records", "session", "store", "judging", "titles", "languages", "naming_scores"},
    "prompts": set(),
    "journal": {"session", "store", "llm"},
    "privacy": {"records", "session", "store", "selection", "views", "_core"},
    "cluster_prompts": {
        *("records", "session", "store", "layouts", "languages", "llm", "naming", "privacy", "prompts", "titles"),
        "_core",
    },
    "naming_scores": {"records", "session", "store", "layouts", "labeling", "naming", "titles"},
    "summarizing": {
        *("records", "knowledge", "session", "store", "llm", "journal", "prompts", "titles"),
        *("labeling", "cluster_prompts", "naming_scores"),
    },
    "search": {"records", "session", "store", "models", "layouts", "selection", "_core"},
    "exporting": {"records", "session", "store", "selection"},
    "drawing": {"records", "session", "store", "layouts", "selection", "hierarchies", "map"},
    "deleting": {"records", "session", "store", "columns", "duplicates"},
    "sql": {"session", "views"},
    "verifying": {
        *("records", "session", "store", "workspace", "readers", "columns", "duplicates", "layouts", "preparing"),
        *("loading", "embedding", "search", "segments", "_core"),
    },
    "pipeline": {
        *("records", "session", "store", "readers", "models", "_core"),
        *("loading", "embedding", "clustering", "labeling", "languages", "rules", "drawing", "selection"),
    },
    # front ends: they know the use cases, never each other
    "api": {
        *("records", "session", "store", "readers", "models", "conditions", "map"),
        *(
            "loading",
            "embedding",
            "clustering",
            "assigning",
            "judging",
            "labeling",
            "search",
            "selection",
            "views",
            "sql",
            "hub_loading",
            "importing",
            "planning",
        ),
        *("curation", "rules", "reviewing", "knowledge", "summarizing", "cluster_prompts", "naming_scores", "privacy"),
        *("prompts", "llm", "languages", "hierarchies", "classifying", "templates", "generating", "labels"),
        *("exporting", "drawing", "deleting", "verifying", "signals", "pipeline"),
    },
    "cli": {
        *("records", "session", "store", "readers", "models", "conditions", "sample", "engine", "_core"),
        *(
            "loading",
            "embedding",
            "distilling",
            "clustering",
            "evaluating",
            "assigning",
            "judging",
            "labeling",
            "search",
            "selection",
            "views",
            "sql",
            "hub_loading",
            "importing",
            "planning",
        ),
        *("curation", "rules", "reviewing", "knowledge", "summarizing", "cluster_prompts", "naming_scores", "privacy"),
        *("prompts", "llm", "languages", "hierarchies", "classifying", "templates", "generating", "labels"),
        *("exporting", "drawing", "deleting", "verifying", "signals", "pipeline"),
    },
    "__init__": {"_core", "engine", "api", "distilling", "insight", "models", "readers", "sample"},
    "__main__": {"cli"},
}
ALWAYS = {"errors", "config"}

PYTHON_FILES = sorted(path for path in PACKAGE.rglob("*.py"))
RUST_FILES = sorted(SOURCE.rglob("*.rs"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that are imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_room_is_on_the_plan() -> None:
    assert {room(path) for path in PYTHON_FILES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_on_the_plan(path: Path) -> None:
    here = room(path)
    known = {name.split(".")[1] for name in imported(parsed(path)) if name.startswith("lmsys_rs.")}
    assert known - ALWAYS - {here} <= MAY_IMPORT[here]


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_house_rules(path: Path) -> None:
    tree, name = parsed(path), str(path.relative_to(PACKAGE))
    assert ast.get_docstring(tree), "a file starts by saying what question it answers"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            kind = ast.unparse(node.type) if node.type else "everything"
            assert kind not in ("Exception", "everything"), f"line {node.lineno}: except {kind}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            assert name == "cli/render.py", f"line {node.lineno}: print"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv"):
            assert name == "config.py", f"line {node.lineno}: {ast.unparse(node)}"
    outside = {module.split(".")[0] for module in imported(tree)}
    web = {module for module in imported(tree) if module.startswith(("urllib.request", "http.client"))}
    assert not web or name in ("models.py", "hub.py")
    assert not outside & {"requests", "aiohttp", "openai", "anthropic", "litellm"}
    assert not outside & {"httpx", "httpx_sse", "httpx2"} or name.startswith("llm/")
    assert not outside & {"typer", "rich"} or name.startswith("cli/")
    assert not outside & {"sqlalchemy", "alembic", "sqlite3"} or name.startswith(("store/", "migrations/"))
    assert "duckdb" not in outside or name == "sql.py"


def test_type_ignore_has_a_reason() -> None:
    for path in PYTHON_FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"#\s*type:\s*ignore", line):
                assert re.search(r"#\s*type:\s*ignore\[[\w-]+\]\s*#\s*\w+", line), f"{path}:{number}"


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def rust_uses(path: Path, *crates: str) -> bool:
    text = without_comments(path.read_text(encoding="utf-8"))
    return any(re.search(rf"\b{crate}::|\buse {crate}\b", text) for crate in crates)


def under(path: Path, *places: str) -> bool:
    return path.relative_to(SOURCE).as_posix().startswith(places)


@pytest.mark.parametrize("path", RUST_FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rust_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not under(path, "py/"):
        assert not rust_uses(path, "pyo3", "numpy", "pyo3_arrow")
    if not under(path, "embed/"):
        assert not rust_uses(path, "ort", "tokenizers")
    if not under(path, "cluster/mixture"):
        assert not rust_uses(path, "linfa", "linfa_clustering", "linfa_linalg", "linfa_nn", "ndarray016")
    if re.search(r"\bunsafe\b(?!_code)", without_comments(text)):
        assert under(path, "kernels/", "py/arrays.rs"), "unsafe is for kernels and arrays"
        blocks = [m.start() for m in re.finditer(r"\bunsafe\s*\{", text)]
        for start in blocks:
            before = text[max(0, start - 600) : start]
            assert "SAFETY:" in before, f"{path.name}: unsafe block without // SAFETY: near offset {start}"
    if under(path, "kernels/"):
        assert not re.search(r"\b(println|eprintln)!|std::(fs|env|time)\b", without_comments(text))
