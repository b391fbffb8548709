"""Every shape of Redis, real and on loopback: Sentinels that fail over, a Cluster, TLS, a user who may do little."""

import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from helping import SLOW, done, ended, job, service, until, whole
from redises import HOST, cluster, encrypted, ports, server, watched
from starlette.testclient import TestClient

from service.api import create_app
from service.api.access import Access
from service.artifacts import Artifacts
from service.beat import Beat
from service.connecting import connected, parsed
from service.feeder import Feeder
from service.messages import remembered
from service.opening import Unusable, reached
from service.queue import WORKERS, Broker, stream, vitals
from service.redis_server import redis_program
from service.settings import Settings
from service.spec import Ticket
from service.store import Store
from service.store.access import Key

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    try:
        redis_program()
    except Unusable as error:
        pytest.skip(f"NOT TESTED, shapes of Redis: {error}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """One database is enough for what is asked of Redis."""
    database = Store(f"sqlite:///{tmp_path / 'winnow.db'}")
    database.migrate()
    yield database
    database.close()


def walk(broker: Broker, store: Store) -> None:
    """Everything that the service asks of Redis, once."""
    tickets = [Ticket(shard=n, job=1, model=model, lane="batch") for n, model in enumerate("abcdef")]
    messages = broker.publish(tickets)
    held = broker.pull("w", broker.streams([], ["b"]), 10)
    assert sorted(d.ticket.shard for d in held) == [*range(6)]
    assert {d.ticket.shard: d.message for d in held} == messages
    assert broker.depth() == {f"{model}:batch": 1 for model in "abcdef"}
    assert broker.leases().keys() == broker.depth().keys()
    assert broker.renew("w", held) == []
    assert broker.renew("other", held) == held
    assert broker.release("w") == 6
    again = broker.pull("x", broker.streams([], []), 10)
    assert {d.message for d in again} == set(messages.values())
    assert [broker.finish("x", d) for d in again] == [True] * 6
    assert broker.missing([(d.stream, d.message) for d in again]) == [True] * 6
    broker.publish([Ticket(shard=9, job=2, model="a", lane="batch", share="somebody")])
    assert broker.sweep() == 0
    (other,) = broker.pull("w", broker.streams(["a"], []), 10)
    assert broker.finish("w", other)
    assert broker.sweep() == 1  # a share that has nothing left
    beats = [Beat(worker=name, at=0.0, resident=None, models={}) for name in "vw"]
    for beat in beats:
        broker.beat(beat, 60)
    assert broker.beats() == beats
    broker.leave("w")
    assert broker.beats() == beats[:1]
    assert broker.durable() is not False
    feeder = Feeder(store, broker, "f")
    assert feeder._lead()
    feeder.leads = 0.0
    assert feeder._lead()

    def waits() -> list[int] | None:
        """Of a key that asks twice in one minute."""
        key, minute = Key(uuid.uuid4().hex, "o", (), rate=1), broker.redis.time()[0] // 60
        found = [Access(None, store, broker)._wait(key) for _ in range(2)]  # type: ignore[arg-type]
        return found if broker.redis.time()[0] // 60 == minute else None

    first, second = until(waits)
    assert first == 0 < second <= 60
    broker.redis.set(remembered(1), "trace", ex=9)
    assert broker.redis.get(remembered(1)) == "trace"
    broker.redis.close()


def test_sentinels_fail_over_in_the_middle_of_a_job(plugins: None, tmp_path: Path) -> None:
    """The primary dies; the Sentinels make the replica primary; the job ends whole, each shard counted once."""
    spec = job(2, 150, model=SLOW)  # about 3 s of work in 4 shards
    with (
        watched(tmp_path) as (url, primary),
        service(tmp_path / "data", redis_url=url, lease_seconds=2, workers=2, lanes=1) as (_, client),
    ):
        view = client.submit(spec)
        until(lambda: client.job(view.id).counts.shards_done >= 1)
        primary.send_signal(signal.SIGKILL)
        view = ended(client, view.id)
        assert view.state == "completed"
        whole(client, view, 150)
        until(lambda: client.http.get("/readyz").status_code == 200)
        assert done(client, job(1, 2)).counts.done == 1  # and the next one


def test_a_cluster(plugins: None, store: Store, tmp_path: Path) -> None:
    """Three nodes, streams spread over them, workers and jobs as ever."""
    with cluster(tmp_path) as url:
        broker = Broker(url)
        homes = {broker.redis.get_node_from_key(stream(model, "batch")).port for model in "abcdef"}
        assert len(homes) > 1
        assert len({broker.redis.keyslot(key) for key in (WORKERS, vitals("a"), vitals("b"))}) == 1
        walk(broker, store)
        with service(tmp_path / "data", redis_url=url) as (_, client):
            for model in (SLOW, {"name": "toy/markov"}):
                judges = ["toy/linear"] if model is SLOW else [{"name": "toy/count", "symbol": 1}]
                whole(client, done(client, job(1, 20, model=model, verifiers=judges)), 20)


def test_tls(store: Store, tmp_path: Path) -> None:
    with encrypted(tmp_path) as (url, _):
        walk(Broker(url), store)
        with pytest.raises(redis.RedisError, match="certificate"):
            Broker(url.partition("?")[0], timeout=2).redis.ping()  # a server that nobody vouches for


def test_a_user_who_may_do_what_is_documented(store: Store, tmp_path: Path) -> None:
    """The rule of docs/operations.md is enough, and keeps a stolen password from the rest."""
    text = (ROOT / "docs/operations.md").read_text()
    (rule,) = re.findall(r"^(user winnow on .*(?:\n[^`].*)*)\n```$", text, re.MULTILINE)
    rule = " ".join(rule.split()).replace("PASSWORD", "planted-1")
    (port,) = ports(1)
    url = f"redis://winnow:planted-1@{HOST}:{port}"
    config = tmp_path / "redis.conf"
    config.write_text(f"{rule}\nuser default off\n")
    with server(tmp_path / "acl", port, "--appendonly", "yes", url=url, config=config):
        walk(Broker(url), store)
        mine = connected(url)
        for words in (("FLUSHALL",), ("KEYS", "*"), ("GET", "other"), ("CONFIG", "SET", "dir", "/"), ("ACL", "LIST")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                mine.execute_command(*words)
        mine.close()


@pytest.fixture
def without_log(tmp_path: Path) -> Iterator[str]:
    (port,) = ports(1)
    with server(tmp_path / "redis", port, "--appendonly", "no"):
        yield f"redis://{HOST}:{port}"


def test_readyz_warns_of_a_redis_without_its_log(without_log: str, valkey: str, store: Store, tmp_path: Path) -> None:
    def said(url: str) -> dict[str, Any]:
        broker = Broker(url)
        app = create_app(store, broker, Artifacts(str(tmp_path)), Settings(data_dir=tmp_path))
        return TestClient(app).get("/readyz").json()

    assert "warnings" not in said(valkey)
    found = said(without_log)
    assert found["status"] == "ready"
    assert "appendonly no" in found["warnings"][0]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://a:1,b:2", "ends with /SERVICE"),
        ("redis+sentinel://a:1,b/name", "'b' is no HOST:PORT"),
        ("redis+cluster:///", "names hosts"),
        ("redis+cluster://a:1/3", "one database"),
        ("redis+other://a:1", "valid: redis.sentinel://, redis.cluster://"),
    ],
)
def test_bad_urls_say_what_is_wrong(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        connected(url)
    with pytest.raises(Unusable, match=why):
        reached(Settings(redis_url=url))


def test_a_url_of_several_hosts() -> None:
    found = parsed("rediss+sentinel://me:p%40ss@a:1,[::1]:2/name/3?ssl_ca_certs=/ca.pem&sentinel_password=s")
    assert found.hosts == [("a", 1), ("::1", 2)]
    assert found.path == ["name", "3"]
    assert found.options == {"username": "me", "password": "p@ss", "ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert found.sentinel == {"password": "s"}
