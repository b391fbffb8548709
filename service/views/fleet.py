"""The fleet: workers, and what waits for them."""

from pydantic import Field

from service.views.base import View


class BatchesView(View):
    """Network calls of one model on one worker, since that worker started."""

    calls: int
    rows: int
    limit: int = Field(description="Rows that one call may hold.")
    fill: float | None = Field(description="Mean rows of a call over its limit; null before the first call.")


class WorkerView(View):
    """One worker that lives."""

    worker: str
    at: float = Field(description="When it last said how it fares, in seconds since 1970 by its own clock.")
    age: float = Field(description="Seconds since then by the API's clock.")
    resident: int | None = Field(description="Bytes of memory; null where that is not known.")
    models: dict[str, BatchesView]
    programs: str | None = Field(None, description="Tier at which it runs programs: strict, lite or refuse.")


class Workers(View):
    """The workers that live, by name; empty while the queue does not answer."""

    data: list[WorkerView]


class StreamView(View):
    """One stream of the queue."""

    name: str = Field(description="MODEL:LANE.")
    messages: int = Field(description="Shards in it, waiting or in workers' hands.")


class ShardsView(View):
    """Shards of one model in one state."""

    model: str
    state: str
    n: int


class DeadLetterView(View):
    """A shard that failed for good."""

    id: str = Field(description="For POST /v1/dead/{id}/requeue.")
    job: str
    owner: str | None
    model: str
    lane: str
    items: list[int] = Field(description="Numbers of the items that fail with it.")
    deaths: int = Field(description="Workers that died on it, and errors it raised.")
    error: str | None
    at: float = Field(description="When it failed, in seconds since 1970.")


class DeadLetters(View):
    """A page of dead letters. Ask again with `after` = `next` while it is not null."""

    data: list[DeadLetterView]
    next: str | None


class QueueView(View):
    """What waits, what runs and what has failed. Counts of jobs and shards are the database's."""

    up: bool = Field(description="Whether the queue answers; if not, there are no streams.")
    streams: list[StreamView]
    shards: list[ShardsView]
    jobs: dict[str, int] = Field(description="Jobs in each state.")
    dead: int = Field(description="Dead letters: shards that failed, or whose worker died too often.")
    rows_per_second: float | None = Field(
        description="Rows of network calls a second over all workers, from what each said of itself in its last ten "
        "seconds, or since somebody last looked; null until one has been seen twice."
    )
