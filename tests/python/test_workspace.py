"""The folder of a workspace and its array files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from lmsys_rs.errors import StoreError
from lmsys_rs.workspace import WorkspaceFolder


def test_new_folder_gets_its_parts(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "new.lmsys")
    assert sorted(entry.name for entry in folder.path.iterdir()) == [
        *("columns", "conversations", "graphs", "labels", "projections", "signals", "vectors")
    ]


def test_missing_folder_is_not_made_when_not_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no workspace at"):
        WorkspaceFolder.open(tmp_path / "new.lmsys", create=False)
    assert not (tmp_path / "new.lmsys").exists()


def test_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(StoreError, match=r"is not a workspace: it holds 'photo.jpg' and no lmsys.db"):
        WorkspaceFolder.open(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chats.parquet").touch()
    with pytest.raises(StoreError, match=r"is a file: a workspace is a folder\nhint: try .*chats.lmsys"):
        WorkspaceFolder.open(tmp_path / "chats.parquet")


def test_appended_vectors_leave_earlier_rows_alone(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    file = folder.vector_file("model:mean/256")
    with folder.appended_vectors(file, start=0, stop=2, dim=3) as rows:
        rows[:] = 1
    first = folder.vectors(file, n_rows=2, dim=3)
    with folder.appended_vectors(file, start=2, stop=5, dim=3) as rows:
        rows[:] = 2
    assert first.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert folder.vectors(file, n_rows=5, dim=3)[:, 0].tolist() == [1, 1, 2, 2, 2]
    assert (folder.path / file).stat().st_size == 5 * 3 * 4
    assert file == "vectors/model-mean-256.f32"


def test_vectors_are_read_only(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    with folder.appended_vectors("vectors/a.f32", start=0, stop=1, dim=2) as rows:
        rows[:] = 1
    with pytest.raises(ValueError, match="read-only"):
        folder.vectors("vectors/a.f32", n_rows=1, dim=2)[0, 0] = 5


def test_rewriting_a_cut_off_batch_starts_at_its_row(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    for value in (1, 2):  # the first one was written but never recorded as valid
        with folder.appended_vectors("vectors/a.f32", start=0, stop=2, dim=2) as rows:
            rows[:] = value
    assert (folder.path / "vectors/a.f32").stat().st_size == 16
    assert folder.vectors("vectors/a.f32", n_rows=2, dim=2).tolist() == [[2, 2], [2, 2]]


def test_short_vector_file_is_reported(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    with pytest.raises(StoreError, match="is damaged: 0 bytes, need 80"):
        folder.vectors("vectors/a.f32", n_rows=10, dim=2)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate on this platform")
def test_full_disk_is_an_error_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(OSError, match="No space left"),
        folder.appended_vectors("vectors/a.f32", start=0, stop=9, dim=2),
    ):
        pytest.fail("must not get here")


def test_arrays_come_back_and_leave_nothing_aside(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    array = np.arange(6, dtype=np.uint32).reshape(2, 3)
    folder.write_array("graphs/g.npy", array)
    assert np.array_equal(folder.read_array("graphs/g.npy"), array)
    assert [file.name for file in (folder.path / "graphs").iterdir()] == ["g.npy"]
    assert folder.array_bytes() == (folder.path / "graphs/g.npy").stat().st_size


def test_damaged_array_is_reported(tmp_path: Path) -> None:
    folder = WorkspaceFolder.open(tmp_path / "w.lmsys")
    (folder.path / "graphs" / "g.npy").write_bytes(b"no array")
    with pytest.raises(StoreError, match="missing or damaged"):
        folder.read_array("graphs/g.npy")
