"""The objects a notebook holds: a workspace, and the runs in it. Thin: every method calls one use case.

It prints nothing by itself; on a terminal or in a notebook long steps show a progress line on stderr.
"""

from __future__ import annotations

from lmsys_rs.api.edits import Edits
from lmsys_rs.api.run import Run
from lmsys_rs.api.shown import MapFile
from lmsys_rs.api.workspace import Workspace, open

__all__ = ["Edits", "MapFile", "Run", "Workspace", "open"]
