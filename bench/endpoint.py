"""Samples per second from an endpoint, through the engine and the whole service, over a plain client.

    python -m bench.endpoint [--seconds 6] [--rounds 3] [--latencies 0.05 0.5] [--many 10000] [--peer-python PATH]

The endpoint is `generators.misbehaving`, without faults and one sample a request. `direct`: an httpx client that keeps
32 requests in flight and reads each reply. `engine`: best_of_n with a verifier on one engine. `service`: one job
through API, queue, worker and store, after a job that loads everything. In turns, so that a busy machine disturbs all
alike. `many`: one item of so many samples; what the worker's memory grows by between a tenth of them and all, and, in
another job, how many samples are asked for twice when the worker is killed just before the end. `peer`: its_hub's
BestOfN with 32 in flight, in a Python that has `its-hub[lm]`. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from generators import asking
from generators.openai import OpenAI, endpoint
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import Item, Task
from search.run import run
from search.scoring import Judge
from service.client import Client
from service.embedded import Stack
from service.settings import Settings, core_count
from verifiers.answers import Numeric, numeric

FLIGHT, SHARD = 32, 64
PROMPT, TOKENS = "Question. A:", 20
PEER = """
import asyncio, json, sys, time
from its_hub import BestOfN, LMOrchestrator, OpenAICompatibleLanguageModel
from its_hub.api import AbstractOutcomeRewardModel
class Constant(AbstractOutcomeRewardModel):
    def score(self, messages, **more): return [1.0] * len(messages)
    async def ascore(self, messages, orchestrator=None, **more): return [1.0] * len(messages)
async def main(url, n):
    lm = OpenAICompatibleLanguageModel(url, "x", "m", max_tokens=20, temperature=1.0, max_tries=10)
    search = BestOfN(Constant(), LMOrchestrator(32))
    await search.ainfer(lm, "Question. A:", 32)
    started = time.perf_counter()
    found = await search.ainfer(lm, "Question. A:", n, return_response_only=False)
    print(json.dumps(len(found.responses) / (time.perf_counter() - started)))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextmanager
