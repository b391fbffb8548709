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


BATCH = """
import json, sys, httpx
url, line = sys.argv[1], json.loads(sys.argv[3])
def request(i):
    return json.dumps({"custom_id": f"{i}", "method": "POST", "url": "/v1/jobs", "body": line})
body = "".join(request(i) + chr(10) for i in range(int(sys.argv[2]))).encode()
print("ready", flush=True)
sys.stdin.readline()
with httpx.Client(base_url=url, trust_env=False, timeout=600) as http:
    file = http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("b.jsonl", body)}).raise_for_status()
    ask = {"input_file_id": file.json()["id"], "endpoint": "/v1/jobs", "completion_window": "24h"}
    print(http.post("/v1/batches", json=ask).raise_for_status().json()["id"], flush=True)
"""


def ready(words: str, *arguments: str) -> "subprocess.Popen[str]":
    """A process of our own, when it has said that it is ready."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", words, *arguments], stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own words
    assert child.stdout
    child.stdout.readline()
    return child


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
            readers = ready(READERS, f"{url}/v1/jobs/{job}/events", str(options.readers))
            reading = posts(url, options.requests, options.pause)
            uploading = ready(BATCH, url, str(options.lines), json.dumps(LINE))
            assert uploading.stdin
            assert uploading.stdout
            uploading.stdin.write("go\n")
            uploading.stdin.flush()
            crowd = posts(url, options.requests, options.pause)
            name = uploading.stdout.readline().strip()
            state = httpx.get(f"{url}/v1/batches/{name}", trust_env=False).json()
            for child in (readers, uploading):
                child.kill()
                child.communicate()
    p99 = {
        name: float(np.percentile(times, 99))
        for name, times in {"idle": idle, "readers": reading, "readers_and_batch": crowd}.items()
    }
    whole: dict[str, Any] = {"bench": "crowd", **vars(options), "batch": state["status"], "jobs": len(state["jobs"])}
    whole["p99_ms"] = {name: round(ms, 1) for name, ms in p99.items()}
    whole["ratio"] = round(p99["readers_and_batch"] / p99["idle"], 2)
    printed(whole, None)


if __name__ == "__main__":
    main()
