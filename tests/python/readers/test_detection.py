"""The kind of a file is found by its content; what cannot be read is a clear error."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import polars as pl
import pytest
from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.readers import ColumnMapping, open_conversations

LMSYS_ROW = {"conversation_id": "a", "conversation": [{"role": "user", "content": "hi"}], "model": "m"}
SHAREGPT_ROW = {"id": "a", "conversations": [{"from": "human", "value": "hi"}]}
TEXT_ROW = {"prompt": "hi", "act": "x"}


def written(path: Path, row: dict[str, object]) -> Path:
    if path.suffix == ".parquet":
        pl.DataFrame([row]).write_parquet(path)
        return path
    data = (json.dumps([row]) if ".json" in path.suffixes else json.dumps(row) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["f.parquet", "f.jsonl", "f.jsonl.gz", "f.json", "f.json.gz", "no_suffix"])
@pytest.mark.parametrize(
    ("row", "expected"), [(LMSYS_ROW, "lmsys"), (SHAREGPT_ROW, "sharegpt"), (TEXT_ROW, "text")], ids=str
)
def test_format_is_detected_in_every_container(
    tmp_path: Path, name: str, row: dict[str, object], expected: str
) -> None:
    reader = open_conversations(written(tmp_path / name, row))
    assert reader.format == expected
    batches = list(reader)
    assert sum(batch.conversations.height for batch in batches) == 1
    assert batches[0].conversations["turns"].to_list() == [[{"role": "user", "content": "hi"}]]


def test_gzip_is_recognised_whatever_the_name_says(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(gzip.compress(json.dumps(LMSYS_ROW).encode()))
    assert open_conversations(path).source.compressed


def test_format_can_be_overridden(tmp_path: Path) -> None:
    row = LMSYS_ROW | {"text": "other"}
    reader = open_conversations(written(tmp_path / "f.jsonl", row), format="text")
    assert next(iter(reader)).conversations["turns"].to_list() == [[{"role": "user", "content": "other"}]]


def test_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"auto, lmsys, wildchat, .*, text, lines: 'xml'"):
        open_conversations(written(tmp_path / "f.jsonl", LMSYS_ROW), format="xml")


def test_misspelt_column_lists_what_is_there_and_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", {"prompt": "hi", "modell": "m"})
    with pytest.raises(ReaderError, match=r"'model' is not a field of this file; it has prompt, modell") as caught:
        open_conversations(path, mapping=ColumnMapping(model="model"))
    assert caught.value.hint == "did you mean 'modell'?"


def test_file_without_a_text_field_says_how_to_name_it(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", {"a": "hi", "b": "x"})
    with pytest.raises(ReaderError, match=r"the file has a, b\nhint: name the field with --text-column"):
        open_conversations(path)


def test_named_text_column_of_turns_keeps_its_format(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", {"talk": [{"from": "gpt", "value": "hi"}]})
    reader = open_conversations(path, mapping=ColumnMapping(text="talk"))
    assert reader.format == "sharegpt"
    assert next(iter(reader)).conversations["turns"][0].to_list() == [{"role": "assistant", "content": "hi"}]


def test_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_conversations(tmp_path / "none.parquet")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="need one conversation file"):
        open_conversations(tmp_path)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_a_permission_error(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", LMSYS_ROW)
    path.chmod(0)
    with pytest.raises(PermissionError):
        open_conversations(path)


@pytest.mark.parametrize("name", ["f.parquet", "f.jsonl", "f.csv"])
def test_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    with pytest.raises(ReaderError, match="the file is empty"):
        open_conversations(path)


def test_white_space_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("\n  \n")
    with pytest.raises(ReaderError, match="nothing but white space"):
        open_conversations(path)


def test_utf16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(LMSYS_ROW), encoding="utf-16")
    with pytest.raises(ReaderError, match=r"UTF-16, need UTF-8\nhint: iconv"):
        open_conversations(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ReaderError, match="not a conversation file"):
        open_conversations(path)


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", LMSYS_ROW)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ReaderError, match="the file is damaged or not what its name says"):
        open_conversations(path)


def test_jsonl_whose_first_lines_are_broken_is_still_recognised(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"broken\n{"also": \n' + json.dumps(LMSYS_ROW) + "\n")
    assert open_conversations(path).format == "lmsys"


def test_first_element_may_be_larger_than_the_peek(tmp_path: Path) -> None:
    big = {"conversation": [{"role": "user", "content": "x" * 5_000_000}], "conversation_id": "a"}
    reader = open_conversations(written(tmp_path / "f.jsonl", big))
    assert next(iter(reader)).conversations["turns"][0][0]["content"] == "x" * 5_000_000


def test_file_name_with_glob_characters_is_one_file(tmp_path: Path) -> None:
    assert len(list(open_conversations(written(tmp_path / "a[1]*.parquet", LMSYS_ROW)))) == 1
