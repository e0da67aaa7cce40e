"""Writes python/lmsys_rs/llm/prices.json from the wheel of litellm, whose list of models and prices is under MIT.

    pip download --no-deps litellm -d wheel
    python benches/llm_prices.py wheel/litellm-*.whl

Only chat models of our providers, and only what we use: dollars for a million tokens, context, longest answer.
"""

from __future__ import annotations

import json
import sys
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "python" / "lmsys_rs" / "llm" / "prices.json"
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "cohere_chat": "cohere",
}


def million(value: Any) -> float | None:
    return None if value is None else float(f"{float(value) * 1e6:.6g}")


def main(wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("model_prices_and_context_window_backup.json"))
        listed = json.loads(archive.read(name))
    models: dict[str, list[Any]] = {}
    for full, facts in listed.items():
        provider = PROVIDERS.get(facts.get("litellm_provider", ""))
        if provider is None or facts.get("mode") != "chat" or full.startswith("ft:"):
            continue
        prices = million(facts.get("input_cost_per_token")), million(facts.get("output_cost_per_token"))
        if None in prices:
            continue
        if not any(prices):
            prices = None, None  # no hosted model is free: the list does not know yet
        batch = million(facts.get("input_cost_per_token_batches"))
        models[f"{provider}/{full.removeprefix(facts['litellm_provider'] + '/')}"] = [
            *prices,
            facts.get("max_input_tokens") or facts.get("max_tokens"),
            facts.get("max_output_tokens"),
            round(batch / prices[0], 3) if batch and prices[0] else None,
        ]
    about = {
        "source": f"litellm {version} (PyPI wheel, MIT, BerriAI), model_prices_and_context_window_backup.json",
        "taken": datetime.now(timezone.utc).date().isoformat(),
        "columns": ["input $/1M", "output $/1M", "context tokens", "max output tokens", "batch price / price"],
    }
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(models.items())]
    TARGET.write_text(
        '{"about": ' + json.dumps(about) + ',\n"models": {\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8"
    )
    print(f"{len(models)} models, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
