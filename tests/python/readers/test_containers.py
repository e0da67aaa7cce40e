"""Every packing gives the same conversations, damaged ones what they still hold; folders and patterns are files."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.readers import ConversationReader, expand_path, expand_paths, open_conversations
from lmsys_rs.readers.csv_rows import read_csv
from lmsys_rs.readers.streams import ByteStream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = [{"conversation": [{"role": "user", "content": f"question {i}"}], "id": f"c{i}"} for i in range(2_000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FILES = {
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".json": json.dumps(ROWS).encode(),
    ".csv": b"text,id\n" + "".join(f'"question {i}",c{i}\n' for i in range(2_000)).encode(),
    ".tsv": b"text\tid\n" + "".join(f"question {i}\tc{i}\n" for i in range(2_000)).encode(),
    ".txt": "".join(f"question {i}\n" for i in range(2_000)).encode(),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}


def contents(reader: ConversationReader) -> list[str]:
    found = []
    for batch in reader:
        assert not batch.problems
        found += [turns[0]["content"] for turns in batch.conversations["turns"]]
    return found


def noise(n: int) -> bytes:
    """Lines that do not compress well."""
    chars = random.Random(0)
    return b"".join(
        json.dumps({"text": f"{i} " + "".join(chars.choices("abcdefghijklmnop", k=60))}).encode() + b"\n"
        for i in range(n)
    )


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("suffix", FILES)
def test_every_kind_is_read_in_every_packing(tmp_path: Path, suffix: str, packed: str) -> None:
    path = tmp_path / f"f{suffix}{packed}"
    path.write_bytes(PACKERS[packed](FILES[suffix]))
    reader = open_conversations(path)
    assert contents(reader) == [f"question {i}" for i in range(2_000)]
    assert reader.total == path.stat().st_size
    resumed = list(open_conversations(path, start=1_995))
    assert [line for batch in resumed for line in batch.conversations["line"]] == [1996, 1997, 1998, 1999, 2000]
    assert resumed[-1].done == reader.total


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_a_cut_off_file_gives_what_is_there(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    lines = noise(20_000) if suffix == ".jsonl" else b"text\n" + noise(20_000).replace(b'"', b"").replace(b",", b"")
    data = pack(lines)
    path = tmp_path / f"f{suffix}.gz"
    path.write_bytes(data[: len(data) // 2])
    seen = 0

    def read_on() -> None:
        nonlocal seen
        for batch in open_conversations(path):
            seen += batch.conversations.height

    with pytest.raises(ReaderError, match="data ends too early; what came before it was read"):
        read_on()
    assert 5_000 < seen < 12_000


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_frames_one_after_another_are_one_file(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(b"".join(pack(line + b"\n") for line in LINES.splitlines()[:5]))
    assert contents(open_conversations(path)) == [f"question {i}" for i in range(5)]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_bomb_comes_out_in_pieces(tmp_path: Path, packed: str, size: int) -> None:
    path = tmp_path / "f.x"
    path.write_bytes(PACKERS[packed](bytes(5_000_000)))
    with ByteStream(path, "gzip" if packed == ".gz" else "zstd") as stream:
        assert stream.read(size) == bytes(size)


def test_damaged_zstd_is_a_reader_error(tmp_path: Path) -> None:
    data = bytearray(zstd.compress(noise(20_000)))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path = tmp_path / "f.jsonl.zst"
    path.write_bytes(bytes(data))
    with pytest.raises(ReaderError, match="zstd data"):
        list(open_conversations(path))


# ---- archives --------------------------------------------------------------------------------------------------


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


CLAUDE = json.dumps([{"uuid": "u", "name": "n", "chat_messages": [{"sender": "human", "text": "hi"}]}]).encode()


def test_an_account_export_is_read_in_its_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "export.zip", {"users.json": b"[]", "a/conversations.json": CLAUDE, "chat.html": b"<html>"}
    )
    reader = open_conversations(path)
    assert (reader.format, reader.source.member) == ("claude", "a/conversations.json")
    assert contents(reader) == ["hi"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.txt": b"x", "b.txt": b"y"}, "has 2 conversation files"),
        ({"a.html": b"x"}, "has 0 conversation files, need one named conversations.json; it has a.html"),
        ({"../conversations.json": CLAUDE}, "has 0 conversation files"),
        ({"/conversations.json": CLAUDE}, "has 0 conversation files"),
        ({}, "it has nothing"),
    ],
)
def test_other_archives_are_refused(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    with pytest.raises(ReaderError, match=words):
        open_conversations(archive(tmp_path / "f.zip", members))


def test_damaged_archives_are_reader_errors(tmp_path: Path) -> None:
    path = archive(tmp_path / "f.zip", {"conversations.json": b"[" + b",".join([CLAUDE[1:-1]] * 50_000) + b"]"})
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(ReaderError, match="zip"):
        open_conversations(path)
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(20) + data[middle + 20 :])
    with pytest.raises(ReaderError, match="zip"):
        list(open_conversations(path))


# ---- text ------------------------------------------------------------------------------------------------------


def test_lines_are_queries_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n\n  \nfourth \xff line\nfifth\xe2\x80\xa8still fifth\nlast")
    (batch,) = open_conversations(path)
    assert batch.conversations["line"].to_list() == [1, 5, 6]
    assert [turns[0]["content"] for turns in batch.conversations["turns"]] == [
        "first",
        "fifth\u2028still fifth",
        "last",
    ]
    assert [problem.line for problem in batch.problems] == [4]
    assert (batch.position, open_conversations(path).format) == (6, "lines")


def test_any_text_can_be_taken_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "queries"
    path.write_text('{"a": 1}\nplain\n')
    assert contents(open_conversations(path, format="lines")) == ['{"a": 1}', "plain"]
    (tmp_path / "other").write_text("just text\n")
    with pytest.raises(ReaderError, match="--format lines takes every line"):
        open_conversations(tmp_path / "other")


def test_lines_that_never_end_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.readers.streams.MAX_LINE_BYTES", 100)
    path = tmp_path / "f.txt"
    path.write_text("short\n" + "x" * 500 + "\nalso short\n" + "y" * 101)
    (batch,) = open_conversations(path)
    assert batch.conversations["line"].to_list() == [1, 3]
    assert [problem.line for problem in batch.problems] == [2, 4]


# ---- csv -------------------------------------------------------------------------------------------------------


def rows(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    found: list[str] = []
    problems: list[tuple[int, str]] = []
    for batch in open_conversations(path):
        found += [turns[0]["content"] for turns in batch.conversations["turns"]]
        problems += [(problem.line, problem.message) for problem in batch.problems]
    return found, problems


def test_an_open_quote_takes_no_good_row_with_it(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('text,n\none,1\n"broken,2\nthree,3\n"four, or ""4""",4\n"two\nlines",5\n"broken,6\nseven,7\n')
    found, problems = rows(path)
    assert found == ["one", "three", 'four, or "4"', "two\nlines", "seven"]
    assert len(problems) == 2


