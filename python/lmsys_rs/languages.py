"""Which languages the clusters of a run are in, and which one a name of a cluster should be in."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lmsys_rs import columns
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["label_language", "language_shares"]

MAIN_SHARE = 0.6  # of a cluster's texts: a name in their language helps; less is a mixture, and is named in English
CODES = {
    **{"ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English"},
    **{"es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi"},
    **{"hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay"},
    **{"nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian"},
    **{"sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese"},
    **{"zh": "Chinese"},
}


def language_shares(session: Session, run_id: str) -> dict[int, dict[str, float]]:
    """Per cluster the share of its texts in each detected language; texts too short to tell are left out."""
    with session.store.reading() as connection:
        members = reading.members(connection, run_id)
    texts = columns.frames(session).texts
    table = members.select("cluster_id", "text_id").with_columns(
        texts["detected_language"].gather(members["text_id"]).cast(pl.String).alias("language")
    )
    table = table.filter(pl.col("language").is_not_null() & (pl.col("language") != "unknown"))
    counted = table.group_by("cluster_id", "language").len().sort("cluster_id", "len", descending=[False, True])
    found: dict[int, dict[str, float]] = {}
    for cluster_id, language, n in counted.rows():
        found.setdefault(cluster_id, {})[language] = n
    return {i: {name: n / sum(counts.values()) for name, n in counts.items()} for i, counts in found.items()}


def label_language(wanted: str, shares: Mapping[str, float]) -> str:
    """The language a cluster is named in, as its English name.

    Args:
        wanted: ``auto`` (the cluster's main language, English for a mixture), a code such as ``de``, or a name.
        shares: of the cluster's texts, see `language_shares`.

    Raises:
        InvalidInputError: a code of two letters that is not known.
    """
    if wanted == "auto":
        main = max(shares.items(), key=lambda item: (item[1], item[0]), default=("English", 0.0))
        return main[0] if main[1] >= MAIN_SHARE else "English"
    if wanted.lower() in CODES:
        return CODES[wanted.lower()]
    if len(wanted) < 3 or not wanted.replace(" ", "").isalpha():
        raise InvalidInputError(
            f"label-language must be auto, a language or its code: {wanted!r}", hint=f"codes: {', '.join(CODES)}"
        )
    return wanted[:1].upper() + wanted[1:]
