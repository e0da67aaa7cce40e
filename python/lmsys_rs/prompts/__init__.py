"""What a language model is asked: templates in Markdown files, filled with values, with texts of strangers fenced.

A template has a part for the system role and one for the user role. Texts of conversations, and titles and terms made
of them, are data: they may stand in the user part only, as JSON strings between marks that no text can hold. It sends
nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from lmsys_rs.errors import InvalidInputError

__all__ = ["FORMAT", "PURPOSES", "Data", "Prompt", "Rendered", "builtin", "check", "load", "parse"]

MAX_TEMPLATE_CHARS = 50_000
SECTION = re.compile(r"^# (system|user)[ \t]*$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")
BRACES = re.compile(r"\{\{[^{}]*\}\}|\{\{|\}\}")

FORMAT = """A template is Markdown with two parts, `# system` and `# user`. `{{ name }}` stands for a value.
Values marked as data may stand in the user part only."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a template is for, and which values it can have: name to meaning.

    ``needed`` must occur in the user part; ``data`` is text of strangers.
    """

    about: str
    plain: Mapping[str, str]
    data: Mapping[str, str]
    needed: tuple[str, ...]


PURPOSES: dict[str, Purpose] = {
    "name-cluster": Purpose(
        "title and description of one cluster",
        {
            "language": "language the answer is written in",
            "max_title_chars": "longest title",
            "n_queries": "how many queries the cluster has",
            "feedback": "what is to be improved about the title it had; empty the first time",
        },
        {
            "texts": "typical and sampled texts of the cluster",
            "contrast": "what the nearest other clusters hold: their texts or terms",
            "terms": "terms that set the cluster apart",
            "old_title": "the title that is to be improved; empty the first time",
        },
        ("texts",),
    ),
    "propose-parents": Purpose(
        "names of broader groups for a neighborhood of clusters",
        {"language": "language of the names", "n_parents": "about how many names", "max_title_chars": "longest name"},
        {"clusters": "titles and descriptions of the neighborhood"},
        ("clusters",),
    ),
    "deduplicate-parents": Purpose(
        "one list of distinct group names out of all proposals",
        {"language": "language of the names", "n_parents": "about how many names", "max_title_chars": "longest name"},
        {"proposals": "every proposed name with its description"},
        ("proposals",),
    ),
    "assign-parent": Purpose(
        "which group each of some clusters belongs to, or none",
        {"n_clusters": "how many clusters are asked about"},
        {"clusters": "the clusters, numbered", "parents": "the groups, numbered"},
        ("clusters", "parents"),
    ),
    "name-parent": Purpose(
        "title and description of a group, from the clusters in it",
        {"language": "language the answer is written in", "max_title_chars": "longest title"},
        {
            "clusters": "the clusters of the group",
            "siblings": "titles of the other groups",
            "old_title": "its name so far",
        },
        ("clusters",),
    ),
    "classify": Purpose(
        "the label of each of some texts",
        {
            "about": "what is to be decided, from the template of labels",
            "labels": "the labels with their meaning",
            "n_texts": "how many texts are asked about",
        },
        {"texts": "the texts, numbered"},
        ("texts",),
    ),
    "generate-queries": Purpose(
        "new queries that would belong to a cluster",
        {"language": "language of the queries", "n_queries": "how many"},
        {"title": "of the cluster", "description": "of the cluster", "texts": "typical texts of the cluster"},
        ("texts",),
    ),
}


@dataclass(frozen=True, slots=True)
class Data:
    """Texts that are data: strings, or records of strings and numbers, in order. Never instructions."""

    items: tuple[str | Mapping[str, object], ...]

    @classmethod
    def of(cls, items: Sequence[str | Mapping[str, object]]) -> Data:
        """From any sequence."""
        return cls(tuple(items))


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is sent: instructions of ours in ``system``, instructions and fenced data in ``user``."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A checked template. ``hash`` names its content (16 hex digits)."""

    purpose: str
    system: str
    user: str
    source: str
    hash: str

    def render(self, **values: str | int | Data) -> Rendered:
        """The template with its values; data is fenced by a mark that occurs in none of it.

        Raises:
            InvalidInputError: a value is missing, or has a name or kind that the purpose does not know.
        """
        purpose = PURPOSES[self.purpose]
        known = {**purpose.plain, **purpose.data}
        for name in sorted(set(values) ^ set(known)):
            raise InvalidInputError(
                f"prompt {self.purpose}: value {name!r} is {'unknown' if name in values else 'missing'}"
            )
        data = {name: value for name, value in values.items() if isinstance(value, Data)}
        if set(data) != set(purpose.data):
            raise InvalidInputError(
                f"prompt {self.purpose}: data must be {', '.join(purpose.data)}: got {', '.join(data)}"
            )
        mark = _mark(data.values())
        shown = {
            name: _fenced(name, value, mark) if isinstance(value, Data) else str(value)
            for name, value in values.items()
        }

        def put(part: str) -> str:
            return PLACEHOLDER.sub(lambda found: shown[found[1]], part).strip()

        return Rendered(put(self.system), put(self.user))


