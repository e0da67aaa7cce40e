"""Is a distilled table what the formulas say, and does it sort texts by topic?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bert_oracle import Matrix, fastest_f32, load, read_safetensors, write_tiny
from lmsys_rs import _core
from lmsys_rs.distilling import distill
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.models import Encoder
from lmsys_rs.records import Event
from tokenizers import Tokenizer


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny BERT; one of its tokens is never used."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    write_tiny(folder)
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    file["model"]["vocab"]["[unused0]"] = file["model"]["vocab"].pop("z")
    path.write_text(json.dumps(file), encoding="utf-8")
    return folder


def rows_of(folder: Path) -> Matrix:
    return read_safetensors(folder / "model.safetensors")["embeddings"]


def oracle(folder: Path, ids: list[int], frequencies: Matrix, dims: int, sif: float) -> Matrix:
    """Weighted PCA with shortened axes, then smooth inverse frequencies; written apart from ours."""
    rows = np.empty((len(ids), 8), np.float32)
    load(folder, engine="ort", normalize=False, pooling="mean").embed_tokens_into([[2, i, 3] for i in ids], rows)
    centred = rows - np.average(rows, axis=0, weights=frequencies)
    variances, directions = np.linalg.eigh(np.cov(rows.T, aweights=frequencies, ddof=0))
    best = np.argsort(variances)[::-1][:dims]
    return (centred @ directions[:, best]) / variances[best] ** 0.25 * (sif / (sif + frequencies))[:, None]


def similarities(rows: Matrix) -> Matrix:
    """What does not depend on the signs of directions."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found: Matrix = unit @ unit.T
    return found


def test_the_table_is_what_the_formulas_say(encoder: Path, tmp_path: Path) -> None:
    _core.configure(isa=fastest_f32())
    folder = distill(encoder, tmp_path / "table", dims=5, sif=0.01)
    _core.configure(isa="auto")
    # [UNK] [CLS] [SEP] a b c ...; letters are ASCII characters, hence all of rank 20
    ids = [i for i in range(30) if i not in (0, 29)]
    ranks = np.array([0, 1, 2, *[20] * 25])
    frequencies = 1 / (ranks + 2.0)
    want = oracle(encoder, ids, frequencies / frequencies.sum(), 5, 0.01)
    np.testing.assert_allclose(similarities(rows_of(folder)), similarities(want), atol=5e-3)


def test_tokens_that_no_text_gives_are_dropped(encoder: Path, tmp_path: Path) -> None:
    folder = distill(encoder, tmp_path / "table", dims=4)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    want = ["[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxy"]
    assert [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())] == want
    assert rows_of(folder).shape == (28, 4)
    assert tokenizer.encode("a b").ids == [3, 4]
    assert (tokenizer.padding, tokenizer.truncation) == (None, None)


def test_the_folder_is_a_model(encoder: Path, tmp_path: Path) -> None:
    found = Encoder(distill(encoder, tmp_path / "table", dims=4))
    assert (found.engine, found.dim, found.max_length) == ("static", 4, 512)
    vectors = found.embed(["a b", "b a", "", "c"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert json.loads((tmp_path / "table" / "config.json").read_text())["model_type"] == "model2vec"


def test_the_same_input_gives_the_same_bytes(encoder: Path, tmp_path: Path) -> None:
    first, second = (distill(encoder, tmp_path / name, dims=4, texts=["a b", "c"]) for name in ("one", "two"))
    assert {file.name: file.read_bytes() for file in first.iterdir()} == {
        file.name: file.read_bytes() for file in second.iterdir()
    }


def test_texts_decide_the_directions(encoder: Path, tmp_path: Path) -> None:
    without = rows_of(distill(encoder, tmp_path / "without", dims=2))
    with_texts = rows_of(distill(encoder, tmp_path / "with", dims=2, texts=pl.Series(["a b a b c", "b a"])))
    assert not np.allclose(similarities(without), similarities(with_texts), atol=1e-3)
    empty = rows_of(distill(encoder, tmp_path / "empty", dims=2, texts=[]))
    np.testing.assert_array_equal(empty, without)


def test_it_says_how_far_it_is(encoder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    distill(encoder, tmp_path / "table", dims=2, on_event=events.append)
    assert [event.kind for event in events if event.kind != "advanced"] == ["started", "finished", "note"]
    assert {event.total for event in events if event.kind != "note"} == {28}


def test_what_cannot_be_done_is_refused(encoder: Path, tmp_path: Path) -> None:
    for sif in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="sif must be between 0 and 1"):
            distill(encoder, tmp_path / "table", sif=sif)
    for dims in (0, 9):
        with pytest.raises(InvalidInputError, match="dims must be between 1 and the encoder's 8"):
            distill(encoder, tmp_path / "table", dims=dims)
    with pytest.raises(InvalidInputError, match="exists and holds something"):
        distill(encoder, encoder)
    with pytest.raises(ModelError, match="unknown model"):
        distill(tmp_path / "nowhere", tmp_path / "table")
    assert not (tmp_path / "table").exists()
    table = distill(encoder, tmp_path / "table", dims=2)
    with pytest.raises(ModelError, match="table of token vectors already"):
        distill(table, tmp_path / "again", dims=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "table"]


@pytest.mark.slow  # the whole vocabulary through the encoder
def test_clusters_are_closer_to_the_truth_than_those_of_model2vec(tmp_path: Path, shared_data: Path) -> None:
    questions = pl.read_csv(shared_data / "labelled" / "banking77.csv").unique(
        "text", keep="first", maintain_order=True
    )
    vectors = Encoder(distill("all-MiniLM-L6-v2", tmp_path / "table")).embed(questions["text"])
    truth = questions["label"].rank("dense").to_numpy().astype(np.int32)
    scores = [
        _core.v_measure_score(truth, _core.KMeans(n_clusters=77, n_init=1, random_state=seed).fit(vectors).labels_)
        for seed in range(3)
    ]
    assert np.mean(scores) >= 0.67  # model2vec 0.10: 0.650
