"""``lmsys verify``, ``db``, ``delete``, ``clear`` and ``sql``: the workspace as a thing to keep and to look into."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lmsys_rs import deleting, sql, verifying, views
from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, WorkspaceOption, open_workspace, workspace_path
from lmsys_rs.errors import InvalidInputError, LmsysError, StoreError
from lmsys_rs.exporting import write_frame
from lmsys_rs.records import to_json
from lmsys_rs.session import Session, open_session

__all__ = ["db", "register"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

db = typer.Typer(help="The database of a workspace: schema versions and backups.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("verify", epilog="Example: lmsys verify --repair")(_verify)
    app.command("delete", epilog="Example: lmsys delete --dataset chats --yes")(_delete)
    app.command("clear", epilog="Example: lmsys clear --yes")(_clear)
    app.command("sql", epilog='Example: lmsys sql "SELECT model, count(*) FROM queries GROUP BY model"')(_sql)


def _verify(
    workspace: WorkspaceOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be computed or read again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file and table of a workspace; exit code 1 if something is wrong."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        report = verifying.verify(session, on_event=reporter)
        if repair and report.findings:
            report = verifying.repair(session, report, on_event=reporter)
    if as_json:
        render.print_json({"sound": report.is_sound, **to_json(report)})
    else:
        render.print_note(f"{report.n_files:,} files, {report.n_bytes / 2**20:,.1f} MiB, {report.seconds:.1f} s")
        if report.findings:
            render.print_table(
                ("kind", "what", "problem", "remedy", "mended"),
                [(f.kind, f.what, f.problem, f.remedy or "none", f.repaired) for f in report.findings],
            )
        else:
            render.print_note("everything is as it was written")
        if not report.is_sound and not repair:
            render.print_note("hint: lmsys verify --repair")
    if not report.is_sound:
        raise typer.Exit(1)


def _delete(
    workspace: WorkspaceOption = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Delete this data set.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option("--run", help="Delete this run.", show_default=False)] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a data set or a run. What would go is said first."""
    if (dataset is None) == (run is None):
        raise InvalidInputError("delete needs either --dataset or --run")
    with open_workspace(workspace) as session:
        if run is not None:
            _confirm(f"delete run {run}", yes)
            deleted = deleting.delete_run(session, run)
            if as_json:
                render.print_json({"run_id": deleted})
            else:
                render.print_note(f"deleted {deleted}")
            return
        _say_and_delete(session, dataset, yes=yes, as_json=as_json)


def _clear(workspace: WorkspaceOption = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete every data set and every run of a workspace."""
    with open_workspace(workspace) as session:
        _say_and_delete(session, None, yes=yes, as_json=as_json)


def _sql(
    query: Annotated[str | None, typer.Argument(help="A SELECT, or - to read one from standard input.")] = None,
    workspace: WorkspaceOption = None,
    show_views: Annotated[bool, typer.Option("--views", help="List the views and their columns.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows that are shown.")] = 1000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a .csv, .jsonl or .parquet file.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a workspace in SQL (DuckDB), read-only: over datasets, conversations, turns, queries, texts, runs, ..."""
    with open_workspace(workspace) as session:
        if show_views:
            rows = [
                (name, column, str(kind))
                for name in views.VIEWS
                for column, kind in views.view(session, name).collect_schema().items()
            ]
            render.print_table(("view", "column", "type"), rows)
            return
        if query is None:
            raise InvalidInputError("sql needs a query", hint='lmsys sql "SELECT count(*) FROM queries"')
        text = sys.stdin.read() if query == "-" else query
        answer = sql.query(session, text, limit=None if output else limit + 1)
    if output is not None:
        write_frame(answer, output)
        render.print_note(f"{output}: {answer.height:,} rows")
        return
    shown = answer.head(limit)
    if as_json:
        for row in shown.iter_rows(named=True):
            render.print_json(row)
    else:
        render.print_table(
            shown.columns,
            [tuple(render.short(v, 100) for v in row) for row in shown.iter_rows()],
            numbers=[name for name, kind in shown.schema.items() if kind.is_numeric()],
        )
    if answer.height > limit:
        render.print_note(f"more than {limit:,} rows: --limit or --output FILE shows the others")


@db.command("upgrade", epilog="Example: lmsys db upgrade")
def _upgrade(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """Bring the database to this program's schema, after a backup. Every other command does so by itself."""
    _migrate(workspace, "head", as_json)


@db.command("downgrade", epilog="Example: lmsys db downgrade 0001")
def _downgrade(
    version: Annotated[str, typer.Argument(help="Schema version, such as 0001.")],
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database back to an older schema, for an older program, after a backup."""
    _migrate(workspace, version, as_json)


@db.command("check", epilog="Example: lmsys db check --json")
def _check(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """Say which schema the database has, and whether its tables are what this program expects."""
    with open_session(workspace_path(workspace), create=False, migrate=False) as session:
        version, newest = session.store.version, session.store.newest_version
        found = session.store.differences() if version == newest else None
    if as_json:
        render.print_json({"version": version, "newest": newest, "differences": found})
    else:
        said = "not compared: lmsys db upgrade comes first" if found is None else "; ".join(found) or "none"
        render.print_fields({"schema": version, "newest": newest, "differences": said})
    if version != newest or found:
        raise typer.Exit(1)


@db.command("backup", epilog="Example: lmsys db backup --output lmsys-backup.db")
def _backup(
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: in backups/ of the workspace.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database while it is in use. Array files never change: copy them too for a whole backup."""
    with open_session(workspace_path(workspace), create=False, migrate=False) as session:
        if output is None and session.read_only:
            raise StoreError(f"{session.folder.path} cannot be written", hint="name another place with --output")
        written = session.store.backup(output)
    if as_json:
        render.print_json({"path": written})
    else:
        render.print_text(str(written))


def _migrate(workspace: Path | None, version: str, as_json: bool) -> None:
    with open_session(workspace_path(workspace), create=False, migrate=False) as session, session.writer("db"):
        before = session.store.version
        saved = session.store.migrate_to(version)
        after = session.store.version
    if as_json:
        render.print_json({"before": before, "after": after, "backup": saved})
    elif saved is None:
        render.print_note(f"the schema is {after} already")
    else:
        render.print_note(f"schema {before} -> {after}; backup: {saved}")


def _say_and_delete(session: Session, dataset: str | None, *, yes: bool, as_json: bool) -> None:
    plan = deleting.plan_deletion(session, dataset)
    render.print_note(
        f"{', '.join(plan.datasets) or 'nothing'}: {plan.n_conversations:,} conversations, {plan.n_queries:,} queries, "
        f"{plan.n_texts:,} texts" + (f", and runs {', '.join(plan.runs)}" if plan.runs else "")
    )
    _confirm("delete them for good", yes)
    done = deleting.clear(session) if dataset is None else deleting.delete_dataset(session, dataset)
    if as_json:
        render.print_json(done)
    else:
        render.print_note("deleted")


def _confirm(what: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise LmsysError(f"{what}: nobody can be asked here", hint="add --yes")
    if not render.ask(f"{what}?"):
        render.print_note("nothing was deleted")
        raise typer.Exit(1)
