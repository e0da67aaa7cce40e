"""Writes docs/cli.md: every command with its example, arguments and options, as the program itself states them.

    python docs/write_cli.py

Options that do nothing here (see the last section) are hidden in the program's help, but listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

PAGE = Path(__file__).resolve().parent / "cli.md"

HEAD = """# The commands

Written by `python docs/write_cli.py`; a test compares this page with the program. `lmsys COMMAND --help` says the same.

- stdout is data, stderr is everything else. `--json` prints one JSON object per line.
- Exit code 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C; the same command then goes on where it stopped.
- A run is named by its id or `latest`. A workspace is a folder: `--workspace`, or `LMSYS_WORKSPACE`, or the only
  `*.lmsys` folder here; `run` and `load` make it.
- `NO_COLOR` is obeyed; `RAYON_NUM_THREADS` bounds the threads of everything.
"""

NO_EFFECT = """## Options that have no effect

Scripts written for jxnl/lmsys-query-analysis may pass them; a note on stderr says that they do nothing.
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of every command that does something, in the order of the help."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


def page() -> str:
    """The whole page."""
    from lmsys_rs.cli import app

    found = list(commands(get_command(app)))
    parts = [HEAD]
    for words, command in found:
        parts.append(section(words, command))
    parts.append(NO_EFFECT)
    for words, command in found:
        hidden = [parameter for parameter in command.params if getattr(parameter, "hidden", False)]
        if hidden:
            names = ", ".join(f"`{name}`" for parameter in hidden for name in parameter.opts)
            parts.append(f"- `lmsys {' '.join(words)}`: {names}")
    return "\n".join(parts) + "\n"


def section(words: tuple[str, ...], command: Any) -> str:
    """One command: what it does, an example, a table of what it takes."""
    example = str(command.epilog).removeprefix("Example: ")
    lines = [f"## lmsys {' '.join(words)}", "", command.help, "", "```console", f"$ {example}", "```", ""]
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    lines += ["| argument or option | default | |", "|---|---|---|"]
    for parameter in shown:
        is_argument = parameter.param_type_name == "argument"
        names = [(parameter.metavar or parameter.name).upper()] if is_argument else parameter.opts
        cells = ", ".join(f"`{name}`" for name in names), default_of(parameter), getattr(parameter, "help", None) or ""
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def default_of(parameter: Any) -> str:
    """The default as text; empty where there is none."""
    if parameter.required:
        return "needed"
    value = parameter.default
    return "" if value is None or value is False else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
