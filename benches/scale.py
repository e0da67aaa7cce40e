"""Holds a million conversations: does loading them with signals stay quick and within its memory?

`generate` writes LMSYS-Chat-1M shaped Parquet files from the texts of ../shared/data (nothing of them is kept here);
`run` loads them into a new workspace, reports time, rate, peak memory and disk, and asks questions of it. See `--help`.

The shape follows table 1 of the LMSYS-Chat-1M paper (Zheng et al. 2023): 2.0 exchanges per conversation, 69.5 tokens
per prompt and 214.5 per answer (at about 4 characters per token), 25 models, every message with its moderation scores.
About an eighth of the first prompts repeat. Same seed, same files.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

ROWS_PER_FILE = 166_667  # LMSYS-Chat-1M comes in six files
ROW_GROUP = 10_000
PIECE = 20_000  # conversations that are built at a time
EXCHANGES = (0.60, 0.18, 0.09, 0.05, 0.03, 0.02, 0.015, 0.015)  # share of conversations with 1, 2, ... of them
CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "self-harm", "self-harm/instructions"),
    *("self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
LANGUAGES = {
    "English": 0.777, "Portuguese": 0.034, "Russian": 0.026, "Chinese": 0.024, "Spanish": 0.023, "German": 0.021,
    "French": 0.019, "Italian": 0.013, "Japanese": 0.010, "unknown": 0.053,
}  # fmt: skip


def generate(folder: Path, data: Path, *, n_rows: int, seed: int) -> list[Path]:
    """Write the files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts, answers = _texts(data)
    models = [f"model-{i:02d}" for i in range(25)]
    shares = 1 / np.arange(1, 26)
    paths = []
    for number, first in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        path = folder / f"train-{number:05d}.parquet"
        frames = []
        last = min(first + ROWS_PER_FILE, n_rows)
        for start in range(first, last, PIECE):
            rng = np.random.default_rng([seed, start])
            frames.append(
                _conversations(rng, start, min(PIECE, last - start), prompts, answers, models, shares / shares.sum())
            )
        pl.concat(frames).write_parquet(path, compression="snappy", row_group_size=ROW_GROUP)
        paths.append(path)
    return paths


def _texts(data: Path) -> tuple[pl.Series, pl.Series]:
    chats = data / "chats"
    turns = pl.concat(
        pl.read_parquet(chats / f"{name}.parquet", columns=["conversation"])
        .explode("conversation")
        .unnest("conversation")
        for name in ("arena_prompts", "arena_hard", "halie")
    )
    prompts = turns.filter(pl.col("role") == "user")["content"].unique(maintain_order=True)
    distinct = pl.read_parquet(chats / "user_turns_distinct.parquet").filter(pl.col("source") != "sgd/train")["text"]
    prompts = pl.concat([prompts, distinct.sample(60_000, seed=0)]).str.slice(0, 6_000)
    answers = turns.filter((pl.col("role") == "assistant") & (pl.col("content").str.len_chars() > 20))["content"]
    return prompts.sample(fraction=1, shuffle=True, seed=0), answers.str.slice(0, 8_000)


def _conversations(
    rng: np.random.Generator,
    start: int,
    n: int,
    prompts: pl.Series,
    answers: pl.Series,
    models: list[str],
    shares: np.ndarray,
) -> pl.DataFrame:
    exchanges = rng.choice(np.arange(1, len(EXCHANGES) + 1), size=n, p=np.array(EXCHANGES) / sum(EXCHANGES))
    m = int(exchanges.sum())
    one = prompts.gather(rng.integers(len(prompts), size=m))
    two, three = (prompts.gather(rng.integers(len(prompts), size=m)) for _ in range(2))
    # prompts put together are a new text; one alone repeats
    draw = pl.Series(rng.random(m))
    joined = pl.select(
        pl.when(draw < 0.62)
        .then(one + "\n" + two + "\n" + three)
        .when(draw < 0.80)
        .then(one + "\n" + two)
        .otherwise(one)
    ).to_series()
    said = answers.gather(rng.integers(len(answers), size=m))
    order = np.repeat(np.arange(m), 2)
    is_user = pl.Series(np.tile([True, False], m))
    turns = pl.DataFrame({"role": is_user}).select(
        pl.struct(
            pl.when(is_user).then(joined.gather(order)).otherwise(said.gather(order)).alias("content"),
            pl.when(is_user).then(pl.lit("user")).otherwise(pl.lit("assistant")).alias("role"),
        ).alias("conversation"),
    )
    scores = rng.random((2 * m, len(CATEGORIES))) ** 12
    moderation = pl.DataFrame({name: scores[:, i] for i, name in enumerate(CATEGORIES)})
    turns = turns.with_columns(
        moderation.select(
            pl.struct(
                pl.struct(pl.all() > 0.9).alias("categories"),
                pl.struct(pl.all()).alias("category_scores"),
                (pl.max_horizontal(pl.all()) > 0.9).alias("flagged"),
            ).alias("openai_moderation")
        )["openai_moderation"],
        pl.Series("row", np.repeat(np.arange(n), 2 * exchanges)),
    )
    grouped = turns.group_by("row", maintain_order=True).agg("conversation", "openai_moderation")
    return pl.DataFrame(
        {
            "conversation_id": [f"{value:032x}" for value in _ids(start, n)],
            "model": pl.Series(models).gather(rng.choice(25, size=n, p=shares)),
            "conversation": grouped["conversation"],
            "turn": exchanges,
            "language": pl.Series(list(LANGUAGES)).gather(
                rng.choice(len(LANGUAGES), size=n, p=np.array(list(LANGUAGES.values())) / sum(LANGUAGES.values()))
            ),
            "openai_moderation": grouped["openai_moderation"],
            "redacted": rng.random(n) < 0.25,
            "timestamp": datetime(2023, 4, 1).timestamp() + rng.random(n) * 150 * 86_400,
        }
    )


