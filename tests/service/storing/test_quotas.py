"""What a key may spend: held at submit, settled by shard, exact whatever dies; and how a refusal reads."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from helping import SLOW, done, ended, job, outcome, prepared, refused, service, strike, take, until
from typer.testing import CliRunner

from service.api.keys import limit
from service.cli import app
from service.client import Client
from service.spec import Span
from service.store import Store, access, commits, creating, jobs, quotas, shards
from service.store.quotas import Exhausted
from service.store.schema import jobs as table
from service.store.schema import shards as pieces
from service.views.keys import Quotas, UsageView


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees midnight, but for the one that makes it."""
    day = quotas.today()
    monkeypatch.setattr(quotas, "today", lambda: day)


def key_of(store: Store, **limits: Any) -> str:
    """A new key's public id."""
    said = Quotas.model_validate(limits).model_dump_json()
    return store.write(access.create, "ann", ("read", "write"), None, None, said)[0].name


def submit(store: Store, key: str, *args: Any, **changes: Any) -> sa.Row[Any]:
    with access.acting("ann", key):
        return store.write(creating.create, prepared(*args, **changes))


def account(store: Store, key: str) -> dict[str, int]:
    """A key's account in all, which is today's too."""
    found = store.read(quotas.account, key, quotas.today())
    numbers = [{name: n for name, n in row.items() if name not in ("key", "day")} for row in found.values()]
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]
    return numbers[0]


def told(**numbers: int) -> dict[str, int]:
    return {f"{kind}_{name}": 0 for kind in ("spent", "held") for name in quotas.CURRENCIES} | numbers


def test_held_then_settled_by_shard(store: Store) -> None:
    """Each shard lets go of what it held, and counts what it spent, once, whatever stale workers say."""
    key = key_of(store, evaluations={"total": 8010})
    submit(store, key, 2, 2000)  # 2 steps: two shards of 1000 samples for each item
    assert account(store, key) == told(held_evaluations=8000, held_samples=4000)
    stale, mine = take(store, 1), take(store, 1)
    assert store.write(commits.commit, mine, outcome(mine))
    for late in (stale, mine):
        assert not store.write(commits.commit, late, outcome(late))
        assert not store.write(shards.fail, late, "late")
    left = told(spent_evaluations=7, spent_samples=1000, held_evaluations=6000, held_samples=3000)
    assert account(store, key) == left
    assert store.write(shards.hand_back, take(store, 2), "an error")
    assert account(store, key) == left
    assert store.write(shards.fail, take(store, 2), "dead")
    assert account(store, key) == left | {"held_evaluations": 4000, "held_samples": 2000}
    name = store.read(lambda connection: connection.execute(sa.select(table.c.name)).scalar_one())
    store.write(jobs.cancel, name)
    assert store.read(jobs.find, name).state == "cancelled"
    assert account(store, key) == told(spent_evaluations=7, spent_samples=1000)
    with store.reading() as connection:
        assert not connection.execute(sa.select(quotas.holds)).all()


def test_a_budget_holds_no_more_than_it_is(store: Store) -> None:
    key = key_of(store, evaluations={"day": 30})
    submit(store, key, 2, 4000, budget={"evaluations": 30})
    assert account(store, key) == told(held_evaluations=30, held_samples=8000)
    store.write(limit, key, Quotas.model_validate({"evaluations": {"day": 31}}))
    with pytest.raises(Exhausted, match=r"31 evaluations a day; 1 are left, and the job may need 2; the day ends"):
        submit(store, key, 1, 1)


def test_what_a_span_may_cost() -> None:
    each = {"evaluations": 2.5, "tokens": 0.0, "samples": 1.0}
    spans = [Span(item=0, first=0, count=3), Span(item=1, first=0, count=3, evaluations=4)]
    assert quotas.most(spans, each) == {"evaluations": 8 + 4, "tokens": 0, "samples": 6}


