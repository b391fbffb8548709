"""The documents cannot lie: every block of the README runs, every setting and option stands in the documents."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from service.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
BIN = Path(sys.prefix) / "bin"
pytestmark = [
    pytest.mark.skipif(not find_spec("torch"), reason="the README's jobs need torch, which is not installed"),
    pytest.mark.timeout(900),  # real jobs
]


def blocks(kind: str, holding: str) -> list[str]:
    """README blocks of a kind that hold a text."""
    return [body for found, body in BLOCKS if found == kind and holding in body]


def shell(command: str, port: int = 8000, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a README command as a reader would: from the repository's root; port 8000 may be taken here.

    What is installed is not installed again, which takes minutes and would change what other tests run on.
    """
    line = command.replace(".venv/bin/", f"{BIN}/").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    line = line.replace("make ", f"make -o {sys.prefix}/installed ")
    env = {**os.environ, "VENV": sys.prefix, "PYTHON": sys.executable, **environment}
    return subprocess.run(["bash", "-c", line], cwd=ROOT, env=env, capture_output=True, text=True, timeout=800)


def warm(url: str) -> None:
    """Wait until the worker has loaded what the README's jobs need: they take a second then, and it waits for 60."""
    spec = {"items": [{"prompt": "7", "target": "7"}], "search": {"n": 1}}
    spec |= {"verifiers": ["digit_classifier"], "graders": ["digit_classifier_b"]}
    end = time.monotonic() + 600
    with httpx.Client(base_url=url, trust_env=False, timeout=90) as client:
        for model in ("digits-early", "digits-unconditional"):
            name = client.post("/v1/jobs", json={"model": model, **spec}).json()["id"]
            while (state := client.get(f"/v1/jobs/{name}").json()["state"]) != "completed":
                assert time.monotonic() < end, state
                time.sleep(0.1)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The README's `winnow serve`, on a port of the kernel's choice, which it says once it answers."""
    (command,) = blocks("bash", "winnow serve")
    folder = tmp_path_factory.mktemp("serve")
    words = [*command.replace(".venv/bin", str(BIN)).split(), "--port", "0", "--data-dir", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().partition("answers at ")[2].partition(",")[0]
            assert httpx.get(f"{url}/readyz", trust_env=False, timeout=60).status_code == 200
            warm(url)
            yield int(url.rpartition(":")[2])
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()


def test_every_block_has_a_test() -> None:
    """A new block in the README needs a line here."""
    known = {
        "bash": ("make demo", "make test", "winnow serve", "curl", "winnow run"),
        "python": ("import httpx", "class Runs"),
        "toml": ("entry-points",),
    }
    for kind, body in BLOCKS:
        assert any(text in body for text in known.get(kind, ())), (
            f"this {kind} block of the README has no test:\n{body}"
        )


def test_make_demo() -> None:
    """The demo, for real, on a quarter of its prompts: four pictures, the tables."""
    (command,) = blocks("bash", "make demo")
    shutil.rmtree(ROOT / "demo", ignore_errors=True)
    done = shell(command, COLUMNS="100", PROMPTS="10")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 jobs of 10 prompts" in done.stdout
    assert "coverage" in done.stdout
    assert "digits-unconditional" in done.stdout
    assert "rollover" in done.stdout
    names = ("curve.png", "methods.png", "best-digits-early.png", "best-digits-unconditional.png")
    assert all((ROOT / "demo" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_make_test() -> None:
    """The test command finds these tests (it collects them only: they are running already, and the others too)."""
    (command,) = blocks("bash", "make test")
    others = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir()]
    done = shell(command, PYTEST_ADDOPTS=" ".join(["--collect-only", *(f"--ignore=tests/{name}" for name in others)]))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "test_docs.py" in done.stdout


def test_curl(port: int) -> None:
    """The first call: three sevens, each the best of 8, within the budget."""
    (command,) = blocks("bash", "curl")
    done = shell(command, port)
    view = httpx.Response(200, text=done.stdout).json()
    assert view["state"] == "completed", view
    assert view["counts"]["candidates"] == 24
    assert view["usage"]["unspent"] == {"evaluations": 0}


def test_httpx(port: int) -> None:
    """The same with httpx, to the picture and the curve."""
    (program,) = blocks("python", "import httpx")
    code = program.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("completed 160 ")
    assert len(done.stdout.splitlines()) == 6  # the job, and k = 1, 2, 4, 8, 16


def test_winnow_run() -> None:
    """One job without a server."""
    (command,) = blocks("bash", "winnow run")
    done = shell(command)
    assert httpx.Response(200, text=done.stdout).json()["counts"]["candidates"] == 4, done.stderr


def test_a_verifier_in_ten_lines(tmp_path: Path) -> None:
    """The README's verifier passes its exam, and its entry point makes it a name that a job can use."""
    (program,), (project,) = blocks("python", "class Runs"), blocks("toml", "entry-points")
    (tmp_path / "winnow_runs.py").write_text(program)
    (tmp_path / "pyproject.toml").write_text(project)
    subprocess.run([sys.executable, "winnow_runs.py"], cwd=tmp_path, check=True, timeout=200)
    # What an installer would write of this project, so that no build tool has to be fetched.
    meta = tomllib.loads(project)["project"]
    info = tmp_path / f"winnow_runs-{meta['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {meta['name']}\nVersion: {meta['version']}\n")
    lines = [f"{name} = {value}" for name, value in meta["entry-points"]["winnow.verifiers"].items()]
    (info / "entry_points.txt").write_text("[winnow.verifiers]\n" + "\n".join(lines) + "\n")
    job = '{"model": "toy/bits", "items": [{}], "search": {"n": 2}, "verifiers": [{"name": "runs", "least": 1}]}'
    done = shell(f"echo '{job}' | .venv/bin/winnow run -", PYTHONPATH=str(tmp_path))
    view = httpx.Response(200, text=done.stdout).json()
    assert view["items"][0]["best"][0]["scores"][0]["passed"] is True, done.stderr


def test_contributing_block_is_a_verifier() -> None:
    """CONTRIBUTING's ten lines are code that works."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"^   ```python\n(.*?)^   ```$", text, re.DOTALL | re.MULTILINE)
    code = "\n".join(line[3:] for line in block.splitlines())
    names: dict[str, object] = {"__name__": "contributed"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    assert "shortest" in names


def test_settings_are_documented() -> None:
    """Every setting stands in docs/settings.md, and nothing else does but two of the clients."""
    documented = set(re.findall(r"^\| `WINNOW_(\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert documented - {"URL", "API_KEY"} == {name.upper() for name in Settings.model_fields}


def test_design_notes_are_listed() -> None:
    """Every note is in the index, and no note is longer than a page."""
    index = (ROOT / "docs" / "design" / "README.md").read_text()
    for note in (ROOT / "docs" / "design").glob("*.md"):
        assert note.name == "README.md" or f"({note.name})" in index, note.name
        assert len(note.read_text().splitlines()) <= 60, note.name


def test_links_lead_somewhere() -> None:
    """Every relative link of the documents exists."""
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