def fake(latency: float, flight: int = FLIGHT) -> Generator[str]:
    """An endpoint in a process of its own, named in a file that WINNOW_ENDPOINTS names; yields its URL."""
    command = [sys.executable, "-m", "generators.misbehaving", f"--latency={latency}"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command line
    try:
        assert child.stdout
        url = child.stdout.readline().strip()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(f'[[endpoint]]\nname = "fake"\nurl = "{url}"\nmodel = "m"\nn = 1\nconcurrency = {flight}\n')
            file.flush()
            os.environ["WINNOW_ENDPOINTS"] = file.name
            yield url
    finally:
        child.terminate()
        child.wait()


def served(url: str) -> int:
    """Samples that the endpoint has given."""
    return httpx.get(url.replace("/v1", "/stats")).json()["samples"]


async def direct(url: str, n: int) -> float:
    """Samples a second of a plain client."""
    left = iter(range(n))

    async def one(http: httpx.AsyncClient) -> None:
        for seed in left:
            body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": TOKENS, "seed": seed}
            response = await http.post(f"{url}/chat/completions", json=body)
            response.json()["choices"][0]["message"]["content"]

    async with httpx.AsyncClient() as http:
        started = time.perf_counter()
        await asyncio.gather(*(one(http) for _ in range(FLIGHT)))
        return n / (time.perf_counter() - started)


async def engine(n: int) -> float:
    """Samples a second of repeated sampling with a verifier, without a service."""
    model = endpoint(OpenAI.model_validate({"endpoint": "fake", "max_tokens": TOKENS}))
    judge, shared = Judge("numeric", ("numeric",), numeric(Numeric.model_validate({}))), Engine()
    item = Item(id="x", prompt=PROMPT, target="2")
    await shared.load("endpoint", model, item)

    async def search(first: int) -> None:
        task = Task(item, 0, first, min(SHARD, n - first))
        tools = Metered(Shared(shared, task, model, [judge]), model, 1, Budget.model_validate({}))
        outcome = await run(best_of_n(task, tools, BestOfN.model_validate({"n": task.count})), tools)
        assert outcome.error is None

    started = time.perf_counter()
    await asyncio.gather(*(search(first) for first in range(0, n, SHARD)))
    rate = n / (time.perf_counter() - started)
    await asking.hang_up()
    return rate


def job(n: int) -> dict[str, Any]:
    """One item, answered n times."""
    return {
        "model": {"name": "endpoint", "endpoint": "fake", "max_tokens": TOKENS},
        "items": [{"prompt": PROMPT, "target": "2"}],
        "search": {"method": "best_of_n", "n": n},
        "verifiers": ["numeric"],
    }


@contextmanager
def service(folder: Path) -> Generator[tuple[Stack, Client]]:
    """A warm service."""
    with Stack(Settings(data_dir=folder), log=folder / "worker.log") as stack, Client(stack.url) as client:
        list(client.watch(client.submit(job(SHARD)).id))
        yield stack, client


def through(client: Client, n: int) -> float:
    """Samples a second of one job, from its submission to its end."""
    started = time.perf_counter()
    *_, last = client.watch(client.submit(job(n)).id)
    assert last.counts.candidates == n
    assert last.counts.lost == 0
    return n / (time.perf_counter() - started)


def resident(pid: int) -> float:
    """Megabytes that a process holds (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def rates(latency: float, options: argparse.Namespace) -> dict[str, Any]:
    """Every way's rates at one latency, and their ratios to the plain client's."""
    n = int(options.seconds * FLIGHT / latency)
    found: dict[str, list[float]] = {"direct": [], "engine": [], "service": [], "peer": []}
    with fake(latency) as url, tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (_, client):
        for _ in range(options.rounds):
            found["direct"].append(asyncio.run(direct(url, n)))
            found["engine"].append(asyncio.run(engine(n)))
            found["service"].append(through(client, n))
            if options.peer_python:
                command = [options.peer_python, "-c", PEER, url, str(n)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
                found["peer"].append(json.loads(done.stdout))
    means = {name: statistics.mean(values) for name, values in found.items() if values}
    ratios = {name: round(mean / means["direct"], 3) for name, mean in means.items()}
    return {"samples": n, "ideal": FLIGHT / latency, "per second": found, "ratio": ratios}


def many(n: int) -> dict[str, Any]:
    """Memory over one long job, and what a worker's death costs just before the end of another."""
    with fake(0.005) as url, tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (stack, client):

        def wait(name: str, count: int) -> None:
            while client.job(name).counts.candidates < count:
                time.sleep(0.1)

        name, (pid,) = client.submit(job(n)).id, [child.pid for child in stack.children.values()]
        wait(name, n // 10)
        before = resident(pid)
        wait(name, n)
        grown = resident(pid) - before
        began, name = served(url), client.submit({**job(n), "seed": 1}).id
        wait(name, n - 2 * SHARD)
        at = client.job(name).counts.candidates
        os.kill(pid, signal.SIGKILL)
        *_, last = client.watch(name)
        again = served(url) - began - n
        return {
            "samples": n,
            "MB grown": round(grown, 1),
            "killed at": at,
            "kept": last.counts.candidates - last.counts.lost,
            "asked for again": again,
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6, help="of a measurement, at least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latencies", type=float, nargs="*", default=[0.05, 0.5])
    parser.add_argument("--many", type=int, default=10_000, help="0: leave it out")
    parser.add_argument("--peer-python", help="a Python with its-hub[lm]")
    options = parser.parse_args()
    found: dict[str, Any] = {f"{latency} s": rates(latency, options) for latency in options.latencies}
    if options.many:
        found["many"] = many(options.many)
    print(json.dumps({"bench": "endpoint", **vars(options), "cores": core_count(), **found}))


if __name__ == "__main__":
    main()
