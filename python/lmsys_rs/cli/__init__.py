"""The command ``lmsys``: its groups put together, and what becomes of errors and Ctrl-C.

Commands are thin: they read options, call a use case, and hand the result to `render`. Exit code 0 done, 1 failed,
2 usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from lmsys_rs.cli import (
    care,
    classify,
    cluster,
    edit,
    evaluate,
    hierarchy,
    load,
    maps,
    model,
    naming,
    query,
    render,
    run,
    status,
)
from lmsys_rs.engine import configure_engine
from lmsys_rs.errors import LmsysError

__all__ = ["app", "main"]

INTERRUPTED = 130
BROKEN_PIPE = 141


class _Commands(TyperGroup):
    """Typer's group, except that Ctrl-C has one exit code in every version of Typer."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise typer.Exit(INTERRUPTED) from stop


app = typer.Typer(
    name="lmsys",
    cls=_Commands,
    help="What do people ask our LLM? Clusters, names, maps and search for conversations, on this machine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for group in (run, load, cluster, naming, hierarchy, classify, maps, query, care, evaluate, status):
    group.register(app)
app.add_typer(cluster.app, name="cluster")
app.add_typer(naming.summaries_app, name="summaries")
app.add_typer(naming.prompts_app, name="prompts")
app.add_typer(edit.app, name="edit")
app.add_typer(classify.app, name="classify")
app.add_typer(model.app, name="models")
app.add_typer(care.db, name="db")


def main() -> None:
    """Entry point of the ``lmsys`` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to fail
    try:
        configure_engine()
        app(prog_name="lmsys")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            render.print_note("interrupted; run the same command again to go on where it stopped")
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except (LmsysError, OSError) as error:
        render.print_error(error)
        sys.exit(1)
