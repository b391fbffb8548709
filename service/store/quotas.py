"""What a key may spend: reserved when a job is submitted, settled as each of its shards ends.

An account is what a key has spent, and what its unfinished shards hold at most, in all (day 0) and on each day (UTC).
Both change in the transaction of the shard that caused it, so the account is the sum over committed shards, whatever
dies in between. A job is charged to the day of its submission.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from service.catalog import Prepared
from service.spec import Span
from service.store.access import KEY, api_keys
from service.store.schema import Number, metadata

CURRENCIES: tuple[str, ...] = ("evaluations", "tokens", "samples")
DAY = 86_400

accounts = Table(
    "accounts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970 by UTC; 0 is for all of them
    *(Column(f"{kind}_{name}", Number, nullable=False, server_default="0")
      for kind in ("spent", "held") for name in CURRENCIES),
    sqlite_with_rowid=False,
)  # fmt: skip

holds = Table(  # of unfinished jobs
    "holds",
    metadata,
    Column("job", Number, primary_key=True),
    Column("key", Text, nullable=False),
    Column("day", Integer, nullable=False),
    *(Column(f"each_{name}", Float, nullable=False) for name in CURRENCIES),  # of one sample, at most
    sqlite_with_rowid=False,
)

OPEN = {
    name: dialect.insert(accounts).on_conflict_do_nothing()
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}
ADD = (
    sa.update(accounts)
    .where(accounts.c.key == sa.bindparam("key_"), accounts.c.day == sa.bindparam("day_"))
    .values(
        {f"{kind}_{name}": accounts.c[f"{kind}_{name}"] + sa.bindparam(f"{kind}_{name}_")
         for kind in ("spent", "held") for name in CURRENCIES}
    )
)  # fmt: skip
HELD = sa.select(holds).where(holds.c.job == sa.bindparam("job_"))


class Exhausted(Exception):
    """A job would pass what its key may spend. period: `total` or `day`; renews: seconds since 1970, if ever."""

    def __init__(self, currency: str, period: str, limit: int, left: int, wanted: int) -> None:
        self.currency, self.period, self.limit, self.left, self.wanted = currency, period, limit, left, wanted
        self.renews = renewal() if period == "day" and wanted <= limit else None
        share = f"{limit} {currency} {'a day' if period == 'day' else 'in all'}"
        said = f"this key may spend {share}; {left} are left, and the job may need {wanted}"
        if self.renews is not None:
            said += f"; the day ends at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self.renews))}"
        super().__init__(said)


def today() -> int:
    """Days since 1970 by UTC."""
    return int(time.time() // DAY)


def renewal() -> float:
    """When what may be spent a day begins anew."""
    return float((today() + 1) * DAY)


def rates(prepared: Prepared) -> dict[str, float]:
    """What one sample costs, at most."""
    whole = prepared.plan.trajectories / prepared.plan.samples
    return {"evaluations": prepared.price * whole, "tokens": prepared.tokens * whole, "samples": 1.0}


def most(spans: Iterable[Span], each: Mapping[str, float]) -> dict[str, int]:
    """What pieces of work cost, at most: by their price, or by their share of the job's budget when that is less."""
    found = dict.fromkeys(CURRENCIES, 0)
    for span in spans:
        for name in CURRENCIES:
            cap: int | None = getattr(span, name, None)
            price = math.ceil(span.count * each[name] - 1e-9)
            found[name] += price if cap is None else min(cap, price)
    return found


def reserve(connection: sa.Connection, job: int, prepared: Prepared, spans: Iterable[Span]) -> None:
    """Hold what a job may cost, at most, for the key that asks. Raises Exhausted when that is more than is left."""
    if (key := KEY.get()) is not None:
        hold(connection, job, key, spans, rates(prepared))


def hold(connection: sa.Connection, job: int, key: str, spans: Iterable[Span], each: Mapping[str, float]) -> None:
    """Hold what pieces of a job may cost, on the day to which it is charged. Raises Exhausted."""
    known = connection.execute(HELD, {"job_": job}).first()
    day, wanted = today() if known is None else known.day, most(spans, each)
    connection.execute(OPEN[connection.dialect.name], [{"key": key, "day": 0}, {"key": key, "day": day}])
    limits = json.loads(connection.execute(sa.select(api_keys.c.quotas).where(api_keys.c.name == key)).scalar() or "{}")
    for period, row in account(connection, key, day, lock=True).items():
        for name in CURRENCIES:
            limit: int | None = (limits.get(name) or {}).get(period)
            if limit is None:
                continue
            left = limit - row[f"spent_{name}"] - row[f"held_{name}"]
            if wanted[name] > left:
                raise Exhausted(name, period, limit, max(0, left), wanted[name])
    _add(connection, key, day, {}, wanted)
    if known is None:
        values = {"job": job, "key": key, "day": day, **{f"each_{name}": each[name] for name in CURRENCIES}}
        connection.execute(sa.insert(holds), values)


def account(connection: sa.Connection, key: str, day: int, lock: bool = False) -> dict[str, sa.RowMapping]:
    """A key's account, `total` and of one `day`. lock: until the transaction ends, in one order for all."""
    query = sa.select(accounts).where(accounts.c.key == key, accounts.c.day.in_((0, day))).order_by(accounts.c.day)
    rows = connection.execute(query.with_for_update() if lock else query).mappings()
    return {"day" if row["day"] else "total": row for row in rows}


def settle(connection: sa.Connection, job: int, spans: Sequence[Span], spent: Mapping[str, int] | None = None) -> None:
    """Pieces of a job have ended: what they held is let go, what they spent is counted."""
    settle_all(connection, {job: (spans, spent or {})})


def settle_all(connection: sa.Connection, ended: Mapping[int, tuple[Sequence[Span], Mapping[str, int]]]) -> None:
    """The same for pieces of several jobs, in the order of their accounts: none waits for another in a circle."""
    rows = [row for job in ended if (row := connection.execute(HELD, {"job_": job}).mappings().first()) is not None]
    for row in sorted(rows, key=lambda row: (row["key"], row["day"])):
        spans, spent = ended[row["job"]]
        back = most(spans, {name: row[f"each_{name}"] for name in CURRENCIES})
        _add(connection, row["key"], row["day"], spent, {name: -n for name, n in back.items()})


def close(connection: sa.Connection, job: int) -> None:
    """A job has ended: all its pieces are settled."""
    connection.execute(sa.delete(holds).where(holds.c.job == job))


def _add(connection: sa.Connection, key: str, day: int, spent: Mapping[str, int], held: Mapping[str, int]) -> None:
    change = {
        f"{kind}_{name}_": of.get(name, 0) for kind, of in (("spent", spent), ("held", held)) for name in CURRENCIES
    }
    connection.execute(ADD, [{"key_": key, "day_": 0, **change}, {"key_": key, "day_": day, **change}])
