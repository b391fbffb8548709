"""Tunes and their trials as transactions. Every step says from which state it comes, and no trial is written twice."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text

from service.store import presets
from service.store.access import KEY, OWNER, found, mine, newest
from service.store.jobs import Conflict, own
from service.store.schema import Number, metadata

tunes = Table(
    "tunes",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # public id
    Column("state", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("preset", Text, nullable=False),  # what it will make
    Column("error", Text),
    Column("idempotency_key", Text, unique=True),
    Column("digest", Text, nullable=False),  # SHA-256 of the spec
    Column("owner", Text),
    Column("key", Text),  # who pays
    Column("created", Float, nullable=False),
    Column("finished", Float),
    sa.Index("tunes_state", "state"),
    sa.Index("tunes_owner", "owner", "id"),
)

trials = Table(
    "trials",
    metadata,
    Column("tune", Number, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("generation", Integer),
    Column("genes", Text, nullable=False),  # what it sets, as JSON
    Column("job", Text),  # public id, once it is made
    Column("value", Float),  # null: not measured, with the reason, or a reference
    Column("reason", Text),
    Column("evaluations", Number),  # null: it has not ended
    sqlite_with_rowid=False,
)
OPEN = ("in_progress", "cancelling")
"""States from which a tune moves on by itself."""
Row = sa.Row[Any]


def create(connection: sa.Connection, spec: str, preset: str, key: str | None) -> Row:
    """Write a tune, or find the one that the same key made. Raises Conflict, or Taken for the preset's name."""
    digest = hashlib.sha256(spec.encode()).hexdigest()
    if (found := made(connection, key, digest)) is not None:
        return found
    unclaimed(connection, preset)
    now = time.time()
    row = {"name": f"tune_{int(now * 1000):011x}{secrets.token_hex(8)}", "state": "in_progress", "spec": spec}
    row |= {"preset": preset, "idempotency_key": own(key), "digest": digest, "created": now}
    row |= {"owner": OWNER.get(), "key": KEY.get()}
    new = presets.inserted(connection, tunes, "idempotency_key", row) or made(connection, key, digest)
    assert new is not None
    return new


def made(connection: sa.Connection, key: str | None, digest: str) -> Row | None:
    """The tune that an idempotency key has made. Raises Conflict when it was made of something else."""
    if key is None:
        return None
    found = connection.execute(sa.select(tunes).where(tunes.c.idempotency_key == own(key))).first()
    if found is not None and found.digest != digest:
        raise Conflict(f"Idempotency-Key {key!r} was used with another body, for tune {found.name}")
    return found


def unclaimed(connection: sa.Connection, preset: str) -> None:
    """Raise Taken for the name of a preset that there is, or that a running tune will make."""
    same = sa.and_(tunes.c.preset == preset, tunes.c.state.in_(OPEN), tunes.c.owner.is_not_distinct_from(OWNER.get()))
    if presets.taken(connection, preset) or connection.execute(sa.select(tunes.c.id).where(same)).first():
        raise presets.Taken(preset)


def find(connection: sa.Connection, name: str) -> Row:
    """A tune by its public id. Raises Missing."""
    return found(connection, tunes, name, "tune")


def page(connection: sa.Connection, limit: int, after: str | None) -> Sequence[Row]:
    """Tunes, newest first, `after` the one of that public id."""
    query = sa.select(tunes).where(mine(tunes))
    return newest(connection, query, tunes, limit, after, find)


def opened(connection: sa.Connection) -> Sequence[Row]:
    """Tunes that are not at their end, oldest first."""
    return connection.execute(sa.select(tunes).where(tunes.c.state.in_(OPEN)).order_by(tunes.c.id)).all()


def step(connection: sa.Connection, tune: Row, state: str, **values: Any) -> bool:
    """Move a tune on; False, and nothing changed, when it is no longer in the state in which it was read."""
    if state not in OPEN:
        values["finished"] = time.time()
    mine = sa.and_(tunes.c.id == tune.id, tunes.c.state == tune.state)
    return bool(connection.execute(sa.update(tunes).where(mine).values(state=state, **values)).rowcount)


def cancel(connection: sa.Connection, name: str) -> Row:
    """Stop a tune; one at its end stays as it is. Raises Missing."""
    tune = find(connection, name)
    if tune.state == "in_progress":
        step(connection, tune, "cancelling")
    return find(connection, name)


def trials_of(connection: sa.Connection, tune: int, after: int = -1, limit: int | None = None) -> Sequence[Row]:
    """Trials with numbers above `after`, in order."""
    query = sa.select(trials).where(trials.c.tune == tune, trials.c.number > after).order_by(trials.c.number)
    return connection.execute(query.limit(limit)).all()


def held(connection: sa.Connection, tune: int) -> str:
    """A tune's state, which nobody changes before this transaction ends (SQLite locks all at once)."""
    return connection.execute(sa.select(tunes.c.state).where(tunes.c.id == tune).with_for_update()).scalar_one()


def begun(connection: sa.Connection, tune: Row, first: int, wave: Sequence[Mapping[str, Any]]) -> None:
    """Write the trials from number `first` on, unless another process did, or the tune was stopped."""
    state = held(connection, tune.id)
    there = connection.execute(sa.select(sa.func.count()).where(trials.c.tune == tune.id)).scalar()
    if state == tune.state and there == first:
        new = [{"tune": tune.id, "number": first + i, **trial} for i, trial in enumerate(wave)]
        connection.execute(sa.insert(trials), new)


def given(connection: sa.Connection, tune: int, number: int, job: str) -> None:
    """The job of a trial."""
    _change(connection, tune, number, job=job)


def settled(
    connection: sa.Connection, tune: int, number: int, evaluations: int, value: float | None, reason: str | None
) -> None:
    """How a trial has ended; the first word stands."""
    _change(connection, tune, number, evaluations=evaluations, value=value, reason=reason)


def _change(connection: sa.Connection, tune: int, number: int, **values: Any) -> None:
    open_ = sa.and_(trials.c.tune == tune, trials.c.number == number, trials.c.evaluations.is_(None))
    connection.execute(sa.update(trials).where(open_).values(**values))


def key(tune: str, number: int) -> str:
    """Idempotency key of a trial's job: made once, whoever makes it."""
    return f"{tune}:{number:06}"


def finished(connection: sa.Connection, tune: Row, model: str, config: Mapping[str, Any]) -> None:
    """Preset and end in one transaction; nothing when somebody else was faster."""
    if step(connection, tune, "completed"):
        presets.create(connection, tune.preset, model, config, tune.name)


def genes(row: Row) -> dict[str, Any]:
    """What a trial sets."""
    return json.loads(row.genes)
