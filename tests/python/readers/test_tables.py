"""Parquet and CSV: all columns kept, times in UTC, broken CSV rows counted, memory independent of file size."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmsys_rs.errors import ReaderError
from lmsys_rs.extras import extra_as_json
from lmsys_rs.readers import ColumnMapping, open_conversations
from lmsys_rs.records import BATCH_SIZE, CONVERSATION_SCHEMA

TURN = {"role": "user", "content": "hi"}
NOON = datetime(2023, 4, 1, 12, tzinfo=timezone.utc)


def read(path: Path, **options: Any) -> pl.DataFrame:
    return pl.concat([batch.conversations for batch in open_conversations(path, **options)])


def parquet(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def as_json(frame: pl.DataFrame) -> pl.Series:
    return frame.select(extra_as_json(frame.schema["extra"])).to_series()


def test_turns_keep_their_other_fields_in_extra(tmp_path: Path) -> None:
    turns = [[{"role": "Human", "content": "hi", "toxic": False, "country": "DE"}]]
    found = read(parquet(tmp_path / "f.parquet", conversation=turns, redacted=[True]))
    assert {name: dtype for name, dtype in found.schema.items() if name != "extra"} == {
        name: dtype for name, dtype in CONVERSATION_SCHEMA.items() if name != "extra"
    }
    assert found["turns"].to_list() == [[TURN]]
    extra = found["extra"][0]
    assert extra["redacted"] is True
    assert json.loads(as_json(found)[0]) == extra
    assert [{"toxic": t["toxic"], "country": t["country"]} for t in extra["turn_fields"]] == [
        {"toxic": False, "country": "DE"}
    ]


def test_extra_is_null_without_other_columns(tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "f.parquet", conversation=[[TURN]]))["extra"].to_list() == [None]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series(["2023-04-01T12:00:00Z"]),
        pl.Series(["2023-04-01 12:00:00"]),
        pl.Series(["2023-04-01T14:00:00+02:00"]),
        pl.Series(["2023-04-01 12:00:00.000000 UTC"]),
        pl.Series(["1680350400"]),
        pl.Series([1680350400]),
        pl.Series([1680350400.0]),
        pl.Series([1680350400000]),
        pl.Series([datetime(2023, 4, 1, 12)]),
        pl.Series([NOON]).dt.cast_time_unit("ms"),
    ],
    ids=lambda series: f"{series.dtype}-{series[0]}",
)
def test_times_of_every_kind_are_utc(tmp_path: Path, values: pl.Series) -> None:
    found = read(parquet(tmp_path / "f.parquet", conversation=[[TURN]], timestamp=values))
    assert found["timestamp"].to_list() == [NOON]


def test_date_is_midnight_and_nonsense_is_null(tmp_path: Path) -> None:
    dates = read(parquet(tmp_path / "f.parquet", conversation=[[TURN]], timestamp=[date(2023, 4, 1)]))
    assert dates["timestamp"].to_list() == [datetime(2023, 4, 1, tzinfo=timezone.utc)]
    nonsense = read(parquet(tmp_path / "g.parquet", conversation=[[TURN]], timestamp=["last week"]))
    assert nonsense["timestamp"].to_list() == [None]
    assert nonsense["extra"].to_list() == [{"timestamp": "last week"}]


def test_bytes_columns_do_not_stop_the_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", conversation=[[TURN]], raw=[b"\x00\xff"], nested=[[b"ok"]])
    found = read(path)
    assert found["extra"][0] == {"raw": b"\x00\xff", "nested": [b"ok"]}
    assert json.loads(as_json(found)[0]) == {"raw": "AP8=", "nested": ["ok"]}


def test_column_that_holds_no_turns_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", conversation=[1])
    with pytest.raises(
        ReaderError, match="column 'conversation' does not hold turns: need a list of objects, got Int64"
    ):
        list(open_conversations(path, format="lmsys"))


def test_null_text_is_a_conversation_without_turns(tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "f.parquet", text=["a", None]))["turns"].list.len().to_list() == [1, 0]


def test_reading_resumes_after_a_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", text=[str(i) for i in range(20_000)])
    batches = list(open_conversations(path, start=12_345))
    assert batches[0].conversations["line"][0] == 12_346
    assert batches[-1].position == 20_000
    assert max(batch.conversations.height for batch in batches) <= BATCH_SIZE


def test_csv_keeps_quoted_newlines_and_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('prompt,code\n"two\nlines, one field",007\nplain,8\n', encoding="utf-8")
    found = read(path)
    assert [turns[0]["content"] for turns in found["turns"]] == ["two\nlines, one field", "plain"]
    assert found["extra"].to_list() == [{"code": "007"}, {"code": "8"}]
    assert found["line"].to_list() == [1, 2]


def test_csv_rows_of_the_wrong_width_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("text,label\nok,1\none,two,three\nfine,2\n")
    batches = list(open_conversations(path))
    assert [(p.line, p.message) for p in batches[0].problems] == [(2, "line 3: got 3 fields, need 2")]
    assert batches[0].conversations["line"].to_list() == [1, 3]
    with pytest.raises(ReaderError, match="got 3 fields, need 2"):
        list(open_conversations(path, strict=True))


def test_csv_field_may_be_five_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("text\n" + "x" * 5_000_000 + "\n")
    assert len(read(path)["turns"][0][0]["content"]) == 5_000_000


def test_csv_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("body,who,tongue,when,key\nhello,m1,English,2023-04-01 12:00:00,k1\n")
    mapping = ColumnMapping(text="body", model="who", language="tongue", timestamp="when", conversation_id="key")
    assert read(path, mapping=mapping).select("conversation_id", "model", "language", "timestamp").row(0) == (
        "k1",
        "m1",
        "English",
        NOON,
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_parquet_texts_are_read_as_written(tmp_path: Path, texts: list[str]) -> None:
    found = read(parquet(tmp_path / "f.parquet", text=pl.Series(texts, dtype=pl.String)))
    assert [turns[0]["content"] for turns in found["turns"]] == texts


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([timedelta(seconds=1)]),
        pl.Series([[timedelta(seconds=1)]]),
        pl.Series([time(1)]),
        pl.Series([Decimal("1.5")]),
        pl.Series(["a"], dtype=pl.Categorical),
        pl.Series([[b"a"]], dtype=pl.Array(pl.Binary, 1)),
        pl.Series([{"a": {"b": [b"x", None]}}]),
        pl.Series([float("nan")]),
        pl.Series([None]),
        pl.Series([[]], dtype=pl.List(pl.Null)),
    ],
    ids=lambda series: str(series.dtype),
)
def test_columns_of_every_kind_become_json(tmp_path: Path, values: pl.Series) -> None:
    found = read(parquet(tmp_path / "f.parquet", conversation=[[TURN]], other=values))
    assert set(json.loads(as_json(found)[0])) == {"other"}


def test_extra_that_is_text_or_nothing_stays() -> None:
    assert as_json(pl.DataFrame({"extra": ["{}", None]})).to_list() == ["{}", None]
    assert as_json(pl.DataFrame({"extra": [None]})).to_list() == [None]


def test_ids_alone_are_those_of_the_conversations(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", conversation=[[TURN]] * 3, conversation_id=["a", None, "c"])
    pieces = open_conversations(path).ids_only()
    assert pieces is not None
    assert [(before, ids.to_list()) for before, ids in pieces] == [(0, ["a", None, "c"])]


def test_contents_of_parts_in_a_column_are_rendered(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "text", "text": "this"}]
    path = parquet(tmp_path / "f.parquet", conversation=[[{"role": "user", "content": parts}]] * 2)
    assert [turns[0]["content"] for turns in read(path)["turns"]] == ["what is\nthis"] * 2


def test_turns_written_as_text_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    pl.DataFrame({"conversation": [json.dumps([TURN])] * 2, "n": [1, 2]}).write_csv(path)
    found = read(path, format="lmsys")
    assert found["turns"].to_list() == [[TURN]] * 2
    assert found["line"].to_list() == [1, 2]


# the peak of this process alone: ru_maxrss would also count the parent it was forked from
MEASURE = """
import re, sys
from lmsys_rs.readers import open_conversations
n = sum(batch.conversations.height for batch in open_conversations(sys.argv[1]))
print(n, int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    peaks = []
    for n_rows in (40_000, 400_000):
        path = tmp_path / f"{n_rows}.{suffix}"
        frame = pl.DataFrame({"text": pl.int_range(n_rows, eager=True).cast(pl.String)}).with_columns(
            pl.concat_str(pl.col("text"), pl.lit(" " + "lorem ipsum " * 60)).alias("text")
        )
        if suffix == "parquet":
            frame.write_parquet(path, row_group_size=20_000, compression="uncompressed")
        elif suffix == "csv":
            frame.write_csv(path)
        else:
            frame.write_ndjson(path)
        result = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
        found, peak = map(int, result.stdout.split())
        assert found == n_rows
        peaks.append(peak)
    # the large file is 290 MB; a tenth of it is room for the allocator
    assert peaks[1] - peaks[0] < 120, peaks
