"""How fast do we turn texts into vectors, in how much memory and how faithfully, beside what people would use instead?

Peers get a virtual environment of their own (benches/embedding/requirements.txt). Every pass of every engine is a
process of its own, kept to as many CPUs as it has threads; engines run in turn, so that all see the same state of the
machine; of an engine with several sizes of batch the best one is its row. Fidelity is measured against fp32 by torch.
What cannot be installed, made or run is a row that says why. Prints Markdown; a whole run also goes to
benches/results/embedding.md and .json. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = HERE / "embedding"
SHARED = HERE.parent.parent / "shared" / "data"
BATCH_TOKENS = (1_024, 512)  # padded tokens per batch; measured: more leaves the L2 cache, and is slower for every peer
KMEANS_SEEDS = 3
DISTURBED = 0.05  # share of its time that a pass waited for a CPU; such a pass counts only if there are no others
REFERENCE = "st-fp32"
GOAL = "openvino-bf16"
FLAGS = (
    "avx2 fma f16c avx512f avx512_bf16 avx512_vnni avx512_fp16 avx_vnni amx_tile amx_bf16 amx_int8 asimddp i8mm bf16"
)
PEERS = ("sentence-transformers", "torch", "transformers", "onnxruntime", "openvino", "model2vec", "tokenizers")
Figures = dict[str, Any]


# ---- what is measured --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """An engine with its settings. Several may share a `row`: the best of them is shown.

    Attributes:
        needs: what has to be made first, by benches/embedding/prepare.py or `lmsys models distill`.
        isa: LMSYS_ISA of the process.
        is_static: it has no layers: it is timed on all texts, and its vectors lie in a space of their own.
    """

    row: str
    label: str
    kind: str
    options: Figures
    needs: str | None = None
    threads: int = 1
    isa: str | None = None
    is_static: bool = False

    @property
    def key(self) -> str:
        return f"{self.label} @{self.threads}"


def engines(isas: list[str]) -> Iterator[Engine]:
    """Every engine, at one thread."""
    for short, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        options = {"dtype": dtype, "batch": 32}
        yield Engine(f"st-{short}", f"sentence-transformers {short}, batch 32", "sentence_transformers", options)
    for short, label, needs in (("fp32", "fp32", "onnx"), ("int8", "dynamic int8", "int8")):
        for tokens in BATCH_TOKENS:
            options = {"graph": f"{short}.onnx", "batch_tokens": tokens}
            yield Engine(f"ort-{short}", f"ONNX Runtime {label}, {tokens:,} tokens", "onnxruntime", options, needs)
    for precision in ("f32", "bf16"):
        for tokens in BATCH_TOKENS:
            options = {"precision": precision, "batch_tokens": tokens, "streams": 1}
            label = f"OpenVINO {precision}, {tokens:,} tokens"
            yield Engine(f"openvino-{precision}", label, "openvino", options, "openvino")
    yield Engine("model2vec", "model2vec static, pca 256", "model2vec", {}, "model2vec", is_static=True)
    yield Engine("tokenizer", "tokenizer alone (HF tokenizers)", "tokenizer", {}, is_static=True)
    yield Engine("ours-auto", "**lmsys_rs**, engine auto", "ours", {"engine": "auto"})
    for isa in isas:
        yield Engine(f"ours-native-{isa}", f"**lmsys_rs**, engine native, {isa}", "ours", {"engine": "native"}, isa=isa)
    yield Engine("ours-ort", "**lmsys_rs**, engine ort", "ours", {"engine": "ort"})
    for folder, label in (("static", "engine static"), ("static-texts", "engine static, distilled with the prompts")):
        options = {"engine": "static", "folder": folder}
        yield Engine(f"ours-{folder}", f"**lmsys_rs**, {label}", "ours", options, folder, is_static=True)


def with_threads(engine: Engine, threads: int) -> Iterator[Engine]:
    """The same with more threads: ours as the table names them, and the peer to beat, in streams of one thread too."""
    if engine.row == GOAL:
        yield replace(engine, threads=threads, label=f"{engine.label}, 1 stream")
        options = engine.options | {"streams": threads}
        yield replace(engine, threads=threads, label=f"{engine.label}, {threads} streams", options=options)
    elif engine.row in ("ours-auto", "ours-ort", "ours-static"):
        yield replace(engine, threads=threads)


def chosen_engines(arguments: argparse.Namespace) -> list[Engine]:
    known = list(engines(isas_of_build()))
    wanted = [e for e in known if not arguments.only or any(fnmatch(e.row, name) for name in arguments.only)]
    if not wanted:
        raise SystemExit("--only: no such row; there are " + ", ".join(dict.fromkeys(e.row for e in known)))
    more = [scaled for threads in arguments.threads[1:] for e in wanted for scaled in with_threads(e, threads)]
    return [replace(e, threads=arguments.threads[0]) for e in wanted] + more


def isas_of_build() -> list[str]:
    asked = "import json, lmsys_rs; print(json.dumps(lmsys_rs.available_isas()))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    isas: list[str] = json.loads(answer.stdout) if answer.returncode == 0 else []
    return isas


# ---- children ----------------------------------------------------------------------------------------------------


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def free_cpus() -> list[int]:
    """CPUs of this process, the last first: the first one serves most interrupts."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return sorted(cpus, reverse=True)


