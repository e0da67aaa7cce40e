"""Which model is meant: its provider, address, price and sizes, checked before any text is sent.

The catalog (``prices.json``) answers first; a model it does not know is looked up in the provider's own list, by a GET
that carries no text of the user.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from lmsys_rs.errors import InvalidInputError, Unauthorized
from lmsys_rs.llm.keys import Key, find_key
from lmsys_rs.llm.providers import Provider, split_spec

__all__ = ["Model", "Price", "catalog_about", "known_models", "resolve_model"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens; ``batch_share`` is what a batch costs of it (0.5 is half price)."""

    input: float
    output: float
    batch_share: float | None = None

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that exists, as far as can be known without asking it something.

    Attributes:
        name: as the provider calls it.
        price: None where nobody told us.
        context: most tokens of prompt and answer together, None if unknown; ``max_output`` likewise of the answer.
    """

    provider: Provider
    name: str
    base_url: str
    price: Price | None = None
    context: int | None = None
    max_output: int | None = None

    @property
    def spec(self) -> str:
        """``provider/name``."""
        return f"{self.provider.name}/{self.name}"

    @property
    def host(self) -> str:
        """Who answers, without port."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this machine."""
        return _is_loopback(self.host)


def resolve_model(
    spec: str, *, base_url: str | None = None, price: tuple[float, float] | None = None, timeout_s: float = 15.0
) -> Model:
    """The model of that name, known to exist.

    Args:
        spec: ``provider/model``, such as ``openai/gpt-4o-mini`` or ``ollama/llama3.2``.
        base_url: another server that speaks the provider's format, up to and including ``/v1``.
        price: US dollars for a million tokens of prompt and of answer, where the catalog is wrong or silent.
        timeout_s: for the answer of a server that is asked for its models.

    Raises:
        InvalidInputError: no such provider or model (near matches stand in the message), or an address that a key
            must not be sent to.
        Unauthorized: the provider has to be asked for its models, and the key is missing or refused.
        ProviderError: the server does not answer.
    """
    provider, name = split_spec(spec)
    if price is not None and (min(price) < 0 or any(p != p for p in price)):
        raise InvalidInputError(f"a price is two numbers >= 0, dollars for a million tokens: {price}")
    url = _checked_url(base_url or provider.base_url)
    model = Model(provider=provider, name=name, base_url=url)
    row = None if base_url or provider.local else _catalog()["models"].get(model.spec)
    if row is not None:
        model = replace(model, price=_price_of(row), context=row[2], max_output=row[3])
    else:
        try:
            key = key_for(model)
        except Unauthorized as error:
            near = _near(name, [known.partition("/")[2] for known in known_models(provider.name)])
            if not near:
                raise
            raise InvalidInputError(
                f"the catalog has no {model.spec}{near}",
                hint=f"to ask {provider.name} itself: {str(error).splitlines()[0]}",
            ) from error
        _require_listed(model, key, timeout_s=timeout_s)
        if provider.local or base_url:
            model = replace(model, price=Price(0.0, 0.0) if _is_own(model.host) else None)
    return model if price is None else replace(model, price=Price(*price, batch_share=_batch_share(model)))


def key_for(model: Model) -> Key | None:
    """The key that calls of this model carry; None where none is needed.

    Raises:
        Unauthorized: there is none, and it is needed.
        InvalidInputError: it would travel unencrypted to another machine.
    """
    key = find_key(model.provider, required=not model.provider.local and model.base_url == model.provider.base_url)
    if key is not None and model.base_url.startswith("http://") and not model.is_loopback:
        raise InvalidInputError(
            f"the key of {model.provider.name} is not sent unencrypted to {model.host}: {model.base_url}",
            hint="use https://, a server on this machine, or (for a server without a key) vllm/MODEL",
        )
    return key


def known_models(provider: str | None = None) -> list[str]:
    """The models of the catalog as ``provider/model``, in order of name."""
    return [spec for spec in _catalog()["models"] if provider is None or spec.startswith(f"{provider}/")]


def catalog_about() -> dict[str, Any]:
    """Source and date of the catalog."""
    about: dict[str, Any] = _catalog()["about"]
    return about


def _require_listed(model: Model, key: Key | None, *, timeout_s: float) -> None:
    from lmsys_rs.llm.transport import list_models

    listed = list_models(model, key, timeout_s=timeout_s)
    if model.name in listed or (model.provider.name == "ollama" and f"{model.name}:latest" in listed):
        return
    if not listed and (model.provider.local or model.base_url != model.provider.base_url):
        return  # some servers serve one model and list none
    catalog = [] if model.provider.local else [s.partition("/")[2] for s in known_models(model.provider.name)]
    raise InvalidInputError(
        f"{model.provider.name} has no model {model.name!r}{_near(model.name, [*listed, *catalog])}",
        hint=f"it has {', '.join(sorted(listed)[:8])}{', ...' if len(listed) > 8 else ''}" if listed else None,
    )


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else ""


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInputError(f"a base url starts with https:// or http://: {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInputError(
            "a base url holds no user, password, query or fragment", hint="keys come by environment"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own(host: str) -> bool:
    """A server on this machine or in the same private network costs nothing."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".internal", ".lan"))


def _price_of(row: list[Any]) -> Price | None:
    return None if row[0] is None else Price(row[0], row[1], row[4])


def _batch_share(model: Model) -> float | None:
    if model.price is not None and model.price.batch_share is not None:
        return model.price.batch_share
    return 0.5 if model.provider.batches else None


@cache
def _catalog() -> dict[str, Any]:
    catalog: dict[str, Any] = json.loads(files("lmsys_rs.llm").joinpath("prices.json").read_text(encoding="utf-8"))
    return catalog
