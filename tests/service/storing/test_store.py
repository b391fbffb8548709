"""The database: every step of a shard's life says whose it is, and a stale worker changes nothing."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helping import outcome, prepared, refused, take

import service
from search.ports import Score, Values
from service import curve
from service.api.errors import install
from service.api.present import item_views, job_view
from service.store import Store, commits, creating, dispatch, jobs, results, shards
from service.store.blobs import find
from service.store.bulk import insert_rows
from service.store.commits import Results
from service.store.pools import Columns, named, pack, packed, pool, unpack
from service.store.schema import candidates, events, items, judges, metadata, pools, scores, tallies
from service.store.schema import shards as table


def add(store: Store, *args: Any, **changes: Any) -> sa.Row[Any]:
    return store.write(creating.create, prepared(*args, **changes))


def row(store: Store, of: sa.Table, **where: Any) -> Any:
    with store.reading() as connection:
        return connection.execute(sa.select(of).where(*(of.c[k] == v for k, v in where.items()))).one()


def rows(store: Store, of: sa.Table) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(of).order_by(*of.primary_key)))


def written(store: Store, of: sa.Table, job: int) -> list[Any]:
    """A job's rows of a table, without its own and its judge's numbers."""
    columns = [column for column in of.c if column.name not in ("job", "judge")]
    mine = of.c.job == job if "job" in of.c else of.c.judge.in_(sa.select(judges.c.id).where(judges.c.job == job))
    with store.reading() as connection:
        return sorted(connection.execute(sa.select(*columns).where(mine)), key=repr)


def test_migration_makes_the_tables(store: Store) -> None:
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.migrate()  # again changes nothing
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_create_claim_commit(store: Store) -> None:
    job = add(store, 2, 4)
    assert (job.state, job.items, job.shards) == ("queued", 2, 1)
    assert store.read(dispatch.windows) == {("toy/gaussian_mixture", "batch", ""): 0}
    (ticket,) = store.read(dispatch.waiting, ("toy/gaussian_mixture", "batch", ""), 10)
    store.write(dispatch.published, {ticket.shard: "1-0"})
    assert store.read(dispatch.windows) == {}
    claim = take(store, ticket.shard)
    assert claim.attempt == 1
    assert row(store, table, id=ticket.shard).state == "running"
    assert store.read(jobs.find, job.name).state == "in_progress"
    assert store.write(commits.commit, claim, outcome(claim))
    after = store.read(jobs.find, job.name)
    assert (after.state, after.candidates, after.evaluations, after.verifier_calls) == ("completed", 8, 7, 3)
    assert (after.items_done, after.shards_done, after.items_failed) == (2, 1, 0)
    told = [event.type for event in store.read(results.events_after, job.id, 0)]
    assert told == ["created", "in_progress", "completed"]


def test_a_shard_is_committed_once(store: Store) -> None:
    job = add(store)
    claim = take(store, 1)
    assert store.write(commits.commit, claim, outcome(claim))
    before = [rows(store, of) for of in (candidates, scores, pools, tallies, items, events)]
    assert not store.write(commits.commit, claim, outcome(claim))
    assert not store.write(shards.hand_back, claim, "late")
    assert not store.write(shards.fail, claim, "late")
    assert store.write(shards.claim, "other", [("1-0", 1), ("2-0", 1)]) == ({}, {})
    assert [rows(store, of) for of in (candidates, scores, pools, tallies, items, events)] == before
    assert store.read(jobs.find, job.name).candidates == 8


def test_a_stale_attempt_writes_nothing(store: Store) -> None:
    add(store)
    old = take(store, 1, worker="frozen")
    assert store.write(shards.claim, "second", [("2-0", 1)]) == ({}, {})  # another message gives no right to it
    new = take(store, 1, worker="second")  # the same one, which Redis has handed on
    assert (old.attempt, new.attempt) == (1, 2)
    assert row(store, table, id=1).deaths == 1
    assert not store.write(commits.commit, old, outcome(old))
    assert rows(store, candidates) == rows(store, scores) == rows(store, tallies) == []
    assert not store.write(shards.hand_back, old)
    assert store.write(commits.commit, new, outcome(new))
    assert len(rows(store, candidates)) == 8


def test_a_commit_is_all_or_nothing(store: Store) -> None:
    job = add(store)
    claim = take(store, 1)
    bad = outcome(claim)
    bad.scores["toy/linear"][-1] = bad.scores["toy/linear"][0]  # the same key twice
    with pytest.raises(sa.exc.IntegrityError):
        store.write(commits.commit, claim, bad)
    assert rows(store, candidates) == rows(store, scores) == []
    assert row(store, table, id=1).state == "running"
    assert store.read(jobs.find, job.name).evaluations == 0
    assert store.write(commits.commit, claim, outcome(claim))


def test_shards_that_are_written_together_are_as_if_written_alone(store: Store) -> None:
    """Of several jobs and items, a stale claim among them, bytes that two of them name, one item over two shards."""
    alone, together = ([add(store, 2, 600), add(store, 1, 2500)] for _ in "ab")
    blob = ("a" * 64, "png", b"same")

    def done(made: list[Any]) -> list[tuple[shards.Claim, Results]]:
        numbers = [one.id for job in made for one in rows(store, table) if one.job == job.id]
        claimed = store.write(shards.claim, "w", [(f"{number}-0", number) for number in numbers]).claims.values()
        return [(one, replace(outcome(one, i != 1), blobs={blob[0]: blob})) for i, one in enumerate(claimed)]

    first, second = done(alone), done(together)
    assert len(first) == len(second) > 4
    stale = replace(second[2][0], attempt=0)
    for claim, its in first[:-1]:
        assert store.write(commits.commit, claim, its)
    good = store.write(commits.commit_all, [*second[:-1], (stale, second[2][1])])
    assert good == {claim for claim, _ in second[:-1]}
    assert not store.write(commits.commit_all, second[:-1])
    for few in (first, second):
        assert store.write(commits.commit_all, few[-1:])
    for kind in (candidates, scores, tallies, pools, items):
        left, right = ([written(store, kind, job.id) for job in made] for made in (alone, together))
        assert left == right
        assert all(left)
    for one, other in zip(alone, together, strict=True):
        views = [store.read(jobs.find, job.name) for job in (one, other)]
        said = [(v.state, v.shards_done, v.items_done, v.candidates, v.evaluations, v.verifier_calls) for v in views]
        assert said[0] == said[1]
        assert said[0][0] == "completed"


def test_bytes_come_with_their_rows(store: Store) -> None:
    """Two shards may name the same bytes; a stale attempt leaves none."""
    add(store, 1, 2500)
    first, second, _ = (take(store, shard, f"{shard}-0") for shard in (1, 2, 3))
    same, other = ("a" * 64, "png", b"same"), ("b" * 64, "json", b"other")
    assert store.write(commits.commit, first, replace(outcome(first), blobs={same[0]: same}))
    assert not store.write(commits.commit, first, replace(outcome(first), blobs={other[0]: other}))
    assert store.read(find, other[0]) is None
    assert store.write(commits.commit, second, replace(outcome(second), blobs={same[0]: same, other[0]: other}))
    assert store.read(find, same[0]) == (b"same", "image/png")
    assert store.read(find, other[0]) == (b"other", "application/json")


def test_tallies_add_up_over_shards(store: Store) -> None:
    add(store, 1, 2500)  # three shards of one item
    claims = [take(store, shard, f"{shard}-0") for shard in (1, 2, 3)]
    assert [claim.spans[0].first for claim in claims] == [0, 1000, 2000]
    assert store.write(commits.commit, claims[2], outcome(claims[2], passed=False))
    assert row(store, tallies).first_pass is None
    assert store.write(commits.commit, claims[1], outcome(claims[1]))
    assert row(store, tallies).first_pass == 1000
    assert row(store, items).state == "in_progress"
    assert store.write(commits.commit, claims[0], outcome(claims[0]))
    tally = row(store, tallies)
    assert (tally.scored, tally.passed, tally.unscored, tally.first_pass) == (2500, 2000, 0, 0)
    item = row(store, items)
    assert (item.state, item.drawn, item.evaluations, item.shards_left) == ("completed", 2500, 21, 0)


def test_hand_back(store: Store) -> None:
    add(store)
    first = take(store, 1)
    assert store.write(shards.hand_back, first)
    assert (row(store, table, id=1).state, row(store, table, id=1).deaths) == ("pending", 0)
    assert not store.write(commits.commit, first, outcome(first))
    second = take(store, 1, "2-0")
    assert store.write(shards.hand_back, second, "ValueError: no")
    assert (row(store, table, id=1).deaths, row(store, table, id=1).error) == (1, "ValueError: no")
    third = take(store, 1, "3-0")
    assert third.attempt == 3
    assert store.write(commits.commit, third, outcome(third))


def test_three_deaths(store: Store) -> None:
    job = add(store, 2, 1000)  # two shards, one an item
    for _ in range(3):
        take(store, 1)
    claimed = store.write(shards.claim, "w", [("1-0", 1), ("2-0", 2)])
    assert list(claimed.claims) == [("2-0", 2)]
    assert claimed.dead == {("1-0", 1): "worker_lost: 3 workers died on this shard"}
    other = claimed.claims["2-0", 2]
    assert store.write(commits.commit, other, outcome(other))
    last = store.read(jobs.find, job.name)
    assert (last.state, last.items_failed, last.items_done, last.stop_reason) == ("completed", 1, 2, "error")
    lost, kept = rows(store, items)
    assert (lost.state, lost.error, lost.drawn) == ("failed", claimed.dead["1-0", 1], 0)
    assert (kept.state, kept.error, kept.drawn) == ("completed", None, 1000)


def test_a_job_whose_every_item_fails_says_why(store: Store) -> None:
    job = add(store, 2, 4)
    for message in ("1-0", "2-0", "3-0"):
        store.write(shards.hand_back, take(store, 1, message), "ImportError: no such package")
    store.write(shards.claim, "w", [("4-0", 1)])
    last = store.read(jobs.find, job.name)
    assert (last.state, last.error, last.stop_reason) == ("failed", "ImportError: no such package", "error")


def test_one_message_id_in_two_streams(store: Store) -> None:
    """Redis may give the same id to messages of two models in the same millisecond."""
    add(store)
    add(store, model="toy/noop")
    claimed = store.write(shards.claim, "w", [("1-0", 1), ("1-0", 2)])
    assert {key: claim.shard for key, claim in claimed.claims.items()} == {("1-0", 1): 1, ("1-0", 2): 2}
    again = store.write(shards.claim, "w", [("9-0", 1)])  # a second message of a shard gives nothing
    assert again == ({}, {})


def test_published_loses_to_a_fast_worker(store: Store) -> None:
    add(store)
    claim = take(store, 1, "1-0")
    store.write(dispatch.published, {1: "1-0"})
    assert row(store, table, id=1).state == "running"
    assert store.write(commits.commit, claim, outcome(claim))
    store.write(dispatch.published, {1: "1-0"})
    assert row(store, table, id=1).state == "done"


def test_republish(store: Store) -> None:
    add(store, 3, 1000)
    store.write(dispatch.published, {1: "1-0", 2: "2-0", 3: "3-0"})
    claim = take(store, 2, "2-0")
    done = take(store, 3, "3-0")
    assert store.write(commits.commit, done, outcome(done))
    assert {shard for shard, *_ in store.read(dispatch.out, -1)} == {1, 2}
    assert store.read(dispatch.out, 60) == []
    assert store.write(dispatch.republish, {1: "1-0", 2: "2-0", 3: "3-0"}) == 2
    assert store.write(dispatch.republish, {1: "1-0", 2: "2-0"}) == 0
    assert [(s.state, s.deaths) for s in rows(store, table)] == [("pending", 0), ("pending", 1), ("done", 0)]
    assert not store.write(commits.commit, claim, outcome(claim))


def test_waiting_is_round_robin_over_jobs(store: Store) -> None:
    first, second = add(store, 1, 3000), add(store, 1, 3000)
    tickets = store.read(dispatch.waiting, ("toy/gaussian_mixture", "batch", ""), 4)
    assert [ticket.job for ticket in tickets] == [first.id, second.id, first.id, second.id]


def test_cancel(store: Store) -> None:
    job = add(store, 3, 1000)
    claim = take(store, 1)
    asked = store.write(jobs.cancel, job.name)
    assert (asked.state, asked.shards_done) == ("cancelling", 2)
    assert store.read(shards.cancelling, [job.id]) == {job.id}
    assert store.write(jobs.cancel, job.name).shards_done == 2
    assert store.write(shards.claim, "w", [("2-0", 2)]) == ({}, {})
    assert store.write(commits.commit, claim, outcome(claim))
    last = store.read(jobs.find, job.name)
    assert (last.state, last.stop_reason, last.items_done) == ("cancelled", "cancelled", 3)
    assert [item.state for item in rows(store, items)] == ["completed", "cancelled", "cancelled"]
    assert store.write(jobs.cancel, job.name) == last
    told = [event.type for event in store.read(results.events_after, job.id, 0)]
    assert told.count("cancelled") == 1


def test_idempotency(store: Store) -> None:
    one = store.write(creating.create, prepared(), "k")
    assert store.write(creating.create, prepared(), "k").id == one.id
    with pytest.raises(jobs.Conflict, match=one.name):
        store.write(creating.create, prepared(3), "k")
    assert store.write(creating.create, prepared()).id != one.id
    assert len(rows(store, judges)) == 2


def test_pool_leaves_no_gaps(store: Store) -> None:
    """A later shard is there, an earlier one is not: the item's verdicts stand side by side all the same."""
    add(store, 1, 2500)
    claims = [take(store, shard, f"{shard}-0") for shard in (1, 2, 3)]
    store.write(commits.commit, claims[2], outcome(claims[2]))
    found = store.read(pool, 1, 1, 500)
    assert found.values[0].tolist() == list(range(2000, 2500))
    assert (found.passed == 1).all()
    store.write(commits.commit, claims[0], outcome(claims[0], passed=False))
    found = store.read(pool, 1, 1, 1600)
    assert found.drawn.tolist() == [1500]
    assert found.values[0, :1500].tolist() == [*range(1000), *range(2000, 2500)]
    assert np.isnan(found.values[0, 1500:]).all()
    assert found.passed[0].tolist() == [0] * 1000 + [1] * 500 + [-1] * 100


