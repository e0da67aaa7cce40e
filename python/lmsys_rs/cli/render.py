"""How results look on a terminal: the only file that prints. stdout is data, stderr is everything else.

It computes nothing. Texts of strangers are stripped of control sequences before they reach a terminal.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lmsys_rs.config import settings
from lmsys_rs.records import Event, to_json

__all__ = [
    "Reporter",
    "TokenStream",
    "ask",
    "clean",
    "print_error",
    "print_fields",
    "print_json",
    "print_note",
    "print_source",
    "print_table",
    "print_text",
    "print_xml",
    "short",
]

# C0 and C1 controls (escape sequences begin with them) and the marks that turn the direction of text around
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
GAP = "  "
MIN_LAST_WIDTH = 20
PIPE_WIDTH = 120  # columns of a table that goes into a file or a pipe
LINE_EVERY_S = 5.0  # progress on a stderr that is no terminal

STAGES = {
    "model": "fetching model",
    "load": "loading",
    "embed": "embedding",
    "graph": "building graph",
    "layout": "laying out",
    "cluster": "clustering",
    "choose-k": "trying numbers of clusters",
    "label": "naming",
    "summarize": "asking the model",
    "classify": "labelling",
    "generate": "writing queries",
    "distill": "reading tokens",
    "map": "drawing map",
    "export": "exporting",
    "fetch": "fetching",
    "near-duplicates": "near-duplicates",
    "signals": "signals",
    "verify": "verifying",
    "assign": "assigning",
}


def clean(text: Any) -> str:
    """A value as one line without control characters; None becomes empty."""
    return "" if text is None else CONTROLS.sub(" ", str(text)).strip()


def short(text: Any, width: int) -> str:
    """`clean`, cut to ``width`` characters."""
    line = clean(text)
    return line if len(line) <= width else line[: max(width - 1, 1)].rstrip() + "…"


def print_json(value: Any) -> None:
    """One object on one line of stdout."""
    print(json.dumps(to_json(value), ensure_ascii=False, default=str))


def print_text(line: str) -> None:
    """A line of data on stdout."""
    print(clean(line))


def print_source(text: str) -> None:
    """A file of ours on stdout, line by line as it is."""
    print(text, end="" if text.endswith("\n") else "\n")


def print_note(line: str) -> None:
    """A line for the person, on stderr."""
    print(clean(line), file=sys.stderr)


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes."""
    print(f"{clean(question)} [y/N]", end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_error(error: BaseException) -> None:
    """``error: what happened`` on stderr, and the hint on a line of its own."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        message = f"{where}{error.strerror}"
    first, *rest = message.splitlines() or [""]
    print_note(f"error: {first}")
    for line in rest:
        print_note(line)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Iterable[str] = ()) -> None:
    """A table on stdout; columns in ``numbers`` are set right, the last column is cut to the width that is left."""
    right = set(numbers)
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(cell_len(line[i]) for line in cells) for i in range(len(columns))]
    console = _console(sys.stdout)
    room = console.width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(MIN_LAST_WIDTH, room))
    for number, line in enumerate(cells):
        padded = []
        for name, text, width in zip(columns, line, widths, strict=True):
            if cell_len(text) > width:
                text = set_cell_size(text, width - 1).rstrip() + "…"
            space = " " * (width - cell_len(text))
            padded.append(space + text if name in right else text + space)
        shown = GAP.join(padded).rstrip()
        if number == 0 and console.is_terminal and not console.no_color:
            shown = f"\x1b[1m{shown}\x1b[0m"
        print(shown)


def print_fields(values: Mapping[str, Any]) -> None:
    """Names and values on stdout, one per line."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        print(f"{name:<{width}}  {_cell(value)}")


def print_xml(root: str, item: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Records as XML on stdout: short values as attributes, the text as content."""
    print(f"<{root}>")
    for record in records:
        values = {name: value for name, value in record.items() if value is not None}
        content = clean(values.pop("text", values.pop("snippet", "")))
        attributes = "".join(f" {name}={quoteattr(clean(value))}" for name, value in values.items())
        print(f"  <{item}{attributes}>{escape(content)}</{item}>")
    print(f"</{root}>")


class Reporter:
    """Shows events while they come: bars on a terminal, else a line when a stage ends (and every few seconds)."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = _console(sys.stderr)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=30),
            _AmountColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=self._console,
            transient=False,
        )
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, float] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Reporter:
        if self._is_live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bars.stop()

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._quiet

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._quiet:
            return
        if event.kind == "note":
            if self._is_live:
                self._console.print(Text(clean(event.message)))
            else:
                print_note(event.message)
        elif self._is_live:
            self._draw(event)
        else:
            self._write(event)

    def _draw(self, event: Event) -> None:
        if event.stage not in self._tasks or event.kind == "started":
            name = STAGES.get(event.stage, event.stage)
            self._tasks[event.stage] = self._bars.add_task(name, total=event.total, unit=event.unit, said="")
        task = self._tasks[event.stage]
        if event.kind == "finished":
            total = event.total or self._bars.tasks[task].total or 1
            self._bars.update(task, completed=total, total=total, said=event.message)
        else:
            self._bars.update(task, completed=event.done, total=event.total, said=event.message)

    def _write(self, event: Event) -> None:
        now = time.monotonic()
        name = STAGES.get(event.stage, event.stage)
        if event.kind == "started":
            self._started[event.stage] = self._printed[event.stage] = now
        elif event.kind == "finished":
            seconds = now - self._started.get(event.stage, now)
            print_note(f"{name}: {_amount(event.done, None, event.unit)}done in {seconds:.1f} s")
        elif now - self._printed.get(event.stage, now) > LINE_EVERY_S:
            self._printed[event.stage] = now
            said = f"{name}: {_amount(event.done, event.total, event.unit)}".rstrip(" ,")
            print_note(f"{said}, {event.message}" if event.message else said)