@cache
def builtin(purpose: str) -> Prompt:
    """The template that is shipped for a purpose.

    Raises:
        InvalidInputError: there is no such purpose.
    """
    return parse(source_of(purpose), purpose, source="built in")


def source_of(purpose: str) -> str:
    """The text of the template that is shipped for a purpose.

    Raises:
        InvalidInputError: there is no such purpose.
    """
    if purpose not in PURPOSES:
        raise InvalidInputError(f"there is no prompt {purpose!r}: there are {', '.join(PURPOSES)}")
    return files("lmsys_rs.prompts").joinpath(f"{purpose}.md").read_text(encoding="utf-8")


def load(purpose: str, path: str | Path | None) -> Prompt:
    """The template in a file, or, with None, the one that is shipped.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInputError: it cannot be used; says everything that is wrong.
    """
    if path is None:
        return builtin(purpose)
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: a prompt is a text file in UTF-8") from error
    return parse(text, purpose, source=str(path))


def parse(text: str, purpose: str, *, source: str) -> Prompt:
    """A template out of its text.

    Raises:
        InvalidInputError: it cannot be used.
    """
    problems = check(text, purpose)
    if problems:
        raise InvalidInputError(
            f"{source}: this prompt cannot be used: {'; '.join(problems)}",
            hint=f"lmsys prompts show {purpose} prints one that can",
        )
    parts = _parts(text)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Prompt(purpose, parts["system"], parts["user"], source, digest)


def check(text: str, purpose: str) -> list[str]:
    """Everything that is wrong with a template; empty where it can be used.

    Raises:
        InvalidInputError: there is no such purpose.
    """
    if purpose not in PURPOSES:
        raise InvalidInputError(f"there is no prompt {purpose!r}: there are {', '.join(PURPOSES)}")
    if len(text) > MAX_TEMPLATE_CHARS:
        return [f"it has {len(text):,} characters, more than {MAX_TEMPLATE_CHARS:,}"]
    problems = []
    headings = SECTION.findall(text)
    for name in ("system", "user"):
        if headings.count(name) != 1:
            problems.append(f"it needs one line '# {name}': {headings.count(name)} found")
    if problems:
        return problems
    if text[: SECTION.search(text).start()].strip():  # type: ignore[union-attr]  # found above
        problems.append("nothing may stand before the first part")
    kinds, parts = PURPOSES[purpose], _parts(text)
    for part, content in parts.items():
        for found in BRACES.findall(content):
            match = PLACEHOLDER.fullmatch(found)
            name = match[1] if match else ""
            if match is None:
                problems.append(f"{found!r} is no placeholder; a value is written {{{{ name }}}}")
            elif name not in kinds.plain and name not in kinds.data:
                problems.append(f"there is no value {name!r}: there are {', '.join({**kinds.plain, **kinds.data})}")
            elif part == "system" and name in kinds.data:
                problems.append(f"{name!r} is text of strangers: it may not stand in the system part")
    used = set(PLACEHOLDER.findall(parts["user"]))
    problems += [f"the user part must hold {{{{ {name} }}}}" for name in kinds.needed if name not in used]
    return list(dict.fromkeys(problems))


def _parts(text: str) -> dict[str, str]:
    pieces = SECTION.split(text)
    return {pieces[i]: pieces[i + 1] for i in range(1, len(pieces) - 1, 2)}


def _mark(data: Iterable[Data]) -> str:
    """A word that occurs in none of the data; the same data gives the same one."""
    content = "\n".join(_lines(value) for value in data)
    mark = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    while mark in content:
        mark = hashlib.sha256(mark.encode()).hexdigest()[:12]
    return mark


def _fenced(name: str, data: Data, mark: str) -> str:
    return f"<{name} {mark}>\n{_lines(data)}\n</{name} {mark}>"


def _lines(data: Data) -> str:
    """One JSON value a line: a text can neither end its string nor begin a line of its own."""
    lines = []
    for number, item in enumerate(data.items, 1):
        value = {"id": number, "text": item} if isinstance(item, str) else item
        # JSON leaves the other line ends of Unicode as they are
        text = json.dumps(value, ensure_ascii=False)
        lines.append(re.sub(r"[\u0085\u2028\u2029]", lambda c: f"\\u{ord(c[0]):04x}", text))
    return "\n".join(lines) if lines else "(none)"
