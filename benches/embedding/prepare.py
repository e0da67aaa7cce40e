"""What do the peers need before they can start: graphs with pooling inside, quantised weights, a static table?

Started by benches/embedding.py in the peers' environment, with a job as JSON on stdin; makes one thing and answers
with one line of JSON, the seconds it took. Nothing is kept between two runs of the benchmark.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

Job = dict[str, Any]
INPUTS = ["input_ids", "attention_mask"]


def pooled_model(job: Job) -> tuple[Any, tuple[Any, Any]]:
    """The encoder with mean pooling and normalisation, and an example of its inputs."""
    import torch
    from transformers import AutoModel

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # "eager": plain products and softmax, which the runtimes fuse themselves (measured: the fastest for both)
            self.encoder = AutoModel.from_pretrained(job["model"], attn_implementation="eager").eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    ids = torch.arange(51).reshape(3, 17) + 1000
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    return Pooled(), (ids, mask)


def onnx(job: Job) -> None:
    import torch

    model, example = pooled_model(job)
    free = {0: torch.export.Dim("texts"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        model,
        example,
        f"{job['artefacts']}/fp32.onnx",
        input_names=INPUTS,
        output_names=["vectors"],
        dynamic_shapes=dict.fromkeys(INPUTS, free),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def int8(job: Job) -> None:
    """Products only and a scale per channel: with the embedding tables in int8 too the mean cosine falls to 0.96."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = job["artefacts"]
    settings = {"weight_type": QuantType.QInt8, "op_types_to_quantize": ["MatMul"], "per_channel": True}
    quantize_dynamic(f"{folder}/fp32.onnx", f"{folder}/int8.onnx", **settings)


def openvino(job: Job) -> None:
    import openvino as ov

    model, example = pooled_model(job)
    converted = ov.convert_model(model, example_input=example)
    ov.save_model(converted, f"{job['artefacts']}/openvino.xml", compress_to_fp16=False)


def model2vec(job: Job) -> None:
    from model2vec.distill import distill

    distill(job["model"], pca_dims=256, device="cpu").save_pretrained(f"{job['artefacts']}/model2vec")


MAKERS = {"onnx": onnx, "int8": int8, "openvino": openvino, "model2vec": model2vec}


def main() -> None:
    job: Job = json.load(sys.stdin)
    assert Path(job["artefacts"]).is_dir()
    started = time.perf_counter()
    MAKERS[job["make"]](job)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
