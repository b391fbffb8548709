"""Webhooks: told when a job ended, signed, again while that helps, whoever dies; and never where they should not."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpcore
import pytest
import sqlalchemy as sa
from helping import done, job, outcome, prepared, refused, service, take, until
from pydantic import ValidationError
from receiving import Receiver, receiver

from service import webhooks
from service.addresses import Forbidden, Guarded, networks, permitted, public
from service.catalog import Invalid
from service.client import Client
from service.settings import Settings
from service.store import Store, access, commits, creating, jobs, outbox
from service.views.webhooks import Deliveries, DeliveryView

QUICK = {"webhook_networks": "127.0.0.0/8", "webhook_pause": 0.05, "webhook_seconds": 60.0, "webhook_tries": 3}
"""Who answers at all does so in that time, however busy the machine is."""


@pytest.fixture(scope="module")
def receiving() -> Iterator[Receiver]:
    with receiver() as state:
        yield state


@contextmanager
def delivering(store: Store, **changes: Any) -> Iterator[None]:
    deliverer = webhooks.Deliverer(store, Settings(**(QUICK | changes)))
    thread = deliverer.start()
    yield
    deliverer.stop()
    thread.join(60)
    assert not thread.is_alive()


def told(store: Store, *urls: str, key: str | None = None) -> list[int]:
    """Jobs that end at once, and whom they tell."""
    ids: list[int] = []
    for url in urls:
        with access.acting(None, key):
            row = store.write(creating.create, prepared(webhook=url))
        store.write(jobs.cancel, row.name)
        ids.append(row.id)
    return ids


def delivery(store: Store, job_: int) -> outbox.Row:
    (row,) = store.read(outbox.of, job_)
    return row


def due(store: Store, job_: int) -> None:
    """The next attempt may be made now."""
    mine = sa.update(outbox.deliveries).where(outbox.deliveries.c.job == job_).values(due=time.time())
    store.write(lambda connection: connection.execute(mine))


def test_written_with_the_end_and_only_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="POST /v1/webhooks/secret"):
        store.write(creating.create, prepared(webhook="https://a.example/x"))
    store.write(outbox.renew, None)
    row = store.write(creating.create, prepared(webhook="https://a.example/x"))
    silent = store.write(creating.create, prepared())
    mine = take(store, 1)
    real = outbox.tell

    def dies(connection: sa.Connection, ended: Any) -> None:
        real(connection, ended)
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "tell", dies)
        with pytest.raises(RuntimeError):
            store.write(commits.commit, mine, outcome(mine))
    assert store.read(jobs.find, row.name).state == "in_progress"  # the end and the message: neither
    assert store.read(outbox.of, row.id) == []
    assert store.write(commits.commit, mine, outcome(mine))
    assert not store.write(commits.commit, mine, outcome(mine))
    one = delivery(store, row.id)
    assert (one.state, one.type, one.attempts) == ("pending", "job.completed", 0)
    assert json.loads(one.body)["data"]["id"] == row.name
    other = take(store, 2)
    assert store.write(commits.commit, other, outcome(other))
    assert store.read(outbox.of, silent.id) == []


def test_what_receivers_do(store: Store, receiving: Receiver) -> None:
    """One that fails is asked again, one that hangs holds up nobody, no redirect is followed; all of it is recorded."""
    receiving.got.clear()
    store.write(outbox.renew, None)
    paths = ("/ok", "/fails-twice", "/down", "/gone", "/redirects", "/hangs", "/closes")
    ids = dict(zip(paths, told(store, *(f"{receiving.url}{path}" for path in paths)), strict=True))
    hanging = ids["/hangs"]
    with delivering(store):
        until(lambda: all(delivery(store, one).state != "pending" for one in ids.values() if one != hanging))
        until(lambda: receiving.at("/hangs"))
        assert delivery(store, hanging).state == "pending"
    due(store, hanging)  # what was under way is made again
    with delivering(store, webhook_seconds=0.4):
        until(lambda: delivery(store, hanging).state != "pending")
    ends = {path: delivery(store, one) for path, one in ids.items()}
    assert {path: (row.state, row.attempts, row.status) for path, row in ends.items()} == {
        "/ok": ("delivered", 1, 204),
        "/fails-twice": ("delivered", 3, 204),
        "/down": ("failed", 3, 503),
        "/gone": ("failed", 1, 410),
        "/redirects": ("failed", 3, 302),
        "/hangs": ("failed", 3, None),
        "/closes": ("failed", 3, None),
    }
    assert ends["/redirects"].error == "redirects are not followed"
    assert ends["/hangs"].error == "no reply within 0.4 s"
    attempts = {path: row.attempts for path, row in ends.items()}
    came = {path: len(receiving.at(path)) for path in paths}
    assert 1 <= came.pop("/hangs") <= attempts.pop("/hangs")  # 0.4 s may pass before a busy machine has sent anything
    assert came == attempts
    assert len({message.id for message in receiving.at("/down")}) == 1


def test_two_deliverers_and_a_crowd(store: Store, receiving: Receiver) -> None:
    """Forty receivers of one key hang; another key's message arrives meanwhile. Two deliverers send nothing twice."""
    receiving.got.clear()
    keys = [store.write(access.create, name, ("write",), None, None)[0].name for name in ("ann", "bob")]
    for key in keys:
        store.write(outbox.renew, key)
    told(store, *(f"{receiving.url}/hangs?{i}" for i in range(40)), key=keys[0])
    (quick,) = told(store, f"{receiving.url}/ok", key=keys[1])
    with delivering(store), delivering(store):
        until(lambda: delivery(store, quick).state == "delivered")
        until(lambda: len(receiving.got) == 1 + 2 * webhooks.OF_ONE)
        time.sleep(3 * webhooks.POLL)
        assert len({message.id for message in receiving.got}) == len(receiving.got) == 1 + 2 * webhooks.OF_ONE


