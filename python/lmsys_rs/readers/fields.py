"""Which field of a source means what: the known formats' names, and what the caller says instead.

It opens no file. A name that is not in the source is an error that lists what is there, nearest first.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lmsys_rs.errors import InvalidInputError, ReaderError

__all__ = ["ROLES", "ColumnMapping", "ConversationFormat", "Fields", "named_fields", "resolve_fields"]

# Role names seen in public conversation files, and ours. A role that is not here is kept as it is, in lower case.
ROLES: Mapping[str, str] = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "function_call": "tool",
    "function_response": "tool",
    "function_call_output": "tool",
    "tool_response": "tool",
    "ipython": "tool",
    "observation": "tool",
    "claude": "assistant",
    "instructions": "system",
}


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """The caller's own field names; None means: use the names of the format.

    Attributes:
        text: field with the turns, or with one plain text (``--text-column``).
        model_default: model of conversations that name none; None keeps it empty.
    """

    text: str | None = None
    conversation_id: str | None = None
    model: str | None = None
    language: str | None = None
    timestamp: str | None = None
    model_default: str | None = "unknown"

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ConversationFormat:
    """How a format is read: by its field names, best first, or, where they don't describe it, by the core's ``shape``.

    Attributes:
        shape: name of the core's function for elements of this structure.
        turns: of a format with a shape: columns of a table that can be read by names all the same.
        answers: columns of a table that need the shape, because they hold one more turn.
        turn_id: field of the first turn that names the conversation.
        ids_are_unique: equal ids mean the same conversation; otherwise id and text together do.
    """

    name: str
    shape: str | None = None
    turns: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    turn_id: tuple[str, ...] = ()
    ids_are_unique: bool = True
    text: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    conversation_id: tuple[str, ...] = ("conversation_id", "conversation_hash", "id", "uid")
    model: tuple[str, ...] = ("model", "model_id", "model_name")
    language: tuple[str, ...] = ("language", "lang")
    timestamp: tuple[str, ...] = ("timestamp", "tstamp", "created_at", "create_time", "created")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields that will be read: names that exist in the source, or None.

    Exactly one of turns, text and shape is set; with a shape, the named fields go before its own.
    """

    turns: str | None = None
    text: str | None = None
    shape: str | None = None
    turn_id: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    conversation_id: str | None = None
    model: str | None = None
    language: str | None = None
    timestamp: str | None = None
    roles: Mapping[str, str] = field(default_factory=lambda: dict(ROLES))

    def to_core(self) -> dict[str, Any]:
        """The mapping that ``_core.JsonReader`` takes."""
        named: dict[str, Any] = {
            "conversation_id": self.conversation_id,
            "model": self.model,
            "language": self.language,
            "timestamp": self.timestamp,
            "turns": self.turns,
            "text": self.text,
            "shape": self.shape,
            "turn_id": list(self.turn_id) or None,
            "role": list(self.role) or None,
            "content": list(self.content) or None,
            "roles": dict(self.roles),
        }
        return {name: value for name, value in named.items() if value is not None}


def resolve_fields(
    conversation_format: ConversationFormat,
    mapping: ColumnMapping,
    columns: Sequence[str],
    *,
    file: str,
    samples: Sequence[Mapping[str, Any]] = (),
) -> Fields:
    """Choose the fields to read. Of several that may hold the turns or the text, most samples have the chosen one.

    Raises:
        InvalidInputError: a text column is named for a format whose texts are in no column.
        ReaderError: a field that the caller named, or the one with the texts, is not among ``columns``.
    """
    if conversation_format.shape is not None:
        return _fields_before_shape(conversation_format, mapping, columns, file)
    candidates = conversation_format.turns or conversation_format.text
    often = {name: sum(name in sample for sample in samples) for name in candidates}
    candidates = tuple(sorted(candidates, key=lambda name: -often[name]))
    main = _chosen("text", mapping.text, candidates, columns, file)
    if main is None:
        raise ReaderError(
            f"{file}: no field with the {'turns' if conversation_format.turns else 'text'}: "
            f"looked for {', '.join(candidates)}; the file has {_listed(columns)}",
            file=file,
            hint="name the field with --text-column",
        )
    return named_fields(conversation_format, mapping, columns, main, file=file)


def named_fields(
    conversation_format: ConversationFormat, mapping: ColumnMapping, columns: Sequence[str], main: str, *, file: str
) -> Fields:
    """The fields by the format's names, with ``main`` for the one that holds turns or text."""
    return Fields(
        turns=main if conversation_format.turns else None,
        text=None if conversation_format.turns else main,
        role=conversation_format.role,
        content=conversation_format.content,
        turn_id=conversation_format.turn_id,
        conversation_id=_chosen(
            "conversation-id", mapping.conversation_id, conversation_format.conversation_id, columns, file
        ),
        model=_chosen("model", mapping.model, conversation_format.model, columns, file),
        language=_chosen("language", mapping.language, conversation_format.language, columns, file),
        timestamp=_chosen("timestamp", mapping.timestamp, conversation_format.timestamp, columns, file),
    )


def _fields_before_shape(
    conversation_format: ConversationFormat, mapping: ColumnMapping, columns: Sequence[str], file: str
) -> Fields:
    if mapping.text is not None:
        raise InvalidInputError(
            f"--text-column {mapping.text!r} can't be used with format {conversation_format.name!r}: "
            "its texts are in no single field",
            hint="leave out --format, or use --format text",
        )
    return Fields(
        shape=conversation_format.shape,
        conversation_id=_chosen("conversation-id", mapping.conversation_id, (), columns, file),
        model=_chosen("model", mapping.model, (), columns, file),
        language=_chosen("language", mapping.language, (), columns, file),
        timestamp=_chosen("timestamp", mapping.timestamp, (), columns, file),
    )


def _chosen(option: str, named: str | None, candidates: Sequence[str], columns: Sequence[str], file: str) -> str | None:
    if named is None:
        return next((name for name in candidates if name in columns), None)
    if named in columns or named.split(".")[0] in columns:
        return named
    near = difflib.get_close_matches(named, columns, n=3, cutoff=0.5)
    near = near or [name for name in columns if name.lower() == named.lower()]
    raise ReaderError(
        f"{file}: --{option}-column {named!r} is not a field of this file; it has {_listed(columns)}",
        file=file,
        hint=f"did you mean {' or '.join(repr(name) for name in near)}?" if near else None,
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:40])
    return shown + (f" and {len(columns) - 40} more" if len(columns) > 40 else "")
