"""One trace from a request to its network calls, verdicts and commits; nothing of it when it is off."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from helping import job, prepared
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from search.engine import Engine, Shared
from service import catalog, tracing
from service.api import create_app
from service.artifacts import Artifacts
from service.execute import Bench, tools_of
from service.feeder import Feeder
from service.queue import Broker
from service.settings import Settings
from service.spec import Span
from service.store import Store, jobs
from service.worker import Worker

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def test_one_trace(store: Store, broker: Broker, tmp_path: Path, spans: InMemorySpanExporter) -> None:
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    client = TestClient(create_app(store, broker, artifacts, Settings(data_dir=tmp_path)))
    spec = job(1, 3, graders=[{"name": "toy/linear", "label": "second"}])
    made = client.post("/v1/jobs", json=spec, headers={"traceparent": SENT, "X-Request-Id": "request-1"}).json()
    assert client.get("/readyz").status_code == 200
    Feeder(store, broker, "f").feed()
    worker = Worker(store, broker, artifacts, name="w")

    async def work() -> None:
        assert await worker._pull() == 1
        await asyncio.gather(*(held.task for held in list(worker.held.values()) if held.task))

    asyncio.run(work())
    worker.engine.device.shutdown()
    worker.engine.threads.shutdown()
    assert store.read(jobs.find, made["id"]).state == "completed"

    found = spans.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in found} == {TRACE}
    names = {span.context.span_id: span.name for span in found}

    def path(span: ReadableSpan) -> list[str]:
        above = next((one for one in found if span.parent and one.context.span_id == span.parent.span_id), None)
        return [*(path(above) if above else []), span.name]

    paths = [" > ".join(path(span)) for span in found]
    start = "POST /v1/jobs > submit > dispatch > shard"
    assert {p for p in paths if p.count(">") < 3} == {"POST /v1/jobs", "POST /v1/jobs > submit", start[:-8]}
    assert {p.removeprefix(f"{start} > ") for p in paths if p.startswith(f"{start} > ")} == {
        "search", "search > start", "search > network", "search > verify", "search > grade", "commit",
    }  # fmt: skip
    assert paths.count(f"{start} > search > network") == 2  # the model's steps
    assert len(names) == len(found)  # nothing else
    by_name = {span.name: dict(span.attributes or {}) for span in found}
    assert by_name["POST /v1/jobs"] == {"http.response.status_code": 202, "request": "request-1"}
    assert by_name["network"] == {"rows": 3}
    assert by_name["verify"].keys() == {"rows", "verifier.seconds.toy/linear"}
    assert by_name["shard"] == {"model": "toy/gaussian_mixture", "shard": 1, "attempt": 1, "worker": "w"}
    (root,) = [span for span in found if span.name == "POST /v1/jobs"]
    assert root.parent
    assert f"{root.parent.span_id:016x}" == SENT.split("-")[2]


def test_an_error_is_a_type_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.span("work"):
        raise ValueError("secret")
    (span,) = spans.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())
    assert tracing.here() is None


WITHOUT = "import sys; sys.modules.update({'opentelemetry.sdk': None, 'opentelemetry.exporter': None}); "
"""As where the extra is not installed."""


@pytest.mark.parametrize(
    ("collector", "said"), [({}, ""), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "extra `otel`")]
)
def test_without_the_extra(collector: dict[str, str], said: str) -> None:
    """Nothing is missed until a collector is named; then one sentence says what is missing."""
    code = "import service.api, service.worker; from service.cli import traces; traces('api')"
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | collector
    done = subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, env=env, timeout=200)
    assert (done.returncode == 0) == (not said)
    assert said in done.stderr


def test_off_costs_nothing() -> None:
    """Tools are not wrapped, and a span is always the same object that does nothing."""
    assert tracing.span("a") is tracing.span("b", rows=1)
    assert tracing.here() is None
    one = prepared(1, 1)
    bench = Bench(one, catalog.generator(one.model), [], [])
    metered = tools_of(bench, Engine(), None, Span(item=0, first=0, count=1), 0.0, lambda: None)  # type: ignore[arg-type]
    assert type(metered.tools) is Shared


def test_spans_reach_a_collector() -> None:
    """A process whose environment names a collector sends what it did there, also when it ends at once."""
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        code = "from service import tracing; tracing.start('api')\nwith tracing.span('the-work'): pass"
        env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=200)
        server.shutdown()
        thread.join()
    ((path, body),) = bodies
    assert path == "/v1/traces"
    assert b"the-work" in body
    assert b"winnow-api" in body
