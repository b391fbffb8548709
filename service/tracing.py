"""Traces, where somebody collects them: one from a request to the network calls, verdicts and commits of its job.

Off unless `start` or `use` was called; then a span is a context that does nothing, and no SDK is imported. Context
travels as W3C `traceparent` text: in a request's header, in Redis from submit to dispatch, in the shard's message.
"""

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from search.ports import Floats, Rows
from search.tools import Tools
from search.verdicts import Verdicts

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Untraceable(RuntimeError):
    """Traces are asked for and cannot be made."""


class Span:
    """What is being done. This one is not recorded."""

    def say(self, name: str | None = None, /, **attributes: str | float) -> None:
        """Another name, and more about it."""


@dataclass(frozen=True)
class Recorded(Span):
    """A span of OpenTelemetry."""

    span: Any

    def say(self, name: str | None = None, /, **attributes: str | float) -> None:
        """The same, recorded."""
        if name is not None:
            self.span.update_name(name)
        self.span.set_attributes(attributes)


@dataclass
class Tracing:
    """The process's tracer; None while traces are off."""

    tracer: Any = None


TRACING = Tracing()
OFF = nullcontext(Span())


def wanted() -> bool:
    """Whether the environment names a collector, as OpenTelemetry's own variables do."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in VARIABLES)


def start(service: str) -> None:
    """Send spans to the collector of the environment, if it names one. Raises Untraceable."""
    if not wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        which = next(name for name in VARIABLES if os.environ.get(name))
        raise Untraceable(f"{which} is set, but the extra `otel` is not installed ({error.name})") from None
    names = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"winnow-{service}"}
    provider = TracerProvider(resource=Resource.create(names))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # what is left is sent when the process ends
    use(provider)


def use(provider: Any) -> None:
    """Make spans with this tracer provider; None: none."""
    TRACING.tracer = None if provider is None else provider.get_tracer("winnow")


def on() -> bool:
    """Whether spans are recorded."""
    return TRACING.tracer is not None


def span(
    name: str, parent: str | None = None, kind: str = "internal", **attributes: str | float
) -> AbstractContextManager[Span]:
    """A span below `parent` (traceparent), or below the one that is open here.

    kind: internal, server, producer, consumer. An exception that leaves it is recorded by its type alone: its message
    may hold anything.
    """
    return OFF if TRACING.tracer is None else _recorded(name, parent, kind, attributes)


@contextmanager
def _recorded(name: str, parent: str | None, kind: str, attributes: dict[str, str | float]) -> Generator[Span]:
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    made = TRACING.tracer.start_as_current_span(
        name, above, SpanKind[kind.upper()], record_exception=False, set_status_on_exception=False
    )
    with made as opened:
        recorded = Recorded(opened)
        recorded.say(**attributes)
        try:
            yield recorded
        except BaseException as error:
            opened.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def here() -> str | None:
    """The open span as traceparent; None when there is none."""
    if TRACING.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """Of the open span, 32 hex digits: log lines carry it."""
    parent = here()
    return parent.split("-")[1] if parent else None


@dataclass
class Traced(Tools):
    """Tools whose calls are spans: from the question to its answer, the wait for the batch included."""

    tools: Tools

    @property
    def steps(self) -> int:
        """Of the generator."""
        return self.tools.steps

    async def start(self, first: int, count: int) -> Rows:
        with span("start", rows=count):
            return await self.tools.start(first, count)

    async def advance(self, rows: Rows) -> Rows:
        with span("network", rows=len(rows)):
            return await self.tools.advance(rows)

    async def preview(self, rows: Rows) -> Verdicts:
        with span("preview", rows=len(rows)) as open:
            return _told(open, await self.tools.preview(rows))

    async def judge(self, rows: Rows) -> Verdicts:
        with span("verify", rows=len(rows)) as open:
            return _told(open, await self.tools.judge(rows))

    async def renoise(self, rows: Rows, step: int) -> Rows:
        return await self.tools.renoise(rows, step)

    async def neighbours(self, pivots: Rows, cosine: float) -> Rows:
        return await self.tools.neighbours(pivots, cosine)

    def increments(self, rows: Rows) -> Floats:
        return self.tools.increments(rows)


def _told(open: Span, verdicts: Verdicts) -> Verdicts:
    """Seconds of each verifier, its share of the calls."""
    open.say(**{f"verifier.seconds.{label}": seconds for label, seconds in verdicts.seconds.items()})
    return verdicts


def traced(tools: Tools) -> Tools:
    """The tools, with spans if they are recorded."""
    return Traced(tools) if on() else tools
