"""Names by a model: what it is shown, what becomes of good and bad answers, and that nothing is paid twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from lmsys_rs import _core, curation, prompts
from lmsys_rs.cluster_prompts import Options, problem
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.llm import Limits, Model, resolve_model
from lmsys_rs.records import ClusterRecord, RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading
from lmsys_rs.summarizing import adopt, plan, plan_refining, refine, summarize, summarize_offline
from lmsys_rs.titles import is_generic, normalized
from stand_in import StandIn, prompt_of, serving

QUICK = Options(limits=Limits(concurrency=8, rpm=0, tpm=0, timeout_s=2.0))


def shown_texts(body: Mapping[str, Any], name: str = "texts") -> list[str]:
    """What a prompt shows between its marks."""
    found = re.search(rf"<{name} (\w+)>\n(.*?)\n</{name} \1>", prompt_of(body), re.DOTALL)
    assert found is not None
    return [json.loads(line)["text"] for line in found[2].splitlines() if line != "(none)"]


def by_first_text(body: Mapping[str, Any]) -> dict[str, str]:
    """A name out of the first text that is shown."""
    words = sorted({word for text in shown_texts(body)[:3] for word in re.findall(r"\w{3,}", text)}, key=len)
    return {"title": f"Finding {' '.join(words[-5:])}"[:75], "description": "People ask about this."}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    return label(embedded, cluster(embedded, _core.KMeans(n_clusters=8)).run_id)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[StandIn, Model]]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(answer: Any = by_first_text, **options: Any) -> tuple[StandIn, Model]:
            provider = stack.enter_context(serving(answer, **options))
            return provider, resolve_model("openai/gpt-4o-mini", base_url=provider.url, price=(1.0, 2.0))

        yield start


def clusters(session: Session) -> dict[int, ClusterRecord]:
    with session.store.reading() as connection:
        run = reading.get_run(connection, "latest")
        return {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}


def test_a_model_names_every_cluster_and_the_run_is_called_by_it(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve()
    report = summarize(embedded, run.run_id, model, alias="first", options=QUICK)
    assert (report.n_named, report.n_offline, report.stopped) == (8, 0, None)
    assert report.cost is not None
    assert report.cost > 0
    found = clusters(embedded)
    assert {c.title_source for c in found.values()} == {"llm"}
    assert len({normalized(c.title) for c in found.values()}) == 8
    with embedded.store.reading() as connection:
        record = naming.get_summary_run(connection, run.run_id, "first")
        summaries = naming.summaries(connection, record.summary_run_id)
        assert reading.get_run(connection, run.run_id).summary_run_id == record.summary_run_id
    assert re.fullmatch(r"summary-gpt-4o-mini-\d{8}-\d{6}", record.summary_run_id)
    assert record.n_summaries == len(summaries) == 8
    assert record.parameters["prompt_hash"] == prompts.builtin("name-cluster").hash
    assert all(one.representatives and one.source == "llm" for one in summaries.values())
    assert len(provider.paid) == report.n_calls


def test_the_second_time_nothing_is_paid(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve()
    assert plan(embedded, run.run_id, model, options=QUICK).n_calls == 8
    first = summarize(embedded, run.run_id, model, options=QUICK)
    titles = {i: c.title for i, c in clusters(embedded).items()}
    n_calls = len(provider.calls)
    assert plan(embedded, run.run_id, model, options=QUICK).n_calls == 0
    second = summarize(embedded, run.run_id, model, options=QUICK)
    assert (second.n_calls, second.cost) == (0, 0.0)
    assert second.summary_run_id != first.summary_run_id
    assert {i: c.title for i, c in clusters(embedded).items()} == titles
    assert len(provider.calls) == n_calls


def test_texts_are_data_and_never_in_the_system_role(embedded: Session, run: RunRecord, serve: Any) -> None:
    bodies: list[Mapping[str, Any]] = []

    def watch(body: Mapping[str, Any]) -> dict[str, str]:
        bodies.append(body)
        return by_first_text(body)

    _, model = serve(watch)
    summarize(embedded, run.run_id, model, options=QUICK)
    with embedded.store.reading() as connection:
        texts = reading.text_range(connection, 0, 300).to_list()
    for body in bodies:
        roles = [message["role"] for message in body["messages"]]
        assert roles[0] == "system"
        system = body["messages"][0]["content"]
        assert not any(text in system for text in texts)
        assert set(shown_texts(body)) <= set(texts)


def test_contrast_is_of_the_nearest_clusters(embedded: Session, run: RunRecord, serve: Any) -> None:
    from lmsys_rs.cluster_prompts import name_request, shown_clusters

    _, model = serve()
    shown = shown_clusters(embedded, run.run_id, None, QUICK, model)
    import numpy as np
    from lmsys_rs.layouts import centroids

    with embedded.store.reading() as connection:
        members = reading.members(connection, run.run_id)
    means = centroids(embedded.vectors(embedded.embedding()), members, 8)
    for i in range(8):
        distances = np.linalg.norm(means - means[i], axis=1)
        distances[i] = np.inf
        assert shown.nearest[i] == np.argsort(distances, kind="stable")[:2].tolist()
    by_terms = name_request(shown, 0, Options(contrast_mode="keywords"), model).turns[0].text
    assert '"terms"' in by_terms
    assert '"neighbour": 2' in by_terms
    without = Options(contrast_neighbors=0)
    alone = name_request(shown_clusters(embedded, run.run_id, None, without, model), 0, without, model)
    assert 'neighbour":' not in alone.turns[0].text


def test_generic_empty_long_and_personal_names_are_asked_for_again(
    embedded: Session, run: RunRecord, serve: Any
) -> None:
    def careless(body: Mapping[str, Any]) -> dict[str, str]:
        if len(body["messages"]) > 2:  # told what was wrong
            return by_first_text(body)
        return {"title": "User queries about various topics", "description": "x"}

    provider, model = serve(careless)
    report = summarize(embedded, run.run_id, model, options=QUICK)
    assert report.n_named == 8
    assert not any(is_generic(c.title) for c in clusters(embedded).values())
    assert not provider.paid_twice()
    assert problem({"title": "", "description": "x"}) == "the title is empty"
    assert "at most 80" in str(problem({"title": "long " * 40, "description": "x"}))
    assert "email" in str(problem({"title": "Letters to ann.smith@example.com", "description": "x"}))
    assert problem({"title": "Refunds of cancelled flights", "description": "x"}) is None


def test_equal_titles_are_told_apart(embedded: Session, run: RunRecord, serve: Any) -> None:
    def same(body: Mapping[str, Any]) -> dict[str, str]:
        if "has the same title" in prompt_of(body):
            return by_first_text(body)
        return {"title": "Python code for sorting", "description": "x"}

    _, model = serve(same)
    summarize(embedded, run.run_id, model, options=QUICK)
    titles = [c.title for c in clusters(embedded).values()]
    assert titles.count("Python code for sorting") == 1
    assert len({normalized(title) for title in titles}) == 8

    _, stubborn = serve(lambda body: {"title": "Python code for sorting", "description": "x"})
    summarize(embedded, run.run_id, stubborn, options=QUICK)
    assert len({normalized(c.title) for c in clusters(embedded).values()}) == 8


def test_what_is_refused_keeps_its_offline_name(embedded: Session, run: RunRecord, serve: Any) -> None:
    offline = {i: c.title for i, c in clusters(embedded).items()}
    _, model = serve(faults={"refusal": 1.0})
    report = summarize(embedded, run.run_id, model, options=QUICK)
    assert (report.n_named, report.n_offline) == (0, 8)
    assert report.reasons
    assert {i: c.title for i, c in clusters(embedded).items()} == offline
    with embedded.store.reading() as connection:
        summaries = naming.summaries(connection, report.summary_run_id)
    assert {one.source for one in summaries.values()} == {"offline"}
    assert all(one.note for one in summaries.values())


def test_the_budget_stops_cleanly_and_a_larger_one_goes_on(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve()
    whole = plan(embedded, run.run_id, model, options=QUICK)
    assert whole.price is not None
    some = Options(limits=Limits(concurrency=1, rpm=0, tpm=0, max_cost=0.85 * whole.price))
    report = summarize(embedded, run.run_id, model, options=some)
    assert report.stopped == "budget"
    assert 0 < report.n_named < 8
    assert report.reasons == {"the budget was reached": report.n_offline}
    assert report.cost is not None
    assert report.cost <= 0.85 * whole.price
    assert len(clusters(embedded)) == 8
    paid = len(provider.paid)
    assert summarize(embedded, run.run_id, model, options=QUICK).n_named == 8
    assert len(provider.paid) >= 8 > paid
    assert not provider.paid_twice()


def test_a_persons_title_stays(embedded: Session, run: RunRecord, serve: Any) -> None:
    curation.rename_cluster(embedded, "latest", 3, "My own words")
    _, model = serve()
    summarize(embedded, run.run_id, model, options=QUICK)
    found = clusters(embedded)
    assert (found[3].title, found[3].title_source) == ("My own words", "user")
    assert {c.title_source for i, c in found.items() if i != 3} == {"llm"}


def test_a_persons_title_is_not_asked_about_unless_it_is_named(embedded: Session, run: RunRecord, serve: Any) -> None:
    curation.rename_cluster(embedded, "latest", 3, "My own words")
    provider, model = serve()
    assert plan(embedded, run.run_id, model, options=QUICK).n_calls == 7
    assert summarize(embedded, run.run_id, model, options=QUICK).n_named == 7
    assert len(provider.calls) == 7
    report = summarize(embedded, run.run_id, model, cluster_ids=[3], options=QUICK)
    assert report.n_named == 1
    assert len(provider.calls) == 8
    assert clusters(embedded)[3].title == "My own words"


def test_several_namings_stand_side_by_side_and_can_be_chosen(embedded: Session, run: RunRecord, serve: Any) -> None:
    _, model = serve()
    first = summarize(embedded, run.run_id, model, alias="a", options=QUICK)
    titles = {i: c.title for i, c in clusters(embedded).items()}
    second = summarize_offline(embedded, run.run_id, alias="b")
    assert {i: c.title for i, c in clusters(embedded).items()} != titles
    assert adopt(embedded, run.run_id, "a").summary_run_id == first.summary_run_id
    assert {i: c.title for i, c in clusters(embedded).items()} == titles
    assert adopt(embedded, run.run_id, second.summary_run_id).alias == "b"
    with pytest.raises(InvalidInputError, match="no summary run or alias 'c'"):
        adopt(embedded, run.run_id, "c")


def test_single_clusters_go_into_a_naming_that_exists(embedded: Session, run: RunRecord, serve: Any) -> None:
    _, model = serve()
    first = summarize(embedded, run.run_id, model, cluster_ids=[2], options=QUICK)
    assert first.n_named == 1
    more = summarize(
        embedded, run.run_id, model, cluster_ids=[4, 5], summary_run_id=first.summary_run_id, options=QUICK
    )
    assert more.summary_run_id == first.summary_run_id
    with embedded.store.reading() as connection:
        assert sorted(naming.summaries(connection, first.summary_run_id)) == [2, 4, 5]
    found = clusters(embedded)
    assert [i for i, c in found.items() if c.title_source == "llm"] == [2, 4, 5]
    with pytest.raises(InvalidInputError, match="has no cluster 99"):
        summarize(embedded, run.run_id, model, cluster_ids=[99], options=QUICK)


def test_refining_asks_about_bad_titles_only_and_keeps_history(embedded: Session, run: RunRecord, serve: Any) -> None:
    _, model = serve(faults={"refusal": 1.0}, seed=1)
    bad = summarize(embedded, run.run_id, model, options=QUICK)
    provider, better = serve()
    report = refine(embedded, run.run_id, better, options=QUICK)
    assert report.n_named == 8  # none of them was made by a model
    with embedded.store.reading() as connection:
        record = naming.get_summary_run(connection, run.run_id, report.summary_run_id)
        assert record.refines == bad.summary_run_id
        assert naming.get_summary_run(connection, run.run_id, bad.summary_run_id).n_summaries == 8
        notes = {one.note for one in naming.summaries(connection, report.summary_run_id).values()}
    assert notes == {"It was made without a model."}
    before = len(provider.calls)
    wish: dict[str, Any] = {"feedback": "use fewer words", "cluster_ids": [1]}
    assert plan_refining(embedded, run.run_id, better, **wish, options=QUICK).n_calls == 1
    assert len(provider.calls) == before
    again = refine(embedded, run.run_id, better, feedback="use fewer words", cluster_ids=[1], options=QUICK)
    assert len(provider.calls) == before + 1
    assert "use fewer words" in provider.calls[-1].prompt
    assert again.n_named == 1
    with embedded.store.reading() as connection:
        assert len(naming.summaries(connection, again.summary_run_id)) == 8


def test_nothing_is_asked_where_answers_cannot_be_kept(embedded: Session, run: RunRecord, serve: Any) -> None:
    from lmsys_rs.errors import StoreError
    from lmsys_rs.session import open_session

    path = embedded.folder.path
    embedded.store.fold_log()
    embedded.close()
    provider, model = serve()
    with open_session(path, read_only=True) as locked:
        assert plan(locked, run.run_id, model, options=QUICK).n_calls == 8
        with pytest.raises(StoreError, match="read-only: answers could not be kept"):
            summarize(locked, run.run_id, model, options=QUICK)
    assert not provider.calls


def test_labels_are_written_in_the_language_that_is_asked_for(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve()
    summarize(embedded, run.run_id, model, options=Options(language="de", limits=QUICK.limits))
    assert all("Write in German." in call.prompt for call in provider.calls)
    with pytest.raises(InvalidInputError, match="label-language must be"):
        Options(language="d")


def test_own_prompt_is_used(embedded: Session, run: RunRecord, serve: Any) -> None:
    provider, model = serve()
    own = prompts.parse("# system\nName it.\n# user\nMINE {{ texts }}", "name-cluster", source="mine.md")
    summarize(embedded, run.run_id, model, options=Options(prompt=own, limits=QUICK.limits))
    assert all("MINE" in call.prompt for call in provider.calls)


def test_answers_stay_with_a_deleted_run_and_go_with_the_data(embedded: Session, run: RunRecord, serve: Any) -> None:
    from lmsys_rs.deleting import delete_dataset, delete_run

    def n_answers() -> int:
        with embedded.store.reading() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM llm_entry").scalar_one())

    _, model = serve()
    summarize(embedded, run.run_id, model, options=QUICK)
    delete_run(embedded, run.run_id)
    assert n_answers() >= 8  # the same clusters, made again, are named for nothing
    delete_dataset(embedded, "sample")
    assert n_answers() == 0


def test_deleted_data_takes_the_answers_about_it_along(embedded: Session, run: RunRecord, serve: Any) -> None:
    from lmsys_rs.deleting import clear

    _, model = serve()
    summarize(embedded, run.run_id, model, options=QUICK)
    with embedded.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM llm_entry").scalar_one() >= 8
    clear(embedded)
    with embedded.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM llm_entry").scalar_one() == 0
