"""``lmsys info``: what a workspace holds and which program this is."""

from __future__ import annotations

import typer

from lmsys_rs import _core
from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, WorkspaceOption, open_workspace
from lmsys_rs.pipeline import workspace_info

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("info", epilog="Example: lmsys info --workspace my.lmsys --json")(_info)


def _info(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """Show what a workspace holds."""
    with open_workspace(workspace) as session:
        info = workspace_info(session)
    if as_json:
        render.print_json(info)
        return
    render.print_fields(
        {
            "workspace": info.path,
            "data sets": info.n_datasets,
            "conversations": info.n_conversations,
            "turns": info.n_turns,
            "queries": info.n_queries,
            "distinct texts": info.n_texts,
            "runs": info.n_runs,
            "embeddings": ", ".join(f"{e.model} ({e.n_rows:,} x {e.dim})" for e in info.embeddings) or "none",
            "database": f"{info.database_bytes / 2**20:,.1f} MiB",
            "arrays": f"{info.array_bytes / 2**20:,.1f} MiB",
            "schema": info.schema_version,
            "program": f"lmsys_rs {info.program_version}, kernels {', '.join(_core.available_isas())}",
        }
    )
