"""How a data set of the Hugging Face hub gets into a workspace: file by file, each loaded before the next is fetched.

What is fetched stays in the cache; a second call fetches and loads only what is new.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lmsys_rs import hub
from lmsys_rs.loading import load
from lmsys_rs.readers import open_conversations
from lmsys_rs.records import Event, LoadReport, OnEvent, ignore_events
from lmsys_rs.session import Session

__all__ = ["load_from_hub"]


def load_from_hub(
    session: Session,
    name: str,
    *,
    pattern: str = "*",
    dataset: str | None = None,
    limit: int | None = None,
    on_event: OnEvent = ignore_events,
    **options: Any,
) -> LoadReport:
    """Load a data set of the hub straight from its Parquet files; see `loading.load` for the other options.

    Args:
        name: owner and name, ``lmsys/lmsys-chat-1m``.
        pattern: only files whose path matches, such as ``data/train-*``.
        dataset: name of the data set in the workspace; None takes the hub's name without the owner.
        limit: at most this many conversations; files beyond them are not fetched.

    Raises:
        Unauthorized: the data set is private or gated, and the token is missing or not accepted.
        ReaderError: the hub does not answer, or it has no Parquet files.
    """
    reports: list[LoadReport] = []
    left = limit
    for file in hub.dataset_files(name, pattern=pattern):
        if left is not None and left <= 0:
            break
        path = hub.fetch_file(file, on_bytes=_Fetching(file, on_event))
        report = load(session, path, dataset=dataset or name.split("/")[1], limit=left, on_event=on_event, **options)
        reports.append(report)
        if left is not None:
            left -= min(left, open_conversations(path).total)
    return _together(name, reports)


class _Fetching:
    """Says how far the fetching of a file is."""

    def __init__(self, file: hub.HubFile, on_event: OnEvent) -> None:
        self._file = file
        self._on_event = on_event
        self._started = False

    def __call__(self, done: int, total: int | None) -> None:
        if not self._started:
            self._started = True
            self._on_event(Event("note", "fetch", message=f"fetching {self._file.path} of {self._file.dataset}"))
            self._on_event(Event("started", "fetch", done, total, "B"))
        self._on_event(Event("advanced", "fetch", done, total, "B"))
        if done == total:
            self._on_event(Event("finished", "fetch", done, total, "B"))


def _together(name: str, reports: list[LoadReport]) -> LoadReport:
    first = reports[0]
    counts = ("n_files", "n_read", "n_new", "n_filtered", "n_queries", "n_new_texts", "n_without_query")
    summed: dict[str, Any] = {
        field: sum(getattr(report, field) for report in reports) for field in (*counts, "n_redacted", "n_problems")
    }
    return replace(
        first,
        path=name,
        problems=tuple(problem for report in reports for problem in report.problems),
        already_loaded=all(report.already_loaded for report in reports),
        finished=all(report.finished for report in reports),
        seconds=sum(report.seconds for report in reports),
        **summed,
    )
