"""``lmsys summarize``, ``summaries``, ``prompts``, ``merge-clusters``, ``classify``, ``generate``, ``privacy``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lmsys_rs import prompts
from stand_in import StandIn, serving

Cli = Any  # see conftest.py
KEY = "sk-test-0123456789abcdef"


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def distinct(body: Any) -> dict[str, str]:
    """A title that differs for every prompt, and would fit no other cluster."""
    import hashlib

    from stand_in import prompt_of

    return {"title": f"Knitting {hashlib.sha256(prompt_of(body).encode()).hexdigest()[:8]}", "description": "A thing."}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    with serving(distinct) as started:
        yield started


def asked(provider: StandIn) -> list[str]:
    return ["--model", "openai/gpt-4o-mini", "--base-url", provider.url, "--price", "1,2"]


def test_offline_is_the_default_and_asks_nobody(cli: Cli, analysed: str) -> None:
    code, out, err = cli("summarize", "latest", "--alias", "plain", "--json")
    assert code == 0
    assert rows(out)[0]["model"] == "offline"
    code, out, _ = cli("summaries", "list", "--json")
    assert [row["alias"] for row in rows(out)] == ["plain"]
    code, _, err = cli("summarize", "latest", "--dry-run")
    assert code == 1
    assert "about a model, and none is named" in err
    # all clusters would be named anew, not this one
    code, out, _ = cli("summarize", "--cluster-id", "3", "--json")
    assert (code, out) == (1, "")


def test_dry_run_names_calls_tokens_price_and_time(cli: Cli, analysed: str, provider: StandIn) -> None:
    code, out, err = cli("summarize", "latest", *asked(provider), "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["model", "calls", "prompt", "answer", "price", "time"]
    assert err.splitlines()[-1] == "dry run, nothing was sent"
    assert not provider.calls
    code, out, _ = cli("summarize", "latest", *asked(provider), "--dry-run", "--json")
    assert rows(out)[0]["n_calls"] == 6


def test_namings_are_made_compared_and_chosen(cli: Cli, analysed: str, provider: StandIn) -> None:
    code, _, err = cli("summarize", "latest", *asked(provider), "--alias", "model")
    assert code == 0
    assert "6 clusters named by openai/gpt-4o-mini" in err
    assert KEY not in err
    assert cli("list-clusters", "latest")[1].count("Knitting") == 6
    assert cli("summarize", "latest", "--alias", "plain")[0] == 0
    assert "Knitting" not in cli("list-clusters", "latest")[1]
    code, out, err = cli("summaries", "compare", "model", "plain")
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["id", "queries"]
    assert "0% equal" in err
    code, out, _ = cli("summaries", "compare", "model", "plain", "--json")
    assert len(rows(out)[0]["clusters"]) == 6
    assert cli("summaries", "use", "model")[0] == 0
    assert cli("list-clusters", "latest")[1].count("Knitting") == 6
    assert len(rows(cli("summaries", "show", "model", "--json")[1])) == 6
    wish = ["--refine", "--feedback", "shorter", "--cluster-id", 1]
    n_calls = len(provider.calls)
    code, out, _ = cli("summarize", "latest", *asked(provider), *wish, "--dry-run", "--json")
    assert (code, rows(out)[0]["n_calls"], len(provider.calls)) == (0, 1, n_calls)
    code, _, err = cli("summarize", "latest", *asked(provider), *wish)
    assert code == 0
    assert "shorter" in provider.calls[-1].prompt
    code, _, err = cli("summarize", "latest", *asked(provider), "--feedback", "shorter")
    assert (code, err.splitlines()[0]) == (1, "error: feedback goes with --refine")


def test_streamed_answers_are_shown(cli: Cli, analysed: str, provider: StandIn) -> None:
    code, _, err = cli("summarize", "latest", *asked(provider), "--stream", "--concurrency", 1)
    assert code == 0
    assert err.count('"title"') == 6


def test_wrong_models_keys_and_prices_are_told(
    cli: Cli, analysed: str, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, message in (
        (["--model", "opena/gpt-4o"], "unknown provider 'opena': did you mean openai?"),
        (["--model", "openai/gpt-4o-mni", "--base-url", provider.url], "did you mean gpt-4o-mini"),
        ([*asked(provider)[:-1], "cheap"], "price must be two numbers"),
        ([*asked(provider), "--contrast-mode", "size"], "contrast-mode must be"),
        ([*asked(provider), "--label-language", "{}"], "label-language must be"),
        ([*asked(provider), "--prompt", "none.md"], "none.md"),
        ([*asked(provider), "--cluster-id", "77"], "has no cluster 77"),
    ):
        code, out, err = cli("summarize", "latest", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err
    monkeypatch.delenv("OPENAI_API_KEY")
    code, _, err = cli("summarize", "latest", "--model", "openai/gpt-4o-mini")
    assert code == 1
    assert "OPENAI_API_KEY" in err
    assert not provider.calls


def test_prompts_are_shown_exported_checked_and_used(cli: Cli, analysed: str, provider: StandIn) -> None:
    code, out, _ = cli("prompts", "show", "name-cluster")
    assert (code, out) == (0, prompts.source_of("name-cluster"))
    assert len(rows(cli("prompts", "show", "--json")[1])) == len(prompts.PURPOSES)
    assert cli("prompts", "export", "mine")[0] == 0
    code, _, err = cli("prompts", "export", "mine")
    assert code == 1
    assert "exists already" in err
    assert cli("prompts", "check", "name-cluster", "mine/name-cluster.md")[0] == 0
    Path("bad.md").write_text("# system\n{{ texts }}\n# user\nhello {{ nobody }}")
    code, out, _ = cli("prompts", "check", "name-cluster", "bad.md")
    assert code == 1
    assert "'texts' is text of strangers: it may not stand in the system part" in out
    assert "there is no value 'nobody'" in out
    own = Path("mine/name-cluster.md")
    own.write_text(own.read_text() + "\nMINE\n")
    assert cli("summarize", "latest", *asked(provider), "--prompt", own)[0] == 0
    assert all("MINE" in call.prompt for call in provider.calls)


def test_hierarchies_are_made_and_shown(cli: Cli, analysed: str) -> None:
    code, out, err = cli("merge-clusters", "latest", "--target-levels", 2, "--merge-ratio", 0.5)
    assert code == 0
    assert "└─" in out
    assert "hier-" in err
    code, out, _ = cli("show-hierarchy", "latest", "--json")
    (tree,) = rows(out)
    assert sum(node["n_queries"] for node in tree["nodes"]) == 300
    assert len(cli("show-hierarchy", analysed, "--depth", 1)[1].splitlines()) == len(tree["nodes"]) + 1
    assert cli("show-hierarchy", "nope")[0] == 1


def test_labels_are_given_counted_and_reviewed(cli: Cli, analysed: str, provider: StandIn) -> None:
    Path("t.yaml").write_text("name: mine\nabout: what\nlabels: [a, b]\n")
    assert "can be used" in cli("classify", "templates", "t.yaml")[1]
    queries = [row["query_id"] for row in rows(cli("list", "--json", "--limit", 40)[1])]
    for label, some in (("a", queries[:10]), ("b", queries[20:30])):
        ids = ",".join(map(str, some))
        assert cli("classify", "review", "t.yaml", "--query-ids", ids, "--label", label)[0] == 0
    code, out, err = cli("classify", "run", "t.yaml", "--method", "head", "--json")
    assert code == 0
    assert rows(out)[0]["accuracy"] is not None
    assert len(rows(cli("classify", "next", "mine", "--limit", 3, "--json")[1])) == 3
    assert len(rows(cli("classify", "pivot", "mine", "--json")[1])) == 6
    assert cli("classify", "pivot", "mine", "--share", "--output", "p.csv")[0] == 0
    assert cli("facets", "--by", "label_mine")[0] == 0
    assert len(rows(cli("list", "--where", "label_mine = 'a'", "--limit", 5, "--json")[1])) == 5
    assert cli("classify", "export", "mine", "-o", "l.csv")[0] == 0
    assert Path("l.csv").read_text().startswith("text_id,label,score\n")
    assert len(rows(cli("classify", "list", "--json")[1])) == 1
    assert cli("classify", "delete", "mine")[0] == 0
    code, _, err = cli("classify", "run", "nope")
    assert code == 1
    assert "there is no template 'nope'" in err
    code, out, _ = cli("classify", "run", "tone", "--method", "llm", *asked(provider), "--dry-run", "--json")
    assert (code, rows(out)[0]["n_cached"]) == (0, 0)


def test_queries_are_generated(cli: Cli, analysed: str) -> None:
    code, out, _ = cli("generate", "latest", 0, "--n", 4, "--json")
    assert code == 0
    assert {row["method"] for row in rows(out)} == {"recombined"}
    assert cli("generate", "latest", 99)[0] == 1


def test_only_what_many_said_is_shared(cli: Cli, analysed: str) -> None:
    code, _, err = cli("privacy", "latest", "--min-conversations", 55)
    assert code == 0
    assert "of 6 clusters may be shown" in err
    code, _, _ = cli("export", "latest", "--share-safe", "--min-conversations", 55, "-o", "s.csv")
    assert code == 0
    text = Path("s.csv").read_text()
    assert text.startswith("cluster_id,title,description,n_queries,n_conversations,share\n")
    assert "Clusters with too few conversations" in text
    code, _, err = cli("export", "latest", "--share-safe", "--language", "German")
    assert (code, "of a whole run" in err) == (1, True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_paid_survives_being_killed(
    cli: Cli, analysed: str, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    with serving(distinct, latency=0.25) as provider:
        command = [sys.executable, "-m", "lmsys_rs", "summarize", "latest", *asked(provider), "--concurrency", "1"]
        with subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 20
            while len(provider.paid) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(how)
            _, err = process.communicate(timeout=10)
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "go on where it stopped" in err
        paid = len(provider.paid)
        assert 2 <= paid < 6
        code, _, err = cli("summarize", "latest", *asked(provider))
        assert code == 0
        assert len(provider.paid_twice()) <= 1  # what was in flight
        assert len(provider.paid) <= 7
    assert cli("list-clusters", "latest")[1].count("Knitting") == 6
