"""Options that several commands share, and how a command finds its workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lmsys_rs.cli import render
from lmsys_rs.config import settings
from lmsys_rs.errors import StoreError
from lmsys_rs.records import Filters
from lmsys_rs.session import Session, open_session

__all__ = [
    "AsJson",
    "AsTable",
    "AsXml",
    "ColumnId",
    "ColumnLanguage",
    "ColumnModel",
    "ColumnText",
    "ColumnTimestamp",
    "DatasetFilter",
    "FormatName",
    "LanguageFilter",
    "Limit",
    "ModelDefault",
    "ModelFilter",
    "RunId",
    "Seed",
    "Strict",
    "WorkspaceOption",
    "filters",
    "ignored",
    "open_workspace",
    "told_ignored",
]

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        "--db-path",
        help="Workspace folder. Default: LMSYS_WORKSPACE, or the only *.lmsys folder here.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")]
AsTable = Annotated[bool, typer.Option("--table", help="A table (the default).")]
AsXml = Annotated[bool, typer.Option("--xml", help="XML, for prompts.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or latest.")]
Seed = Annotated[int, typer.Option("--seed", "--random-state", help="Same seed, same result.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many.", show_default=False)]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken line instead of counting it.")]
DatasetFilter = Annotated[str | None, typer.Option("--dataset", help="Only this data set.", show_default=False)]
ModelFilter = Annotated[str | None, typer.Option("--model", help="Only answers of this model.", show_default=False)]
LanguageFilter = Annotated[str | None, typer.Option("--language", help="Only this language.", show_default=False)]
FormatName = Annotated[
    str,
    typer.Option("--format", "--text-format", help="auto, lmsys, sharegpt, or text (one text per row)."),
]
ColumnText = Annotated[
    str | None, typer.Option("--text-column", help="Field with the turns or the text.", show_default=False)
]
ColumnModel = Annotated[str | None, typer.Option("--model-column", show_default=False)]
ColumnLanguage = Annotated[str | None, typer.Option("--language-column", show_default=False)]
ColumnTimestamp = Annotated[str | None, typer.Option("--timestamp-column", show_default=False)]
ColumnId = Annotated[str | None, typer.Option("--conversation-id-column", show_default=False)]
ModelDefault = Annotated[str, typer.Option("--model-default", help="Model of conversations that name none.")]


def ignored(*names: str) -> Any:
    """A hidden option of the tool that this one replaces; it has no effect (see `told_ignored`)."""
    return typer.Option(*names, hidden=True)


def told_ignored(**values: Any) -> None:
    """Say once which of the given options do nothing here."""
    given = [f"--{name.replace('_', '-')}" for name, value in values.items() if value is not None]
    if given:
        render.print_note(f"note: {', '.join(given)} has no effect: vectors are stored in the workspace, not in Chroma")


def open_workspace(path: Path | None, *, otherwise: Path | None = None, create: bool = False) -> Session:
    """The workspace a command means: named, from the environment, the only one here, or ``otherwise``.

    Raises:
        StoreError: none of these, or it cannot be opened.
    """
    return open_session(_workspace_path(path, otherwise), create=create)


def _workspace_path(path: Path | None, otherwise: Path | None) -> Path:
    chosen = path or settings().workspace
    if chosen is not None:
        return chosen
    if otherwise is not None and otherwise.exists():
        return otherwise
    here = sorted(folder for folder in Path.cwd().glob("*.lmsys") if folder.is_dir())
    if len(here) == 1 and otherwise is None:
        return here[0]
    if otherwise is not None:
        return otherwise
    if here:
        names = ", ".join(folder.name for folder in here)
        raise StoreError(
            f"there are {len(here)} workspaces here: {names}", hint=f"choose one: --workspace {here[0].name}"
        )
    raise StoreError(
        "no workspace here: no folder ends in .lmsys", hint="lmsys run FILE makes one, or name one with --workspace"
    )


def filters(dataset: str | None = None, model: str | None = None, language: str | None = None) -> Filters:
    """The filter options as a record."""
    return Filters(dataset=dataset, model=model, language=language)
