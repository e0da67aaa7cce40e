"""The whole way from a file to a named, mapped run, and what a workspace holds: what the front ends call first.

It prints nothing and asks nothing: it reports through events. Every step skips what is done and resumes what was
cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmsys_rs.clustering import cluster, default_k
from lmsys_rs.drawing import write_map
from lmsys_rs.embedding import embed, load_encoder
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.languages import clusters_of_other_languages
from lmsys_rs.loading import load
from lmsys_rs.models import DEFAULT_MODEL, EngineName
from lmsys_rs.readers import ColumnMapping
from lmsys_rs.records import EmbedReport, Event, Filters, LoadReport, OnEvent, RunRecord, WorkspaceInfo, ignore_events
from lmsys_rs.rules import apply_rules
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading
from lmsys_rs.store.schema import SCHEMA_VERSION

__all__ = ["RunReport", "named", "run_all", "workspace_info"]


MAX_SPLIT = 0.1  # share of clusters of other languages from which on it is worth a word


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What `run_all` did: a report of each step."""

    load: LoadReport
    embed: EmbedReport
    run: RunRecord
    map_path: Path | None


def run_all(
    session: Session,
    path: str | Path,
    *,
    dataset: str | None = None,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    unit: str | None = None,
    filters: Filters | None = None,
    redact: bool = False,
    max_memory: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    model: str | Path = DEFAULT_MODEL,
    engine: EngineName = "auto",
    provider: str = "cpu",
    algorithm: str = "kmeans",
    across_languages: bool = False,
    n_clusters: int | None = None,
    min_cluster_size: int | None = None,
    random_state: int = 0,
    map_path: Path | None = None,
    on_event: OnEvent = ignore_events,
) -> RunReport:
    """The whole way: load, embed, cluster, name, and (with ``map_path``) draw the map of one data set.

    Args:
        unit, redact: see `loading.load`.
        max_memory: bytes that no step may exceed.
        filters: which queries of the data set are clustered.
        engine, provider: what embeds, and where, see `models.Encoder`.
        algorithm: ``kmeans``, ``density`` (finds the number of clusters itself) or ``hdbscan``.
        across_languages: let texts on the same thing in different languages meet, see `languages`.
        n_clusters: of k-means; None takes `clustering.default_k` of the number of texts.
        min_cluster_size: of HDBSCAN; None takes 25, or less for a small file.
    """
    from lmsys_rs import _core

    loaded = load(
        session,
        path,
        dataset=dataset,
        format=format,
        mapping=mapping,
        unit=unit,
        redact=redact,
        max_memory=max_memory,
        limit=limit,
        strict=strict,
        on_event=on_event,
    )
    encoder = load_encoder(model, on_event, engine=engine, provider=provider)
    embedded = embed(session, encoder, max_memory=max_memory, on_event=on_event)
    filters = replace(filters or Filters(), dataset=loaded.dataset)
    n_texts = len(select(session, filters))
    if n_texts == 0:
        raise InvalidInputError(
            f"{path}: there is nothing to cluster: no conversation has a user turn with text",
            hint="name the field with the text with --text-column",
        )
    estimator: Any
    if algorithm == "kmeans":
        estimator = _core.KMeans(n_clusters=n_clusters or default_k(n_texts), random_state=random_state)
    elif algorithm == "density":
        estimator = _core.Density(random_state=random_state)
    elif algorithm == "hdbscan":
        estimator = _core.HDBSCAN(min_cluster_size=min_cluster_size or max(2, min(25, n_texts // 40)))
    else:
        raise InvalidInputError(f"algorithm must be kmeans, density or hdbscan: {algorithm!r}")
    run = cluster(
        session,
        estimator,
        filters=filters,
        embedder_id=embedded.embedder_id,
        random_state=random_state,
        across_languages=across_languages,
        max_memory=max_memory,
        on_event=on_event,
    )
    run = named(session, run, on_event=on_event)
    n_split, main = clusters_of_other_languages(session, run)
    if n_split > MAX_SPLIT * run.n_clusters and not across_languages:
        on_event(
            Event(
                "note",
                "label",
                message=f"{n_split:,} of {run.n_clusters:,} clusters are of one language that is not {main}: "
                "--across-languages groups by what is said",
            )
        )
    if map_path is not None:
        write_map(session, run.run_id, map_path, on_event=on_event)
    return RunReport(load=loaded, embed=embedded, run=run, map_path=map_path)


def named(session: Session, run: RunRecord, *, on_event: OnEvent = ignore_events) -> RunRecord:
    """A run whose clusters have names, with every rule applied to it."""
    if not run.labeled:
        label(session, run.run_id, on_event=on_event)
    apply_rules(session, run.run_id, on_event=on_event)
    with session.store.reading() as connection:
        return reading.get_run(connection, run.run_id)


def workspace_info(session: Session) -> WorkspaceInfo:
    """What the workspace holds."""
    with session.store.reading() as connection:
        counts = reading.counts(connection)
        embeddings = tuple(reading.embeddings(connection))
    return WorkspaceInfo(
        path=str(session.folder.path.resolve()),
        program_version=_version(),
        schema_version=SCHEMA_VERSION,
        embeddings=embeddings,
        database_bytes=session.folder.database_bytes(),
        array_bytes=session.folder.array_bytes(),
        **counts,
    )


def _version() -> str:
    from lmsys_rs import _core

    return _core.__version__