def test_two_submits_at_once_never_pass_a_quota(store: Store) -> None:
    """Sixteen jobs of 8 for a quota of 40, from eight threads."""
    key, made, no = key_of(store, samples={"total": 40}), [], []

    def some() -> None:
        for _ in range(2):
            try:
                made.append(submit(store, key).id)
            except Exhausted:
                no.append(1)

    threads = [threading.Thread(target=some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(no)) == (5, 11)
    assert account(store, key)["held_samples"] == 40
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 5
        assert connection.execute(sa.select(sa.func.count()).select_from(pieces)).scalar() == 5


def test_a_day_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was spent yesterday counts in all; what a job of yesterday spends today is yesterday's."""
    key = key_of(store, samples={"day": 8, "total": 20})
    submit(store, key)
    day = quotas.today()
    monkeypatch.setattr(quotas, "today", lambda: day + 1)
    submit(store, key)
    for shard in (1, 2):
        claim = take(store, shard)
        assert store.write(commits.commit, claim, outcome(claim))
    found = [store.read(quotas.account, key, one)["day"] for one in (day, day + 1)]
    assert [(row["spent_samples"], row["held_samples"]) for row in found] == [(8, 0), (8, 0)]
    monkeypatch.setattr(quotas, "today", lambda: day + 2)
    with pytest.raises(Exhausted, match="20 samples in all; 4 are left, and the job may need 8") as why:
        submit(store, key)
    assert why.value.renews is None


@pytest.fixture(scope="module")
def served(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Client, Store, str]]:
    """A service with one key, without limits yet."""
    with service(tmp_path_factory.mktemp("quotas"), 2, lanes=1) as (stack, _):
        store = Store(stack.settings.database)
        row, key = store.write(access.create, "ann", ("read", "write"), None, None)
        until(lambda: httpx.get(f"{stack.url}/v1/jobs", timeout=60).status_code == 401)
        with Client(stack.url, key=key) as client:
            yield stack, client, store, row.name
        store.close()


def usage(client: Client) -> UsageView:
    return UsageView.model_validate_json(client.http.get("/v1/usage").content)


