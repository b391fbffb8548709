"""What is missing of a job, what it may cost, and the transaction in which it goes on."""

import json
import threading
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa
from helping import outcome, prepared, take
from hypothesis import given
from hypothesis import strategies as st

from search import keys
from service import catalog
from service.catalog import Invalid, Prepared, plan_of
from service.extending import Extension, Run, Stored, enlarged, gaps, rest
from service.planner import fitting, span_size, spans
from service.spec import JobSpec, Span
from service.store import Store, access, commits, creating, dead, dispatch, extending, jobs, outbox, quotas, shards
from service.store.commits import Results
from service.store.extending import Asked
from service.store.jobs import Conflict
from service.store.schema import extensions, judges, populations
from service.store.schema import items as item_table
from service.store.schema import shards as shard_table

PRICE = 400
"""Evaluations of a sample, at most: a span has five samples."""
Costs = Mapping[tuple[int, int], int]


def asking(n: int, evaluations: int | None, **changes: Any) -> Prepared:
    model = {"name": "toy/gaussian_mixture", "steps": PRICE}
    return prepared(2, n, model=model, budget={"evaluations": evaluations}, **changes)


def drawn(some: Sequence[Span], costs: Costs) -> dict[int, set[int]]:
    """Samples of each item that searches of these spans draw: one after another while the next one can be paid for."""
    found: dict[int, set[int]] = {0: set(), 1: set()}
    for span in some:
        left = float("inf") if span.evaluations is None else span.evaluations
        for sample in range(span.first, span.first + span.count):
            if left < PRICE:
                break
            left -= costs[span.item, sample]
            found[span.item].add(sample)
    return found


def runs_of(samples: set[int]) -> list[Run]:
    ends = [s + 1 for s in sorted(samples) if s + 1 not in samples]
    return list(zip([s for s in sorted(samples) if s - 1 not in samples], ends, strict=True))


