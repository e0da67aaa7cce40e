"""Which files a path means: one file, those that a pattern finds, or the conversation files of a folder.

It opens none of them.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import NamedTuple

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.streams import SUFFIXES

__all__ = ["Expanded", "expand_path", "expand_paths"]

PACKED = frozenset({".gz", ".gzip", ".zst", ".zstd"})
SHOWN = 8


class Expanded(NamedTuple):
    """The files to read, in order, and those beside them that are no conversation files."""

    paths: list[Path]
    left_out: list[Path]


def expand_paths(path: str | Path) -> list[Path]:
    """The files that a path means, in the order of their names: itself, what a pattern finds, or what a folder holds.

    Args:
        path: a file, a folder (with all folders in it), or a pattern with ``*``, ``?``, ``[..]`` or ``**``.

    Raises:
        FileNotFoundError: there is no such file, and the pattern finds none.
        ReaderError: a folder, or what a pattern finds, has no conversation file.
    """
    return expand_path(path).paths


def expand_path(path: str | Path) -> Expanded:
    """As `expand_paths`, with the files that were left out: hidden ones and those of no known kind.

    A file that is named, or found by a pattern, is taken whatever its ending; in folders, endings decide.
    """
    one = Path(path)
    if one.is_dir():
        return _of_folder(one)
    if one.exists() or not glob.has_magic(str(path)):
        # a file with a star in its name is that file; a missing one is reported when it is opened
        return Expanded([one], [])
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  # Path.glob can't take an absolute pattern
    files = [file for file in found if file.is_file()]
    if not files and found:
        parts = [_of_folder(folder) for folder in found if folder.is_dir()]
        return Expanded([p for part in parts for p in part.paths], [p for part in parts for p in part.left_out])
    if not files:
        folder = _existing_parent(one)
        raise FileNotFoundError(f"no file matches {path}; {folder} has {_listed(sorted(folder.iterdir()))}")
    return Expanded(files, [])


def _of_folder(folder: Path) -> Expanded:
    everything = sorted(file for file in folder.rglob("*") if file.is_file())
    taken = [file for file in everything if _is_shown(file, folder) and _is_known(file)]
    if not taken:
        raise ReaderError(
            f"{folder}: no conversation file in this folder; it has {_listed(everything)}",
            file=str(folder),
            hint=f"need {', '.join(sorted(SUFFIXES))}, packed with .gz or .zst or not",
        )
    return Expanded(taken, [file for file in everything if file not in set(taken)])


def _is_shown(file: Path, folder: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _is_known(file: Path) -> bool:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
        return bool(suffixes) and suffixes[-1] in SUFFIXES - {".parquet"}
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def _existing_parent(path: Path) -> Path:
    return next((parent for parent in path.parents if parent.is_dir()), Path())


def _listed(files: list[Path]) -> str:
    if not files:
        return "nothing"
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(file.name for file in files[:SHOWN]) + more