def test_packed_verdicts() -> None:
    given = [
        Score(0.5, True, None, "a"),
        Score(None, None, "broken"),
        Score(-1e300, False),
        Score(2.0, None, None, "a"),
    ]
    found = unpack(4, packed(given))
    assert found.values.tolist() == [0.5, pytest.approx(np.nan, nan_ok=True), -1e300, 2.0]
    assert found.passed.tolist() == [1, -1, 0, -1]
    assert found.forms is not None
    assert (found.forms[0], found.forms[1], found.forms[2]) == (found.forms[3], 0, 0)
    assert found.forms[0] != 0
    assert unpack(1, packed([Score(1.0, True)])).forms is None
    plain = unpack(2, packed(Values(np.array([3.0, 4.0]))))
    assert (plain.values.tolist(), plain.passed.tolist()) == ([3.0, 4.0], [-1, -1])
    with pytest.raises(ValueError, match="a pool of 3 verdicts has 27 or 51 bytes, not 68"):
        unpack(3, packed(given))


def test_pool_of_many_verdicts_needs_little_memory(store: Store) -> None:
    """150,000 verdicts are 1.5 MB in arrays and another megabyte as they are stored."""
    add(store, 2, 1)
    n = 75_000
    columns = pack(Columns(np.arange(n, dtype=np.float64), (np.arange(n) % 2 == 0).astype(np.int8), None))
    with store.writing() as connection:
        insert_rows(connection, pools, [(1, item, 0, n, columns) for item in (0, 1)])
    tracemalloc.start()
    try:
        found = store.read(pool, 1, 2, n)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert (found.values == np.arange(n)).all()
    assert (found.passed == (np.arange(n) % 2 == 0)).all()


