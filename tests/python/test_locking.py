"""One writer: who is let in, what the others are told, and that the lock is free when the writer is gone."""

from __future__ import annotations

import json
import os
import socket
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from lmsys_rs.errors import StoreError
from lmsys_rs.locking import WriterLock
from lmsys_rs.session import Session, open_session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "writer.lock"


def test_file_says_who_writes_what_since_when(path: Path) -> None:
    with WriterLock(path).held("load"):
        holder = json.loads(path.read_text())
    since = datetime.strptime(holder.pop("since"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert holder == {"pid": os.getpid(), "host": socket.gethostname(), "purpose": "load"}
    assert datetime.now(timezone.utc) - since < timedelta(minutes=1)


def test_file_is_empty_when_nobody_writes(path: Path) -> None:
    with WriterLock(path).held("load"):
        pass
    assert path.read_bytes() == b""


def test_the_same_lock_may_be_nested(path: Path) -> None:
    lock = WriterLock(path)
    with lock.held("run"):
        with lock.held("load"), lock.held("embed"):
            pass
        # the outer purpose stays, and the others are still kept out
        assert json.loads(path.read_text())["purpose"] == "run"
        with pytest.raises(StoreError, match="in use"), WriterLock(path).held("load"):
            pass
    with WriterLock(path).held("load"):
        pass


def test_second_lock_of_the_same_program_is_refused(path: Path) -> None:
    with (
        WriterLock(path).held("embed"),
        pytest.raises(StoreError) as refused,
        WriterLock(path).held("load"),
    ):
        pass
    message = str(refused.value)
    assert message.startswith(
        f"{path.parent} is in use: lmsys embed (process {os.getpid()} on {socket.gethostname()}, "
    )
    assert ", which is this program, writes to it" in message
    assert message.endswith("\nhint: wait until it has finished; reading is possible")


def test_second_session_of_the_same_program_is_refused_and_may_write_later(session: Session) -> None:
    with open_session(session.folder.path) as other:
        with (
            session.writer("load"),
            pytest.raises(StoreError, match=r"lmsys load .* is this program"),
            other.writer("embed"),
        ):
            pass
        with other.writer("embed"):
            pass
    with session.writer("load"):
        pass


def test_other_thread_of_the_same_session_is_refused(session: Session) -> None:
    told: list[str] = []

    def write() -> None:
        try:
            with session.writer("embed"):
                told.append("wrote")
        except StoreError as error:
            told.append(str(error))

    def in_thread() -> None:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    with session.writer("load"):
        in_thread()
    in_thread()
    assert "lmsys load" in told[0]
    assert told[1:] == ["wrote"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_lock_is_released_after_any_error(path: Path, error: type[BaseException]) -> None:
    lock = WriterLock(path)
    with pytest.raises(error), lock.held("load"), lock.held("embed"):
        raise error
    assert path.read_bytes() == b""
    with WriterLock(path).held("load"):
        pass


def test_refused_writer_changes_nothing_of_the_file(path: Path) -> None:
    with WriterLock(path).held("load"):
        before = path.read_bytes()
        with pytest.raises(StoreError), WriterLock(path).held("embed"):
            pass
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe", b'{"pid": null, "purpose": "load"}']
)
def test_unreadable_file_still_says_that_it_is_in_use(path: Path, content: bytes) -> None:
    with WriterLock(path).held("load"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="in use: another program writes to it"), WriterLock(path).held("embed"):
            pass


def test_what_a_killed_writer_left_in_the_file_does_not_lock(path: Path) -> None:
    path.write_text(json.dumps({"pid": 1, "host": "x", "purpose": "load", "since": "2023-04-27T10:00:00Z"}))
    with WriterLock(path).held("embed"):
        assert json.loads(path.read_text())["purpose"] == "embed"


def test_readers_need_no_lock(loaded: Session) -> None:
    with loaded.writer("load"), open_session(loaded.folder.path) as other, other.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM query").scalar_one() == 300


def test_read_only_session_gets_no_lock(loaded: Session) -> None:
    loaded.store.fold_log()
    path = loaded.folder.path
    loaded.close()
    with (
        open_session(path, read_only=True) as other,
        pytest.raises(StoreError, match="cannot be written: it is open read-only"),
        other.writer("load"),
    ):
        pass


def test_database_lock_is_explained_too(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.store.BUSY_TIMEOUT_MS", 50)
    with (
        open_session(session.folder.path) as other,
        session.store.writing(),
        pytest.raises(StoreError, match="in use: another program writes to it"),
        other.store.writing(),
    ):
        pass