def ended(command: list[str], *, limit: float, **settings: Any) -> tuple[str, str | None]:
    """Runs a command: what it wrote to stdout, or why it failed."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit, **settings)
    except subprocess.TimeoutExpired:
        return "", f"took longer than {limit:.0f} s"
    except FileNotFoundError as error:
        return "", f"not installed: {error.filename}"
    if result.returncode == 0:
        return result.stdout, None
    lines = [line.strip(" │") for line in result.stderr.splitlines() if any(map(str.isalnum, line))]
    return "", (lines[-1] if lines else f"ended with code {result.returncode}")[:200]


def child(python: Path, script: str, job: Figures, *, threads: int, limit: float, **settings: str) -> Figures:
    """What a process of its own answers to the job, or `{"reason": why it could not}`.

    `settings` are variables of its environment; with `cpus` among them it is kept to these.
    """
    cpus = settings.pop("cpus", "")
    pinned = ["taskset", "-c", cpus] if cpus and shutil.which("taskset") else []
    bounds = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(bounds, str(threads)) | {"HF_HUB_OFFLINE": "1"} | settings
    command = [*pinned, str(python), str(PARTS / script)]
    output, reason = ended(command, limit=limit, input=json.dumps(job), env=environment)
    answer: Figures = json.loads(output.splitlines()[-1]) if reason is None else {"reason": reason}
    return answer


def of_engine(engine: Engine, task: Figures, made: dict[str, Figures], arguments: argparse.Namespace) -> Figures:
    """What the engine answers to the task, or why it can't."""
    missing = made.get(engine.needs or "", {}).get("reason")
    if missing:
        return {"reason": f"{engine.needs}: {missing}"}
    if engine.threads > len(free_cpus()):
        return {"reason": f"needs {engine.threads} CPUs"}
    job = task | {
        "engine": engine.kind,
        "options": engine.options,
        "threads": engine.threads,
        "model": arguments.model,
        "max_length": arguments.max_length,
        "artefacts": str(arguments.folder),
    }
    settings = {"LMSYS_ISA": engine.isa} if engine.isa else {}
    if task["task"] == "time":
        settings["cpus"] = ",".join(map(str, free_cpus()[: engine.threads]))
    python = Path(sys.executable) if engine.kind == "ours" else of_peers(arguments)
    return child(python, "engines.py", job, threads=engine.threads, limit=arguments.limit, **settings)


def of_peers(arguments: argparse.Namespace) -> Path:
    python: Path = arguments.venv / "bin" / "python"
    return python


# ---- the peers' environment, and what they need before they start ------------------------------------------------


