"""Do offline names say what clusters are about, and do people's own names for the texts agree?

    python benches/naming.py --data ../shared/data

Titles: share of k-means clusters whose title is, by the encoder, nearest to the name of their majority label, on
BANKING77 and HWU64. Terms: NPMI and diversity beside BERTopic (pip install bertopic, no torch needed) on chat turns.
Representatives: how well ten texts of a cluster cover it. Speed: terms of all chat turns. Prints Markdown; the same
figures go to benches/results/naming.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from lmsys_rs import _core
from lmsys_rs.models import Encoder
from lmsys_rs.naming import centroids, contrast, name_clusters
from lmsys_rs.naming import representatives as cluster_representatives
from lmsys_rs.titles import is_generic, normalized
from lmsys_rs.titling import titles_by_words

HERE = Path(__file__).resolve().parent
TOP_WORDS = 10
N_TOPICS = 200
UNSPACED = ("Japanese", "Chinese", "Khmer")
Labels = npt.NDArray[np.int32]
Rows = npt.NDArray[np.float32]
# HWU64 glues words in its names ("general_commandstop", "qa_maths"); the second reading parts and spells them out.
SPELLED = {
    **{
        "commandstop": "command stop",
        "dontcare": "do not care",
        "lightchange": "light change",
        "lightdim": "light dim",
    },
    **{"lightoff": "light off", "lighton": "light on", "lightup": "light up", "createoradd": "create or add"},
    **{"addcontact": "add contact", "querycontact": "query contact", "sendemail": "send email"},
    **{"datetime": "date time", "qa": "question answering", "iot": "internet of things"},
}


class Cached:
    """An encoder that reads each title once: the same ones come back with every seed."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.known: dict[str, Rows] = {}

    def embed(self, texts: Sequence[str], /) -> Rows:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known |= dict(zip(new, self.encoder.embed(new), strict=True))
        return np.stack([self.known[text] for text in texts])


def label_names(labels: Sequence[str], *, spelled: bool) -> list[str]:
    """Names as words: "lost_or_stolen_card" is "lost or stolen card"."""
    names = [label.replace("_", " ").replace("?", "").lower() for label in labels]
    return [" ".join(SPELLED.get(word, word) for word in name.split()) if spelled else name for name in names]


def titles(name: str, file: Path, encoder: Cached, seeds: int) -> list[dict[str, Any]]:
    """Mean and least share over seeds, of each way to make a title."""
    read = pl.read_csv if file.suffix == ".csv" else pl.read_parquet
    frame = read(file).unique("text", keep="first", maintain_order=True)
    texts, vectors = frame["text"], encoder.encoder.embed(frame["text"])
    labels = sorted(frame["label"].unique())
    truth = frame["label"].replace_strict(labels, range(len(labels))).to_numpy()
    references = [encoder.embed(label_names(labels, spelled=spelled)) for spelled in (False, True)]
    shares: dict[str, list[list[float]]] = {}
    first: dict[str, list[float]] = {}
    n_generic = n_twice = 0
    seconds = 0.0
    pure: list[float] = []
    for seed in range(seeds):
        found = np.asarray(_core.KMeans(len(labels), random_state=seed).fit(vectors).labels_, dtype=np.int32)
        n_clusters = len(labels)
        counts = np.stack([np.bincount(truth[found == i], minlength=n_clusters) for i in range(n_clusters)])
        majority, purity = counts.argmax(axis=1), counts.max(axis=1) / counts.sum(axis=1)
        started = time.perf_counter()
        names = name_clusters(texts, found, vectors, encoder=encoder)
        seconds += time.perf_counter() - started
        own = [one.title for one in names]
        n_generic += sum(is_generic(title) is not None for title in own)
        n_twice += n_clusters - len({normalized(title) for title in own})
        means = centroids(vectors, found, n_clusters)
        medoids = _core.medoids(vectors, found, n_clusters=n_clusters)
        plain = _core.top_terms(texts, found, n_clusters=n_clusters, n_terms=12, max_words=2)
        by_words = name_clusters(texts, found, vectors)
        ways: dict[str, Rows] = {
            "lmsys_rs": encoder.embed(own),
            "lmsys_rs, no encoder": encoder.embed([one.title for one in by_words]),
            "three c-TF-IDF terms": encoder.embed(
                titles_by_words([[term for term, _ in own] for own in plain], [""] * n_clusters)
            ),
            "text of the medoid": vectors[medoids],
            "the centroid itself": means.astype(np.float32),
        }
        for way, made in ways.items():
            hits = [(made @ reference.T).argmax(axis=1) == majority for reference in references]
            shares.setdefault(way, []).append([float(hit.mean()) for hit in hits])
            first.setdefault(way, []).append(float(((made @ means.T).argmax(axis=1) == np.arange(n_clusters)).mean()))
            if way == "lmsys_rs":
                pure.append(float(hits[1][purity >= 0.5].mean()))
    rows = []
    for way, values in shares.items():
        mean, least = np.mean(values, axis=0), np.min(values, axis=0)
        row = {"set": name, "title": way, "mean": mean[0], "min": least[0], "spelled": mean[1], "spelled_min": least[1]}
        row["own_first"] = float(np.mean(first[way]))
        if way == "lmsys_rs":
            row |= {"generic": n_generic, "duplicates": n_twice, "pure": np.mean(pure)}
            row |= {"seconds": seconds / seeds}
        rows.append(row)
    return rows