def _ids(start: int, n: int) -> list[int]:
    """128-bit numbers without order, as a hash gives them."""
    return [(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 0x1234567) % 2**128 for i in range(start, start + n)]


# ---- what is measured: each step in a process of its own ------------------------------------------------------------


def step_load(files: Path, workspace: Path, *, force: bool = False) -> dict[str, object]:
    from lmsys_rs.loading import load
    from lmsys_rs.session import open_session

    started: dict[str, float] = {}
    stages: dict[str, float] = {}

    def listen(event: object) -> None:
        if event.kind == "started":  # type: ignore[attr-defined]
            started[event.stage] = time.perf_counter()  # type: ignore[attr-defined]
        if event.kind == "finished":  # type: ignore[attr-defined]
            stages[event.stage] = stages.get(event.stage, 0) + time.perf_counter() - started[event.stage]  # type: ignore[attr-defined]

    with open_session(workspace) as session:
        report = load(session, files, force=force, on_event=listen)
    return {
        "seconds": round(report.seconds, 2),
        "conversations/s": round(report.n_read / report.seconds) if report.n_read else None,
        "n_new": report.n_new,
        "n_new_texts": report.n_new_texts,
        "stages": {name: round(seconds, 2) for name, seconds in stages.items()},
    }


def step_again(files: Path, workspace: Path) -> dict[str, object]:
    return step_load(files, workspace)


def step_forced(files: Path, workspace: Path) -> dict[str, object]:
    return step_load(files, workspace, force=True)


def step_ask(files: Path, workspace: Path) -> dict[str, object]:
    """Milliseconds of questions, median of five, after the first one, which maps the columns."""
    from lmsys_rs import selection, views
    from lmsys_rs.conditions import make_filters
    from lmsys_rs.session import open_session

    answers: dict[str, object] = {}
    with open_session(workspace) as session:
        questions = {
            "facets: data set, model, language, month": lambda: selection.facets(session),
            "counts by month": lambda: selection.facets(session, by=("month",)),
            "counts by month of one model and language": lambda: selection.facets(
                session, make_filters(model="model-03", language="German"), ("month",)
            ),
            "selection: every text with its weight": lambda: selection.select(session),
            "selection: quality, length, --where": lambda: selection.select(
                session, make_filters(min_quality=0.5, min_length=20, where="n_turns > 2 AND model LIKE '%3'")
            ),
            "page of 50 queries of a rare model": lambda: selection.queries(session, make_filters(model="model-24")),
            "page of 50 near the end": lambda: selection.queries(session, after=900_000),
            "10 rows of the lazy queries": lambda: views.queries(session).head(10).collect(),
        }
        started = time.perf_counter()
        selection.facets(session)
        answers["first question (maps the columns)"] = round((time.perf_counter() - started) * 1e3, 1)
        for name, ask in questions.items():
            took = []
            for _ in range(5):
                started = time.perf_counter()
                ask()
                took.append((time.perf_counter() - started) * 1e3)
            answers[name] = round(sorted(took)[2], 1)
    return answers


def measured(step: str, files: Path, workspace: Path) -> dict[str, object]:
    """The answer of a step and the peak memory of its process."""
    command = [sys.executable, __file__, "--child", step, str(files), str(workspace)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(out.stderr)
    answer: dict[str, object] = json.loads(out.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["generate", "run"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--folder", type=Path, default=Path("scale-data"), help="where files and workspace go")
    parser.add_argument("--keep", action="store_true", help="keep the workspace")
    arguments = parser.parse_args()
    files = arguments.folder / f"lmsys-{arguments.rows}"
    if not files.exists():
        generate(files, arguments.data, n_rows=arguments.rows, seed=arguments.seed)
    n_bytes = sum(file.stat().st_size for file in files.iterdir())
    print(f"{arguments.rows:,} conversations in {len(list(files.iterdir()))} files, {n_bytes / 1e9:.2f} GB")
    if arguments.command == "generate":
        return
    workspace = arguments.folder / "scale.lmsys"
    shutil.rmtree(workspace, ignore_errors=True)
    figures = {"machine": platform.processor() or platform.machine(), "rows": arguments.rows, "bytes": n_bytes}
    for step in ("load", "again", "forced", "ask"):
        figures[step] = measured(step, files, workspace)
        print(json.dumps({step: figures[step]}, indent=1), flush=True)
    on_disk = {
        part.name: sum(f.stat().st_size for f in (part.rglob("*") if part.is_dir() else [part]) if f.is_file())
        for part in workspace.iterdir()
    }
    figures["on disk"] = on_disk
    print(json.dumps({"on disk, MB": {name: round(size / 1e6) for name, size in on_disk.items()}}))
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    (results / "scale.json").write_text(json.dumps(figures, indent=1) + "\n")
    if not arguments.keep:
        shutil.rmtree(workspace)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        answer = globals()[f"step_{sys.argv[2]}"](Path(sys.argv[3]), Path(sys.argv[4]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
        print(json.dumps({**answer, "peak MB": round(peak)}))
    else:
        main()
