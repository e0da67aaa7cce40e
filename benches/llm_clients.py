"""What does a client library cost? Import, memory and CPU of a call, 50 at a time, against the stand-in.

Run it with the Python of an environment that has the library in it:

    python benches/llm_clients.py httpx|clients|openai|anthropic|instructor|litellm
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python" / "llm"))

from stand_in import serving_process

N, AT_A_TIME, LATENCY_S = 500, 50, 0.3
MESSAGES: list[Any] = [{"role": "user", "content": "Name the group of texts."}]
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}

Call = Callable[[], Awaitable[Any]]


def one_pool(url: str) -> Call:
    import httpx

    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_A_TIME), trust_env=False)
    body = {"model": "any", "messages": MESSAGES, "response_format": FORMAT}
    return lambda: client.post(f"{url}/chat/completions", json=body)


def own_clients(url: str) -> Call:
    import httpx

    idle: list[Any] = []
    body = {"model": "any", "messages": MESSAGES, "response_format": FORMAT}

    async def call() -> Any:
        client = idle.pop() if idle else httpx.AsyncClient(trust_env=False, verify=False)
        try:
            return await client.post(f"{url}/chat/completions", json=body)
        finally:
            idle.append(client)

    return call


def openai(url: str) -> Call:
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key="sk-x", max_retries=0)
    return lambda: client.chat.completions.create(model="any", messages=MESSAGES, response_format=FORMAT)


def anthropic(url: str) -> Call:
    import anthropic

    client = anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="sk-x", max_retries=0)
    return lambda: client.messages.create(model="any", max_tokens=99, messages=MESSAGES)


def instructor(url: str) -> Call:
    import instructor
    import openai
    from pydantic import BaseModel

    class Title(BaseModel):
        title: str

    client = instructor.from_openai(
        openai.AsyncOpenAI(base_url=url, api_key="sk-x", max_retries=0), mode=instructor.Mode.JSON_SCHEMA
    )
    return lambda: client.chat.completions.create(model="any", messages=MESSAGES, response_model=Title)


def litellm(url: str) -> Call:
    import litellm

    return lambda: litellm.acompletion(
        model="openai/any", api_base=url, api_key="sk-x", messages=MESSAGES, response_format=FORMAT
    )


LIBRARIES = {
    "httpx": one_pool,
    "clients": own_clients,
    "openai": openai,
    "anthropic": anthropic,
    "instructor": instructor,
    "litellm": litellm,
}


async def measure(call: Call) -> tuple[float, float]:
    async def worker(n: int) -> None:
        for _ in range(n):
            await call()

    await asyncio.gather(*(worker(1) for _ in range(AT_A_TIME)))  # connections, and what is loaded late
    before, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker(N // AT_A_TIME) for _ in range(AT_A_TIME)))
    return (time.process_time() - before) / N * 1e3, (time.perf_counter() - started) / (N / AT_A_TIME * LATENCY_S)


def main(name: str) -> None:
    with serving_process(latency=LATENCY_S) as provider:
        started, cpu = time.perf_counter(), time.process_time()
        call = LIBRARIES[name](provider.url)
        imported = time.perf_counter() - started
        cpu_import = time.process_time() - cpu
        cpu_ms, ratio = asyncio.run(measure(call))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    figures = {
        "library": name,
        "import_and_client_s": round(imported, 2),
        "of_it_cpu_s": round(cpu_import, 2),
        "cpu_ms_per_call": round(cpu_ms, 2),
        "time_over_ideal": round(ratio, 3),
        "peak_rss_mb": round(peak),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
