"""Lines of plain text: every line that is not blank is one query.

It only knows its name; `text_lines` reads it.
"""

from __future__ import annotations

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["LINES"]

LINES = ConversationFormat(name="lines", text=("line",), ids_are_unique=False)
