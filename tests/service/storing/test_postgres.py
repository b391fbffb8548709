"""The whole service over PostgreSQL: the same answers as over SQLite, also when many things happen at once."""

import threading
from pathlib import Path

import sqlalchemy as sa
from helping import SLOW, done, ended, found, job, prepared, service, until, whole

from service.client import Client
from service.store import Store, creating, jobs, schema, shards


def test_the_same_answers(postgres_url: str, client: Client, tmp_path: Path) -> None:
    spec = job(40, 30, graders=[{"name": "toy/quadratic", "threshold": -1.0}], seed=5)
    with service(tmp_path, 2, database_url=postgres_url) as (_, theirs):
        mine, other = done(client, spec), done(theirs, spec)
        assert found(theirs, other.id) == found(client, mine.id)
        ours, curve = client.curve(mine.id), theirs.curve(other.id)
        assert [p.model_dump() for p in curve.points] == [p.model_dump() for p in ours.points]
        whole(theirs, other, 30)


def test_many_at_once(postgres_url: str, tmp_path: Path) -> None:
    """Jobs that end, and are cancelled, while two workers commit: no transaction waits for another for ever."""
    with service(tmp_path, 2, database_url=postgres_url) as (stack, client):
        names = [client.submit(job(6, 40 if i % 2 else 400, model=SLOW, seed=i)).id for i in range(8)]
        threads = [threading.Thread(target=client.cancel, args=(name,)) for name in names[::2]]
        until(lambda: any(client.job(name).counts.candidates for name in names))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        states: set[str] = set()
        for i, name in enumerate(names):
            view = ended(client, name)
            states.add(view.state)
            assert view.state in (("completed",) if i % 2 else ("completed", "cancelled")), view
            assert view.counts.candidates == sum(item.drawn for item in client.items(name))
        assert states == {"completed", "cancelled"}
        assert "deadlock" not in (tmp_path / "worker.log").read_text()
        assert stack.url


def test_answers_that_are_given_and_taken_away(postgres_url: str, tmp_path: Path) -> None:
    """While some jobs name the same pictures, others are judged again and deleted: no bytes go that anybody names."""
    spec = job(1, 40, model="outside/by_prompt", items=[{"prompt": "image"}, {"prompt": "huge", "id": "h"}])
    spec |= {"verifiers": ["any"], "seed": 3}
    with service(tmp_path, 2, database_url=postgres_url) as (_, client):
        for _ in range(3):
            first = done(client, spec)
            later = [client.submit(spec).id, client.rescore(first.id, {"verifiers": ["any"]}).id]
            until(lambda name=later[1]: client.job(name).finished)
            client.delete(first.id)
            for name in later:
                assert ended(client, name).counts.lost == 0
                assert all(client.artifact(c.artifact) for c in client.candidates(name) if c.artifact)
            assert [row[:5] for row in found(client, later[0])] == [row[:5] for row in found(client, later[1])]
            names = {c.artifact for c in client.candidates(later[0])}
            for name in later:
                client.delete(name)
            codes = {client.http.get(f"/v1/artifacts/{name}").status_code for name in names if name}
            assert codes == {404}
        assert client.verify({"answers": ["7"], "item": {"target": "7"}, "verifiers": ["exact"]}).data
        assert "deadlock" not in (tmp_path / "worker.log").read_text()


def test_a_shard_is_cancelled_or_claimed(postgres_url: str) -> None:
    """A job is cancelled while a worker claims one of its shards: what the worker has is not counted as dropped."""
    store = Store(postgres_url)
    row = store.write(creating.create, prepared(1, 3000))
    first, second, *_ = store.read(numbers, row.id)
    store.write(shards.claim, "w", [("1-0", first)])  # the job is under way: later claims do not touch its row
    cancelling = threading.Thread(target=store.write, args=(jobs.cancel, row.name))
    with store.writing() as connection:
        assert shards.claim(connection, "w", [("2-0", second)]).claims
        cancelling.start()
        until(lambda: store.read(blocked))
    cancelling.join()
    job = store.read(jobs.find, row.name)
    assert (job.state, job.shards, job.shards_done) == ("cancelling", 3, 1)
    store.close()


def numbers(connection: sa.Connection, job: int) -> list[int]:
    query = sa.select(schema.shards.c.id).where(schema.shards.c.job == job).order_by(schema.shards.c.id)
    return list(connection.execute(query).scalars())


def blocked(connection: sa.Connection) -> int:
    """Locks in this database for which somebody waits."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return connection.execute(sa.text(query)).scalar_one()


def test_one_key_makes_one_job(postgres_url: str) -> None:
    """Two transactions that cannot see each other."""
    store = Store(postgres_url)
    made: list[str] = []

    def submit() -> None:
        made.append(store.write(creating.create, prepared(20, 50), "same").name)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    store.close()