def test_rows_that_are_not_utf8_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"text,n\nfine,1\ncaf\xe9,2\nalso fine,3\n")
    found, problems = rows(path)
    assert found == ["fine", "also fine"]
    assert problems[0][0] == 2
    assert "iconv -f LATIN1" in problems[0][1]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(separator.join(["id", "text"]) + "\n" + separator.join(["1", "hi"]) + "\n")
    assert rows(path) == (["hi"], [])


def test_equal_column_names_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("text,note,note\nhi,a,b\n")
    assert open_conversations(path).source.columns == ("text", "note", "note_2")
    assert rows(path) == (["hi"], [])


def test_old_line_ends_are_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"text,n\rhi,1\rho,2\r")
    assert rows(path) == (["hi", "ho"], [])


def test_a_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"t\xe9xt,n\nfine,1\n")
    with pytest.raises(ReaderError, match=r"the header is not UTF-8.*\nhint: iconv"):
        open_conversations(path)


def test_blank_lines_count_as_rows_but_hold_none(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("\ntext,n\none,1\n\nthree,3\n")
    (batch,) = read_csv(open_conversations(path).source, open_conversations(path).fields, start=0)
    assert batch.conversations["line"].to_list() == [1, 3]


# ---- json ------------------------------------------------------------------------------------------------------


def test_objects_over_many_lines_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("\n".join(json.dumps(row, indent=2) for row in ROWS[:3]))
    assert open_conversations(path).source.layout == "values"
    assert contents(open_conversations(path)) == ["question 0", "question 1", "question 2"]


def test_neighbours_of_broken_elements_of_an_array_are_kept(tmp_path: Path) -> None:
    texts = [json.dumps(row) for row in ROWS[:10]]
    texts[3] = texts[3][:-5]
    texts[6] = texts[6].replace('"question', "question")
    path = tmp_path / "f.json"
    path.write_text("[" + ",".join(texts) + "]")
    found, problems = rows(path)
    assert found == [f"question {i}" for i in range(10) if i not in (3, 6)]
    assert len(problems) >= 2


def test_an_element_of_two_hundred_megabytes_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with path.open("wb") as file:
        file.write(LINES[:1_000].rsplit(b"\n", 1)[0] + b"\n")
        file.write(b'{"conversation": [{"role": "user", "content": "')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b'"}]}\n' + json.dumps(ROWS[0]).encode())
    found, problems = rows(path)
    n_before = LINES[:1_000].count(b"\n")
    assert len(found) == n_before + 1
    assert problems == [(n_before + 1, "longer than 64 MiB: not read")]


