"""The LMSYS-Chat-1M shape: a list of ``{role, content}`` turns, as Chatbot Arena, WildChat and the OpenAI API write it.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["LMSYS"]

LMSYS = ConversationFormat(
    name="lmsys",
    turns=("conversation", "messages", "conversations", "conversation_a"),
    role=("role",),
    # some judges' files wrap the answer: {"role": "assistant", "content": {"answer": "..."}}
    content=("content.answer", "content"),
)
