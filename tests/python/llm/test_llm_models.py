"""Models are checked, and keys stay where they are, before any text is sent."""

from __future__ import annotations

import importlib
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from lmsys_rs.errors import InvalidInputError, LmsysError, ProviderError, Unauthorized
from lmsys_rs.llm import Limits, Model, Price, ask_all, catalog_about, known_models, resolve_model
from lmsys_rs.llm.keys import find_key, scrub
from lmsys_rs.llm.providers import PROVIDERS
from memory_journal import MemoryJournal
from stand_in import StandIn
from test_asking import model_at, requests

Serve = Callable[..., StandIn]
SECRET = "sk-test-openai-0123456789"  # what conftest.py sets


def test_a_known_model_needs_no_call_and_has_a_price() -> None:
    model = resolve_model("openai/gpt-4o-mini")
    assert model.price == Price(0.15, 0.6, 0.5)
    assert (model.spec, model.host, model.max_output) == ("openai/gpt-4o-mini", "api.openai.com", 16384)
    assert model.price.of(1_000_000, 1_000_000) == 0.75


def test_the_catalog_says_where_it_comes_from() -> None:
    assert re.match(r"litellm [\d.]+ .*MIT", catalog_about()["source"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", catalog_about()["taken"])
    assert {spec.partition("/")[0] for spec in known_models()} == {
        name for name, provider in PROVIDERS.items() if not provider.local
    }


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gpt-4o-mini", "provider/model"),
        ("openai/", "provider/model"),
        ("opennai/gpt-4o", "did you mean openai"),
        ("zzz/gpt-4o", "known are openai, anthropic"),
    ],
)
def test_a_wrong_name_is_refused_with_near_ones(spec: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        resolve_model(spec)


def test_a_model_that_only_the_provider_knows_is_found_in_its_list(serve: Serve) -> None:
    provider = serve(models=["brand-new-model", "other"])
    assert resolve_model("openai/brand-new-model", base_url=provider.url).price == Price(0.0, 0.0)
    with pytest.raises(InvalidInputError, match=r"did you mean brand-new-model.*\n.*it has brand-new-model, other"):
        resolve_model("openai/brand-new-modle", base_url=provider.url)
    assert provider.calls == []


def test_near_matches_come_from_the_catalog_too(serve: Serve) -> None:
    with pytest.raises(InvalidInputError, match="gpt-4o-mini"):
        resolve_model("openai/gpt-4o-mimi", base_url=serve(models=["zzz"]).url)


def test_ollama_names_may_leave_out_latest(serve: Serve) -> None:
    assert resolve_model("ollama/llama3.2", base_url=serve().url).price == Price(0.0, 0.0)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ProviderError, match="is ollama running"):
        resolve_model("ollama/llama3.2", base_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "127.0.0.1:80", "https://user:secret@example.com/v1", "https://example.com/v1?key=x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        resolve_model("openai/gpt-4o-mini", base_url=url)


def test_a_key_goes_unencrypted_to_this_machine_only() -> None:
    with pytest.raises(InvalidInputError, match=r"not sent unencrypted to models\.example\.com"):
        resolve_model("openai/gpt-4o-mini", base_url="http://models.example.com/v1")


def test_a_missing_key_says_how_to_give_it(monkeypatch: pytest.MonkeyPatch, journal: MemoryJournal) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Unauthorized, match=r"ANTHROPIC_API_KEY.*\n.*keyring set lmsys-rs anthropic"):
        ask_all(resolve_model("anthropic/claude-haiku-4-5"), requests(1), journal=journal)


def test_a_key_comes_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class OneKey(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return "from-keyring" if (service, username) == ("lmsys-rs", "openai") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(OneKey())
    try:
        monkeypatch.delenv("OPENAI_API_KEY")
        key = find_key(PROVIDERS["openai"], required=True)
        assert key is not None
        assert key.reveal() == "from-keyring"
    finally:
        keyring.set_keyring(before)


def test_a_key_is_in_no_repr() -> None:
    key = find_key(PROVIDERS["openai"], required=True)
    assert key is not None
    assert key.reveal() == SECRET
    assert SECRET not in f"{key!r} {key} {[key]}"


@pytest.mark.parametrize("spec", ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"])
def test_a_key_that_the_provider_quotes_is_in_no_error_and_no_log(
    serve: Serve, journal: MemoryJournal, spec: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = serve(faults={"401": 1.0})
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unauthorized, match=r"\[key\]") as caught:
        ask_all(model_at(provider, spec), requests(1), journal=journal)
    assert provider.calls[0].key is not None
    told = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__context__!r} {caplog.text}"
    assert provider.calls[0].key not in told
    assert "0123456789" not in told


def test_what_looks_like_a_key_is_scrubbed() -> None:
    text = "Incorrect API key provided: sk-proj-ab***wxyz. Bearer abcdef0123 AIzaSyA1234567"
    assert scrub(text, None) == "Incorrect API key provided: [key] [key] [key]"


def test_a_redirect_is_not_followed(serve: Serve, journal: MemoryJournal) -> None:
    target, provider = serve(), serve()
    provider._refused = lambda call, body: (307, {}, {"location": f"{target.url}/chat/completions"})  # type: ignore[method-assign]  # the server is ours
    with pytest.raises(ProviderError, match="redirects"):
        ask_all(model_at(provider), requests(1), journal=journal)
    assert target.calls == []


def test_limits_in_headers_are_kept(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(headers={"x-ratelimit-limit-requests": "240"})
    ask_all(model_at(provider), requests(9), limits=Limits(concurrency=1), journal=journal)
    moments = [call.arrived for call in provider.calls]
    assert moments[-1] - moments[1] >= 6 * 0.25


def test_an_allowance_that_is_used_up_is_waited_for(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(headers={"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "300ms"})
    ask_all(model_at(provider), requests(3), limits=Limits(concurrency=1), journal=journal)
    moments = [call.arrived for call in provider.calls]
    assert min(b - a for a, b in pairwise(moments)) >= 0.29


def test_importing_loads_no_http_library() -> None:
    code = "import sys, lmsys_rs, lmsys_rs.llm; print(sorted({'httpx', 'jsonschema', 'keyring'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    def missing(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    url = serve().url
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(LmsysError, match=r"pip install 'lmsys-rs\[llm\]'"):
        resolve_model("openai/gpt-4o-mini", base_url=url)


def test_a_price_may_be_given(serve: Serve) -> None:
    model = resolve_model("openai/gpt-4o-mini", price=(1, 2))
    assert model.price == Price(1, 2, 0.5)
    with pytest.raises(InvalidInputError):
        resolve_model("openai/gpt-4o-mini", price=(-1, 2))


def test_a_public_host_has_no_price_of_its_own() -> None:
    assert Model(provider=PROVIDERS["vllm"], name="x", base_url="https://api.example.com/v1").price is None
