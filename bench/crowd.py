"""What a crowd costs those who submit: 200 who follow a job's events, and a batch of 50,000 lines.

    python -m bench.crowd [--readers 200] [--lines 50000] [--requests 300] [--pause 0.02]

99th percentile of `POST /v1/jobs`, one request after the other with a pause between, on an idle service (no worker, so
that only the API is measured), then while the readers (in another process) follow a job and a batch is uploaded and
expanded. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.overheads import BODY, program
from bench.printed import printed

LINE = {"model": "toy/noop", "items": [{}], "search": {"n": 1}, "verifiers": ["toy/linear"]}
READERS = """
import asyncio, sys, httpx
async def main(url, n):
    limits = httpx.Limits(max_connections=n)
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as http:
        async def follow():
            async with http.stream("GET", url) as response:
                async for _ in response.aiter_raw():
                    open.add(asyncio.current_task())
                    if len(open) == n and not said:
                        said.append(True)
                        print("all", flush=True)
        open, said = set(), []
        await asyncio.gather(*(follow() for _ in range(n)))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def posts(url: str, requests: int, pause: float) -> list[float]:
    """Milliseconds of each submit."""
    found: list[float] = []
    with httpx.Client(trust_env=False) as http:
        for _ in range(requests):
            start = time.perf_counter()
            http.post(f"{url}/v1/jobs", json=BODY).raise_for_status()
            found.append(1e3 * (time.perf_counter() - start))
            time.sleep(pause)
    return found


def batch(url: str, lines: int) -> dict[str, Any]:
    """Upload a file and have it expanded; the batch, when its last line is a job or refused."""
    body = "".join(
        json.dumps({"custom_id": f"{i}", "method": "POST", "url": "/v1/jobs", "body": LINE}) + "\n"
        for i in range(lines)
    )
    with httpx.Client(base_url=url, trust_env=False, timeout=600) as http:
        file = http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("b.jsonl", body.encode())})
        file.raise_for_status()
        ask = {"input_file_id": file.json()["id"], "endpoint": "/v1/jobs", "completion_window": "24h"}
        made = http.post("/v1/batches", json=ask)
        made.raise_for_status()
        return made.json()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        service = ("service.cli", "serve", "--port", "{port}", "--workers", "0", "--data-dir", str(Path(name) / "d"))
        with program(*service) as url:
            posts(url, 20, 0)
            idle = posts(url, options.requests, options.pause)
            job = httpx.post(f"{url}/v1/jobs", json=BODY, trust_env=False).json()["id"]
            words = [sys.executable, "-c", READERS, f"{url}/v1/jobs/{job}/events", str(options.readers)]
            readers = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own words
            assert readers.stdout
            assert readers.stdout.readline() == "all\n"
            reading = posts(url, options.requests, options.pause)
            state: dict[str, Any] = {}
            thread = threading.Thread(target=lambda: state.update(batch(url, options.lines)))
            thread.start()
            crowd = posts(url, options.requests, options.pause)
            thread.join()
            readers.kill()
            readers.wait()
    p99 = {
        name: float(np.percentile(times, 99))
        for name, times in {"idle": idle, "readers": reading, "readers_and_batch": crowd}.items()
    }
    whole: dict[str, Any] = {"bench": "crowd", **vars(options), "batch": state.get("status")}
    whole["p99_ms"] = {name: round(ms, 1) for name, ms in p99.items()}
    whole["ratio"] = round(p99["readers_and_batch"] / p99["idle"], 2)
    printed(whole, None)


if __name__ == "__main__":
    main()
