"""Answers that could not be had, tokens and conversations, through the whole service."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helping import done, ended, job, prepared, refused, service, until

from generators import fake
from search.engine import Engine
from search.ports import Failed
from service.artifacts import Artifacts
from service.client import Client
from service.execute import Bench, execute
from service.spec import Span
from service.store.shards import Claim
from service.views import CandidateView
from service.writing import written

RED = {"name": "regex", "label": "red", "pattern": "red"}


def spoken(items: int = 2, n: int = 24, /, **changes: Any) -> dict[str, Any]:
    """A job whose answers are lost now and then."""
    value: dict[str, Any] = {
        "model": {"name": "outside/elsewhere", "steps": 2, "lost": 0.2, "quiet": 0.2},
        "items": [{"id": f"i{i}", "prompt": "say some words"} for i in range(items)],
        "verifiers": [RED],
        "graders": [RED | {"label": "again"}],
    }
    return job(items, n, **(value | changes))


def by_item(client: Client, name: str) -> list[list[CandidateView]]:
    found = list(client.candidates(name))
    return [[c for c in found if c.item == number] for number in sorted({c.item for c in found})]


def test_lost_answers_through_the_service(client: Client) -> None:
    """They are stored with their reason, judged by nobody, on no curve, and counted; the others are as ever."""
    view = done(client, spoken(3))
    lost = 0
    for item, mine in zip(client.items(view.id), by_item(client, view.id), strict=True):
        gone = [c for c in mine if c.answer is None]
        lost += len(gone)
        assert gone
        assert [c.sample for c in mine] == list(range(24))
        assert (item.state, item.drawn, item.lost) == ("completed", 24 - len(gone), len(gone))
        assert item.best[0].answer is not None
        for c in mine:
            verdicts = [*c.scores, *c.grades]
            assert [v.name for v in verdicts] == ["red", "again"]
            if c.answer is None:
                assert {(v.value, v.passed, v.reason) for v in verdicts} == {(None, None, "503: nobody there")}
            else:
                assert {v.passed for v in verdicts} == {"red" in str(c.answer)}
        # An answer has no figure when one of its steps was not told; what the others told stays counted.
        assert item.tokens >= sum(c.tokens or 0 for c in mine)
    counts = view.counts
    assert (counts.lost, counts.candidates, counts.failed, counts.unscored) == (lost, 72, 0, 0)
    assert view.usage.verifier_calls == 72 - lost
    curve = client.curve(view.id)
    assert (curve.samples, curve.unscored) == (max(item.drawn for item in client.items(view.id)), 0)
    had = [[c for c in mine if c.answer is not None] for mine in by_item(client, view.id)]
    share = sum(sum(c.grades[0].passed is True for c in mine) / len(mine) for mine in had) / 3
    assert curve.points[0].coverage.mean == pytest.approx(share)


def test_usage_of_tokens(client: Client) -> None:
    """What was told is added up to the unit, by answer, item and job; what was not told is counted beside it."""
    loud = done(client, spoken(model={"name": "outside/elsewhere", "steps": 2, "lost": 0.2}))
    said = [[len(str(c.answer).split()) for c in mine if c.answer] for mine in by_item(client, loud.id)]
    told = [[c.tokens for c in mine if c.answer] for mine in by_item(client, loud.id)]
    assert said == told
    assert loud.usage.unreported == 0
    items = list(client.items(loud.id))
    assert loud.usage.tokens == sum(item.tokens for item in items) >= sum(map(sum, said))
    assert loud.usage.prompt_tokens == sum(item.prompt_tokens for item in items) > 0
    assert loud.usage.prompt_tokens % 3 == 0  # three words, read once for each answer whose first step came
    assert client.curve(loud.id).each["tokens"] == pytest.approx(loud.usage.tokens / (48 - loud.counts.lost))
    quiet = done(client, spoken(1, model={"name": "outside/elsewhere", "quiet": 1.0}))
    assert (quiet.usage.tokens, quiet.usage.prompt_tokens, quiet.usage.unreported) == (0, 0, 24)
    assert {c.tokens for c in client.candidates(quiet.id)} == {None}


@pytest.mark.parametrize("quiet", [0.0, 1.0])
def test_a_budget_of_tokens_is_hard(client: Client, quiet: float) -> None:
    """100 tokens for two items: twelve answers of four each when nobody tells, more when they turn out shorter."""
    view = done(
        client, spoken(model={"name": "outside/elsewhere", "quiet": quiet}, budget={"tokens": 100}, search={"n": 30})
    )
    said = sum(len(str(c.answer).split()) for c in client.candidates(view.id))
    assert view.stop_reason == "budget"
    assert said <= 100
    assert view.usage.unspent == {"tokens": 100 - view.usage.tokens}
    assert view.counts.candidates == 24 if quiet else view.counts.candidates > 24  # what they left buys others


def test_an_item_fails_only_when_nothing_could_be_had(client: Client) -> None:
    model = {"name": "outside/words", "max_tokens": 2}
    items = [{"id": "a", "prompt": "down"}, {"id": "b", "prompt": "hello"}]
    view = done(client, job(2, 3, model=model, items=items, verifiers=["any"]))
    assert (view.counts.failed, view.counts.lost, view.error) == (1, 3, None)
    down, up = client.items(view.id)
    assert (down.state, down.error, down.drawn, down.lost, down.best) == (
        *("failed", "503: the endpoint is down", 0, 3),
        [],
    )
    assert (up.state, up.error, up.drawn, up.lost) == ("completed", None, 3, 0)
    alone = ended(client, client.submit(job(1, 3, model=model, items=items[:1], verifiers=["any"])).id)
    assert (alone.state, alone.error) == ("failed", "503: the endpoint is down")


def test_cancelled_while_it_waits(tmp_path: Path) -> None:
    """The answer that takes half a minute is given up within a second or two; what had come is kept."""
    with service(tmp_path) as (_, client):
        items = [{"id": "a", "prompt": "hello"}, {"id": "b", "prompt": "slow"}]
        view = client.submit(job(2, 8, model="outside/words", items=items, verifiers=["any"]))
        until(lambda: client.job(view.id).counts.candidates == 8)
        assert client.http.post(f"/v1/jobs/{view.id}/cancel").is_success
        view = ended(client, view.id)
        assert (view.state, view.counts.candidates) == ("cancelled", 8)


def test_a_cancelled_shard_stores_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows answer at once, some never: half are kept, half are lost, and the reason is told."""

    async def sleep(seconds: float) -> None:
        if seconds > 1:
            await asyncio.Event().wait()

    waits = SimpleNamespace(sleep=sleep, gather=asyncio.gather, CancelledError=asyncio.CancelledError)
    monkeypatch.setattr(fake, "asyncio", waits)
    ready = prepared(
        *(1, 16), model={"name": "outside/elsewhere", "seconds": 1.0}, verifiers=["any"], items=[{"prompt": "hello"}]
    )
    asked = iter([None, None])
    claim = Claim(1, 1, 1, [Span(item=0, first=0, count=16)])
    found = asyncio.run(execute(claim, Bench.of(ready), Engine(), stopped=lambda: next(asked, "cancelled")))
    lost = [isinstance(answer, Failed) for answer in found[0].answers]
    assert 0 < sum(lost) < 16
    results = written(claim, ready, found, Artifacts(str(tmp_path)))
    (item,) = results.items
    assert (item["drawn_"], item["lost_"], item["loss_"]) == (16 - sum(lost), sum(lost), "cancelled")
    assert item["reason_"] == "cancelled"
    assert [row[4] is None for row in results.candidates] == lost
    assert results.verifier_calls == 16 - sum(lost)


