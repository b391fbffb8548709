"""What a message of the queue holds: a ticket, the format it is written in, and the span that sent it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service import tracing
from service.spec import Ticket

FORMAT = 1
"""Of messages, of the shards and the specs that they name. One more whenever an older worker would misread any of them.

Messages of older formats are read for ever (those from before formats say none); a newer one is left to newer workers.
"""
LEFT = 5.0
"""Seconds for which a stream is left alone in which a newer message was seen."""
TRACE_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Delivery:
    """A message in this worker's hands. trace: the span that sent it, as traceparent."""

    stream: str
    message: str
    ticket: Ticket
    trace: str | None = None


def fields_of(ticket: Ticket, traces: Mapping[int, str]) -> dict[str, str | int]:
    """A message's fields. traces: by job."""
    trace = {"trace": traces[ticket.job]} if ticket.job in traces else {}
    return {"ticket": ticket.model_dump_json(), "format": FORMAT, **trace}


def is_newer(fields: Mapping[str, str]) -> bool:
    """Whether a message was written for newer workers than this."""
    written = fields.get("format", "0")
    return written.isdecimal() and (len(written) > 9 or int(written) > FORMAT)


def remembered(job: int) -> str:
    """Where the span that submitted a job stands, until its shards are sent."""
    return f"winnow:trace:{job}"


def sent_traces(redis: Any, tickets: Sequence[Ticket]) -> dict[int, str]:
    """A span for each job whose shards are sent, as traceparent; none where traces are off."""
    found: dict[int, str] = {}
    if tracing.on():
        for job, n in Counter(ticket.job for ticket in tickets).items():
            with tracing.span("dispatch", redis.get(remembered(job)), "producer", shards=n):
                found[job] = tracing.here() or ""
    return found
