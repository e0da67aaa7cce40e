"""How many tokens a text will be, before anyone has counted: cheap, stated, and on the high side.

A token is taken as four characters of an alphabetic script, or one character of a script without spaces between words
(Chinese, Japanese, Korean, Thai, ...) or of symbols. Tokenizers of today need 4.2 to 4.8 characters for English prose
and 0.6 to 1.0 tokens for a CJK character; no estimate replaces what a provider reports, so real counts correct it.
"""

from __future__ import annotations

import json
import re
from collections import deque

from lmsys_rs.llm.values import Request

__all__ = ["Forecast", "estimate_tokens", "most_prompt_tokens", "prompt_tokens"]

PER_MESSAGE = 8  # role and separators of a turn
SCHEMA_WRAPPING = 24  # name and type around a schema
MOST_HIDDEN = 600  # tokens that a provider may add for tools and formats (Anthropic states 313 to 530)

# scripts in which a character is a token or more
_DENSE = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2190-\u2bff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\uffef\U0001f000-\U0003ffff]"
)


def estimate_tokens(text: str) -> int:
    """Tokens of a text: characters / 4, and one for each character of a dense script."""
    if text.isascii():
        return -(-len(text) // 4)
    dense = len(_DENSE.findall(text))
    other = len(text) - dense
    accented = sum(1 for c in text if "\u0080" <= c < "\u0e00")  # Greek, Cyrillic, Arabic, ...: about two and a half
    return dense + -(-(other - accented) // 4) + -(-accented * 2 // 5)


def prompt_tokens(request: Request) -> int:
    """Tokens of everything that is sent for a request."""
    total = estimate_tokens(request.system) + PER_MESSAGE
    total += sum(estimate_tokens(turn.text) + PER_MESSAGE for turn in request.turns)
    return total if request.schema is None else total + estimate_tokens(json.dumps(request.schema)) + SCHEMA_WRAPPING


def most_prompt_tokens(request: Request) -> int:
    """A number that no tokenizer exceeds: every token is at least one byte, and providers add a known little."""
    n_bytes = len(request.system.encode("utf-8", "replace"))
    n_bytes += sum(len(turn.text.encode("utf-8", "replace")) + PER_MESSAGE for turn in request.turns)
    # a schema may be sent twice: as a format, and in the instructions of servers that know no formats
    return n_bytes + MOST_HIDDEN + (0 if request.schema is None else 2 * len(json.dumps(request.schema)))


class Forecast:
    """How many tokens to reserve for a call: an estimate that learns from what calls really took.

    Until calls have finished it expects the longest answer; later the longest of the last ones, and a bit.
    """

    def __init__(self, n_remembered: int = 200) -> None:
        self._ratios: deque[float] = deque(maxlen=n_remembered)
        self._outputs: deque[int] = deque(maxlen=n_remembered)

    def reserve(self, request: Request) -> int:
        """Tokens of prompt and answer to count for a call that is about to go."""
        ratio = max(self._ratios, default=1.25)
        output = min(request.max_output_tokens, int(max(self._outputs) * 1.1) + 8) if self._outputs else None
        return int(prompt_tokens(request) * ratio) + 1 + (request.max_output_tokens if output is None else output)

    def observe(self, request: Request, input_tokens: int, output_tokens: int) -> None:
        """What a call took."""
        self._ratios.append(input_tokens / max(1, prompt_tokens(request)))
        self._outputs.append(output_tokens)
