"""Who writes to a workspace: one program at a time, and the others are told its name.

The operating system holds the lock, so that a killed program leaves none behind; what stands in the file is only for
people to read.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from lmsys_rs.errors import StoreError

__all__ = ["WriterLock"]

LOCKED_BYTE = 1 << 30  # Windows locks ranges, and forbids reading them: one far behind the text


class WriterLock:
    """The right to write to one workspace; the same object may take it again while it has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.RLock()
        self._depth = 0
        self._file: BinaryIO | None = None

    @contextmanager
    def held(self, purpose: str) -> Iterator[None]:
        """Have the right to write until the end of the block.

        Args:
            purpose: what the writer does, for those who must wait: ``load``.

        Raises:
            StoreError: another program, another thread or another open workspace of this program writes.
        """
        if not self._guard.acquire(blocking=False):
            raise self._in_use()
        try:
            if self._depth == 0:
                self._file = self._locked_file(purpose)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._file is not None:
                    self._file.truncate(0)
                    self._file.close()
                    self._file = None
        finally:
            self._guard.release()

    def _locked_file(self, purpose: str) -> BinaryIO:
        file = self._path.open("a+b")
        try:
            _lock(file)
        except OSError:
            file.close()
            raise self._in_use() from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "purpose": purpose,
            "since": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        file.truncate(0)
        file.write(json.dumps(holder).encode())
        file.flush()
        return file

    def _in_use(self) -> StoreError:
        try:
            holder = json.loads(self._path.read_text())
            who = f"lmsys {holder['purpose']} (process {holder['pid']} on {holder['host']}, since {holder['since']})"
            pid = int(holder["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            who, pid = "another program", None
        if pid == os.getpid():
            who += ", which is this program,"
        return StoreError(
            f"{self._path.parent} is in use: {who} writes to it", hint="wait until it has finished; reading is possible"
        )


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
