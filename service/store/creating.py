"""New jobs, their items and their shards, in one transaction."""

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.catalog import Invalid, Prepared
from service.planner import shards as planned
from service.spec import JobSpec, Span
from service.store import outbox, quotas
from service.store.access import KEY, OWNER, share
from service.store.jobs import LAST_EXTENDED, Conflict, emit, own
from service.store.schema import deleted, items, jobs, judges, shards

LAST = [sa.select(sa.func.coalesce(sa.func.max(c), 0)).scalar_subquery() for c in (jobs.c.id, deleted.c.job)]
INSERT = {
    name: insert.on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(
        jobs, sa.null().label("extended_at")
    )
    for name, insert in (
        ("sqlite", sqlite.insert(jobs).values(id=sa.func.max(*LAST) + 1)),  # by itself it would use ids again
        ("postgresql", postgresql.insert(jobs)),
    )
}


def new_name() -> str:
    """A public job id: sorts by time, cannot be guessed."""
    return f"job_{int(time.time() * 1000):011x}{secrets.token_hex(8)}"


def made(connection: sa.Connection, key: str | None, digest: str) -> sa.Row[Any] | None:
    """The job that an idempotency key has made. Raises Conflict when it was made of something else."""
    if key is None:
        return None
    found = connection.execute(sa.select(jobs, LAST_EXTENDED).where(jobs.c.idempotency_key == own(key))).first()
    if found is not None and found.digest != digest:
        raise Conflict(f"Idempotency-Key {key!r} was used with another body, for job {found.name}")
    return found


def create(
    connection: sa.Connection,
    prepared: Prepared,
    idempotency_key: str | None = None,
    batch: int | None = None,
    final: Callable[[sa.Connection, Prepared], JobSpec] = lambda _, prepared: prepared.spec,
) -> sa.Row[Any]:
    """Write a job, its items and its shards; or find the job that the same key made.

    Raises Conflict, Exhausted, or Invalid.
    final: what the store adds to the spec of a new job; the key is known by the spec as it was asked.
    """
    spec = prepared.spec
    if spec.webhook is not None and not outbox.secrets_of(connection, KEY.get()):
        message = "there is no secret to sign it with; POST /v1/webhooks/secret makes one"
        raise Invalid([{"loc": ["webhook"], "msg": message}])
    digest = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
    if (found := made(connection, idempotency_key, digest)) is not None:
        return found
    plan = planned(prepared)
    row = {"spec": final(connection, prepared).model_dump_json(), "digest": digest, "batch": batch}
    row |= {"idempotency_key": own(idempotency_key), "shards": len(plan), **_row(prepared)}
    job = connection.execute(INSERT[connection.dialect.name], row).first()
    if job is None:  # somebody used the key while we planned
        again = made(connection, idempotency_key, digest)
        assert again is not None
        return again
    quotas.reserve(connection, job.id, prepared, chain.from_iterable(plan))
    _add_items(connection, job, spec, plan)
    add_shards(connection, job, plan)
    _add_judges(connection, job, prepared)
    emit(connection, job.id, "created", {"state": "queued", "items": len(spec.items), "shards": len(plan)})
    return job


def _row(prepared: Prepared) -> dict[str, Any]:
    """What follows from the request alone, and from who asks."""
    spec = prepared.spec
    return {
        "name": new_name(),
        "state": "queued",
        "budget": spec.budget.model_dump_json(),
        "model": spec.model.name,
        "lane": spec.priority,
        "owner": OWNER.get(),
        "key": KEY.get(),
        "webhook": spec.webhook,
        "rescores": prepared.source,
        "created": time.time(),
        "items": len(spec.items),
    }


def _add_items(connection: sa.Connection, job: sa.Row[Any], spec: JobSpec, plan: Sequence[Sequence[Span]]) -> None:
    left = Counter(span.item for span in chain.from_iterable(plan))
    connection.execute(
        sa.insert(items),
        [
            {"job": job.id, "number": i, "id": item.id, "state": "queued", "shards_left": left[i]}
            for i, item in enumerate(spec.items)
        ],
    )


def _add_judges(connection: sa.Connection, job: sa.Row[Any], prepared: Prepared) -> None:
    connection.execute(
        sa.insert(judges),
        [
            {
                "job": job.id,
                "place": i,
                "role": judge.role,
                "label": judge.label,
                "name": judge.choice.plugin.name,
                "version": judge.version,
                "config": judge.stored,
            }
            for i, judge in enumerate(prepared.judges)
        ],
    )


def add_shards(connection: sa.Connection, job: sa.Row[Any], plan: Sequence[Sequence[Span]], first: int = 0) -> None:
    """Shards that wait, numbered from `first`."""
    common = {"job": job.id, "model": job.model, "lane": job.lane, "share": share(job.owner), "state": "pending"}
    common["changed"] = time.time()
    connection.execute(
        sa.insert(shards),
        [
            {**common, "number": first + i, "spans": json.dumps([span.model_dump(exclude_none=True) for span in shard])}
            for i, shard in enumerate(plan)
        ],
    )
