"""Clusters of labelled texts, scored."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.evaluating import evaluate, read_labelled
from lmsys_rs.models import Encoder


def labelled(path: Path) -> Path:
    kinds = {
        "weather": "Will it {} in {} tomorrow?",
        "cooking": "How do I {} a {} soup?",
        "code": "My python function fails to {} the {} list.",
    }
    words = ["rain", "snow", "boil", "sort", "freeze", "season", "reverse", "taste"]
    more = ["Rome", "tomato", "long", "onion", "Oslo", "nested", "fish", "Lima"]
    rows = [(text.format(a, b), kind) for kind, text in kinds.items() for a in words for b in more]
    pl.DataFrame(rows, schema=["text", "kind"], orient="row").write_csv(path)
    return path


def test_a_set_of_three_kinds_is_scored(tmp_path: Path) -> None:
    data = read_labelled(labelled(tmp_path / "kinds.csv"), label_column="kind")
    assert (data.name, len(data.texts), data.n_classes) == ("kinds", 192, 3)
    scores = list(evaluate(data, Encoder("all-MiniLM-L6-v2"), with_peers=False))
    assert scores[0].method == "lmsys_rs Density"
    told = next(score for score in scores if score.told_k)
    assert told.n_clusters == 3
    assert told.ari > 0.9
    assert all(-0.5 <= score.ari <= 1 and 0 <= score.v_measure <= 1 and 0 <= score.noise <= 1 for score in scores)


def test_equal_texts_count_once_and_empty_ones_not(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": " a ", "label": 2}\n{"text": "", "label": 2}\n')
    with pytest.raises(InvalidInputError, match="two classes"):
        read_labelled(path)


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("a.txt", "text,label\n", ReaderError, "is .csv, .parquet or .jsonl"),
        ("a.csv", "words,label\nx,1\n", InvalidInputError, "no column 'text'"),
        ("a.parquet", "no parquet", ReaderError, "a.parquet"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, name: str, content: str, error: type[Exception], said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=said):
        read_labelled(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_labelled(tmp_path / "nothing.csv")
