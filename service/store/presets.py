"""Presets: settings of a model under a name of their owner. A preset never changes; it is deleted and made again."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from service.store.access import OWNER, Missing, mine
from service.store.jobs import Conflict, own
from service.store.schema import Number, metadata

presets = Table(
    "presets",
    metadata,
    Column("id", Number, primary_key=True),
    Column("name", Text, nullable=False),
    Column("unique_name", Text, nullable=False, unique=True),  # with its owner: that of another is another
    Column("model", Text, nullable=False),
    Column("config", Text, nullable=False),  # the model's own fields, as JSON
    Column("tune", Text),  # the public id of the search that found it
    Column("created", Float, nullable=False),
    Column("owner", Text),
    sa.Index("presets_owner", "owner", "id"),
)
Row = sa.Row[Any]


class Taken(Conflict):
    """There is a preset of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a preset {name!r}, or a tune that will make it; delete it, or choose another name")


def taken(connection: sa.Connection, name: str) -> bool:
    """Whether the owner has a preset of that name."""
    return connection.execute(sa.select(presets.c.id).where(presets.c.unique_name == own(name))).first() is not None


def create(connection: sa.Connection, name: str, model: str, config: Mapping[str, Any], tune: str | None = None) -> Row:
    """Write a preset. Raises Taken."""
    if taken(connection, name):
        raise Taken(name)
    row = {"name": name, "unique_name": own(name), "model": model, "config": json.dumps(dict(config)), "tune": tune}
    row |= {"created": time.time(), "owner": OWNER.get()}
    if (made := inserted(connection, presets, "unique_name", row)) is None:  # somebody was faster
        raise Taken(name)
    return made


def inserted(connection: sa.Connection, table: Table, unique: str, row: Mapping[str, Any]) -> Row | None:
    """A new row; None when there is one that has the value of its unique column."""
    insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
    query = insert(table).values(**row).on_conflict_do_nothing(index_elements=[unique]).returning(table)
    return connection.execute(query).first()


def find(connection: sa.Connection, name: str) -> Row:
    """A preset by its name. Raises Missing."""
    query = sa.select(presets).where(presets.c.name == name, mine(presets)).order_by(presets.c.id)
    if (row := connection.execute(query).first()) is None:
        raise Missing(f"no preset {name[:100]!r}")
    return row


def page(connection: sa.Connection, limit: int, after: str | None) -> Sequence[Row]:
    """Presets, newest first, `after` the one of that name."""
    query = sa.select(presets).where(mine(presets)).order_by(presets.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(presets.c.id < find(connection, after).id)
    return connection.execute(query).all()


def names(connection: sa.Connection, model: str) -> list[str]:
    """All presets of a model."""
    query = sa.select(presets.c.name).where(mine(presets), presets.c.model == model).order_by(presets.c.name)
    return list(connection.execute(query).scalars())


def config(row: Row) -> dict[str, Any]:
    """The settings."""
    return json.loads(row.config)


def delete(connection: sa.Connection, name: str) -> Row:
    """Forget a preset, as it was; jobs that named it keep its settings. Raises Missing."""
    row = find(connection, name)
    connection.execute(sa.delete(presets).where(presets.c.id == row.id))
    return row