@pytest.mark.parametrize(
    ("change", "loc", "message"),
    [
        ({"budget": {"tokens": 5}}, ["budget", "tokens"], "counts no tokens"),
        ({"items": [{"messages": [{"role": "user", "content": "a"}]}]}, ["items", 0, "messages"], "no conversation"),
        (
            {"items": [{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}]},
            ["items", 0],
            "an item has a `prompt` or `messages`, not both",
        ),
        (
            {"items": [{"messages": [{"role": "robot", "content": "a"}]}]},
            ["items", 0, "messages", 0, "role"],
            "'system', 'developer', 'user' or 'assistant'",
        ),
        ({"items": [{"messages": [{"role": "user"}]}]}, ["items", 0, "messages", 0, "content"], "required"),
    ],
)
def test_what_cannot_be_honoured_is_refused(client: Client, change: Any, loc: list[Any], message: str) -> None:
    body = refused(client.http.post("/v1/jobs", json=job(1, 1, **change)), 422)
    assert body["errors"][0]["loc"][-len(loc) :] == loc
    assert message in body["errors"][0]["msg"]


def test_a_conversation_reaches_model_and_judge(client: Client) -> None:
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two three"}]
    view = done(client, spoken(1, 2, model="outside/elsewhere", items=[{"id": "a", "messages": turns}]))
    assert view.usage.prompt_tokens == 6  # the last turn, for each of two
    assert view.spec
    assert view.spec["items"][0]["messages"] == turns