def stored_of(found: Mapping[int, set[int]], costs: Costs, size: int) -> dict[int, Stored]:
    out: dict[int, Stored] = {}
    for item, samples in found.items():
        parts: dict[int, dict[str, int]] = {}
        for sample in samples:
            part = parts.setdefault(sample // size, {"evaluations": 0})
            part["evaluations"] += costs[item, sample]
        spent = {"evaluations": sum(part["evaluations"] for part in parts.values())}
        out[item] = Stored(runs_of(samples), spent, parts)
    return out


@given(
    st.integers(1, 30),
    st.integers(0, 30),
    st.integers(0, 30_000),
    st.none() | st.integers(0, 30_000),
    st.lists(st.integers(1, PRICE), min_size=120, max_size=120),
)
def test_old_and_new_samples_are_those_of_a_new_job(
    n: int, more: int, evaluations: int, extra: int | None, each: list[int]
) -> None:
    """Whatever samples really cost, whatever cut the first job short; and the budget holds for both together."""
    costs = {(i, s): each[60 * i + s] for i in range(2) for s in range(60)}
    old, new = asking(n, evaluations), asking(n + more, None if extra is None else evaluations + extra)
    had = drawn(list(spans(old, fitting(old))), costs)
    wanted = drawn(list(spans(new, fitting(new))), costs)
    spent = {"evaluations": sum(costs[i, s] for i, found in had.items() for s in found)}
    spent |= {"tokens": 0, "previews": 0, "verifier_calls": 0}
    try:
        plan = list(chain.from_iterable(rest(new, stored_of(had, costs, span_size(new.plan, fitting(new))), spent)))
    except Invalid:
        assert had == wanted  # nothing that is missing can be paid for
        return
    got = drawn(plan, costs)
    assert not any(had[i] & got[i] for i in got)
    assert {i: had[i] | got[i] for i in got} == wanted
    if extra is not None:
        total = sum(span.evaluations or 0 for span in plan)
        assert spent["evaluations"] + total <= evaluations + extra


@given(st.integers(1, 20), st.integers(1, 20), st.sets(st.integers(0, 45)))
def test_gaps(first: int, count: int, had: set[int]) -> None:
    found = [s for begin, end in gaps(first, first + count, runs_of(had)) for s in range(begin, end)]
    assert found == [s for s in range(first, first + count) if s not in had]


def test_what_was_wasted_counts() -> None:
    """A search that was stopped has spent what no answer shows: less is left for the others."""
    new = asking(10, 2 * 10 * PRICE)
    spent = {"evaluations": 5 * PRICE, "tokens": 0, "previews": 0, "verifier_calls": 3}
    have = {0: Stored([(0, 3)], {"evaluations": 5 * PRICE}, {0: {"evaluations": 3 * PRICE}})}
    plan = list(chain.from_iterable(rest(new, have, spent)))
    assert [(s.first, s.count, s.evaluations) for s in plan] == [(3, 2, 2 * PRICE), (5, 5, 3 * PRICE)]


def test_populations_share_what_is_left() -> None:
    search = {"method": "feynman_kac", "particles": 4, "repeats": 4}
    budget = {"evaluations": 1000, "previews": 100, "verifier_seconds": 9.0}
    new = prepared(2, search=search, budget=budget)
    spent = {"evaluations": 300, "tokens": 0, "previews": 90, "verifier_calls": 8, "verifier_seconds": 3.0}
    have = {item: Stored([(0, 4)], {}, {}) for item in range(2)}
    plan = list(chain.from_iterable(rest(new, have, spent)))
    assert [(s.item, s.first, s.count) for s in plan] == [(i, 4 * k, 4) for i in range(2) for k in (1, 2, 3)]
    assert sum(s.evaluations or 0 for s in plan) == 700
    assert sum(s.previews or 0 for s in plan) == 10
    assert sum(s.verifier_seconds or 0 for s in plan) == pytest.approx(6.0)
    assert {s.verifier_calls for s in plan} == {None}


def finished(store: Store, *args: Any, **changes: Any) -> sa.Row[Any]:
    """A job whose every shard is done."""
    row = store.write(creating.create, prepared(*args, **changes))
    run(store, row.id)
    return store.read(jobs.find, row.name)


def run(store: Store, job: int) -> None:
    waits = sa.select(shard_table.c.id).where(shard_table.c.job == job, shard_table.c.state == "pending")
    for shard in store.read(lambda connection: connection.execute(waits).scalars().all()):
        claim = take(store, shard)
        assert store.write(commits.commit, claim, named(outcome(claim)))


def named(some: Results) -> Results:
    """With the keys that samples have."""
    problems = [keys.problem(0, f"i{item}") for item in range(2)]
    some.candidates = [
        (job, item, sample, *keys.name(keys.rows(problems[item], sample, 1)), *others)
        for job, item, sample, _, *others in some.candidates
    ]
    return some


def grow(store: Store, row: sa.Row[Any], key: str | None = None, **search: Any) -> sa.Row[Any]:
    spec = JobSpec.model_validate_json(row.spec)
    asked = Extension.model_validate({"search": search})
    old = plan_of(spec.search)
    assert old
    request = Asked(row, spec, key, asked.digest)
    return store.write(extending.extend, request, old, catalog.prepare(enlarged(spec, asked)))


def whole(store: Store, table: sa.Table, **where: Any) -> list[Any]:
    with store.reading() as connection:
        query = sa.select(table).where(*(table.c[name] == value for name, value in where.items()))
        return list(connection.execute(query.order_by(*table.primary_key)))


def test_the_transaction(store: Store) -> None:
    row = finished(store, 2, 4)
    again = grow(store, row, n=6)
    assert (again.state, again.extended, again.shards, again.shards_done) == ("queued", 1, 2, 1)
    assert (again.items_done, again.started, again.finished, again.id) == (0, None, None, row.id)
    assert again.worked == pytest.approx(row.finished - row.started)
    assert (again.digest, json.loads(again.spec)["search"]["n"]) == (row.digest, 6)
    spans = [span for shard in whole(store, shard_table) for span in json.loads(shard.spans)]
    assert [(s["item"], s["first"], s["count"]) for s in spans] == [(0, 0, 4), (1, 0, 4), (0, 4, 2), (1, 4, 2)]
    assert [(i.state, i.shards_left) for i in whole(store, item_table)] == [("in_progress", 1)] * 2
    assert [ticket.shard for ticket in store.read(dispatch.waiting, next(iter(store.read(dispatch.windows))), 9)] == [2]
    claim = take(store, 2)
    assert claim.extended == 1
    assert store.write(commits.commit, claim, outcome(claim))
    last = store.read(jobs.find, row.name)
    assert (last.state, last.candidates, last.items_done, last.shards_done) == ("completed", 12, 2, 2)


def test_stale_workers_change_nothing(store: Store) -> None:
    """A claim of the first run is no claim on the second."""
    row = store.write(creating.create, prepared(1, 4))
    stale, mine = take(store, 1), take(store, 1)
    assert store.write(commits.commit, mine, outcome(mine))
    grow(store, store.read(jobs.find, row.name), n=8)
    for late in (stale, mine):
        assert not store.write(commits.commit, late, outcome(late))
        assert not store.write(shards.fail, late, "late")
        assert not store.write(shards.hand_back, late)
    assert [(i.state, i.drawn, i.shards_left) for i in whole(store, item_table)] == [("in_progress", 4, 1)]


def test_of_many_at_once_one_extends(store: Store) -> None:
    """Eight threads, one of which is not the first; those with its key find what it did."""
    row = finished(store, 2, 4)
    said: list[str] = []

    def ask(number: int) -> None:
        try:
            said.append(grow(store, row, "same" if number % 2 else None, n=8).name)
        except Conflict as conflict:
            said.append("again" if "ask again" in str(conflict) else "queued" if "is queued" in str(conflict) else "?")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert row.name in said
    assert set(said) <= {row.name, "queued"}
    assert len(whole(store, extensions)) == 1
    assert len(whole(store, shard_table)) == 2
    run(store, row.id)
    assert store.read(jobs.find, row.name).candidates == 16


def test_read_before_somebody_else_extended_it(store: Store) -> None:
    row = finished(store, 1, 4)
    grow(store, row, n=8)
    run(store, row.id)
    with pytest.raises(Conflict, match="was extended meanwhile"):
        grow(store, row, n=16)
    assert store.read(jobs.find, row.name).candidates == 8


def test_only_what_is_new_is_held_and_paid_by_who_extends(store: Store) -> None:
    quota = json.dumps({"samples": {"total": 12}})
    first, second = (store.write(access.create, "ann", ("write",), None, None, quota)[0].name for _ in range(2))
    with access.acting("ann", first):
        row = finished(store, 2, 4)
    with access.acting("ann", second), pytest.raises(quotas.Exhausted, match="12 are left, and the job may need 14"):
        grow(store, row, n=11)
    assert store.read(jobs.find, row.name) == row
    assert not whole(store, extensions)
    with access.acting("ann", second):
        grow(store, row, n=10)

    def account(key: str) -> tuple[int, int]:
        total = store.read(quotas.account, key, quotas.today())["total"]
        return total["held_samples"], total["spent_samples"]

    assert (account(first), account(second)) == ((0, 8), (12, 0))
    run(store, row.id)
    assert (account(first), account(second)) == ((0, 8), (0, 12))
    assert not whole(store, quotas.holds)
    assert store.read(jobs.find, row.name).owner == "ann"


def test_an_owners_turn_stays_his_own(store: Store) -> None:
    """Also when an admin extends it."""
    with access.acting("ann"):
        row = finished(store, 1, 4)
    grow(store, row, n=8)
    assert {shard.share for shard in whole(store, shard_table)} == {access.share("ann")}


def test_a_webhook_is_told_again_and_signed_for_who_extended(store: Store) -> None:
    payers = [store.write(access.create, "ann", ("write",), None, None)[0].name for _ in range(2)]
    store.write(outbox.renew, payers[0])
    with access.acting("ann", payers[0]):
        row = finished(store, 1, 4, webhook="https://a.example/x")
    with access.acting("ann", payers[1]), pytest.raises(Conflict, match="POST /v1/webhooks/secret"):
        grow(store, row, n=8)
    store.write(outbox.renew, payers[1])
    with access.acting("ann", payers[1]):
        grow(store, row, n=8)
    run(store, row.id)
    told = store.read(outbox.of, row.id)
    assert [(one.key, json.loads(one.body)["data"]["candidates"]) for one in told] == [(payers[0], 4), (payers[1], 8)]


def test_a_dead_letter_of_the_first_run(store: Store) -> None:
    """Its item is left out; when it was requeued and is done, the item goes on like the others."""
    row = store.write(creating.create, prepared(2, 2000))  # two shards of each item
    assert store.write(shards.fail, take(store, 1), "error 1")
    run(store, row.id)
    grow(store, store.read(jobs.find, row.name), n=2600)
    assert [(i.state, i.shards_left) for i in whole(store, item_table)] == [("failed", 0), ("in_progress", 1)]
    store.write(dead.requeue, f"{row.name}.0")
    run(store, row.id)
    last = store.read(jobs.find, row.name)
    assert (last.state, last.items_failed, last.candidates) == ("completed", 0, 2000 + 2600)
    assert grow(store, last).items_done == 1
    run(store, row.id)
    last = store.read(jobs.find, row.name)
    assert (last.state, last.items_done, last.candidates) == ("completed", 2, 2 * 2600)


def test_judges_that_have_changed(store: Store) -> None:
    row = finished(store, 1, 4)
    store.write(lambda connection: connection.execute(sa.update(judges).values(version="0")))
    with pytest.raises(Conflict, match=r"'toy/linear' has version 1 now, and 0 when it judged job"):
        grow(store, row, n=8)


@pytest.mark.parametrize("unfinished", [1, 3])
def test_answers_of_a_search_that_was_stopped(store: Store, unfinished: int) -> None:
    """It keeps those that were finished, numbered without a gap; their keys tell whether others came between."""
    row = store.write(creating.create, prepared(1, 4))
    claim = take(store, 1)
    some = named(outcome(claim))
    names = [row[3] for row in some.candidates]
    del names[unfinished]
    some.candidates = [(*row[:3], name, *row[4:]) for row, name in zip(some.candidates[:3], names, strict=True)]
    some.items[0] |= {"drawn_": 3, "reason_": "deadline"}
    assert store.write(commits.commit, claim, some)
    row = store.read(jobs.find, row.name)
    if unfinished == 1:
        with pytest.raises(Conflict, match=r"item 'i0' was stopped \(deadline\) in the middle of a search"):
            grow(store, row, n=8)
        assert store.read(jobs.find, row.name) == row
    else:
        grow(store, row, n=8)
        spans = [span for shard in whole(store, shard_table) for span in json.loads(shard.spans)]
        assert [(span["first"], span["count"]) for span in spans] == [(0, 4), (3, 5)]


def test_populations_without_their_weights(store: Store) -> None:
    """All their answers are there, and the search had not come to its end."""
    search = {"method": "feynman_kac", "particles": 4, "repeats": 2}
    row = finished(store, 1, search=search)
    add = [{"job": row.id, "item": 0, "first": first, "particles": 4, "ess": 4.0, "ancestors": 4} for first in (0, 4)]

    def weigh(connection: sa.Connection, one: dict[str, Any]) -> None:
        connection.execute(sa.insert(populations), {**one, "splits": "[]"})

    store.write(weigh, add[0])
    with pytest.raises(Conflict, match="in the middle of a search"):
        grow(store, row, repeats=3)
    store.write(weigh, add[1])
    grow(store, row, repeats=3)
    spans = [span for shard in whole(store, shard_table, job=row.id) for span in json.loads(shard.spans)]
    assert [span["first"] for span in spans] == [0, 4, 8]
