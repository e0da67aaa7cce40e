"""Which labellings there are, and which labels people gave: read and written.

Every function takes a connection of `Store.reading` or, to change something, `Store.writing`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, literal_column, select
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.knowledge import ClassificationRecord
from lmsys_rs.store import schema
from lmsys_rs.store.writing import now

__all__ = [
    "add_classification",
    "classifications",
    "put_reviewed",
    "remove_classification",
    "remove_reviewed",
    "reviewed",
]


def add_classification(connection: Connection, record: ClassificationRecord) -> None:
    """Store a labelling whose file is in place."""
    values = {name: getattr(record, name) for name in ClassificationRecord.__dataclass_fields__}
    values["content"] = json.dumps(record.content, ensure_ascii=False, sort_keys=True)
    values["parameters"] = json.dumps(record.parameters, ensure_ascii=False, sort_keys=True)
    connection.execute(insert(schema.classification).values(**values))


def classifications(connection: Connection) -> list[ClassificationRecord]:
    """Every labelling, newest first."""
    c = schema.classification
    rows = connection.execute(select(c).order_by(c.c.created_at.desc(), literal_column("rowid").desc()))
    return [
        ClassificationRecord(
            **{**row._mapping, "content": json.loads(row.content), "parameters": json.loads(row.parameters)}
        )
        for row in rows
    ]


def remove_classification(connection: Connection, classification_id: str) -> None:
    """Let a labelling not exist; the caller removes its file."""
    c = schema.classification
    connection.execute(delete(c).where(c.c.classification_id == classification_id))


def put_reviewed(
    connection: Connection, template: str, text_ids: Sequence[int], label: str, *, editor: str | None
) -> None:
    """Keep the label that a person gave to texts; an older one is replaced."""
    r = schema.reviewed_label
    for text_id in text_ids:
        values = {"label": label, "editor": editor, "created_at": now()}
        statement = upsert(r).values(template=template, text_id=text_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["template", "text_id"], set_=values))


def remove_reviewed(connection: Connection, template: str, text_ids: Sequence[int]) -> int:
    """Forget labels that a person gave; returns how many there were."""
    r = schema.reviewed_label
    return sum(
        connection.execute(delete(r).where(r.c.template == template, r.c.text_id == text_id)).rowcount
        for text_id in text_ids
    )


def reviewed(connection: Connection, template: str) -> list[tuple[int, str]]:
    """(text_id, label) that people gave, by text_id."""
    r = schema.reviewed_label.c
    rows = connection.execute(select(r.text_id, r.label).where(r.template == template).order_by(r.text_id))
    return [(int(text_id), str(label)) for text_id, label in rows]