# ---- paths -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.jsonl",
        "a.jsonl.gz",
        "sub/c.parquet",
        "notes.md",
        ".hidden.jsonl",
        "sub/.git/x.json",
        "x.gz",
        "_SUCCESS",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_its_conversation_files(folder: Path) -> None:
    expanded = expand_path(folder)
    assert names(expanded.paths, folder) == ["a.jsonl.gz", "b.jsonl", "sub/c.parquet"]
    assert sorted(names(expanded.left_out, folder)) == [
        ".hidden.jsonl",
        "_SUCCESS",
        "notes.md",
        "sub/.git/x.json",
        "x.gz",
    ]


def test_patterns_are_found_in_order(folder: Path) -> None:
    assert names(expand_paths(folder / "*.jsonl*"), folder) == ["a.jsonl.gz", "b.jsonl"]
    assert names(expand_paths(f"{folder}/**/*.parquet"), folder) == ["sub/c.parquet"]
    assert names(expand_paths(folder / "su?"), folder) == ["sub/c.parquet"]


def test_one_file_is_itself(folder: Path) -> None:
    star = folder / "a[1]*.jsonl"
    star.write_bytes(b"x")
    assert expand_paths(star) == [star]
    assert expand_paths(folder / "missing.jsonl") == [folder / "missing.jsonl"]


def test_what_matches_nothing_says_what_is_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.csv; .* has .*b\.jsonl"):
        expand_paths(folder / "*.csv")
    (folder / "empty").mkdir()
    with pytest.raises(ReaderError, match="no conversation file in this folder; it has nothing"):
        expand_paths(folder / "empty")


def test_lines_of_a_table_are_refused(tmp_path: Path) -> None:
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame({"text": ["hi"]}).write_parquet(buffer)
    (tmp_path / "f.parquet").write_bytes(buffer.getvalue())
    with pytest.raises(InvalidInputError, match="format 'lines' is for text, this is parquet"):
        open_conversations(tmp_path / "f.parquet", format="lines")
