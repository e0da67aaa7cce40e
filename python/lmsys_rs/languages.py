"""Which languages texts and clusters are in: for names in the right language, and for clusters across languages.

An encoder that knows one language best puts texts of others apart by language, whatever they are about. Taking the
mean of its language from each text (Libovický, Rosa, Fraser 2020, section 3) leaves what it is about
(docs/decisions/0028).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import columns
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.layouts import CHUNK_ROWS
from lmsys_rs.records import EmbeddingRecord, RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = [
    "ACROSS",
    "Space",
    "clusters_of_other_languages",
    "label_language",
    "language_shares",
    "space_across_languages",
    "space_of_run",
]

ACROSS = "across_languages"  # the parameter of runs that were made across languages
# A language counts as this many texts of the overall mean: of few texts the mean is their topic, not their language.
SHRINKAGE = 20
SPLIT_SHARE = 0.8  # of a cluster's texts in one language: it is a cluster of that language

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
    counted = (
        table.group_by("cluster_id", "language")
        .len()
        .sort("cluster_id", "len", "language", descending=[False, True, False])
    )
    found: dict[int, dict[str, float]] = {}
    for cluster_id, language, n in counted.rows():
        found.setdefault(cluster_id, {})[language] = n
    return {i: {name: n / sum(counts.values()) for name, n in counts.items()} for i, counts in found.items()}


def clusters_of_other_languages(session: Session, run: RunRecord) -> tuple[int, str]:
    """How many clusters are mostly of one language that is not the main one of the run, and which that is."""
    with session.store.reading() as connection:
        sizes = {c.cluster_id: c.size for c in reading.clusters(connection, run.run_id)}
    shares = {i: of for i, of in language_shares(session, run.run_id).items() if i >= 0}
    total: dict[str, float] = {}
    for i, of in shares.items():
        for name, share in of.items():
            total[name] = total.get(name, 0.0) + share * sizes.get(i, 0)
    main = max(total, key=lambda name: (total[name], name), default="English")
    n_split = sum(
        max(of.values()) >= SPLIT_SHARE and max(of, key=lambda name: of[name]) != main for of in shares.values()
    )
    return n_split, main


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


@dataclass(frozen=True)
class Space:
    """Where the distances of a run are taken: the vectors, or the vectors less the mean of their language.

    Attributes:
        offsets: (n_languages + 1, dim) what is taken away, the last for unknown languages; None takes nothing.
        language_of: number of the language of each text of the workspace, by text_id.
        names: of the languages.
    """

    vectors: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.float32] | None = None
    language_of: npt.NDArray[np.int32] | None = None
    names: tuple[str, ...] = ()

    def as_if_in(self, language: str) -> Space:
        """The space in which every text lies as if it were in that language; as it is where none of them is in it."""
        if self.offsets is None or language not in self.names:
            return Space(self.vectors)
        return replace(self, offsets=self.offsets - self.offsets[self.names.index(language)])

    def rows(self, text_ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """(n, dim) float32 unit vectors of these texts, a copy."""
        rows = np.array(self.vectors[text_ids], dtype=np.float32)
        if self.offsets is None or self.language_of is None:
            return rows
        for start in range(0, len(rows), CHUNK_ROWS):
            ids, part = text_ids[start : start + CHUNK_ROWS], rows[start : start + CHUNK_ROWS]
            part -= self.offsets[self.language_of[ids]]
            norms = np.linalg.norm(part, axis=1, keepdims=True)
            # a text that is all its language stays where it was
            whole = norms[:, 0] > np.finfo(np.float32).eps
            part[whole] /= norms[whole]
            part[~whole] = self.vectors[ids[~whole]]
        return rows


def space_across_languages(session: Session, embedding: EmbeddingRecord, text_ids: npt.NDArray[np.uint32]) -> Space:
    """The space in which these texts differ by what they say, not by their language.

    Sums are in float64 and in order of ``text_ids``, so the same texts give the same space.
    """
    vectors = session.vectors(embedding)
    detected = columns.frames(session).texts["detected_language"].cast(pl.String)
    names = sorted(detected.gather(text_ids).drop_nulls().unique().to_list())
    numbers = {name: number for number, name in enumerate(names)}
    language_of = detected.replace_strict(numbers, default=len(names), return_dtype=pl.Int32).to_numpy()
    sums = np.zeros((len(names) + 1, vectors.shape[1]))
    for start in range(0, len(text_ids), CHUNK_ROWS):
        ids = text_ids[start : start + CHUNK_ROWS]
        rows, languages = np.asarray(vectors[ids], dtype=np.float64), language_of[ids]
        for language in np.unique(languages):
            sums[language] += rows[languages == language].sum(axis=0)
    counts = np.bincount(language_of[text_ids], minlength=len(names) + 1)[:, None]
    overall = sums.sum(axis=0) / max(1, len(text_ids))
    offsets = (sums + SHRINKAGE * overall) / (counts + SHRINKAGE)
    return Space(vectors, offsets.astype(np.float32), language_of, tuple(names))


def space_of_run(session: Session, run: RunRecord) -> Space:
    """The space that a run was made in."""
    embedding = session.embedding(run.embedder_id)
    if not run.parameters.get(ACROSS):
        return Space(session.vectors(embedding))
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id)
    own = members.filter(~pl.col("assigned"))["text_id"].to_numpy()
    return space_across_languages(session, embedding, own)
