"""New queries: they are new, belong to their cluster, hold no personal data, and come out the same twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from lmsys_rs import _core
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.generating import _joined, _recombined, _words, generate
from lmsys_rs.labeling import label
from lmsys_rs.llm import Limits, resolve_model
from lmsys_rs.records import RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import reading
from stand_in import serving


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    return label(embedded, cluster(embedded, _core.KMeans(n_clusters=8)).run_id)


def test_recombined_queries_are_new_and_belong_to_the_cluster(embedded: Session, run: RunRecord, encoder: Any) -> None:
    with embedded.store.reading() as connection:
        known = set(reading.text_range(connection, 0, 1000).to_list())
    found = generate(embedded, run.run_id, 0, 12, encoder=encoder)
    assert found
    assert len({one.text for one in found}) == len(found) <= 12
    assert not {one.text for one in found} & known
    assert all(one.margin is not None and one.margin > 0 for one in found)
    assert generate(embedded, run.run_id, 0, 12, encoder=encoder) == found
    assert generate(embedded, run.run_id, 0, 12, encoder=encoder, random_state=1) != found


def test_texts_that_share_nothing_yield_nothing() -> None:
    assert list(_recombined(["one two three", "four five six"], 0)) == []
    assert list(_recombined([], 0)) == []


def test_words_are_exchanged_between_the_same_neighbors() -> None:
    candidates = _recombined(["how do I cook salmon today", "how do I cook rice today"], 0)
    found = {next(candidates) for _ in range(50)}
    assert found == {"how do I cook salmon today", "how do I cook rice today"}
    candidates = _recombined(
        ["red cats sleep here", "red dogs sleep here", "red cats run there", "big cats sleep here"], 0
    )
    assert "red dogs run there" not in {next(candidates) for _ in range(200)}


@pytest.mark.parametrize("text", ["你好吗 hello", "日本の首都は？", "how are you", "สวัสดี krap"])
def test_words_of_every_script_come_back_together(text: str) -> None:
    assert _joined(_words(text)).replace(" ", "") == text.replace(" ", "")


def test_a_model_writes_and_is_not_paid_twice(
    embedded: Session, run: RunRecord, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    with embedded.store.reading() as connection:
        own = reading.clusters(connection, run.run_id)[0]
        sample = reading.texts_of(
            connection, reading.members(connection, run.run_id, 0)["text_id"].to_numpy()
        ).to_list()

    def answer(body: Mapping[str, Any]) -> dict[str, list[str]]:
        return {
            "queries": [f"{text} please {i}" for i, text in enumerate(sample[:20])] + ["mail ann.smith@example.com"]
        }

    with serving(answer) as provider:
        model = resolve_model("openai/gpt-4o-mini", base_url=provider.url, price=(1.0, 2.0))
        limits = Limits(concurrency=4, rpm=0, tpm=0)
        found = generate(embedded, run.run_id, 0, 5, model=model, limits=limits, encoder=encoder)
        again = generate(embedded, run.run_id, 0, 5, model=model, limits=limits, encoder=encoder)
        assert found == again
        assert len(provider.calls) == 1
        assert own.title in provider.calls[0].prompt
    assert len(found) == 5
    assert {one.method for one in found} == {"openai/gpt-4o-mini"}
    assert not any(re.search("@", one.text) for one in found)


def test_what_is_not_there_is_refused(embedded: Session, run: RunRecord) -> None:
    with pytest.raises(InvalidInputError, match="has no cluster 99"):
        generate(embedded, run.run_id, 99, 5)
    with pytest.raises(InvalidInputError, match="n_queries must be >= 1"):
        generate(embedded, run.run_id, 0, 0)