def install(arguments: argparse.Namespace) -> None:
    """All of requirements.txt, or else each line by itself, so that one missing peer does not cost the others."""
    python, pinned = arguments.venv / "bin" / "python", PARTS / "requirements.txt"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(arguments.venv)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    progress(f"installing the peers into {arguments.venv} ...")
    _, reason = ended([*pip, "-r", str(pinned)], limit=arguments.limit)
    if reason is None:
        return
    progress(f"not all of them at once: {reason}")
    lines = [line for line in pinned.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines:
        _, reason = ended([*pip, line], limit=arguments.limit)
        if reason is not None:
            progress(f"{line} is not available: {reason}")


def prepare(chosen: list[Engine], asked: list[str], arguments: argparse.Namespace) -> dict[str, Figures]:
    """Makes what the engines need; name -> seconds, or the reason why not."""
    wanted = {engine.needs for engine in chosen} | ({"onnx"} if any(e.needs == "int8" for e in chosen) else set())
    made: dict[str, Figures] = {}
    for name in ("onnx", "int8", "openvino", "model2vec", "static", "static-texts"):
        if name in wanted:
            progress(f"making {name} ...")
            made[name] = distilled(name, asked, arguments) if name.startswith("static") else of_peer(name, arguments)
    return made


def of_peer(name: str, arguments: argparse.Namespace) -> Figures:
    job = {"make": name, "model": arguments.model, "artefacts": str(arguments.folder)}
    return child(of_peers(arguments), "prepare.py", job, threads=len(free_cpus()), limit=arguments.limit)


def distilled(name: str, asked: list[str], arguments: argparse.Namespace) -> Figures:
    """Our static table, as its users make it; one of the two knows how often words occur in the prompts."""
    command = [sys.executable, "-m", "lmsys_rs", "models", "distill", arguments.model, str(arguments.folder / name)]
    if name == "static-texts":
        lines = arguments.folder / "prompts.txt"
        lines.write_text("\n".join(" ".join(text.split()) for text in asked), encoding="utf-8")
        command += ["--texts", str(lines)]
    started = time.perf_counter()
    _, reason = ended(command, limit=arguments.limit)
    if reason is not None:
        return {"reason": f"lmsys models distill: {reason}"}
    return {"seconds": time.perf_counter() - started}


# ---- texts -------------------------------------------------------------------------------------------------------


def prompts(arguments: argparse.Namespace) -> tuple[list[str], str]:
    """Distinct texts of users in the order of the file, and what they are."""
    import polars as pl

    path, name = Path(arguments.data), Path(arguments.data).name
    if not path.exists():
        import lmsys_rs as lm

        path, name = arguments.folder / "sample.parquet", "synthetic sample"
        lm.write_sample(path, n_conversations=5_000, seed=0)
    turns = pl.read_parquet(path, columns=["conversation"]).explode("conversation").unnest("conversation")
    asked = turns.filter(pl.col("role") == "user")["content"].drop_nulls()
    return list(dict.fromkeys(asked.to_list())), name


def labelled(path: Path) -> tuple[list[str], list[str]]:
    """Distinct texts of a labelled set with the label of each (of its first row)."""
    import polars as pl

    table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    table = table.unique("text", keep="first", maintain_order=True)
    return table["text"].to_list(), table["label"].to_list()


def token_lengths(texts: list[str], arguments: argparse.Namespace) -> list[int]:
    """Tokens of each text as the model reads them, special ones included: one count for all engines."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{arguments.model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(arguments.max_length)
    return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts)]


def useful_flops(lengths: list[int], model: str) -> float:
    """Of the layers over the real lengths: per token 4 hidden x hidden products and 2 with the inner size, and two
    products of attention with every token of its text; a multiplication and an addition are 2."""
    config = json.loads(Path(model, "config.json").read_text())
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    per_token = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(layers * sum(n * per_token + 4 * n * n * hidden for n in lengths))


# ---- measuring ---------------------------------------------------------------------------------------------------


def time_in_turn(
    chosen: list[Engine], files: dict[bool, str], made: dict[str, Figures], arguments: argparse.Namespace
) -> dict[str, Figures]:
    """Engine -> its passes, or the reason why there are none."""
    found: dict[str, Figures] = {engine.key: {"passes": []} for engine in chosen}
    for number in range(arguments.passes):
        for engine in chosen:
            if "reason" in found[engine.key]:
                continue
            answer = of_engine(engine, {"task": "time", "texts": files[engine.is_static]}, made, arguments)
            if "reason" in answer:
                found[engine.key] = answer
                progress(f"pass {number + 1}: {engine.key}: not available: {answer['reason']}")
            else:
                found[engine.key]["passes"].append(answer)
                progress(f"pass {number + 1}: {engine.key}: {answer['seconds']:.2f} s")
    return found


def in_figures(engine: Engine, measured: Figures, texts: Figures) -> Figures:
    """Medians of the passes as figures of the table."""
    head = {"row": engine.row, "label": engine.label, "threads": engine.threads}
    if "reason" in measured:
        return head | {"reason": measured["reason"]}
    passes = [one for one in measured["passes"] if one["waited"] < DISTURBED] or measured["passes"]
    names = ("seconds", "waited", "load_seconds", "peak_mb", "above_load_mb")
    figures = {name: statistics.median(one[name] for one in passes) for name in names}
    of = texts["static" if engine.is_static else "layers"]
    figures |= {f"{name}_per_s": of[name] / figures["seconds"] for name in ("texts", "tokens")}
    figures["gflops"] = None if engine.is_static else of["flops"] / figures["seconds"] / 1e9
    counted = passes[0]["n_tokens"]
    figures["counts_alike"] = engine.is_static or counted in (None, of["tokens"])  # tables have no special tokens
    return head | figures | {"detail": passes[0]["detail"], "passes": measured["passes"]}


def best_of_rows(figures: list[Figures]) -> list[Figures]:
    """One per row and number of threads: the fastest of its variants, of those that were not disturbed if there are."""
    best: dict[tuple[str, int], Figures] = {}
    for one in figures:
        key = (one["row"], one["threads"])
        if key not in best or rank(one) > rank(best[key]):
            best[key] = one
    return list(best.values())


def rank(one: Figures) -> tuple[bool, float]:
    return one.get("waited", 1.0) < DISTURBED, one.get("tokens_per_s", 0.0)


def with_ratios(rows: list[Figures]) -> list[Figures]:
    """To the two peers at the same number of threads; none where only one of the two was disturbed."""
    known = {(one["row"], one["threads"]): one for one in rows if "reason" not in one}
    for one in rows:
        for name, peer in (("to_goal", GOAL), ("to_reference", REFERENCE)):
            other = known.get((peer, one["threads"]))
            alike = other is not None and "reason" not in one and rank(one)[0] == rank(other)[0]
            one[name] = one["tokens_per_s"] / other["tokens_per_s"] if other and alike else None
    return rows


# ---- fidelity ----------------------------------------------------------------------------------------------------


def fidelity_sets(asked: list[str], arguments: argparse.Namespace) -> dict[str, Figures]:
    """Writes the texts of the sets; set -> its file, the known classes, the rows whose neighbours count."""
    sets: dict[str, Figures] = {}
    for name, file in (("BANKING77", "banking77.csv"), ("HWU64", "hwu64.parquet")):
        path = Path(arguments.labelled) / file
        if path.exists():
            texts, truth = labelled(path)
            sets[name] = {"texts": texts, "truth": truth, "n_neighbours": len(texts)}
        else:
            progress(f"{name} is not available: no {path}")
    sets["prompts"] = {"texts": asked[:5_000], "truth": None, "n_neighbours": 2_500}
    for name, one in sets.items():
        file = arguments.folder / f"{name}.json"
        file.write_text(json.dumps(one.pop("texts")))
        one["file"] = str(file)
    return sets


def fidelity(
    chosen: list[Engine], sets: dict[str, Figures], made: dict[str, Figures], arguments: argparse.Namespace
) -> Figures:
    """Set -> row -> scores. Nothing is timed here: engines of one thread work side by side."""
    folders = {engine.row: str(arguments.folder / "vectors" / engine.row) for engine in chosen}
    task = {"task": "vectors", "sets": {name: one["file"] for name, one in sets.items()}}

    def written(engine: Engine) -> Figures:
        answer = of_engine(replace(engine, threads=1), task | {"folder": folders[engine.row]}, made, arguments)
        progress(f"vectors of {engine.row}: {answer.get('reason', 'written')}")
        return answer

    with ThreadPoolExecutor(len(free_cpus())) as pool:
        answers = dict(zip(folders, pool.map(written, chosen), strict=True))
    reasons = {row: answer["reason"] for row, answer in answers.items() if "reason" in answer}
    if REFERENCE in reasons:
        return {"reason": f"no vectors in fp32: {reasons[REFERENCE]}"}
    job = {
        "sets": sets,
        "folders": {row: folder for row, folder in folders.items() if row not in reasons},
        "reference": REFERENCE,
        "other_space": [engine.row for engine in chosen if engine.is_static],
        "seeds": KMEANS_SEEDS,
    }
    progress("comparing neighbours and clusters ...")
    python, threads = of_peers(arguments), len(free_cpus())
    scores = child(python, "fidelity.py", job, threads=threads, limit=10 * arguments.limit)
    return scores if "reason" in scores else {"sets": scores, "reasons": reasons}


def for_fidelity(chosen: list[Engine], rows: list[Figures]) -> list[Engine]:
    """The variant of each row that its figures are of, and the reference in any case."""
    shown = {(one["row"], one["label"], one["threads"]) for one in rows if "reason" not in one}
    first = chosen[0].threads
    found = [e for e in chosen if e.threads == first and e.kind != "tokenizer" and (e.row, e.label, first) in shown]
    reference = next(engine for engine in engines([]) if engine.row == REFERENCE)
    return found if any(engine.row == REFERENCE for engine in found) else [reference, *found]


# ---- the report --------------------------------------------------------------------------------------------------


def machine() -> str:
    name, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {fact.strip(): value.strip() for fact, value in facts.items()}
        has = set(facts.get("flags", facts.get("Features", "")).split())
        name, flags = facts.get("model name", name), " ".join(flag for flag in FLAGS.split() if flag in has)
    return f"{name} ({flags}), {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"


def versions(arguments: argparse.Namespace) -> dict[str, str]:
    asked = "import sys, json, importlib.metadata as m; names = {d.name: d.version for d in m.distributions()}; "
    asked += "print(json.dumps({n: names[n] for n in sys.argv[1:] if n in names}))"
    output, _ = ended([str(of_peers(arguments)), "-c", asked, *PEERS], limit=arguments.limit)
    return {"lmsys-rs": version("lmsys-rs")} | (json.loads(output) if output else {})


def timed_texts(asked: list[str], arguments: argparse.Namespace) -> tuple[dict[bool, str], Figures]:
    """Writes the texts to time, for engines with layers and for static ones; their files and their sizes."""
    numbers = {False: arguments.n, True: arguments.n_static}
    lengths = token_lengths(asked[: max(numbers.values())], arguments)
    files: dict[bool, str] = {}
    sizes: Figures = {}
    for is_static, n in numbers.items():
        of = lengths[:n]
        files[is_static] = str(arguments.folder / f"timed-{n}.json")
        Path(files[is_static]).write_text(json.dumps(asked[: len(of)]))
        size = {"texts": len(of), "tokens": sum(of), "flops": useful_flops(of, arguments.model)}
        sizes["static" if is_static else "layers"] = size
    return files, sizes


def measure(arguments: argparse.Namespace) -> Figures:
    chosen = chosen_engines(arguments)
    with tempfile.TemporaryDirectory(prefix="lmsys-bench-") as aside:
        arguments.folder = Path(aside)
        asked, data = prompts(arguments)
        files, sizes = timed_texts(asked, arguments)
        made = prepare(chosen, asked, arguments)
        found = time_in_turn(chosen, files, made, arguments)
        variants = [in_figures(engine, found[engine.key], sizes) for engine in chosen]
        rows = with_ratios(best_of_rows(variants))
        compared: Figures = {}
        if not arguments.quick:
            compared = fidelity(for_fidelity(chosen, rows), fidelity_sets(asked, arguments), made, arguments)
    settings = {name: getattr(arguments, name) for name in ("max_length", "threads", "passes")}
    return settings | {
        "data": data,
        "model": Path(arguments.model).name,
        "machine": machine(),
        "versions": versions(arguments),
        "seeds": KMEANS_SEEDS,
        "disturbed": DISTURBED,
        "texts": sizes,
        "made": made,
        "rows": rows,
        "variants": variants,
        "fidelity": compared,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows, e.g. openvino-bf16 'ours-*'")
    parser.add_argument("--quick", action="store_true", help="fewer texts, one pass, no fidelity; stores nothing")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the table, then of the second one")
    parser.add_argument("--n", type=int, default=600, help="texts timed")
    parser.add_argument("--n-static", type=int, default=25_000, help="texts timed for engines without layers")
    parser.add_argument(
        "--data", default=str(SHARED / "chats" / "arena_prompts.parquet"), help="Parquet of conversations"
    )
    parser.add_argument("--labelled", default=str(SHARED / "labelled"), help="folder of banking77.csv, hwu64.parquet")
    parser.add_argument(
        "--model", default="all-MiniLM-L6-v2", help="registry name, or folder of a BERT with mean pooling"
    )
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--venv", type=Path, default=HERE.parent / "target" / "bench-venv", help="of the peers")
    parser.add_argument("--skip-install", action="store_true")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one process may take")
    parser.add_argument("--out", type=Path, help="where to write .md and .json; a whole run: benches/results/embedding")
    arguments = parser.parse_args()
    arguments.venv = arguments.venv.absolute()
    if arguments.quick:
        arguments.n, arguments.n_static, arguments.passes = min(arguments.n, 150), 3_000, 1
    if arguments.out is None and not arguments.quick and not arguments.only:
        arguments.out = HERE / "results" / "embedding"
    return arguments


def main() -> None:
    from lmsys_rs.models import resolve

    arguments = parsed()
    arguments.model = str(resolve(arguments.model))
    if not arguments.skip_install:
        install(arguments)
    report = measure(arguments)
    tables = subprocess.run(
        [sys.executable, str(PARTS / "report.py")], input=json.dumps(report), check=True, capture_output=True, text=True
    )
    text = tables.stdout.rstrip("\n")
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".md").write_text(text + "\n")
        arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        progress(f"\nwritten to {arguments.out.with_suffix('.md')} and .json")


if __name__ == "__main__":
    main()
