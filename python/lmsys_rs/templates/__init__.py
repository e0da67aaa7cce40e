"""Templates of labels: what is to be decided about texts, and the labels with their meaning and examples, as YAML.

It checks and names them; who labels by them stands in `classifying`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lmsys_rs.errors import InvalidInputError

__all__ = ["COLUMN_PREFIX", "Label", "Template", "column_of", "load", "names", "parse", "source_of"]

COLUMN_PREFIX = "label_"
MAX_BYTES = 200_000
MAX_LABELS = 100
MAX_NAME = 60  # characters: it is part of the name of a file
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Label:
    """One label: what it means, and texts that have it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """Labels that exclude each other, and what they decide. ``hash`` names the content (16 hex digits)."""

    name: str
    about: str
    labels: tuple[Label, ...]
    hash: str

    @property
    def label_names(self) -> list[str]:
        """The names, in order."""
        return [label.name for label in self.labels]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` reads it."""
        labels = [
            {"name": one.name, "description": one.description, "examples": list(one.examples)} for one in self.labels
        ]
        return {"name": self.name, "about": self.about, "labels": labels}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Template:
        """The template that `to_dict` wrote."""
        return _checked(values, str(values.get("name", "template")))


def names() -> list[str]:
    """The templates that are shipped."""
    found = (entry.name for entry in files("lmsys_rs.templates").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def column_of(template: str) -> str:
    """The column of the labels of a template: what ``--where`` and facets call it.

    Example:
        >>> column_of("task-type")
        'label_task_type'
    """
    return COLUMN_PREFIX + template.replace("-", "_")


def source_of(name: str) -> str:
    """The YAML of a template that is shipped.

    Raises:
        InvalidInputError: there is none of that name.
    """
    if name not in names():
        raise InvalidInputError(f"there is no template {name!r}: there are {', '.join(names())}, or name a .yaml file")
    return files("lmsys_rs.templates").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load(name_or_path: str | Path) -> Template:
    """A template that is shipped, or one in a file.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInputError: it is no template; says what is wrong.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"{path}: a template has at most {MAX_BYTES:,} bytes")
        try:
            return parse(path.read_text(encoding="utf-8"), source=text)
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path}: a template is a text file in UTF-8") from error
    return parse(source_of(text), source=text)


def parse(text: str, *, source: str) -> Template:
    """A template out of YAML: ``name``, ``about`` and ``labels`` (names, or name, description, examples).

    Raises:
        InvalidInputError: it is no template; says what is wrong.
    """
    try:
        # a few aliases of aliases are a value too large to print, and no label needs one
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InvalidInputError(f"{source}: a template has no aliases (*name): write it out")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last of dates and numbers that are none
        if isinstance(error, InvalidInputError):
            raise
        first = " ".join(str(error).split())
        raise InvalidInputError(f"{source}: this is no YAML: {first}") from error
    if not isinstance(values, dict):
        raise InvalidInputError(f"{source}: a template is a mapping with name, about and labels")
    return _checked(values, source)


def _checked(values: Mapping[Any, Any], source: str) -> Template:
    unknown = sorted(str(key) for key in set(values) - {"name", "about", "labels"})
    if unknown:
        raise InvalidInputError(f"{source}: there is no field {unknown[0]!r}: there are name, about and labels")
    name, about, entries = values.get("name"), values.get("about"), values.get("labels")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInputError(f"{source}: name must be words of a-z and 0-9 with - between them: {name!r}")
    if len(name) > MAX_NAME or name == "latest":
        raise InvalidInputError(f"{source}: name must be another than latest, of at most {MAX_NAME} characters")
    if not isinstance(about, str) or not about.strip():
        raise InvalidInputError(f"{source}: about must say what the labels decide")
    if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_LABELS:
        raise InvalidInputError(f"{source}: labels must be a list of 2 to {MAX_LABELS}")
    labels = [_label(entry, source) for entry in entries]
    seen: set[str] = set()
    for label in labels:
        if label.name.casefold() in seen:
            raise InvalidInputError(f"{source}: label {label.name!r} stands twice")
        seen.add(label.name.casefold())
    draft = Template(name, " ".join(about.split()), tuple(labels), "")
    content = json.dumps(draft.to_dict(), sort_keys=True, ensure_ascii=False)
    return Template(draft.name, draft.about, draft.labels, hashlib.sha256(content.encode()).hexdigest()[:16])


def _label(entry: Any, source: str) -> Label:
    if isinstance(entry, (str, int)) and not isinstance(entry, bool):
        entry = {"name": str(entry)}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), (str, int)) or not str(entry["name"]).strip():
        raise InvalidInputError(
            f"{source}: a label is a name, or a mapping with name, description, examples: {entry!r}"
        )
    unknown = sorted(str(key) for key in set(entry) - {"name", "description", "examples"})
    if unknown:
        raise InvalidInputError(f"{source}: a label has no field {unknown[0]!r}")
    examples = entry.get("examples") or []
    if not isinstance(examples, list) or not all(isinstance(one, str) for one in examples):
        raise InvalidInputError(f"{source}: examples of {entry['name']!r} must be a list of texts")
    description = " ".join(str(entry.get("description") or "").split())
    return Label(str(entry["name"]).strip(), description, tuple(one.strip() for one in examples if one.strip()))
