"""The steps of an image, as a plain script in a clean directory, where there is no engine to build it.

`python docker/check.py api worker`: copies what the Dockerfile copies, installs into a new virtual environment what it
installs (with this Python), starts its command and asks its own health check until it is well. Users and folders are
the engine's part and left out. Needs `redis-server` or `valkey-server` on PATH.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Step(NamedTuple):
    """One instruction of a Dockerfile."""

    word: str
    rest: str


def steps(path: Path) -> list[Step]:
    """Instructions in order; lines that go on are joined, comments left out."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def words(rest: str) -> list[str]:
    """What a CMD or HEALTHCHECK runs: the exec form, the only one that is used here."""
    return json.loads(rest[rest.index("[") :])


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Image:
    """What an image would be, in a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.app, self.venv = name, folder / "app", folder / "venv"
        self.steps = steps(ROOT / "docker" / f"{name}.Dockerfile")
        self.app.mkdir(parents=True)
        data = folder / "data"
        data.mkdir()
        keep = ("HOME", "LANG", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_CACHE_DIR", "TMPDIR", "TORCH_INDEX")
        self.env = {key: value for key, value in os.environ.items() if key in keep}
        self.env |= {"PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(self.venv)}
        self.said = [part.split("=", 1) for step in self.of("ENV") for part in shlex.split(step.rest)]
        self.running = {**self.env, **dict(self.said), "WINNOW_DATA_DIR": str(data)}

    def of(self, word: str) -> list[Step]:
        """Its instructions of one kind."""
        return [step for step in self.steps if step.word == word]

    def build(self) -> None:
        """Copy and install, in the Dockerfile's order. pip keeps its cache here, which an image would not."""
        venv.create(self.venv, with_pip=True)
        for step in self.steps:
            if step.word == "COPY":
                *sources, target = step.rest.split()
                for source in sources:
                    self._copy(ROOT / source, self.app / target)
            if step.word == "RUN" and step.rest.startswith("pip "):
                command = step.rest.replace("--no-cache-dir ", "")
                print(f"{self.name}: {command}", flush=True)
                subprocess.run(["sh", "-ec", command], cwd=self.app, env=self.env, check=True)  # noqa: S603, S607

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)

    def python(self, code: str) -> bool:
        """Whether some code runs in it."""
        command = [self.venv / "bin" / "python", "-c", code]
        return subprocess.run(command, env=self.running, cwd=self.app.parent, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603

    def well(self, port: int) -> bool:
        """What its HEALTHCHECK says; the API's port is another here."""
        command = [word.replace(":8000", f":{port}") for word in words(self.of("HEALTHCHECK")[0].rest)]
        done = subprocess.run(command, env=self.running, cwd=self.app.parent, capture_output=True)  # noqa: S603
        return done.returncode == 0


def check(image: Image, redis: str) -> None:
    """Build it, start it, wait until it is well, end it by SIGTERM. Raises RuntimeError."""
    image.build()
    if image.name == "api" and image.python("import torch"):
        raise RuntimeError("the API's image holds torch")
    port = free_port()
    command = words(image.of("CMD")[0].rest)
    if image.name == "api":
        command = [word.replace("0.0.0.0", "127.0.0.1") for word in command] + ["--port", str(port)]  # noqa: S104
    image.running["WINNOW_REDIS_URL"] = redis
    if image.well(port) and image.name == "api":
        raise RuntimeError("its health check is content with nothing")
    child = subprocess.Popen(command, env=image.running, cwd=image.app.parent)  # noqa: S603
    try:
        deadline = time.monotonic() + 60
        while not image.well(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{image.name} is not well")
            time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        if (code := child.wait(30)) not in (0, -signal.SIGTERM):  # uvicorn shuts down, then ends by the signal
            raise RuntimeError(f"{image.name} ended with {code} on SIGTERM")
    finally:
        child.kill()
        child.wait()


def main() -> None:
    """Check the images that are named."""
    names = [path.stem for path in sorted((ROOT / "docker").glob("*.Dockerfile"))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", default=["api"], choices=names, help="api when left out")
    chosen = parser.parse_args().images
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="winnow-images-")))
        if server is None:
            sys.exit("no redis-server or valkey-server on PATH")
        port = free_port()
        log = ["--port", str(port), "--save", "", "--appendonly", "yes", "--dir", str(folder), "--bind", "127.0.0.1"]
        queue = subprocess.Popen([server, *log], stdout=subprocess.DEVNULL)  # noqa: S603
        undo.callback(queue.wait)
        undo.callback(queue.kill)
        for name in chosen:
            started = time.monotonic()
            check(Image(name, folder / name), f"redis://127.0.0.1:{port}")
            print(f"{name}: built, well, and ended in order; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
