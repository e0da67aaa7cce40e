"""How a data set comes from the Hugging Face hub: its Parquet files, into the cache, each checked before it counts.

The user's token goes to the hub and nowhere else: not into files, messages, or to a host the hub redirects to.
"""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lmsys_rs.config import hub_token, settings
from lmsys_rs.errors import InvalidInputError, ReaderError, Unauthorized

__all__ = ["HubFile", "dataset_files", "fetch_file"]

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20
CONVERTED = "refs/convert/parquet"  # where the hub keeps its own Parquet copy of other formats

OnBytes = Callable[[int, "int | None"], None]


@dataclass(frozen=True, slots=True)
class HubFile:
    """One Parquet file of a data set at one commit; ``sha256`` is None where the hub keeps none."""

    dataset: str
    revision: str
    path: str
    n_bytes: int
    sha256: str | None


def dataset_files(name: str, *, pattern: str = "*") -> list[HubFile]:
    """The Parquet files of a data set, by path, as they are now.

    Args:
        name: owner and name, ``lmsys/lmsys-chat-1m``.
        pattern: only files whose path matches, such as ``data/train-*``.

    Raises:
        InvalidInputError: no such name.
        Unauthorized: the data set is private or gated, and the token is missing or not accepted.
        ReaderError: the hub does not answer, or the data set has no Parquet files.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise InvalidInputError(f"a data set of the hub is named owner/name: {name!r}", hint="lmsys/lmsys-chat-1m")
    for revision in ("main", CONVERTED):
        commit = _json(name, f"/api/datasets/{name}/revision/{urllib.parse.quote(revision, safe='')}")
        if commit is None:
            continue
        sha = str(commit["sha"])
        files = [file for file in _tree(name, sha) if fnmatch.fnmatch(file.path, pattern)]
        if files:
            return sorted(files, key=lambda file: file.path)
    raise ReaderError(
        f"{name}: the hub has no Parquet files for it{'' if pattern == '*' else f' that match {pattern}'}",
        hint="download it yourself, and load the files",
    )


def fetch_file(file: HubFile, *, on_bytes: OnBytes | None = None) -> Path:
    """The file in the cache; fetched if it is not there, and going on where an earlier call was cut off.

    Raises:
        Unauthorized: the token is not accepted.
        ReaderError: it cannot be fetched, or is not what the hub says (then nothing is kept).
    """
    folder = settings().cache_dir / "datasets" / file.dataset.replace("/", "--") / file.revision[:12]
    path = folder / _checked(file.path)
    if path.exists() and path.stat().st_size == file.n_bytes:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    _download(file, part, on_bytes)
    got = part.stat().st_size
    if got < file.n_bytes:
        raise ReaderError(
            f"{file.path}: the connection broke after {got:,} bytes", hint="the same command goes on there"
        )
    if got != file.n_bytes:
        part.unlink()
        raise ReaderError(f"{file.path}: got {got:,} bytes, need {file.n_bytes:,}; nothing was kept", hint="try again")
    if file.sha256 is not None and (digest := _sha256(part)) != file.sha256:
        part.unlink()
        raise ReaderError(f"{file.path} has the wrong sha256: got {digest}, need {file.sha256}; nothing was kept")
    part.replace(path)
    return path


def _tree(name: str, sha: str) -> Iterator[HubFile]:
    where: str | None = f"/api/datasets/{name}/tree/{sha}?recursive=true"
    while where is not None:
        with _open(name, where) as answer:
            entries: list[dict[str, Any]] = json.load(answer)
            where = _next_page(answer.headers.get("Link"))
        for entry in entries:
            if entry.get("type") == "file" and str(entry.get("path", "")).endswith(".parquet"):
                large = entry.get("lfs") or {}
                yield HubFile(
                    name, sha, str(entry["path"]), int(large.get("size") or entry["size"]), large.get("oid") or None
                )


def _next_page(link: str | None) -> str | None:
    """Path of the next page out of a Link header; only on the same hub."""
    match = re.search(r'<([^>]+)>;\s*rel="next"', link or "")
    if match is None:
        return None
    parts = urllib.parse.urlsplit(match[1])
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _json(name: str, where: str) -> dict[str, Any] | None:
    """An answer of the hub; None where there is no such thing."""
    try:
        with _open(name, where) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except _NotFoundError:
        return None


class _NotFoundError(ReaderError):
    """The hub has no such page."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows the hub to where its files lie, and leaves the token at the hub."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.remove_header("Authorization")
        return request


def _open(name: str, where: str, *, start: int = 0) -> Any:
    endpoint = settings().hub_endpoint
    if urllib.parse.urlsplit(endpoint).scheme not in ("http", "https"):
        raise InvalidInputError(f"HF_ENDPOINT must begin with https:// or http://: {endpoint!r}")
    request = urllib.request.Request(endpoint + where)
    token = hub_token()
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            why = "the token is not accepted" if token else "no token"
            raise Unauthorized(
                f"{name}: the hub refuses access ({error.code}): {why}",
                hint=f"accept the terms at {endpoint}/datasets/{name}, then set HF_TOKEN",
            ) from None
        if error.code == 404:
            raise _NotFoundError(f"{name}: the hub has no {where}") from None
        raise ReaderError(f"{name}: the hub answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ReaderError(
            f"{name}: {endpoint} cannot be reached: {getattr(error, 'reason', error)}", hint="check the network"
        ) from None


def _download(file: HubFile, part: Path, on_bytes: OnBytes | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    if done >= file.n_bytes:
        done = 0
    where = f"/datasets/{file.dataset}/resolve/{file.revision}/{urllib.parse.quote(file.path)}"
    with _open(file.dataset, where, start=done) as source:
        resumed = done and source.status == http.client.PARTIAL_CONTENT
        done = done if resumed else 0
        with part.open("ab" if resumed else "wb") as out:
            try:
                while chunk := source.read(CHUNK_BYTES):
                    out.write(chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, file.n_bytes)
            except (OSError, http.client.HTTPException) as error:
                raise ReaderError(
                    f"{file.path}: the connection broke after {done:,} bytes: {error}",
                    hint="the same command goes on there",
                ) from None


def _checked(path: str) -> PurePosixPath:
    """A relative path that stays within its folder.

    Raises:
        ReaderError: it does not.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or ":" in path:
        raise ReaderError(f"the hub names a file that no data set may have: {path!r}")
    return parts


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
