"""What a long job will cost before it starts: rows, time, disk and memory; and whether that is allowed and possible.

The rates are of two cores of 2023; they say minutes or hours, not seconds. Nothing here computes or stores anything.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.records import Event, OnEvent
from lmsys_rs.session import Session

__all__ = ["Plan", "announce", "parse_size", "plan_clustering", "plan_embedding", "plan_loading", "window_rows"]

LONG_JOB_S = 20.0  # a shorter one needs no announcement
# Measured with benches/scale.py and benches/workflow.py on 2 cores (docs/benchmarks.md)
CONVERSATIONS_PER_S = 25_000
TOKENS_PER_S = {"native": 17_000, "ort": 8_000, "static": 1_500_000}
CHARS_PER_TOKEN = 4.2
MAX_TOKENS = 256
MULTIPLICATIONS_PER_S = 6e10
EXACT_ROWS = 8_192  # as in src/graph/partitioned.rs
BASE_BYTES = 320 << 20  # the program with its libraries, the database's cache half full
DATABASE_BYTES = 850  # per conversation with a query of its own: rows, indexes, signals, columns
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BATCHES_IN_MEMORY = 4  # windows of rows at a time: read, prepared, waiting, stored
EXPANSION = 4.0  # bytes in memory per byte of a packed file
MIN_WINDOW, MAX_WINDOW = 1_024, 32_768


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is expected to need. ``unit`` names what the rows are."""

    job: str
    n_rows: int
    unit: str
    seconds: float
    disk_bytes: int
    memory_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.job}: {self.n_rows:,} {self.unit}, about {_duration(self.seconds)}, "
            f"{_size(self.disk_bytes)} on disk, at most {_size(self.memory_bytes)} of memory"
        )


def parse_size(text: str | int | None) -> int | None:
    """Bytes out of ``2GB``, ``500 MB`` or ``1.5g``; None stays None.

    Raises:
        InvalidInputError: it is no size.
    """
    if text is None or isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower(), re.ASCII)
    if match is None:
        raise InvalidInputError(f"a size is a number with a unit, such as 2GB: {text!r}")
    step = 1024 / 1000 if match[3] else 1
    power = "kmgt".find(match[2]) + 1 if match[2] else 0
    return int(float(match[1]) * UNITS[match[2]] * step**power)


def plan_loading(n_rows: int, n_bytes: int, max_memory: int | None = None) -> Plan:
    """Loading ``n_rows`` conversations out of ``n_bytes`` of files."""
    per_row = EXPANSION * n_bytes / max(1, n_rows)
    memory = BASE_BYTES + int(BATCHES_IN_MEMORY * window_rows(n_rows, n_bytes, max_memory) * per_row)
    disk = int(n_bytes * 1.1 + n_rows * DATABASE_BYTES)
    return Plan("loading", n_rows, "conversations", n_rows / CONVERSATIONS_PER_S, disk, memory)


def plan_embedding(n_texts: int, n_chars: int, dim: int, engine: str = "ort") -> Plan:
    """Embedding ``n_texts`` texts of ``n_chars`` characters together."""
    tokens = min(n_chars / CHARS_PER_TOKEN + 2 * n_texts, MAX_TOKENS * n_texts)
    seconds = tokens / TOKENS_PER_S.get(engine, TOKENS_PER_S["ort"])
    return Plan("embedding", n_texts, "texts", seconds, n_texts * dim * 4, BASE_BYTES + (400 << 20))


def plan_clustering(n_texts: int, dim: int, *, algorithm: str, n_clusters: int, needs_graph: bool) -> Plan:
    """Clustering ``n_texts`` vectors; the vectors themselves are mapped files and need not fit into memory."""
    products = n_texts * n_clusters * dim * 30.0 if algorithm == "kmeans" else 0.0
    memory = BASE_BYTES + 40 * n_texts + 4 * n_clusters * dim * 4
    disk = 60 * n_texts
    if needs_graph:
        # beyond EXACT_ROWS each text is compared with those near it, about a twentieth of all
        products += float(n_texts) * (n_texts if n_texts <= EXACT_ROWS else EXACT_ROWS / 2 + n_texts / 20) * dim
        memory += (15 * 8 * 3 + 3 * dim) * n_texts
        disk += 15 * 8 * n_texts
    return Plan("clustering", n_texts, "texts", products / MULTIPLICATIONS_PER_S, disk, memory)


def window_rows(n_rows: int, n_bytes: int, max_memory: int | None) -> int:
    """How many rows of a table are read at a time, so that those in memory fit into ``max_memory``.

    Raises:
        InvalidInputError: not even the smallest number fits.
    """
    if max_memory is None:
        return MAX_WINDOW
    per_row = max(1.0, EXPANSION * n_bytes / max(1, n_rows))
    fits = int((max_memory - BASE_BYTES) / (BATCHES_IN_MEMORY * per_row))
    if fits < MIN_WINDOW:
        need = BASE_BYTES + int(BATCHES_IN_MEMORY * MIN_WINDOW * per_row)
        raise InvalidInputError(f"max_memory must be at least {_size(need)} for this file: {_size(max_memory)}")
    return min(MAX_WINDOW, fits)


def announce(session: Session, plan: Plan, *, max_memory: int | None = None, on_event: OnEvent) -> None:
    """Say what a long job will cost; refuse one that has no room.

    Raises:
        InvalidInputError: it needs more than ``max_memory`` bytes.
        StoreError: the disk is too small for it.
    """
    if max_memory is not None and plan.memory_bytes > max_memory:
        raise InvalidInputError(
            f"{plan} is more than the allowed {_size(max_memory)}",
            hint="allow more, or choose fewer with --limit"
            if max_memory > BASE_BYTES
            else f"the program alone takes {_size(BASE_BYTES)}",
        )
    free = shutil.disk_usage(session.folder.path).free
    if plan.disk_bytes > free:
        raise StoreError(f"{plan}: there are {_size(free)} free", hint="free some space, or use another disk")
    if plan.seconds >= LONG_JOB_S:
        on_event(Event("note", "plan", message=str(plan)))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 10**9:.1f} GB" if n_bytes >= 10**9 else f"{max(1, n_bytes // 10**6)} MB"