def test_refusals_say_what_is_left(served: tuple[Any, Client, Store, str]) -> None:
    _, client, store, key = served
    spent = usage(client).evaluations.total.spent
    store.write(limit, key, Quotas.model_validate({"evaluations": {"day": 20 + spent, "total": 24 + spent}}))
    assert done(client, job(2, 4)).usage.evaluations == 16
    body = refused(answer := client.http.post("/v1/jobs", json=job(1, 4)), 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    assert body["error"]["code"] == "insufficient_quota"
    assert "4 are left, and the job may need 8" in body["detail"]
    named = {"currency": "evaluations", "period": "day", "limit": 20 + spent, "left": 4, "wanted": 8}
    assert body["quota"] == {**named, "renews_at": usage(client).renews_at}
    assert usage(client).evaluations.day.model_dump() == {
        "spent": 16 + spent,
        "held": 0,
        "limit": 20 + spent,
        "left": 4,
    }
    body = refused(client.http.post("/v1/jobs", json=job(9, 9)), 429 if spent > 142 else 403)
    store.write(limit, key, Quotas.model_validate({"evaluations": {"total": 24 + spent}}))
    body = refused(answer := client.http.post("/v1/jobs", json=job(1, 5)), 403)
    assert "retry-after" not in answer.headers
    assert body["quota"]["renews_at"] is None
    assert client.http.post("/v1/jobs", json=job(1, 4)).status_code == 202
    store.write(limit, key, Quotas.model_validate({}))


def test_the_account_is_what_was_committed(served: tuple[Any, Client, Store, str]) -> None:
    """Workers die; what the key has spent is the sum of what its jobs have, and nothing stays held."""
    stack, client, store, key = served
    name = client.submit(job(3, 200, model=SLOW)).id  # six shards of a second
    for _ in range(3):
        strike(stack, signal.SIGKILL)
    assert ended(client, name).state == "completed"
    with store.reading() as connection:
        sums = [sa.func.sum(table.c[name]) for name in ("evaluations", "tokens", "candidates")]
        spent = connection.execute(sa.select(*sums).where(table.c.key == key)).one()
    until(lambda: usage(client).samples.total.held == 0)
    now = usage(client)
    assert [now.evaluations.total.spent, now.tokens.total.spent, now.samples.total.spent] == list(spent)


def test_a_batch_waits_for_its_quota(served: tuple[Any, Client, Store, str]) -> None:
    """Lines that the quota does not afford yet wait; they are neither lost nor refused."""
    _, client, store, key = served
    spent = usage(client).samples.total.spent
    store.write(limit, key, Quotas.model_validate({"samples": {"total": spent + 3}}))
    ask = {"model": "toy/bits", "prompt": "x"}  # of a seed each: jobs of their own
    line = {"method": "POST", "url": "/v1/completions"}
    lines = [{**line, "custom_id": f"{i}", "body": {**ask, "seed": i}} for i in range(5)]
    text = "\n".join(map(json.dumps, lines))
    file = client.http.post("/v1/files", files={"file": ("a", text)}, data={"purpose": "batch"}).json()["id"]
    ask = {"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "24h"}
    batch = client.http.post("/v1/batches", json=ask).json()["id"]

    def state() -> dict[str, Any]:
        return client.http.get(f"/v1/batches/{batch}").json()

    until(lambda: state()["request_counts"]["completed"] == 3)
    time.sleep(0.7)
    assert (state()["status"], state()["request_counts"]["failed"]) == ("in_progress", 0)
    store.write(limit, key, Quotas.model_validate({}))
    until(lambda: state()["status"] == "completed")
    assert state()["request_counts"] == {"total": 5, "completed": 5, "failed": 0}


def test_limits_over_http(served: tuple[Any, Client, Store, str], tmp_path: Path) -> None:
    stack, client, store, _ = served
    refused(client.http.get("/v1/keys"), 403)
    root = store.write(access.create, "ops", ("admin",), None, None)[1]
    with Client(stack.url, key=root) as admin:
        made = admin.http.post("/v1/keys", json={"owner": "eve", "quotas": {"tokens": {"day": 5}}}).json()
        assert made["usage"]["tokens"]["day"] == {"spent": 0, "held": 0, "limit": 5, "left": 5}
        changed = admin.http.put(f"/v1/keys/{made['id']}/quotas", json={"samples": {"total": 3}}).json()
        assert changed["usage"]["samples"]["total"]["limit"] == 3
        assert changed["usage"]["tokens"]["day"]["limit"] is None
        assert admin.http.get(f"/v1/keys/{made['id']}").json() == changed
        refused(admin.http.get("/v1/keys/wk_0"), 404)
        refused(admin.http.put("/v1/keys/wk_0/quotas", json={}), 404)
        for bad in ({"seconds": {"day": 1}}, {"tokens": {"day": -1}}, {"tokens": 5}, {"tokens": {"week": 1}}):
            refused(admin.http.put(f"/v1/keys/{made['id']}/quotas", json=bad), 422)
    with Client(stack.url, key=made["key"]) as eve:
        assert usage(eve).key == made["id"]
        body = refused(eve.http.post("/v1/completions", json={"model": "toy/bits", "prompt": "x", "n": 4}), 403)
        assert body["error"]["code"] == "insufficient_quota"


def test_command(tmp_path: Path) -> None:
    def winnow(*words: str) -> tuple[int, str]:
        ran = CliRunner().invoke(app, ["keys", *words, "--data-dir", str(tmp_path)])
        return ran.exit_code, ran.output

    code, key = winnow("create", "ann", "--quota", "evaluations=1000", "--quota", "samples=20/day")
    assert code == 0
    key = key.partition(".")[0]
    assert winnow("list")[1].rstrip().endswith("valid  1000 of 1000 evaluations  20 of 20 samples today")
    assert winnow("quota", key, "tokens=5", "tokens=2/day") == (0, "5 of 5 tokens, 2 of 2 tokens today\n")
    assert winnow("quota", key) == (0, "no limits\n")
    assert winnow("list")[1].rstrip().endswith("valid")
    for bad in ("tokens", "tokens=x", "tokens=-1", "tokens=1/week", "dollars=1", "tokens=\u00b2"):
        code, said = winnow("quota", key, bad)
        assert code == 1
        assert "CURRENCY=NUMBER/day, of evaluations, tokens, samples" in " ".join(said.split())
    assert winnow("quota", "wk_0")[0] == 1