def npmi(topics: Sequence[Sequence[str]], documents: Sequence[set[str]]) -> float:
    """Mean normalized pointwise mutual information of the word pairs of each topic (Bouma 2009), a text a window."""
    wanted = {word for topic in topics for word in topic}
    where: dict[str, set[int]] = {word: set() for word in wanted}
    for i, document in enumerate(documents):
        for word in document & wanted:
            where[word].add(i)
    n = len(documents)
    means = []
    for topic in topics:
        values = []
        for a, b in combinations(topic, 2):
            both = len(where[a] & where[b]) / n
            if both == 0:
                values.append(-1.0)
            elif both < 1:
                values.append(float(np.log(both / (len(where[a]) * len(where[b]) / n**2)) / -np.log(both)))
        means.append(float(np.mean(values)) if values else 0.0)
    return float(np.mean(means))


def diversity(topics: Sequence[Sequence[str]]) -> float:
    """Share of different words among the words of all topics (Dieng, Ruiz, Blei 2020)."""
    words = [word for topic in topics for word in topic]
    return len(set(words)) / len(words)


def terms(texts: pl.Series, vectors: Rows, seed: int) -> list[dict[str, Any]]:
    """NPMI and diversity of top-10 words; the same texts, labels and tokens for all."""
    vectorizer = import_module("sklearn.feature_extraction.text").CountVectorizer
    tokens = vectorizer().build_analyzer()
    documents = [set(tokens(text)) for text in texts]
    known = set().union(*documents)
    kmeans = np.asarray(_core.KMeans(N_TOPICS, random_state=seed).fit(vectors).labels_, dtype=np.int32)
    rows = []

    def judged(labels: str, method: str, topics: dict[int, list[str]]) -> None:
        full = [words[:TOP_WORDS] for words in topics.values() if len(words) >= TOP_WORDS]
        rows.append(
            {
                **{"labels": labels, "terms": method, "topics": len(topics), "of 10 words": len(full)},
                **{"npmi": npmi(full, documents), "diversity": diversity(full)},
            }
        )

    def ours(labels: Labels) -> dict[int, list[str]]:
        n_clusters = int(labels.max()) + 1
        nearest = contrast(centroids(vectors, labels, n_clusters)).tolist()
        found = _core.top_terms(
            texts, labels, n_clusters=n_clusters, n_terms=3 * TOP_WORDS, max_words=1, nearest=nearest
        )
        # words that the windows do not know, of scripts without spaces, can't be judged
        return {i: [word for term, _ in own if (word := term.lower()) in known] for i, own in enumerate(found)}

    judged("k-means", "lmsys_rs", ours(kmeans))
    if find_spec("bertopic") is None:
        return rows
    for stop_words in (None, "english"):
        topics, _ = bertopic(texts, vectors, kmeans, vectorizer(stop_words=stop_words))
        judged("k-means", f"BERTopic{', English stop words' if stop_words else ''}", topics)
    topics, labels = bertopic(texts, vectors, None, vectorizer())
    judged("BERTopic's", "BERTopic", topics)
    topics, _ = bertopic(texts, vectors, labels, vectorizer(stop_words="english"))
    judged("BERTopic's", "BERTopic, English stop words", topics)
    judged("BERTopic's", "lmsys_rs", ours(labels))
    return rows


def bertopic(
    texts: pl.Series, vectors: Rows, labels: Labels | None, vectorizer: Any
) -> tuple[dict[int, list[str]], Labels]:
    """Top words per topic and labels: its own clusters, or its terms on given labels."""
    package = import_module("bertopic")
    given: dict[str, Any] = {"embedding_model": import_module("bertopic.backend").BaseEmbedder()}
    if labels is None:
        # its defaults, with a seed
        umap = import_module("umap").UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0)
        model = package.BERTopic(umap_model=umap, vectorizer_model=vectorizer, **given)
    else:
        given |= {"umap_model": import_module("bertopic.dimensionality").BaseDimensionalityReduction()}
        given |= {"hdbscan_model": import_module("bertopic.cluster").BaseCluster()}
        model = package.BERTopic(vectorizer_model=vectorizer, **given)
    model.fit(texts.to_list(), embeddings=vectors, y=labels)
    topics = {topic: [word for word, _ in words if word] for topic, words in model.get_topics().items() if topic >= 0}
    return topics, np.asarray(model.topics_, dtype=np.int32)


