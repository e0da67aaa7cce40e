"""Labels of texts and clusters: zero-shot, trained heads, models with faults, and the columns they become."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import _core, classifying, labels, selection, templates, verifying
from lmsys_rs.classifying import classify, least_certain, pivot, plan, review
from lmsys_rs.clustering import cluster
from lmsys_rs.conditions import make_filters
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.heads import softmax, train_head
from lmsys_rs.labeling import label
from lmsys_rs.llm import Limits, Model, resolve_model
from lmsys_rs.records import Filters
from lmsys_rs.session import Session
from stand_in import StandIn, prompt_of, serving

QUICK = Limits(concurrency=8, rpm=0, tpm=0, timeout_s=2.0)
TOPIC = templates.parse(
    """
name: topic
about: What it is about.
labels:
  - name: code
    description: python code, SQL query, website, javascript, html
    examples: [write python code to sort a list, SQL query for orders]
  - name: food
    description: recipe, cook, kitchen
    examples: [give me a recipe for curry, how do I cook salmon]
  - other
""",
    source="topic",
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[StandIn, Model]]]:
    with ExitStack() as stack:

        def start(answer: Any, **options: Any) -> tuple[StandIn, Model]:
            provider = stack.enter_context(serving(answer, **options))
            return provider, resolve_model("openai/gpt-4o-mini", base_url=provider.url, price=(1.0, 2.0))

        yield start


def by_words(body: Mapping[str, Any]) -> dict[str, Any]:
    found = re.search(r"<texts (\w+)>\n(.*?)\n</texts \1>", prompt_of(body), re.DOTALL)
    assert found is not None
    entries = [json.loads(line) for line in found[2].splitlines()]
    return {
        "labels": [
            {"id": one["id"], "label": "code" if re.search("python|sql", one["text"], re.I) else "other", "sure": 0.9}
            for one in entries
        ]
    }


# ---- templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", templates.names())
def test_shipped_templates_can_be_used(name: str) -> None:
    template = templates.load(name)
    assert template.name == name
    assert len(template.labels) >= 2
    assert templates.Template.from_dict(template.to_dict()) == template
    assert templates.column_of(name) == "label_" + name.replace("-", "_")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "a template is a mapping"),
        ("a: [", "this is no YAML"),
        ("name: X\nabout: y\nlabels: [a, b]", "name must be words"),
        ("name: x\nlabels: [a, b]", "about must say"),
        ("name: x\nabout: y\nlabels: [a]", "a list of 2 to 100"),
        ("name: x\nabout: y\nlabels: [a, A]", "stands twice"),
        ("name: x\nabout: y\nlabels: [a, b]\nmore: 1", "there is no field 'more'"),
        ("name: x\nabout: y\nlabels: [{name: a, colour: b}, c]", "a label has no field 'colour'"),
        ("name: x\nabout: y\nlabels: [{name: a, examples: 3}, c]", "must be a list of texts"),
        ("name: latest\nabout: y\nlabels: [a, b]", "name must be another than latest"),
        (f"name: {'a' * 300}\nabout: y\nlabels: [a, b]", "of at most 60 characters"),
        ("!!python/object/apply:os.system ['true']", "this is no YAML"),
    ],
)
def test_templates_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        templates.parse(text, source="x.yaml")


# ---- heads --------------------------------------------------------------------------------------------------------


def test_leave_one_out_is_what_leaving_out_gives() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    numbers = (vectors[:, 0] + 0.3 * rng.normal(size=40) > 0).astype(np.int32)
    head = train_head(vectors, numbers, 2)
    assert head.accuracy > 0.75
    assert head.n_examples == tuple(np.bincount(numbers).tolist())
    probabilities = head.probabilities(vectors)
    assert np.allclose(probabilities.sum(axis=1), 1)
    again = train_head(vectors, numbers, 2)
    assert np.array_equal(head.coefficients, again.coefficients)


def test_head_agrees_with_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 20))
    numbers = rng.integers(0, 3, size=300).astype(np.int32)
    vectors = (centres[numbers] + rng.normal(size=(300, 20))).astype(np.float32)
    train, test = np.arange(150), np.arange(150, 300)
    head = train_head(vectors[train], numbers[train], 3)
    ours = (head.probabilities(vectors[test]).argmax(1) == numbers[test]).mean()
    theirs = linear.LogisticRegression(max_iter=1000).fit(vectors[train], numbers[train])
    assert ours >= (theirs.predict(vectors[test]) == numbers[test]).mean() - 0.03
    assert abs(head.accuracy - ours) < 0.08


def test_head_needs_examples() -> None:
    with pytest.raises(InvalidInputError, match="two labels with two examples each: 1 have them"):
        train_head(np.eye(3, dtype=np.float32), np.array([0, 0, 1], dtype=np.int32), 2)


def test_softmax_survives_large_scores() -> None:
    assert softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]


# ---- labels -------------------------------------------------------------------------------------------------------


def test_zero_shot_labels_become_a_column(embedded: Session, encoder: Any) -> None:
    report = classify(embedded, TOPIC, encoder=encoder)
    assert report.n_labelled > 250
    code = selection.queries(embedded, make_filters(where="label_topic = 'code'"), limit=None)
    assert code.height > 20
    about = "(?i)python|sql|html|javascript|website|react|css"
    everything = selection.queries(embedded, limit=None)["text"].str.contains(about).mean()
    assert code["text"].str.contains(about).mean() > everything  # type: ignore[operator]  # a float
    counted = selection.facets(embedded, None, ("label_topic",))["label_topic"]
    assert dict(counted.rows())["code"] == code.height
    assert selection.queries(embedded, make_filters(where="label_topic IS NULL"), limit=None).height == 0


def test_filters_decide_what_is_labelled(embedded: Session, encoder: Any) -> None:
    report = classify(embedded, TOPIC, encoder=encoder, filters=Filters(language="English", limit=30))
    assert report.n_labelled == 30
    unlabelled = selection.queries(embedded, make_filters(where="label_topic IS NULL"), limit=None)
    assert unlabelled.height > 0


def test_the_newest_labelling_counts(embedded: Session, encoder: Any) -> None:
    classify(embedded, TOPIC, encoder=encoder)
    second = classify(embedded, TOPIC, encoder=encoder, filters=Filters(limit=5))
    assert labels.find(embedded, "topic").classification_id == second.classification_id
    labels.remove(embedded, second.classification_id)
    assert selection.queries(embedded, make_filters(where="label_topic IS NOT NULL"), limit=None).height > 250
    assert verifying.verify(embedded).is_sound


def test_a_partial_labelling_hides_no_older_labels(embedded: Session, encoder: Any) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    classify(embedded, TOPIC, encoder=encoder)
    classify(embedded, TOPIC, encoder=encoder, filters=Filters(limit=10))
    assert selection.queries(embedded, make_filters(where="label_topic IS NULL"), limit=None).height == 0
    counted = pivot(embedded, "topic", run.run_id)
    assert counted.select("code", "food", "other").sum_horizontal().sum() == run.n_queries
    other = templates.parse("name: topic\nabout: other\nlabels: [x, y]", source="other")
    classify(embedded, other, encoder=encoder, filters=Filters(limit=10))
    # other labels are no labels of this template
    assert selection.queries(embedded, make_filters(where="label_topic IS NULL"), limit=None).height > 200


def test_a_run_of_labelled_texts_keeps_the_labels_it_was_made_with(embedded: Session, encoder: Any) -> None:
    from lmsys_rs import curation, hierarchies
    from lmsys_rs.exporting import export

    first = classify(embedded, TOPIC, encoder=encoder)
    run = cluster(embedded, _core.KMeans(n_clusters=4), filters=make_filters(where="label_topic = 'code'"))
    label(embedded, run.run_id)
    other = templates.parse("name: topic\nabout: other\nlabels: [x, y]", source="other")
    classify(embedded, other, encoder=encoder)
    assert export(embedded, run.run_id, embedded.folder.path.parent / "e.csv") == run.n_queries
    renamed = curation.rename_cluster(embedded, run.run_id, 1, "Mine")
    assert renamed.clusters[0].n_queries == renamed.clusters[0].n_queries_before > 0
    hierarchies.build(embedded, run.run_id, target_levels=2, encoder=encoder)
    label(embedded, run.run_id)
    for name in (first.classification_id, "topic"):
        with pytest.raises(InvalidInputError, match="was made of texts with these labels"):
            labels.remove(embedded, name)


def test_unknown_columns_are_told(embedded: Session) -> None:
    with pytest.raises(InvalidInputError, match="there is no column 'label_topic': nothing is labelled yet"):
        selection.queries(embedded, make_filters(where="label_topic = 'code'"))
    with pytest.raises(InvalidInputError, match="nothing is labelled yet"):
        labels.find(embedded, "x")


def test_vectors_without_their_encoder_cannot_be_compared(embedded: Session) -> None:
    with pytest.raises(ModelError, match="is not on this machine"):
        classify(embedded, TOPIC)


def test_clusters_get_the_label_of_most_queries(embedded: Session, encoder: Any) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=6)).run_id)
    classify(embedded, TOPIC, encoder=encoder)
    counted = pivot(embedded, "topic", run.run_id)
    assert counted["n_queries"].sum() == run.n_queries
    assert counted.select("code", "food", "other").sum_horizontal().sum() == run.n_queries
    report = classify(embedded, TOPIC, unit="cluster", encoder=encoder)
    # labels of clusters do not hide those of texts
    assert pivot(embedded, "topic", run.run_id).equals(counted)
    assert least_certain(embedded, "topic", limit=1).height == 1
    assert labels.find(embedded, "topic").unit == "cluster"
    table = labels.read(embedded, labels.find(embedded, report.classification_id))
    by_id = {row["cluster_id"]: row for row in counted.to_dicts()}
    for row in table.iter_rows(named=True):
        counts = {name: by_id[row["id"]][name] for name in TOPIC.label_names}
        assert counts[row["label"]] == max(counts.values())
        assert row["score"] == pytest.approx(max(counts.values()) / sum(counts.values()), abs=1e-6)


def test_reviewed_texts_teach_a_head(embedded: Session, encoder: Any) -> None:
    queries = selection.queries(embedded, limit=None)
    is_code = queries["text"].str.contains("(?i)python|sql")
    code, other = queries.filter(is_code)["query_id"].to_list(), queries.filter(~is_code)["query_id"].to_list()
    assert review(embedded, TOPIC, code[:15], "code") > 5
    review(embedded, TOPIC, other[:15], "other")
    report = classify(embedded, TOPIC, method="head")
    assert report.accuracy is not None
    assert report.accuracy > 0.7
    found = selection.queries(embedded, make_filters(where="label_topic = 'code'"), limit=None)
    right = set(found["query_id"]) & set(code)
    assert len(right) > 0.7 * len(code)
    unsure = least_certain(embedded, "topic", limit=5)
    assert unsure.columns == ["query_id", "label", "score", "text"]
    assert unsure["score"].is_sorted()
    assert not set(unsure["query_id"]) & set(code[:15] + other[:15])
    assert review(embedded, TOPIC, code[:15], None) > 5
    with pytest.raises(InvalidInputError, match="a head needs two labels"):
        classify(embedded, TOPIC, method="head")


def test_reviews_are_checked(embedded: Session) -> None:
    with pytest.raises(InvalidInputError, match="topic has no label 'cats'"):
        review(embedded, TOPIC, [1], "cats")
    with pytest.raises(InvalidInputError, match="there is no query 99999"):
        review(embedded, TOPIC, [99999], "code")


# ---- a model ------------------------------------------------------------------------------------------------------


def test_a_model_labels_and_the_second_time_is_free(embedded: Session, serve: Any) -> None:
    provider, model = serve(by_words)
    estimate = plan(embedded, TOPIC, model, filters=Filters(limit=50))
    assert estimate.n_calls == 3
    report = classify(embedded, TOPIC, method="llm", model=model, limits=QUICK, filters=Filters(limit=50))
    assert (report.n_labelled, report.n_missing, report.n_calls) == (50, 0, 3)
    again = classify(embedded, TOPIC, method="llm", model=model, limits=QUICK, filters=Filters(limit=50))
    assert (again.n_calls, again.n_cached, again.cost) == (0, 3, 0.0)
    more = classify(embedded, TOPIC, method="llm", model=model, limits=QUICK, filters=Filters(limit=90))
    assert more.n_labelled == 90
    assert not provider.paid_twice()


@pytest.mark.parametrize("fault", ["500", "cut-before", "wrong-count", "malformed", "429"])
def test_faults_cost_no_label(embedded: Session, serve: Any, fault: str) -> None:
    provider, model = serve(by_words, faults={fault: 0.3}, seed=5, retry_after=0.05)
    report = classify(embedded, TOPIC, method="llm", model=model, limits=QUICK, filters=Filters(limit=100))
    assert report.n_labelled == 100
    assert not provider.paid_twice()


def test_labels_that_are_none_are_left_out(embedded: Session, serve: Any) -> None:
    def odd(body: Mapping[str, Any]) -> Any:
        value = by_words(body)
        value["labels"] = value["labels"][:-1]
        return value

    _, model = serve(odd)
    report = classify(embedded, TOPIC, method="llm", model=model, limits=QUICK, filters=Filters(limit=40))
    assert (report.n_labelled, report.n_missing) == (38, 2)
    assert report.reasons
    table = labels.read(embedded, labels.find(embedded, "topic"))
    assert set(table["label"].cast(pl.String)) <= set(TOPIC.label_names)


def test_a_model_labels_clusters_by_name_and_typical_texts(embedded: Session, serve: Any) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=6)).run_id)
    provider, model = serve(by_words)
    report = classify(embedded, TOPIC, method="llm", unit="cluster", model=model, limits=QUICK)
    assert (report.n_labelled, len(provider.calls)) == (6, 1)
    with embedded.store.reading() as connection:
        from lmsys_rs.store import reading

        titles = [c.title for c in reading.clusters(connection, run.run_id)]
    assert all(title in provider.calls[0].prompt for title in titles)


def test_method_and_model_go_together(embedded: Session, serve: Any) -> None:
    _, model = serve(by_words)
    with pytest.raises(InvalidInputError, match="method llm needs a model"):
        classify(embedded, TOPIC, method="llm")
    with pytest.raises(InvalidInputError, match="and by no other"):
        classify(embedded, TOPIC, model=model)
    with pytest.raises(InvalidInputError, match="nothing to label"):
        classify(embedded, TOPIC, method="llm", model=model, filters=Filters(dataset="none"))


def test_texts_are_looked_at_where_english_ones_lie(embedded: Session) -> None:
    from lmsys_rs.languages import space_across_languages

    ids = np.arange(200, dtype=np.uint32)
    space = space_across_languages(embedded, embedded.embedding(), ids).as_if_in("English")
    from lmsys_rs import columns

    english = columns.frames(embedded).texts["detected_language"].cast(pl.String).head(200) == "English"
    raw = np.asarray(embedded.vectors(embedded.embedding())[ids])
    rows = space.rows(ids)
    assert np.allclose(rows[english.to_numpy()], raw[english.to_numpy()], atol=1e-5)
    assert classifying.SHARPNESS > 0


BOMB = "about: x\nlabels:\n - &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f" - &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [f"{BOMB}name: *a8\n", "[" * 20_000, "name: 2001-99-99\n", f"name: t\nabout: x\nlabels: [{'9' * 5_000}, b]\n"],
    ids=["bomb", "deep", "date", "number"],
)
def test_hostile_templates_are_refused_in_few_words(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        templates.parse(text, source="x.yaml")
    assert len(str(caught.value)) < 500


def test_a_template_is_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        templates.load(tmp_path / "x.yaml")


def test_labels_do_not_hide_the_columns_of_a_pivot(embedded: Session, encoder: Any) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    template = templates.parse("name: parts\nabout: x\nlabels: [title, cluster_id, body]", source="x")
    classify(embedded, template, encoder=encoder)
    found = pivot(embedded, "parts", run.run_id)
    assert found.columns == ["cluster_id", "title", "n_queries", "label_title", "label_cluster_id", "body"]
    assert found["title"].dtype == pl.String
    assert sum(found["n_queries"]) == found.select("label_title", "label_cluster_id", "body").sum().sum_horizontal()[0]
