"""How often are the signals of texts right, and how fast are they?

    python benches/signals.py --data ../shared/data

Language: accuracy per language on sentences (SIB-200) and short questions (MKQA, XOR-TyDi), on the halves that no
threshold was chosen on. Near-duplicates: recall and false positives per threshold on HWU64, and what banding loses.
Speed: texts of 200 to 400 characters. Prints Markdown; the same figures go to benches/results/signals.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from lmsys_rs import _core

HERE = Path(__file__).resolve().parent
SEED = 0
TOP_20 = (
    *("English", "Portuguese", "Russian", "Chinese", "Spanish", "German", "French", "Italian", "Japanese", "Korean"),
    *("Polish", "Vietnamese", "Dutch", "Turkish", "Arabic", "Hungarian", "Ukrainian", "Swedish", "Greek", "Czech"),
)
# FLORES code -> our name; languages of one name are one language to us
SIB = {
    **{"eng_Latn": "English", "por_Latn": "Portuguese", "rus_Cyrl": "Russian", "zho_Hans": "Chinese"},
    **{"zho_Hant": "Chinese", "spa_Latn": "Spanish", "deu_Latn": "German", "fra_Latn": "French"},
    **{"ita_Latn": "Italian", "jpn_Jpan": "Japanese", "kor_Hang": "Korean", "pol_Latn": "Polish"},
    **{"vie_Latn": "Vietnamese", "nld_Latn": "Dutch", "tur_Latn": "Turkish", "arb_Arab": "Arabic"},
    **{"hun_Latn": "Hungarian", "ukr_Cyrl": "Ukrainian", "swe_Latn": "Swedish", "ell_Grek": "Greek"},
    **{"ces_Latn": "Czech", "ind_Latn": "Indonesian", "pes_Arab": "Persian", "tha_Thai": "Thai"},
    **{"heb_Hebr": "Hebrew", "fin_Latn": "Finnish", "ron_Latn": "Romanian", "dan_Latn": "Danish"},
    **{"nob_Latn": "Norwegian", "nno_Latn": "Norwegian", "cat_Latn": "Catalan", "hin_Deva": "Hindi"},
    **{"zsm_Latn": "Malay", "bul_Cyrl": "Bulgarian", "slk_Latn": "Slovak", "slv_Latn": "Slovenian"},
    **{"hrv_Latn": "Croatian", "bos_Latn": "Croatian", "srp_Cyrl": "Serbian", "lit_Latn": "Lithuanian"},
    **{"lvs_Latn": "Latvian", "est_Latn": "Estonian", "als_Latn": "Albanian", "afr_Latn": "Afrikaans"},
    **{"eus_Latn": "Basque", "epo_Latn": "Esperanto", "isl_Latn": "Icelandic", "gle_Latn": "Irish"},
    **{"cym_Latn": "Welsh", "swh_Latn": "Swahili", "tgl_Latn": "Tagalog", "azj_Latn": "Azerbaijani"},
    **{"som_Latn": "Somali", "yor_Latn": "Yoruba", "zul_Latn": "Zulu", "bel_Cyrl": "Belarusian"},
    **{"mkd_Cyrl": "Macedonian", "kaz_Cyrl": "Kazakh", "khk_Cyrl": "Mongolian", "urd_Arab": "Urdu"},
    **{"mar_Deva": "Marathi", "ben_Beng": "Bengali", "tam_Taml": "Tamil", "tel_Telu": "Telugu"},
    **{"khm_Khmr": "Khmer", "kat_Geor": "Georgian", "hye_Armn": "Armenian", "guj_Gujr": "Gujarati"},
    **{"pan_Guru": "Punjabi", "kan_Knda": "Kannada", "mal_Mlym": "Malayalam", "sin_Sinh": "Sinhala"},
    **{"mya_Mymr": "Burmese", "lao_Laoo": "Lao", "amh_Ethi": "Amharic"},
}
THRESHOLDS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


def sentences(data: Path) -> pl.DataFrame:
    frame = pl.read_parquet(data / "labelled" / "sib200_train_dev.parquet")
    frame = frame.filter((pl.col("sentence_id") % 2 == 1) & pl.col("lang").is_in(list(SIB)))
    return frame.select("text", truth=pl.col("lang").replace_strict(SIB))


def questions(data: Path) -> pl.DataFrame:
    frame = pl.read_parquet(data / "chats" / "multilingual_queries.parquet")
    # translations stay together
    group = pl.col("meta").str.json_path_match("$.group_id").fill_null(pl.col("conversation_id"))
    frame = frame.filter(group.hash(0) % 2 == 1)
    return frame.select(text=pl.col("conversation").list.first().struct.field("content"), truth="language")


def accuracy(frame: pl.DataFrame) -> dict[str, Any]:
    found = pl.DataFrame(_core.text_signals(frame["text"]))["language"]
    frame = frame.with_columns(found=found, right=(found == frame["truth"]).fill_null(False))
    table = frame.group_by("truth").agg(
        n=pl.len(),
        accuracy=pl.col("right").mean(),
        mistaken_for=pl.col("found").filter(~pl.col("right")).drop_nulls().mode().sort().first(),
    )
    per_language = {row["truth"]: row for row in table.sort("truth").to_dicts()}
    top = [per_language[name]["accuracy"] for name in TOP_20 if name in per_language]
    everything = [row["accuracy"] for row in per_language.values()]
    return {
        "n": len(frame),
        "macro_top_20": float(np.mean(top)),
        "n_top_20": len(top),
        "macro_all": float(np.mean(everything)),
        "languages": per_language,
    }


def near_duplicates(data: Path) -> dict[str, Any]:
    known = pl.read_parquet(data / "labelled" / "near_duplicates_hwu64.parquet")
    requests = pl.read_parquet(data / "labelled" / "hwu64.parquet").unique("text", maintain_order=True)
    random = np.random.default_rng(SEED)
    texts, labels = requests["text"], requests["label"].to_numpy()
    one, other = random.integers(0, len(requests), (2, 60_000))
    differ = np.flatnonzero(labels[one] != labels[other])[:50_000]
    by_label = [np.flatnonzero(labels == label) for label in sorted(set(labels))]
    weights = np.array([len(rows) * (len(rows) - 1.0) for rows in by_label])
    chosen = random.choice(len(by_label), 50_000, p=weights / weights.sum())
    hard = np.array([random.choice(by_label[label], 2, replace=False) for label in chosen])

    def estimated(left: pl.Series, right: pl.Series) -> Any:
        return (_core.minhash_signatures(left) == _core.minhash_signatures(right)).mean(axis=1)

    similarity = {
        "positives": estimated(known["text_a"], known["text_b"]),
        "random": estimated(texts.gather(one[differ]), texts.gather(other[differ])),
        "hard": estimated(texts.gather(hard[:, 0]), texts.gather(hard[:, 1])),
    }
    both = pl.concat([known["text_a"], known["text_b"].alias("text_a")])
    signatures = _core.minhash_signatures(both)
    rows = []
    for threshold in THRESHOLDS:
        groups = _core.group_pairs(len(both), _core.near_duplicate_pairs(signatures, min_similarity=threshold))
        found = {name: float((values >= threshold).mean()) for name, values in similarity.items()}
        grouped = float((groups[: len(known)] == groups[len(known) :]).mean())
        rows.append({"threshold": threshold, **found, "grouped": grouped})
    return {"n_positives": len(known), "n_negatives": 50_000, "thresholds": rows}


def speed(data: Path) -> dict[str, Any]:
    frame = pl.read_parquet(data / "chats" / "arena_prompts.parquet")
    prompts = frame["conversation"].list.first().struct.field("content").drop_nulls()
    prompts = prompts.filter(prompts.str.len_chars().is_between(200, 400))
    copies = -(-200_000 // len(prompts))
    # copies differ, so that candidates are not all of one text
    texts = pl.concat([prompts + f" {copy}" for copy in range(copies)])
    steps: dict[str, Callable[[], Any]] = {
        "text_signals": lambda: _core.text_signals(texts),
        "minhash_signatures": lambda: _core.minhash_signatures(texts),
        "redact_texts": lambda: _core.redact_texts(texts),
    }
    rates = {}
    for name, step in steps.items():
        times = []
        for _ in range(3):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
        rates[name] = len(texts) / min(times)
    together = 1 / (1 / rates["text_signals"] + 1 / rates["minhash_signatures"])
    distinct = pl.read_parquet(data / "chats" / "user_turns_distinct.parquet")["text"]
    signatures = _core.minhash_signatures(distinct)
    started = time.perf_counter()
    pairs = _core.near_duplicate_pairs(signatures)
    seconds = time.perf_counter() - started
    return {
        "n": len(texts),
        "mean_chars": float(texts.str.len_chars().mean() or 0),
        "texts_per_second": rates | {"text_signals and minhash_signatures": together},
        "pairs": {"n_texts": len(distinct), "n_pairs": len(pairs), "seconds": seconds},
    }


def markdown(figures: dict[str, Any]) -> str:
    lines = []
    sib, mkqa = figures["sentences"], figures["questions"]
    lines += ["| language | sentences | questions | mistaken for |", "|---|---|---|---|"]
    for name in sorted({*sib["languages"], *mkqa["languages"]}, key=lambda name: (name not in TOP_20, name)):
        rows = [table["languages"].get(name) for table in (sib, mkqa)]
        shown = [f"{row['accuracy']:.3f}" if row else "-" for row in rows]
        wrong = ", ".join(dict.fromkeys(row["mistaken_for"] for row in rows if row and row["mistaken_for"]))
        lines.append(f"| {name} | {shown[0]} | {shown[1]} | {wrong} |")
    lines.append(f"| **macro, top 20** | **{sib['macro_top_20']:.4f}** | **{mkqa['macro_top_20']:.4f}** | |")
    lines.append(f"| macro, all | {sib['macro_all']:.4f} | {mkqa['macro_all']:.4f} | |")
    lines += ["", "| threshold | recall | recall of groups | random pairs | same label |", "|---|---|---|---|---|"]
    for row in figures["near_duplicates"]["thresholds"]:
        shares = f"{row['positives']:.4f} | {row['grouped']:.4f} | {row['random']:.5f} | {row['hard']:.5f}"
        lines.append(f"| {row['threshold']} | {shares} |")
    lines += ["", f"| step ({figures['speed']['mean_chars']:.0f} characters) | texts/s |", "|---|---|"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in figures["speed"]["texts_per_second"].items()]
    pairs = figures["speed"]["pairs"]
    lines += ["", f"{pairs['n_pairs']:,} candidates of {pairs['n_texts']:,} texts in {pairs['seconds']:.2f} s"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    data = parser.parse_args().data
    figures = {
        "machine": {"processor": platform.processor() or platform.machine(), "n_cores": os.cpu_count()},
        "sentences": accuracy(sentences(data)),
        "questions": accuracy(questions(data)),
        "near_duplicates": near_duplicates(data),
        "speed": speed(data),
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "signals.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(markdown(figures))


if __name__ == "__main__":
    main()
