"""Data sets of the Hugging Face hub, against a small server on loopback that answers as the hub does."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import hub
from lmsys_rs.errors import InvalidInputError, ReaderError, Unauthorized
from lmsys_rs.hub_loading import load_from_hub
from lmsys_rs.session import Session

SHA = "0123456789abcdef0123456789abcdef01234567"


def parquet(first: int, n: int) -> bytes:
    rows = [
        {"conversation_id": f"c{i}", "model": "m", "conversation": [{"role": "user", "content": f"question {i}"}]}
        for i in range(first, first + n)
    ]
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


@dataclass
class Hub:
    """What the server has, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    page: int = 2  # entries of the file list per answer
    cut_after: int | None = None  # bytes after which a download breaks off
    wrong_sha: bool = False
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    storage: str = ""  # another host, to which downloads are redirected


def server(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    made = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    state = Hub(
        files={"data/train-0.parquet": parquet(0, 30), "data/train-1.parquet": parquet(30, 20), "README.md": b"x"}
    )

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

        def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            authorization, requested = self.headers.get("Authorization"), self.headers.get("Range")
            state.asked.append((self.path, authorization, requested))
            if state.token is not None and authorization != f"Bearer {state.token}" and "storage" not in path:
                return self.answer(b"{}", 401 if authorization is None else 403)
            if path == "/api/datasets/me/chats/revision/main":
                return self.answer(json.dumps({"sha": SHA}).encode())
            if path == f"/api/datasets/me/chats/tree/{SHA}":
                start = int(query.partition("cursor=")[2] or 0)
                names = sorted(state.files)[start : start + state.page]
                entries = [
                    {
                        "type": "file",
                        "path": name,
                        "size": 134 if name.endswith(".parquet") else 1,
                        **(
                            {
                                "lfs": {
                                    "oid": hashlib.sha256(state.files[name]).hexdigest(),
                                    "size": len(state.files[name]),
                                }
                            }
                            if name.endswith(".parquet")
                            else {}
                        ),
                    }
                    for name in names
                ]
                if state.wrong_sha:
                    for entry in entries:
                        entry.setdefault("lfs", {})["oid"] = "0" * 64  # type: ignore[attr-defined]
                more = start + state.page < len(state.files)
                link = (
                    {"Link": f'<http://hub{path}?recursive=true&cursor={start + state.page}>; rel="next"'}
                    if more
                    else {}
                )
                return self.answer(json.dumps(entries).encode(), **link)
            prefix = f"/datasets/me/chats/resolve/{SHA}/"
            if path.startswith(prefix) and state.storage:
                return self.answer(b"", 302, Location=f"{state.storage}/storage/{path[len(prefix) :]}")
            if path.startswith((prefix, "/storage/")):
                body = state.files[path.removeprefix(prefix).removeprefix("/storage/")]
                start = int(requested[6:-1]) if requested else 0
                if state.cut_after is not None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: state.cut_after])
                    self.wfile.flush()
                    self.connection.close()
                    return None
                return self.answer(body[start:], 206 if start else 200)
            return self.answer(b"{}", 404)

    hosts = [server(Handler), server(Handler)]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hosts[0].server_address[1]}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    state.other = f"http://127.0.0.1:{hosts[1].server_address[1]}"  # type: ignore[attr-defined]
    yield state
    for host in hosts:
        host.shutdown()
        host.server_close()


def test_every_parquet_file_is_loaded_into_one_data_set(session: Session, fake: Hub) -> None:
    report = load_from_hub(session, "me/chats")
    assert (report.dataset, report.n_files, report.n_read, report.n_new) == ("chats", 2, 50, 50)
    n_asked = len([path for path, _, _ in fake.asked if "resolve" in path])
    assert n_asked == 2
    again = load_from_hub(session, "me/chats")
    assert again.already_loaded
    assert len([path for path, _, _ in fake.asked if "resolve" in path]) == n_asked  # they are in the cache


def test_limit_fetches_only_the_files_it_needs(session: Session, fake: Hub) -> None:
    assert load_from_hub(session, "me/chats", limit=30).n_new == 30
    assert not [path for path, _, _ in fake.asked if "train-1" in path and "resolve" in path]
    assert load_from_hub(session, "me/chats", limit=40).n_new == 10


def test_pattern_chooses_files(session: Session, fake: Hub) -> None:
    assert load_from_hub(session, "me/chats", pattern="data/train-1*").n_new == 20
    with pytest.raises(ReaderError, match="no Parquet files for it that match nothing"):
        load_from_hub(session, "me/chats", pattern="nothing*")


def test_token_opens_a_gated_data_set(fake: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.token = "hf_secret"
    with pytest.raises(Unauthorized, match=r"refuses access \(401\): no token\nhint: accept the terms at"):
        hub.dataset_files("me/chats")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(Unauthorized, match=r"\(403\): the token is not accepted") as refused:
        hub.dataset_files("me/chats")
    assert "hf_wrong" not in str(refused.value)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert [file.path for file in hub.dataset_files("me/chats")] == ["data/train-0.parquet", "data/train-1.parquet"]


def test_token_that_the_hub_tool_stored_is_used(fake: Hub, tmp_path: Path) -> None:
    fake.token = "hf_stored"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_stored\n")
    assert len(hub.dataset_files("me/chats")) == 2


def test_token_does_not_follow_to_another_host(fake: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.token, fake.storage = "hf_secret", fake.other  # type: ignore[attr-defined]
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch_file(hub.dataset_files("me/chats")[0])
    assert [authorization for path, authorization, _ in fake.asked if path.startswith("/storage/")] == [None]


def test_broken_download_goes_on_where_it_stopped(fake: Hub) -> None:
    file = hub.dataset_files("me/chats")[0]
    fake.cut_after = 100
    with pytest.raises(ReaderError, match="the connection broke after"):
        hub.fetch_file(file)
    fake.cut_after = None
    path = hub.fetch_file(file)
    assert [requested for _, _, requested in fake.asked if requested] == ["bytes=100-"]
    assert path.read_bytes() == fake.files["data/train-0.parquet"]


def test_file_with_another_content_is_not_kept(fake: Hub, tmp_path: Path) -> None:
    fake.wrong_sha = True
    file = hub.dataset_files("me/chats")[0]
    with pytest.raises(ReaderError, match="has the wrong sha256"):
        hub.fetch_file(file)
    assert not list((tmp_path / "cache").rglob("*.parquet*"))


@pytest.mark.parametrize("name", ["chats", "../../etc", "me/../x", "me/chats/x", "me chats/x", "http://x/y"])
def test_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is named owner/name"):
        hub.dataset_files(name)


@pytest.mark.parametrize("path", ["../../x.parquet", "/etc/x.parquet", "a\\b.parquet", "C:/x.parquet"])
def test_file_that_would_leave_the_cache_is_refused(fake: Hub, path: str) -> None:
    with pytest.raises(ReaderError, match="a file that no data set may have"):
        hub.fetch_file(hub.HubFile("me/chats", SHA, path, 1, None))


def test_unknown_data_set_and_silent_hub_are_told_apart(fake: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReaderError, match="the hub has no Parquet files for it"):
        hub.dataset_files("me/other")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody answers
    with pytest.raises(ReaderError, match="cannot be reached"):
        hub.dataset_files("me/chats")
