"""Asking language models: providers, limits, budget, journal and batches. It knows no workspace and no front end.

Importing this loads no HTTP library; the extra does when the first call is made: ``pip install 'lmsys-rs[llm]'``.
"""

from __future__ import annotations

from lmsys_rs.llm.asking import OnAnswer, OnToken, ask_all
from lmsys_rs.llm.batches import ask_batch
from lmsys_rs.llm.estimating import Estimate, estimate
from lmsys_rs.llm.models import Model, Price, catalog_about, known_models, resolve_model
from lmsys_rs.llm.providers import PROVIDERS, Provider
from lmsys_rs.llm.tokens import estimate_tokens
from lmsys_rs.llm.values import (
    Answer,
    BatchJob,
    Check,
    Failed,
    Journal,
    JournalEntry,
    Limits,
    Message,
    NotAsked,
    Outcome,
    Report,
    Request,
)

__all__ = [
    "PROVIDERS",
    "Answer",
    "BatchJob",
    "Check",
    "Estimate",
    "Failed",
    "Journal",
    "JournalEntry",
    "Limits",
    "Message",
    "Model",
    "NotAsked",
    "OnAnswer",
    "OnToken",
    "Outcome",
    "Price",
    "Provider",
    "Report",
    "Request",
    "ask_all",
    "ask_batch",
    "catalog_about",
    "estimate",
    "estimate_tokens",
    "known_models",
    "resolve_model",
]
