"""What the first elements of a JSON file are, and how elements stand in it: lines, one array, or objects in a row.

It looks at the beginning only and repairs nothing; what is broken there is passed over, the reader reports it later.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.streams import ByteStream, Packing

__all__ = ["Layout", "first_bytes", "first_elements"]

Layout = Literal["lines", "array", "values"]

PEEK_BYTES = 1 << 20
MAX_PEEK_BYTES = 64 << 20  # as much as the core takes for one element
PEEK_ELEMENTS = 50
MAX_ATTEMPTS = 2_000  # places in a broken array where an element may begin


def first_bytes(path: Path, packing: Packing, member: str | None, n_bytes: int = PEEK_BYTES) -> bytes:
    """The beginning of the unpacked file; of a damaged one what there is.

    Raises:
        ReaderError: nothing at all can be unpacked.
    """
    with ByteStream(path, packing, member) as stream:
        return stream.read(n_bytes)


def first_elements(path: Path, packing: Packing, member: str | None) -> tuple[list[dict[str, Any]], Layout]:
    """Up to 50 objects, and the layout.

    Raises:
        ReaderError: there is no object in the first 64 MiB.
    """
    n_bytes = PEEK_BYTES
    layout: Layout
    while True:
        head = first_bytes(path, packing, member, n_bytes)
        text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
        elements, layout = _of_lines(text), "lines"
        if text.lstrip()[:1] == "[":
            # a first line may be broken and begin with a bracket all the same: then whole objects stand on their lines
            of_array = _of_array(text)
            _, *others = text.lstrip().split("\n")
            n_on_lines = sum(line.startswith("{") and _is_object(line) for line in others[:PEEK_ELEMENTS])
            if n_on_lines < 2:  # in an array a comma follows
                elements, layout = of_array, "array"
        else:
            is_spread = text.lstrip()[:1] == "{" and not _is_object(text.lstrip().split("\n", 1)[0])
            spread = _of_values(text) if is_spread else []
            if len(spread) > len(elements):
                return spread, "values"
            if is_spread and not elements and len(head) >= MAX_PEEK_BYTES:
                layout = "values"
        if elements or len(head) < n_bytes or n_bytes >= MAX_PEEK_BYTES:
            break
        n_bytes *= 4
    if not elements:
        raise ReaderError(
            f"{path}: no JSON object in the first {len(head):,} bytes", file=str(path), hint="is it a JSON file?"
        )
    return elements, layout


def _is_object(line: str) -> bool:
    return isinstance(_parsed(line), dict)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # nesting without end
        return None


def _of_lines(text: str) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = []
    for line in text.split("\n"):
        element = _parsed(line)
        if isinstance(element, dict):
            elements.append(element)
        if len(elements) == PEEK_ELEMENTS:
            break
    return elements


def _of_array(text: str) -> list[dict[str, Any]]:
    """Objects after the bracket. Behind a broken one the search goes on where another may begin."""
    decoder = json.JSONDecoder()
    elements: list[dict[str, Any]] = []
    at = text.index("[") + 1
    attempts = 0
    while len(elements) < PEEK_ELEMENTS and attempts < MAX_ATTEMPTS:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text):
            break
        try:
            element, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            attempts += 1
            first_key = next(iter(elements[0]), "") if elements else None
            begin = "\\{" if first_key is None else r"\{\s*" + re.escape(json.dumps(first_key))
            another = re.compile(begin).search(text, at + 1)
            if another is None:
                break
            at = another.start()
            continue
        if isinstance(element, dict):
            elements.append(element)
    return elements


def _of_values(text: str) -> list[dict[str, Any]]:
    decoder = json.JSONDecoder()
    elements: list[dict[str, Any]] = []
    at = 0
    while len(elements) < PEEK_ELEMENTS:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            element, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        if isinstance(element, dict):
            elements.append(element)
    return elements