CRASHED = """
import sys
from service import webhooks
from service.settings import Settings
from service.store import Store
settings = Settings(webhook_networks="127.0.0.0/8", webhook_seconds=25.0)
webhooks.Deliverer(Store(sys.argv[1]), settings).start().join()
"""


def test_killed_between_commit_and_reply(store: Store, receiving: Receiver) -> None:
    """The message is there after the end is committed; who is killed while it sends is replaced, under the same id."""
    receiving.got.clear()
    secret = store.write(outbox.renew, None)
    (one,) = told(store, f"{receiving.url}/hangs-once")
    url = store.engine.url.render_as_string(hide_password=False)
    first = subprocess.Popen([sys.executable, "-c", CRASHED, url])
    until(lambda: receiving.got)
    first.kill()
    first.wait()
    row = delivery(store, one)
    assert (row.state, row.attempts) == ("pending", 1)
    assert row.due - row.changed == pytest.approx(25.0 + webhooks.MARGIN)  # then nobody waits for the dead one any more
    due(store, one)
    with delivering(store):
        until(lambda: delivery(store, one).state == "delivered")
    assert len({message.id for message in receiving.got}) == 1
    assert len(receiving.got) == delivery(store, one).attempts == 2
    assert all(message.proven(secret) for message in receiving.got)


def test_through_the_service(receiving: Receiver, tmp_path: Path) -> None:
    receiving.got.clear()
    with service(tmp_path, **QUICK) as (_, client):
        body = refused(client.http.post("/v1/jobs", json=job(webhook=f"{receiving.url}/ok")), 422)
        assert body["errors"][0]["loc"] == ["webhook"]
        secrets = [client.http.post("/v1/webhooks/secret").json()["secret"] for _ in range(3)]
        view = done(client, job(webhook=f"{receiving.url}/ok"))
        assert view.spec
        assert view.spec["webhook"] == f"{receiving.url}/ok"
        one = until(lambda: sent(client, view.id).state == "delivered" and sent(client, view.id))
        assert (one.type, one.attempts, one.status, one.next_at) == ("job.completed", 1, 204, None)
        (message,) = receiving.got
        assert message.id == one.id
        assert [message.proven(secret) for secret in secrets] == [False, True, True]  # the last one, and that before it
        said = json.loads(message.body)
        assert said["type"] == "job.completed"
        assert said["data"] == {
            **{"id": view.id, "state": "completed", "stop_reason": None, "error": None},
            **{"model": "toy/gaussian_mixture", "items": 2, "items_failed": 0, "candidates": 8},
        }
        refused(client.http.get("/v1/jobs/job_x/deliveries"), 404)


