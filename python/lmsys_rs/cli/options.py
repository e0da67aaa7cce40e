"""Options that several commands share, and how a command finds its workspace."""

from __future__ import annotations

import functools
import inspect
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from lmsys_rs.cli import render
from lmsys_rs.conditions import make_filters
from lmsys_rs.config import settings
from lmsys_rs.errors import InvalidInputError, LmsysError, StoreError
from lmsys_rs.models import EngineName
from lmsys_rs.readers import FORMATS
from lmsys_rs.session import Session, open_session
from lmsys_rs.signals import fill
from lmsys_rs.store import reading

__all__ = [
    "AcrossLanguages",
    "AsJson",
    "AsTable",
    "AsXml",
    "ColumnId",
    "ColumnLanguage",
    "ColumnModel",
    "ColumnText",
    "ColumnTimestamp",
    "EngineOption",
    "FormatName",
    "Limit",
    "MaxMemory",
    "ModelDefault",
    "ProviderOption",
    "Redact",
    "RunId",
    "Seed",
    "Strict",
    "Unit",
    "WorkspaceOption",
    "ignored",
    "making_workspace",
    "numbers",
    "open_workspace",
    "told_ignored",
    "with_filters",
    "workspace_path",
]

EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", help="What embeds: auto, native (own kernels), ort (ONNX Runtime) or static."),
]
ProviderOption = Annotated[
    str,
    typer.Option(
        "--provider", help="Where the engine ort computes: cpu, cuda, cuda:1, tensorrt, coreml, openvino, ..."
    ),
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
AcrossLanguages = Annotated[
    bool,
    typer.Option(
        "--across-languages",
        help="Take the mean of its language from every text: texts on one thing in several languages can meet.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken line instead of counting it.")]
Unit = Annotated[
    str | None,
    typer.Option("--unit", help="What a query is: first (user turn), turn (each one) or dialogue.", show_default=False),
]
MaxMemory = Annotated[
    str | None,
    typer.Option("--max-memory", help="Do not take more than this, such as 2GB.", show_default=False),
]
Redact = Annotated[bool, typer.Option("--redact", help="Replace personal data and secrets before storing anything.")]
FormatName = Annotated[
    str,
    typer.Option("--format", "--text-format", help=f"auto detects it; otherwise {', '.join(FORMATS)}."),
]
ColumnText = Annotated[
    str | None, typer.Option("--text-column", help="Field with the turns or the text.", show_default=False)
]
ColumnModel = Annotated[
    str | None, typer.Option("--model-column", help="Field with the model that answered.", show_default=False)
]
ColumnLanguage = Annotated[
    str | None, typer.Option("--language-column", help="Field with the language.", show_default=False)
]
ColumnTimestamp = Annotated[
    str | None, typer.Option("--timestamp-column", help="Field with the time.", show_default=False)
]
ColumnId = Annotated[
    str | None,
    typer.Option("--conversation-id-column", help="Field with the id of the conversation.", show_default=False),
]
ModelDefault = Annotated[str, typer.Option("--model-default", help="Model of conversations that name none.")]


def ignored(*names: str) -> Any:
    """A hidden option of the tool that this one replaces; it has no effect (see `told_ignored`)."""
    return typer.Option(*names, hidden=True)


def told_ignored(**values: Any) -> None:
    """Say once which of the given options do nothing here."""
    given = [f"--{name.replace('_', '-')}" for name, value in values.items() if value is not None]
    if given:
        render.print_note(f"note: {', '.join(given)} has no effect: vectors are stored in the workspace, not in Chroma")


def numbers(text: str, name: str) -> list[int]:
    """What "12,57" says.

    Raises:
        InvalidInputError: a part is no number; ``name`` is what the option is called.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InvalidInputError(f"{name} must be numbers with commas between them: {text!r}") from error


def open_workspace(path: Path | None, *, otherwise: Path | None = None, create: bool = False) -> Session:
    """The workspace a command means: named, from the environment, the only one here, or ``otherwise``.

    Raises:
        StoreError: none of these, or it cannot be opened.
    """
    session = open_session(workspace_path(path, otherwise), create=create)
    with render.Reporter() as reporter:
        fill(session, on_event=reporter)
    return session


@contextmanager
def making_workspace(path: Path | None, *, otherwise: Path) -> Iterator[Session]:
    """`open_workspace` for commands that make one: where they fail before anything is in it, the folder goes again.

    Left behind it would be "the only workspace here" of the next command.
    """
    chosen = workspace_path(path, otherwise)
    is_new = not chosen.exists()
    try:
        with open_workspace(chosen, create=True) as session:
            yield session
    except (LmsysError, OSError):
        if is_new and _is_empty(chosen):
            shutil.rmtree(chosen)
        raise


def _is_empty(folder: Path) -> bool:
    """Whether a workspace holds nothing, and nobody is about to put something into it."""
    try:
        with open_session(folder, create=False) as session, session.writer("load"):
            with session.store.reading() as connection:
                counts = reading.counts(connection)
            return counts["n_conversations"] == counts["n_runs"] == 0
    except (LmsysError, OSError):
        return False


def workspace_path(path: Path | None, otherwise: Path | None = None) -> Path:
    """The folder a command means, see `open_workspace`."""
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


PANEL = "Filters"
FILTERS: dict[str, Any] = {
    "dataset": Annotated[
        str | None, typer.Option("--dataset", help="Only this data set.", show_default=False, rich_help_panel=PANEL)
    ],
    "model": Annotated[
        str | None,
        typer.Option("--model", help="Only answers of this model.", show_default=False, rich_help_panel=PANEL),
    ],
    "language": Annotated[
        str | None,
        typer.Option(
            "--language",
            help="Only this language (of the source, else detected).",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ],
    "min_length": Annotated[
        int | None,
        typer.Option("--min-length", min=0, help="Characters, at least.", show_default=False, rich_help_panel=PANEL),
    ],
    "max_length": Annotated[
        int | None,
        typer.Option("--max-length", min=1, help="Characters, at most.", show_default=False, rich_help_panel=PANEL),
    ],
    "min_quality": Annotated[
        float | None,
        typer.Option("--min-quality", min=0.0, max=1.0, help="0 to 1.", show_default=False, rich_help_panel=PANEL),
    ],
    "since": Annotated[
        str | None,
        typer.Option("--since", help="From this time on: 2023-04-27.", show_default=False, rich_help_panel=PANEL),
    ],
    "until": Annotated[
        str | None, typer.Option("--until", help="Before this time.", show_default=False, rich_help_panel=PANEL)
    ],
    "where": Annotated[
        str | None,
        typer.Option(
            "--where",
            help="SQL condition: \"n_turns > 2 AND text LIKE '%refund%'\".",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ],
    "drop_near_duplicates": Annotated[
        bool,
        typer.Option(
            "--drop-near-duplicates", help="One text of each group of near-duplicates.", rich_help_panel=PANEL
        ),
    ],
}


def with_filters(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the filter options; it gets what they say as its argument ``filters``.

    Args:
        without: options that mean something else for this command.
    """
    options = {name: kind for name, kind in FILTERS.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**arguments: Any) -> None:
            named = {name: arguments.pop(name) for name in options}
            dropped = named.pop("drop_near_duplicates", False)
            command(filters=make_filters(**named, near_duplicates=False if dropped else None), **arguments)

        # resolved here: Typer sees only the signature, not the module in which the names of its types mean something
        kinds = {**get_type_hints(command, include_extras=True), **options}
        own = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "filters"]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False if name == "drop_near_duplicates" else None
            )
            for name in options
        ]
        parameters = [parameter.replace(annotation=kinds[parameter.name]) for parameter in (*own, *added)]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate
