"""How texts, or the clusters of a run, get labels of a template: by their vectors, by a trained head, or by a model.

Zero-shot compares vectors with the labels' descriptions and examples; a head is trained on labels that people gave; a
language model is asked, and what it answered is in the journal, so a second call goes on where the first one stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core, labels, prompts
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.heads import Head, softmax, train_head
from lmsys_rs.journal import WorkspaceJournal
from lmsys_rs.knowledge import ClassificationRecord
from lmsys_rs.labeling import encoder_at_hand
from lmsys_rs.languages import Space, space_across_languages
from lmsys_rs.layouts import CHUNK_ROWS
from lmsys_rs.llm import Answer, Estimate, Failed, Limits, Model, Outcome, Report, Request, ask_all, ask_batch, estimate
from lmsys_rs.naming import TextEncoder
from lmsys_rs.prompts import Data
from lmsys_rs.records import NOISE, Event, Filters, OnEvent, ignore_events
from lmsys_rs.selection import first_queries, select
from lmsys_rs.session import Session
from lmsys_rs.store import labelling, reading
from lmsys_rs.store.writing import now
from lmsys_rs.templates import COLUMN_PREFIX, Template

__all__ = ["ClassificationReport", "Method", "Unit", "classify", "least_certain", "pivot", "plan", "review"]

Method = Literal["zero-shot", "head", "llm"]
Unit = Literal["text", "cluster"]

SHARPNESS = 20.0  # of the softmax over cosines: a difference of 0.05 is a factor of e
TEXTS_AT_ONCE = 20  # in one prompt
TEXT_CHARS = 800
PIVOT_COLUMNS = ("cluster_id", "title", "n_queries")
EXAMPLES = 5  # texts of a cluster that are shown with its title


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationReport:
    """What a labelling did.

    Attributes:
        n_labelled: texts or clusters that got a label; ``n_missing`` that got none, ``reasons`` counts why.
        accuracy: of a head, leave-one-out on its examples, each label counting alike; None of other methods.
    """

    classification_id: str
    template: str
    method: str
    unit: str
    n_labelled: int
    n_missing: int = 0
    accuracy: float | None = None
    n_calls: int = 0
    n_cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    stopped: str | None = None
    reasons: Mapping[str, int] | None = None


def classify(
    session: Session,
    template: Template,
    *,
    method: Method = "zero-shot",
    unit: Unit = "text",
    run_id: str | None = None,
    filters: Filters | None = None,
    model: Model | None = None,
    limits: Limits | None = None,
    batch: bool = False,
    encoder: TextEncoder | None = None,
    on_event: OnEvent = ignore_events,
) -> ClassificationReport:
    """Label texts that pass ``filters``, or the clusters of a run, and store the labels.

    A cluster gets the label that most of its queries have (by the model: the label of its name and typical texts), and
    as score the share of queries that have it.

    Args:
        method: ``zero-shot``, ``head`` (trained on `review`) or ``llm`` (needs ``model``).
        run_id: whose clusters; of texts only those that are in this run.
        encoder: of the vectors, for zero-shot; None takes the one at hand.

    Raises:
        InvalidInputError: nothing passes, no model, or too few reviewed examples.
        ModelError: zero-shot without the encoder of the vectors.
        ProviderError: the provider refuses what all requests have in common, or is down.
    """
    if (method == "llm") != (model is not None):
        raise InvalidInputError(
            "a model is needed by method llm, and by no other" if model else "method llm needs a model",
            hint="--method llm --model openai/gpt-4o-mini",
        )
    run = None
    if unit == "cluster" or run_id is not None:
        with session.store.reading() as connection:
            run = reading.get_run(connection, run_id or "latest")
    accuracy = None
    report: Report | None = None
    reasons: dict[str, int] = {}
    if method == "llm" and unit == "cluster":
        assert run is not None
        assert model is not None
        ids, shown = _cluster_texts(session, run.run_id)
        table, report, reasons = _by_model(
            session, template, ids, shown, model, limits or Limits(), batch, run.run_id, on_event
        )
    else:
        text_ids, weights = _texts(session, None if run is None else run.run_id, filters)
        if method == "llm":
            assert model is not None
            texts = _cut_texts(session, text_ids)
            table, report, reasons = _by_model(
                session,
                template,
                text_ids.tolist(),
                texts,
                model,
                limits or Limits(),
                batch,
                None if run is None else run.run_id,
                on_event,
            )
        else:
            if int(text_ids[-1]) >= session.embedding().n_rows:
                raise InvalidInputError("some of the texts are not embedded yet", hint="run: lmsys embed")
            # labels are described in English: texts of other languages are looked at where English ones lie
            space = space_across_languages(session, session.embedding(), text_ids).as_if_in("English")
            probabilities_of, accuracy = _scorer(session, template, method, space, encoder)
            table = _scored(template, text_ids, space, probabilities_of, on_event)
        if unit == "cluster":
            assert run is not None
            table = _of_clusters(session, run.run_id, table, weights, text_ids)
    wanted = f"class-{template.name}-{method}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    with session.store.reading() as connection:
        taken = {record.classification_id for record in labelling.classifications(connection)}
    classification_id = next(
        name for i in range(1, len(taken) + 2) if (name := f"{wanted}-{i}" if i > 1 else wanted) not in taken
    )
    record = ClassificationRecord(
        classification_id=classification_id,
        template=template.name,
        template_hash=template.hash,
        content=template.to_dict(),
        unit=unit,
        method=method,
        model=None if model is None else model.spec,
        run_id=None if run is None else run.run_id,
        parameters={"filters": (filters or Filters()).to_dict(), "accuracy": accuracy},
        n_labelled=table.height,
        file=f"labels/{classification_id}.arrow",
        cost=None if report is None else report.cost,
        created_at=now(),
    )
    labels.store(session, record, table)
    return ClassificationReport(
        classification_id=classification_id,
        template=template.name,
        method=method,
        unit=unit,
        n_labelled=table.height,
        n_missing=sum(reasons.values()),
        accuracy=accuracy,
        n_calls=0 if report is None else report.n_calls,
        n_cached=0 if report is None else report.n_cached,
        input_tokens=0 if report is None else report.input_tokens,
        output_tokens=0 if report is None else report.output_tokens,
        cost=0.0 if report is None else report.cost,
        stopped=None if report is None else report.stopped,
        reasons=reasons,
    )


def plan(
    session: Session,
    template: Template,
    model: Model,
    *,
    unit: Unit = "text",
    run_id: str | None = None,
    filters: Filters | None = None,
    limits: Limits | None = None,
) -> Estimate:
    """What labelling by a model would cost and take; sends nothing and needs no key."""
    run = None
    if unit == "cluster" or run_id is not None:
        with session.store.reading() as connection:
            run = reading.get_run(connection, run_id or "latest").run_id
    if unit == "cluster":
        assert run is not None
        _, shown = _cluster_texts(session, run)
    else:
        text_ids, _ = _texts(session, run, filters)
        shown = _cut_texts(session, text_ids)
    requests = [_request(template, part) for part in _parts(shown)]
    return estimate(model, requests, journal=WorkspaceJournal(session, run, only_read=True), limits=limits or Limits())


def review(
    session: Session, template: Template, query_ids: Sequence[int], label: str | None, *, editor: str | None = None
) -> int:
    """Keep the label that a person gives to queries (with all of the same text); None forgets it. Returns how many.

    Raises:
        InvalidInputError: no such label or query.
    """
    if label is not None and label not in template.label_names:
        raise InvalidInputError(f"{template.name} has no label {label!r}: it has {', '.join(template.label_names)}")
    with session.writer("classify"):
        with session.store.reading() as connection:
            found = reading.queries_by_id(connection, np.array(sorted(set(query_ids)), dtype=np.int64))
        missing = sorted(set(query_ids) - set(found["query_id"].to_list()))
        if missing:
            raise InvalidInputError(f"there is no query {missing[0]}", hint="lmsys list shows their numbers")
        text_ids = found["text_id"].unique().sort().to_list()
        with session.store.writing() as connection:
            if label is None:
                return labelling.remove_reviewed(connection, template.name, text_ids)
            labelling.put_reviewed(connection, template.name, text_ids, label, editor=editor)
    return len(text_ids)


def least_certain(session: Session, name: str, *, limit: int = 10) -> pl.DataFrame:
    """Texts of a labelling whose label is least sure and that nobody reviewed: query_id, label, score, text.

    Reviewing these teaches a head most (uncertainty sampling: Lewis, Gale 1994).
    """
    record = labels.find(session, name, unit="text")
    if record.unit != "text":
        raise InvalidInputError(f"{record.classification_id} is of clusters: review needs labels of texts")
    with session.store.reading() as connection:
        known = [text_id for text_id, _ in labelling.reviewed(connection, record.template)]
    table = labels.merged(session, record).filter(~pl.col("id").is_in(known)).sort("score", "id").head(limit)
    found = first_queries(session, table["id"].cast(pl.UInt32).to_numpy())
    joined = found.join(table.with_columns(pl.col("id").cast(pl.UInt32)), left_on="text_id", right_on="id")
    return joined.sort("score", "text_id").select("query_id", "label", "score", "text")


def pivot(session: Session, name: str, run_id: str = "latest") -> pl.DataFrame:
    """How many queries of each cluster of a run have each label: cluster_id, title, n_queries, and a column per label.

    Queries without a label count in n_queries only. Largest cluster first, noise last. A label that is called as one of
    the first columns gets ``label_`` before its name.

    Raises:
        InvalidInputError: no such run or labelling, or one of clusters.
    """
    record = labels.find(session, name, unit="text")
    if record.unit != "text":
        raise InvalidInputError(f"{record.classification_id} is of clusters: a pivot counts labels of texts")
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        members = reading.members(connection, run.run_id).select("text_id", "cluster_id")
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}
    selected = select(session, Filters.from_dict(run.filters).without_limit())
    weights = pl.DataFrame({"text_id": selected.text_ids, "weight": selected.weights.astype(np.int64)})
    table = labels.merged(session, record).select(
        pl.col("id").cast(pl.UInt32).alias("text_id"), pl.col("label").cast(pl.String)
    )
    joined = members.join(weights, on="text_id", how="left").join(table, on="text_id", how="left")
    counted = joined.group_by("cluster_id", "label").agg(pl.col("weight").sum())
    names = [str(one["name"]) for one in record.content["labels"]]
    cells = {(cluster, label): n for cluster, label, n in counted.rows()}
    order = sorted(clusters, key=lambda i: (i == NOISE, -clusters[i].n_queries, i))
    return pl.DataFrame(
        {
            "cluster_id": pl.Series(order, dtype=pl.Int32),
            "title": [clusters[i].title for i in order],
            "n_queries": [clusters[i].n_queries for i in order],
            **{
                f"{COLUMN_PREFIX}{label}" if label in PIVOT_COLUMNS else label: pl.Series(
                    [cells.get((i, label), 0) for i in order], dtype=pl.Int64
                )
                for label in names
            },
        }
    )


def _texts(
    session: Session, run_id: str | None, filters: Filters | None
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """The texts that are labelled, ascending, and how often each is asked."""
    selected = select(session, filters)
    text_ids, weights = selected.text_ids, selected.weights
    if run_id is not None:
        with session.store.reading() as connection:
            members = reading.members(connection, run_id)["text_id"].to_numpy()
        inside = np.isin(text_ids, members)
        text_ids, weights = text_ids[inside], weights[inside]
    if not len(text_ids):
        raise InvalidInputError("there is nothing to label: no query passes the filters")
    return text_ids, weights


def _cut_texts(session: Session, text_ids: npt.NDArray[np.uint32]) -> list[str]:
    with session.store.reading() as connection:
        return pl.Series(_core.cut_texts(reading.texts_of(connection, text_ids), TEXT_CHARS)).to_list()


def _scorer(
    session: Session, template: Template, method: Method, space: Space, encoder: TextEncoder | None
) -> tuple[Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]], float | None]:
    """From vectors to the probability of each label; of a head also its accuracy."""
    embedding = session.embedding()
    if method == "head":
        with session.store.reading() as connection:
            given = labelling.reviewed(connection, template.name)
        numbers = {name: number for number, name in enumerate(template.label_names)}
        kept = [
            (text_id, numbers[label]) for text_id, label in given if label in numbers and text_id < embedding.n_rows
        ]
        vectors = space.rows(np.array([i for i, _ in kept], dtype=np.uint32))
        head: Head = train_head(vectors, np.array([n for _, n in kept], dtype=np.int32), len(numbers))
        return head.probabilities, round(head.accuracy, 4)
    encoder = encoder or encoder_at_hand(embedding)
    if encoder is None:
        raise ModelError(
            f"the encoder of the vectors, {embedding.model}, is not on this machine",
            hint="lmsys embed fetches it; or label some texts and use --method head",
        )
    means = np.stack(
        [_label_vector(encoder, label.name, label.description, label.examples) for label in template.labels]
    )
    return lambda rows: softmax(SHARPNESS * (rows.astype(np.float64) @ means.T)), None


def _label_vector(
    encoder: TextEncoder, name: str, description: str, examples: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Mean of what a label says and of its examples, each half of it, of length one."""
    said = encoder.embed([f"{name}: {description}" if description else name])[0].astype(np.float64)
    if examples:
        shown = encoder.embed(list(examples)).astype(np.float64).mean(axis=0)
        said = said + shown / max(1e-12, float(np.linalg.norm(shown)))
    found: npt.NDArray[np.float64] = said / max(1e-12, float(np.linalg.norm(said)))
    return found


def _scored(
    template: Template,
    text_ids: npt.NDArray[np.uint32],
    space: Space,
    probabilities_of: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]],
    on_event: OnEvent,
) -> pl.DataFrame:
    on_event(Event("started", "classify", 0, len(text_ids), "texts"))
    best, scores = [], []
    for start in range(0, len(text_ids), CHUNK_ROWS):
        probabilities = probabilities_of(space.rows(text_ids[start : start + CHUNK_ROWS]))
        best.append(probabilities.argmax(axis=1))
        scores.append(probabilities.max(axis=1))
        on_event(Event("advanced", "classify", min(start + CHUNK_ROWS, len(text_ids)), len(text_ids), "texts"))
    on_event(Event("finished", "classify", len(text_ids), len(text_ids), "texts"))
    names = pl.Series(template.label_names)
    return pl.DataFrame({"id": text_ids, "label": names.gather(np.concatenate(best)), "score": np.concatenate(scores)})


def _of_clusters(
    session: Session,
    run_id: str,
    table: pl.DataFrame,
    weights: npt.NDArray[np.float32],
    text_ids: npt.NDArray[np.uint32],
) -> pl.DataFrame:
    """The label of most queries of each cluster, and their share."""
    with session.store.reading() as connection:
        members = reading.members(connection, run_id).select("text_id", "cluster_id")
    heavy = pl.DataFrame({"text_id": text_ids, "weight": weights})
    texts = table.select(pl.col("id").cast(pl.UInt32).alias("text_id"), pl.col("label").cast(pl.String))
    joined = members.filter(pl.col("cluster_id") != NOISE).join(texts, on="text_id").join(heavy, on="text_id")
    votes = joined.group_by("cluster_id", "label").agg(pl.col("weight").sum())
    votes = votes.sort("cluster_id", "weight", "label", descending=[False, True, False])
    return (
        votes.group_by("cluster_id", maintain_order=True)
        .agg(pl.col("label").first(), (pl.col("weight").first() / pl.col("weight").sum()).alias("score"))
        .rename({"cluster_id": "id"})
    )


def _cluster_texts(session: Session, run_id: str) -> tuple[list[int], list[str]]:
    """Clusters, and what a model is shown of each: its title, description and typical texts."""
    with session.store.reading() as connection:
        clusters = [c for c in reading.clusters(connection, run_id) if c.cluster_id != NOISE]
        wanted = sorted({i for c in clusters for i in c.representatives[:EXAMPLES]})
        texts = pl.Series(_core.cut_texts(reading.texts_of(connection, np.array(wanted, dtype=np.uint32)), 200))
    of_id = dict(zip(wanted, texts, strict=True))
    shown = [
        "\n".join([f"{c.title}: {c.description}", *(f"- {of_id[i]}" for i in c.representatives[:EXAMPLES])])
        for c in clusters
    ]
    return [c.cluster_id for c in clusters], shown


def _parts(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]


def _request(template: Template, texts: Sequence[str]) -> Request:
    listed = "\n".join(
        f"- {one.name}: {one.description}" if one.description else f"- {one.name}" for one in template.labels
    )
    rendered = prompts.builtin("classify").render(
        about=template.about, labels=listed, n_texts=len(texts), texts=Data.of(list(texts))
    )
    return Request(
        purpose="classify",
        system=rendered.system,
        messages=rendered.user,
        schema={
            "type": "object",
            "properties": {
                "labels": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "id": {"type": "integer"},
                            "label": {"type": "string", "enum": template.label_names},
                            "sure": {"type": "number"},
                        },
                        "required": ["id", "label", "sure"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["labels"],
            "additionalProperties": False,
        },
        schema_name="labels",
        max_output_tokens=60 + 40 * len(texts),
        expected_output_tokens=10 + 20 * len(texts),
        temperature=0.0,
        check=_miscounted(len(texts)),
    )


def _miscounted(n_texts: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        told = {one["id"] for one in value["labels"]}
        missing = sorted(set(range(1, n_texts + 1)) - told)
        if missing:
            return f"texts {', '.join(map(str, missing[:10]))} are missing: label each of the {n_texts} once"
        return None if len(value["labels"]) == n_texts else f"{len(value['labels'])} labels for {n_texts} texts"

    return check


def _by_model(
    session: Session,
    template: Template,
    ids: Sequence[int],
    texts: Sequence[str],
    model: Model,
    limits: Limits,
    batch: bool,
    run_id: str | None,
    on_event: OnEvent,
) -> tuple[pl.DataFrame, Report, dict[str, int]]:
    parts = _parts(texts)
    requests = [_request(template, part) for part in parts]
    ask = ask_batch if batch else ask_all
    report = ask(
        model,
        requests,
        limits=limits,
        journal=WorkspaceJournal(session, run_id),
        stage="classify",
        on_event=on_event,
    )
    rows: list[tuple[int, str, float]] = []
    reasons: dict[str, int] = {}
    at = 0
    for part, outcome in zip(parts, report.outcomes, strict=True):
        told = _told(outcome, len(part), template)
        rows += [(ids[at + number - 1], label, sure) for number, (label, sure) in sorted(told.items())]
        if len(told) < len(part):
            reason = _reason(outcome)
            reasons[reason] = reasons.get(reason, 0) + len(part) - len(told)
        at += len(part)
    schema = {"id": pl.Int64, "label": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row"), report, reasons


def _told(outcome: Outcome, n_texts: int, template: Template) -> dict[int, tuple[str, float]]:
    """The labels in an answer by number of the text; what is no label, or of no text, is left out."""
    value: Any = None
    if isinstance(outcome, Answer):
        value = outcome.value
    elif isinstance(outcome, Failed):
        try:
            value = json.loads(outcome.text)
        except ValueError:
            value = None
    found: dict[int, tuple[str, float]] = {}
    entries = value.get("labels") if isinstance(value, dict) else None
    for one in entries if isinstance(entries, list) else ():
        if not isinstance(one, dict):
            continue
        number, label, sure = one.get("id"), one.get("label"), one.get("sure")
        if isinstance(number, int) and 1 <= number <= n_texts and label in template.label_names:
            score = float(sure) if isinstance(sure, (int, float)) else 0.5
            found.setdefault(number, (str(label), min(1.0, max(0.0, score))))
    return found


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return re.sub(r"\s+", " ", outcome.reason)
    return "the budget was reached" if getattr(outcome, "reason", "") == "budget" else "it was not answered"
