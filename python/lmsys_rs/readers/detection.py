"""Which format a file has: every sampled element is asked which rule it fits first, and the most frequent answer wins.

So a broken or strange line among the first ones decides nothing. No file is opened here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from lmsys_rs.readers.alpaca import ALPACA, is_alpaca
from lmsys_rs.readers.arena import ARENA, is_arena
from lmsys_rs.readers.chatgpt import CHATGPT, is_chatgpt
from lmsys_rs.readers.claude import CLAUDE, is_claude
from lmsys_rs.readers.containers import Source
from lmsys_rs.readers.fields import ColumnMapping, ConversationFormat
from lmsys_rs.readers.hh import HH, is_hh
from lmsys_rs.readers.langfuse import LANGFUSE, is_exchange, is_langfuse
from lmsys_rs.readers.langsmith import LANGSMITH, is_langsmith
from lmsys_rs.readers.lines import LINES
from lmsys_rs.readers.lmsys import LMSYS, has_role_turns
from lmsys_rs.readers.oasst import OASST, is_oasst
from lmsys_rs.readers.openai import OPENAI, is_openai
from lmsys_rs.readers.otel import OTEL, is_otel
from lmsys_rs.readers.sharegpt import SHAREGPT, has_from_turns
from lmsys_rs.readers.text import TEXT, has_text
from lmsys_rs.readers.wildchat import WILDCHAT, is_wildchat

__all__ = ["FORMATS", "detect_format"]

FORMATS: dict[str, ConversationFormat] = {
    known.name: known
    for known in (
        *(LMSYS, WILDCHAT, SHAREGPT, OPENAI, CHATGPT, CLAUDE, OASST, ARENA, HH, ALPACA),
        *(LANGSMITH, LANGFUSE, OTEL, TEXT, LINES),
    )
}

# The first rule that an element fits is its format: those that nothing else fits come first.
RULES: tuple[tuple[Callable[[dict[str, Any]], bool], ConversationFormat], ...] = (
    (is_chatgpt, CHATGPT),
    (is_claude, CLAUDE),
    (is_oasst, OASST),
    (is_wildchat, WILDCHAT),
    (is_arena, ARENA),
    (is_otel, OTEL),
    (is_langsmith, LANGSMITH),
    (is_langfuse, LANGFUSE),
    (is_hh, HH),
    (has_from_turns, SHAREGPT),
    (is_openai, OPENAI),
    (has_role_turns, LMSYS),
    (is_alpaca, ALPACA),
    (is_exchange, LANGFUSE),
    (has_text, TEXT),
)


def detect_format(source: Source, mapping: ColumnMapping) -> ConversationFormat:
    """The format of a file, or of the column that the caller names."""
    if source.container == "lines":
        return LINES
    if mapping.text is not None:
        # a misspelt name, which resolve_fields reports, or a path into nested JSON, is taken for a text
        return FORMATS.get(source.shapes.get(mapping.text, "text"), TEXT)
    fits = (next((known.name for fit, known in RULES if fit(element)), None) for element in source.samples)
    votes = Counter(name for name in fits if name is not None)
    if votes:
        return FORMATS[votes.most_common(1)[0][0]]  # of equal ones the first in the file
    return LMSYS if any(name in source.columns for name in LMSYS.turns) else TEXT
