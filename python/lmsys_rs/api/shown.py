"""What a notebook shows by itself: a written map, and progress as one line on stderr."""

from __future__ import annotations

import html
import sys
import time
from pathlib import Path

from lmsys_rs.records import Event

__all__ = ["MapFile", "ProgressLine", "is_interactive"]

REFRESH_S = 0.2
LARGEST_INLINE = 24 << 20  # bytes of a map that is shown inside a notebook: about 400,000 texts


class MapFile:
    """A written map. In Jupyter the last value of a cell shows itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _repr_html_(self) -> str:
        from lmsys_rs import map as maps

        n_bytes = self.path.stat().st_size
        if n_bytes > LARGEST_INLINE:
            # the whole page would be stored in the notebook
            where = html.escape(str(self.path))
            return f"<p>The map has {n_bytes / 2**20:.0f} MiB; open <code>{where}</code> in a browser.</p>"
        return maps.iframe(self.path.read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        return f"MapFile({str(self.path)!r})"


def is_interactive() -> bool:
    """Whether somebody is watching: a notebook or a terminal."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class ProgressLine:
    """One line on stderr that is written over; enough for a notebook, and no dependency."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Show one event."""
        now = time.monotonic()
        if event.kind == "note":
            sys.stderr.write(f"{event.message}\n")
        elif event.kind == "finished":
            sys.stderr.write(f"\r{event.stage}: done{' ' * 40}\n")
        elif now - self._last > REFRESH_S and event.total:
            self._last = now
            amount = f"{event.done:,}/{event.total:,} {event.unit}" if event.unit else ""
            sys.stderr.write(f"\r{event.stage}: {100 * event.done // event.total}% {amount}{' ' * 20}")
        sys.stderr.flush()