class TokenStream:
    """Shows answers while they come: one at a time on stderr, the others when it is done."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._current: int | None = None

    def __call__(self, index: int, piece: str | None) -> None:
        """A piece of the answer to request ``index``; None: it starts again."""
        if piece is None:
            self._texts.pop(index, None)
            if index == self._current:
                self._write("\n")
                self._current = None
            return
        self._texts[index] = self._texts.get(index, "") + piece
        if self._current is None:
            self._current = index
            self._write(f"{self._texts[index]}")
        elif index == self._current:
            self._write(piece)
        if index == self._current and self._texts[index].rstrip().endswith("}"):
            self._write("\n")
            self._current = None

    def _write(self, text: str) -> None:
        print("\n" if text == "\n" else CONTROLS.sub(" ", text), end="", file=sys.stderr, flush=True)


class _AmountColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = str(task.fields.get("unit", ""))
        if unit == "B":
            return DownloadColumn().render(task)
        if not unit:
            return Text(f"{task.percentage:>3.0f}%" if task.total else "")
        rate = f" {task.speed:,.{0 if task.speed >= 10 else 1}f} {unit}/s" if task.speed else ""
        said = str(task.fields.get("said", ""))
        return Text(f"{int(task.completed):,}/{int(task.total or 0):,}{rate}{f' {clean(said)}' if said else ''}")


def _amount(done: int, total: int | None, unit: str) -> str:
    if not done or not unit:
        return ""
    if unit == "B":
        done_text, total_text = _bytes(done), _bytes(total or 0)
    else:
        done_text, total_text = f"{done:,} {unit}", f"{total or 0:,}"
    return f"{done_text}, " if total is None else f"{done_text} of {total_text}"


def _bytes(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB" if n >= 2**20 else f"{-(-n // 1024):,} KiB"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else clean(value)


def _console(file: Any) -> Console:
    console = Console(file=file, no_color=settings().no_color or None, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