def upgraded(connection: sa.Connection, version: str) -> None:
    """An empty database of an old version."""
    config = Config()
    config.set_main_option("script_location", str(Path(service.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def test_old_verdicts_are_packed(tmp_path: Path) -> None:
    """A database of the version before keeps its curves."""
    database = Store(f"sqlite:///{tmp_path / 'old.db'}")
    with database.writing() as connection:
        upgraded(connection, "0002")
        given = [(1, 0, s, 0.5 * s, s % 2 == 0, None, "even" if s % 2 == 0 else None, 0.0) for s in (5, 4, 7)]
        given += [(1, 3, 0, None, None, "broken", None, 0.0), (2, 3, 0, 1.0, None, None, None, 0.0)]
        insert_rows(connection, scores, given)
    database.migrate()
    first, second = database.read(pool, 1, 4, 3), database.read(pool, 2, 4, 1)
    kept = [(row.judge, row.item, row.first, row.n) for row in rows(database, pools)]
    assert sorted(kept) == [(1, 0, 4, 2), (1, 0, 7, 1), (1, 3, 0, 1), (2, 3, 0, 1)]
    assert first.drawn.tolist() == [3, 0, 0, 1]
    assert first.values[0].tolist() == [2.0, 2.5, 3.5]
    assert first.passed[:, 0].tolist() == [1, -1, -1, -1]
    assert first.forms is not None
    assert first.forms[0].tolist() == [named("even"), 0, 0]
    assert second.values[3].tolist() == [1.0]
    database.close()


def test_old_jobs_counted_no_tokens_and_lost_nothing(tmp_path: Path) -> None:
    """A database of the version before, with rows: it is read as before, and goes on."""
    database = Store(f"sqlite:///{tmp_path / 'old.db'}")
    with database.writing() as connection:
        upgraded(connection, "0004")
        old = sa.MetaData()
        old.reflect(connection)
        assert "tokens" not in old.tables["jobs"].c
        spec = prepared(1, 2).spec
        job = {"id": 1, "name": "job_old", "state": "completed", "spec": spec.model_dump_json(), "lane": "batch"}
        job |= {"budget": "{}", "model": "m", "digest": "d", "created": 1.0, "items": 1, "shards": 1}
        counted = ("items_done", "items_failed", "shards_done", "candidates", "unscored")
        cost = {"evaluations": 2, "verifier_calls": 2, "verifier_seconds": 0.5}
        connection.execute(old.tables["jobs"].insert(), job | dict.fromkeys(counted, 2) | cost)
        item = {"job": 1, "number": 0, "id": "i0", "state": "completed", "shards_left": 0, "drawn": 2, "evaluations": 2}
        connection.execute(old.tables["items"].insert(), item)
        judge = {"id": 1, "job": 1, "place": 0, "role": "verifier", "label": "v", "name": "v", "version": "1"}
        connection.execute(old.tables["judges"].insert(), judge)
        found = {"job": 1, "item": 0, "key": "k", "answer": "1.5", "evaluations": 1}
        connection.execute(old.tables["candidates"].insert(), [found | {"sample": sample} for sample in (0, 1)])
    database.migrate()
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    read = database.read(jobs.find, "job_old")
    assert (read.evaluations, read.tokens, read.prompt_tokens, read.unreported, read.lost) == (2, 0, 0, 0, 0)
    view = job_view(read)
    assert (view.usage.evaluations, view.usage.tokens, view.counts.lost) == (2, 0, 0)
    (one,) = database.read(item_views, read, -1, 10)
    assert (one.drawn, one.lost, one.tokens, one.error) == (2, 0, 0, None)
    kept = database.read(results.candidates_page, read.id, (-1, -1), 10)
    assert [(c["answer"], c["tokens"]) for c in kept] == [(1.5, None)] * 2
    new = add(database)
    claim = take(database, row(database, table, job=new.id).id)
    assert database.write(commits.commit, claim, outcome(claim) if claim.job == new.id else Results())
    database.close()


def test_curve_reads_a_pool_once_and_not_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = add(store, 2, 4).name
    claim = take(store, 1)
    store.write(commits.commit, claim, outcome(claim))
    reads: list[int] = []

    def counted(connection: sa.Connection, judge: int, *more: int) -> Any:
        reads.append(judge)
        return pool(connection, judge, *more)

    monkeypatch.setattr(curve, "pool", counted)
    assert store.read(curve.curve_of, name, None, 0.95).samples == 4
    assert reads == [1]
    monkeypatch.setattr(curve, "CELLS", 7)
    with pytest.raises(curve.TooMany, match="2 items x 4 samples"):
        store.read(curve.curve_of, name, None, 0.95)
    assert reads == [1]

    app = FastAPI()
    install(app)

    @app.get("/")
    def _curve() -> None:
        store.read(curve.curve_of, name, None, 0.95)

    assert "at most 7 verdicts" in refused(TestClient(app).get("/"), 422)["detail"]


def test_best_reads_the_scores_of_the_best_alone(store: Store) -> None:
    """The first and the last answer are best: all between them are not read; judges are read once for all items."""
    job = add(store, 2, 100, top_k=2)
    claim = take(store, 1)
    given = outcome(claim)
    given.scores["toy/linear"] = [
        (i, s, float(s in (0, 99)), True, None, None, 1.0) for i, s, *_ in given.scores["toy/linear"]
    ]
    store.write(commits.commit, claim, given)
    told: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *args: told.append(args[2]))
    views = store.read(item_views, job, -1, 10)
    assert [[c.sample for c in view.best] for view in views] == [[0, 99]] * 2
    assert sum("FROM judges" in statement for statement in told) == 1
    assert not any("BETWEEN" in statement for statement in told)


def test_a_list_of_jobs_reads_no_spec(store: Store) -> None:
    add(store, budget={"evaluations": 100})
    (row,) = store.read(jobs.page, 10, None)
    assert "spec" not in row._fields
    view = job_view(row, spec=False)
    assert view.spec is None
    assert view.usage.unspent == {"evaluations": 100}
    whole = job_view(store.read(jobs.find, row.name))
    assert whole.spec
    assert whole.spec["budget"]["evaluations"] == 100


def test_mean_rank_of_many_answers_needs_little_memory(store: Store) -> None:
    """A hundred thousand answers, two verifiers: a table of all pairs would take 20 GB."""
    add(store, 1, 1, verifiers=["toy/linear", {"name": "toy/linear", "label": "b", "slope": -1.0}])
    n = 100_000
    with store.writing() as connection:
        for judge, sign in ((1, 1), (2, -1)):
            rows = [(judge, 0, s, sign * float(s % 7), None, None, None, 0.0) for s in range(n)]
            insert_rows(connection, scores, rows)
    with store.reading() as connection:
        order = results._by_mean_rank(connection, [1, 2], 0)
    assert order == list(range(n))  # the two undo each other
