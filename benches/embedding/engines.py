"""One engine in one process: how long does it take to turn these texts into vectors, and in how much memory?

Started by benches/embedding.py with a job as JSON on stdin, answers with one line of JSON. It chooses nothing and
compares nothing; what an engine needs is imported only where it is loaded, so that a peer that is missing is missed
by its own row alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SHORTEST_PASS_S = 0.5
Job = dict[str, Any]
Rows = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Run = Callable[[Ids, Ids], Rows]
Batches = Callable[[list[str]], Iterator[tuple[list[int], Ids, Ids]]]


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready: texts in, rows out.

    Attributes:
        detail: what it says of itself.
        counted: tokens that it has read so far, where it counts them.
    """

    embed: Callable[[list[str]], Any]
    detail: str = ""
    counted: Callable[[], int] | None = None


# ---- the peers ---------------------------------------------------------------------------------------------------


def sentence_transformers(job: Job) -> Loaded:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(job["threads"])
    torch.set_num_interop_threads(1)
    model = SentenceTransformer(job["model"], device="cpu", model_kwargs={"dtype": job["options"]["dtype"]})
    model.max_seq_length = job["max_length"]
    batch = job["options"]["batch"]
    return Loaded(lambda texts: model.encode(texts, batch_size=batch, normalize_embeddings=True))


def onnxruntime(job: Job) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    graph = Path(job["artefacts"]) / job["options"]["graph"]
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(ids: Ids, mask: Ids) -> Rows:
        rows: Rows = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return rows

    return Loaded(in_batches(batches_of(job), run))


def openvino(job: Job) -> Loaded:
    import openvino as ov

    streams = job["options"]["streams"]
    settings = {
        "INFERENCE_PRECISION_HINT": job["options"]["precision"],
        "INFERENCE_NUM_THREADS": job["threads"],
        "NUM_STREAMS": streams,
    }
    compiled = ov.Core().compile_model(Path(job["artefacts"]) / "openvino.xml", "CPU", settings)
    if streams > 1:
        return Loaded(openvino_in_streams(batches_of(job), ov.AsyncInferQueue(compiled, streams)))
    request = compiled.create_infer_request()

    def run(ids: Ids, mask: Ids) -> Rows:
        rows: Rows = request.infer([ids, mask], share_inputs=True)[0]
        return rows

    return Loaded(in_batches(batches_of(job), run))


def openvino_in_streams(batches: Batches, queue: Any) -> Callable[[list[str]], Rows]:
    def embed(texts: list[str]) -> Rows:
        done: list[tuple[list[int], Rows]] = []
        queue.set_callback(lambda request, chosen: done.append((chosen, request.get_output_tensor(0).data.copy())))
        for chosen, ids, mask in batches(texts):
            queue.start_async([ids, mask], chosen)
        queue.wait_all()
        return gathered(len(texts), done)

    return embed


def model2vec(job: Job) -> Loaded:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(Path(job["artefacts"]) / "model2vec")
    return Loaded(lambda texts: model.encode(texts, max_length=job["max_length"], use_multiprocessing=False))


def tokenizer(job: Job) -> Loaded:
    model = tokenizer_of(job)
    return Loaded(model.encode_batch_fast)


# ---- ours --------------------------------------------------------------------------------------------------------


def ours(job: Job) -> Loaded:
    import lmsys_rs as lm

    engine = job["options"]["engine"]
    folder = Path(job["artefacts"]) / job["options"]["folder"] if engine == "static" else job["model"]
    encoder = lm.Encoder(folder, max_length=job["max_length"], engine=engine)
    detail = f"{encoder.engine}, {encoder.device}"
    return Loaded(encoder.embed, detail, counted=lambda: encoder.n_tokens)


ENGINES: dict[str, Callable[[Job], Loaded]] = {
    "sentence_transformers": sentence_transformers,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "model2vec": model2vec,
    "tokenizer": tokenizer,
    "ours": ours,
}


# ---- batches for the engines that bring none: sorted by length, padded to the longest of the batch ---------------