def representatives(vectors: Rows, seed: int) -> list[dict[str, Any]]:
    """Mean cosine of the texts to the nearest of the ten that stand for their cluster."""
    labels = np.asarray(_core.KMeans(N_TOPICS, random_state=seed).fit(vectors).labels_, dtype=np.int32)
    graph = _core.KnnGraph.build(vectors, 15)
    ways: dict[str, Callable[[], list[Any]]] = {
        "most relevant, diversity 0.3": lambda: _core.diverse_representatives(vectors, labels, n_clusters=N_TOPICS),
        "most relevant, diversity 0.7": lambda: _core.diverse_representatives(
            vectors, labels, n_clusters=N_TOPICS, diversity=0.7
        ),
        "most linked": lambda: _core.central_representatives(graph, labels, n_clusters=N_TOPICS),
        "facility location, own graphs": lambda: [
            np.array(rows) for rows in cluster_representatives(vectors, labels, N_TOPICS)
        ],
        "facility location": lambda: _core.covering_representatives(graph, labels, n_clusters=N_TOPICS),
    }
    rows = []
    for way, choose in ways.items():
        started = time.perf_counter()
        chosen = choose()
        seconds = time.perf_counter() - started
        nearest = [(vectors[labels == i] @ vectors[own].T).max(axis=1) for i, own in enumerate(chosen)]
        alike = [(vectors[own] @ vectors[own].T)[np.triu_indices(len(own), 1)].mean() for own in chosen if len(own) > 1]
        rows.append(
            {
                **{"chosen by": way, "cosine to nearest": float(np.concatenate(nearest).mean())},
                **{"cosine among them": float(np.mean(alike)), "seconds": seconds},
            }
        )
    return rows


def speed(texts: pl.Series) -> list[dict[str, Any]]:
    """Terms alone, with labels drawn at random: the most different terms per cluster there can be."""
    rows = []
    for n in (98_000, len(texts)):
        if n > len(texts):
            continue
        part = texts.sample(n, seed=1)
        labels = np.random.default_rng(0).integers(0, N_TOPICS, n).astype(np.int32)
        for max_words in (1, 2, 4):
            started = time.perf_counter()
            _core.top_terms(part, labels, n_clusters=N_TOPICS, n_terms=30, max_words=max_words)
            rows.append({"texts": n, "words of a term": max_words, "seconds": time.perf_counter() - started})
        rows[-1]["peak of the process, GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return rows


def table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        shown = [row.get(column, "") for column in columns]
        print(f"| {' | '.join(f'{x:.3f}' if isinstance(x, float) else str(x) for x in shown)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with labelled/ and chats/")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="registry name or folder of a model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=20_000, help="chat turns for terms and representatives")
    parser.add_argument(
        "--language", default="English", help="of those turns; all: every one that parts words by spaces"
    )
    arguments = parser.parse_args()
    encoder = Cached(Encoder(arguments.model))
    results: dict[str, Any] = {
        **{"cpus": os.cpu_count(), "machine": platform.machine(), "model": encoder.encoder.id},
        "titles": [],
    }
    for name, file in (("hwu64", "hwu64.parquet"), ("banking77", "banking77.csv")):
        results["titles"] += titles(name, arguments.data / "labelled" / file, encoder, arguments.seeds)
    table("Titles: share nearest to the name of the majority label", results["titles"])
    turns = pl.read_parquet(arguments.data / "chats" / "user_turns_distinct.parquet")
    results["speed"] = speed(turns["text"])
    table("Speed of terms", results["speed"])
    # the tokens that both are judged by are parted by spaces; stop words of other languages BERTopic can't leave out
    spaced = ~pl.col("language").is_in(UNSPACED).fill_null(value=False)
    chosen = turns.filter(spaced if arguments.language == "all" else pl.col("language") == arguments.language)["text"]
    sample = chosen.sample(min(arguments.texts, len(chosen)), seed=0, shuffle=True)
    vectors = encoder.encoder.embed(sample)
    results["representatives"] = representatives(vectors, seed=0)
    table("Representatives", results["representatives"])
    results["terms"] = terms(sample, vectors, seed=0)
    table("Terms: coherence and diversity of the ten best words", results["terms"])
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "naming.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