def test_a_secret_is_changed_without_a_message_that_nobody_can_prove(store: Store, receiving: Receiver) -> None:
    """For a day whoever knows one of the last two secrets can tell; then the last one alone."""
    receiving.got.clear()
    old = store.write(outbox.renew, None)
    assert store.read(outbox.secrets_of, None) == [old]
    new = store.write(outbox.renew, None)
    assert store.read(outbox.secrets_of, "another key") == []
    earlier = sa.update(outbox.webhook_secrets).values(created=outbox.webhook_secrets.c.created - outbox.OVERLAP)
    with delivering(store):
        for expected in ([True, True], [False, True]):
            (one,) = told(store, f"{receiving.url}/ok")
            until(lambda: delivery(store, one).state == "delivered")  # noqa: B023
            assert [receiving.got[-1].proven(secret) for secret in (old, new)] == expected
            assert receiving.got[-1].signature.count("v1,") == sum(expected)
            store.write(lambda connection: connection.execute(earlier))


def test_two_renew_at_once(store: Store) -> None:
    """Whoever comes second waits for the first, and has the last word; both secrets sign."""
    with ThreadPoolExecutor(1) as pool:
        with store.writing() as connection:
            first = outbox.renew(connection, "k")
            second = pool.submit(store.write, outbox.renew, "k")
            time.sleep(0.2)  # so that it is most likely waiting; it is right either way
        last = second.result(60)
    assert store.read(outbox.secrets_of, "k") == [last, first]


def sent(client: Client, name: str) -> DeliveryView:
    (one,) = Deliveries.model_validate_json(client.http.get(f"/v1/jobs/{name}/deliveries").content).data
    return one


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a.example/", "a.example", "", "https://", "http://a b/", "https://u:p@a.example/", "javascript:1"),
        *("https://a.example/#x", "https://a.example:99999/", "file:///etc/passwd", "https://a.example/" + "x" * 2000),
    ],
)
def test_urls_that_are_none(client: Client, url: str) -> None:
    body = refused(client.http.post("/v1/jobs", json=job(webhook=url)), 422)
    assert body["errors"][0]["loc"][0] == "webhook"


FORBIDDEN = (
    *("127.0.0.1", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::", "::1"),
    *("::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:a00:1::", "2001:0:1::1", "::7f00:1", "fd00::1"),
    *("fe80::1%eth0", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
)


def test_addresses() -> None:
    assert [address for address in FORBIDDEN if public(address)] == []
    assert all(map(public, ("8.8.8.8", "2606:4700::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8")))
    allowed = networks("10.0.0.0/8, fd00::/8")
    found = [a for a in FORBIDDEN if permitted(a, allowed)]
    assert found == ["10.1.1.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "fd00::1"]
    with pytest.raises(ValidationError, match="10/40"):
        Settings(webhook_networks="10/40")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
def test_no_caller_sends_us_to_ourselves(store: Store, receiving: Receiver, host: str) -> None:
    """Under whatever name; nothing is sent, and it is not tried again."""
    receiving.got.clear()
    store.write(outbox.renew, None)
    (one,) = told(store, f"{receiving.url}/ok".replace("127.0.0.1", host))
    with delivering(store, webhook_networks=""):
        until(lambda: delivery(store, one).state == "failed")
    assert delivery(store, one).attempts == 1
    assert "is not a public address" in delivery(store, one).error
    assert receiving.got == []


def test_a_name_that_changes_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked is what is connected to: there is no second look-up that could say something else."""
    answers = [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"]]
    asked: list[str] = []
    reached: list[str] = []

    class Plain(httpcore.AsyncMockBackend):
        async def connect_tcp(self, host: str, *args: Any, **named: Any) -> Any:
            reached.append(host)
            return await super().connect_tcp(host, *args, **named)

    def look(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in answers.pop(0)]

    monkeypatch.setattr("socket.getaddrinfo", look)

    async def main() -> None:
        guard = Guarded((), plain=Plain([]))
        await guard.connect_tcp("rebinding.example", 80)
        for _ in range(2):
            with pytest.raises(Forbidden):
                await guard.connect_tcp("rebinding.example", 80)

    asyncio.run(main())
    assert asked == ["rebinding.example"] * 3
    assert reached == ["93.184.216.34"]


def test_pauses_grow_and_differ() -> None:
    first = [webhooks.pause(5.0, f"msg_{i}", 1) for i in range(50)]
    assert all(2.5 <= seconds < 7.5 for seconds in first)
    assert max(first) - min(first) > 3
    assert all(40 <= webhooks.pause(5.0, f"msg_{i}", 3) < 120 for i in range(50))
    assert webhooks.pause(5.0, "msg", 20) <= 1.5 * webhooks.LONGEST