def tokenizer_of(job: Job) -> Any:
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(Path(job["model"]) / "tokenizer.json"))
    model.no_padding()
    model.enable_truncation(job["max_length"])
    return model


def batches_of(job: Job) -> Batches:
    """What yields, for texts: positions of some, their tokens, their mask; at most `batch_tokens` padded tokens."""
    model, batch_tokens = tokenizer_of(job), job["options"]["batch_tokens"]

    def batches(texts: list[str]) -> Iterator[tuple[list[int], Ids, Ids]]:
        tokens = [encoding.ids for encoding in model.encode_batch_fast(texts)]
        cut: list[list[int]] = []
        for text in sorted(range(len(tokens)), key=lambda text: -len(tokens[text])):
            if cut and (len(cut[-1]) + 1) * len(tokens[cut[-1][0]]) <= batch_tokens:
                cut[-1].append(text)
            else:
                cut.append([text])
        for chosen in cut:
            ids = np.zeros((len(chosen), len(tokens[chosen[0]])), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, text in enumerate(chosen):
                ids[row, : len(tokens[text])] = tokens[text]
                mask[row, : len(tokens[text])] = 1
            yield chosen, ids, mask

    return batches


def in_batches(batches: Batches, run: Run) -> Callable[[list[str]], Rows]:
    return lambda texts: gathered(len(texts), [(chosen, run(ids, mask).copy()) for chosen, ids, mask in batches(texts)])


def gathered(n_texts: int, done: list[tuple[list[int], Rows]]) -> Rows:
    vectors = np.empty((n_texts, done[0][1].shape[1]), dtype=np.float32)
    for chosen, rows in done:
        vectors[chosen] = rows
    return vectors


# ---- the two tasks -----------------------------------------------------------------------------------------------


def memory_mb(field: str) -> float:
    """VmRSS or VmHWM of this process. Where there is no /proc, its peak in either case."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def forget_peak() -> None:
    """Let VmHWM begin anew (Linux), so that what loading took is not counted as embedding."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def waited_seconds() -> float:
    """How long the threads of this process were ready while something else had their CPU (Linux; else 0)."""
    return sum(int(file.read_text().split()[1]) for file in Path("/proc/self/task").glob("*/schedstat")) / 1e9


def timed(job: Job) -> dict[str, Any]:
    """One pass over the texts, after one that is not timed: kernels are compiled per shape, and buffers grow.

    A pass that is too short to be timed is repeated, and the mean counts.
    """
    texts = json.loads(Path(job["texts"]).read_text())
    started = time.perf_counter()
    engine = ENGINES[job["engine"]](job)
    load_seconds = time.perf_counter() - started
    loaded_mb, load_peak_mb = memory_mb("VmRSS"), memory_mb("VmHWM")
    forget_peak()
    engine.embed(texts)
    counted = engine.counted() if engine.counted else 0
    waited, started, rounds = waited_seconds(), time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < SHORTEST_PASS_S:
        engine.embed(texts)
        rounds += 1
    seconds = (time.perf_counter() - started) / rounds
    waited = max(0.0, waited_seconds() - waited)  # a thread that has ended takes what it waited with it
    peak_mb = memory_mb("VmHWM")
    return {
        "seconds": seconds,
        "waited": waited / (seconds * rounds) / job["threads"],
        "load_seconds": load_seconds,
        "peak_mb": max(peak_mb, load_peak_mb),
        "above_load_mb": peak_mb - loaded_mb,
        "detail": engine.detail,
        "n_tokens": (engine.counted() - counted) // rounds if engine.counted else None,
    }


def vectors(job: Job) -> dict[str, Any]:
    """The vectors of every set, written to `<folder>/<set>.npy`."""
    engine = ENGINES[job["engine"]](job)
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    for name, texts in job["sets"].items():
        np.save(folder / f"{name}.npy", np.asarray(engine.embed(json.loads(Path(texts).read_text())), dtype=np.float32))
    return {"folder": str(folder)}


def main() -> None:
    job: Job = json.load(sys.stdin)
    print(json.dumps({"time": timed, "vectors": vectors}[job["task"]](job)))


if __name__ == "__main__":
    main()
