"""The typed client, sync and async, against the real service."""

import asyncio
import time

import httpx
import pytest
from helping import GAUSS, done, job

from service.calls import cancel, candidates, curve, items, listing, plugins, submit
from service.calls import job as read
from service.client import AsyncClient, Client, Refused
from service.embedded import Stack
from service.spec import JobSpec


def test_sync(client: Client) -> None:
    spec = JobSpec.model_validate(job(2, 3, model={**GAUSS, "steps": 3}))
    view = done(client, spec)
    assert view.spec
    assert view.spec["model"] == {**GAUSS, "steps": 3}
    assert JobSpec.model_validate(view.spec) == spec
    assert list(client.watch(view.id)) == [view]
    assert [item.id for item in client.items(view.id)] == ["i0", "i1"]
    assert len(list(client.candidates(view.id))) == 6
    assert client.curve(view.id, "toy/linear").judge == "toy/linear"
    assert client.send(listing(1)).data[0].id == view.id
    assert client.cancel(view.id).state == "completed"


def test_refusals_are_exceptions(client: Client) -> None:
    with pytest.raises(Refused, match="422: model: unknown model 'nothing'") as caught:
        client.submit(job(model="nothing"))
    assert caught.value.status == 422
    assert caught.value.problem["errors"]
    with pytest.raises(Refused, match="404: no job 'job_0'"):
        client.job("job_0")
    with pytest.raises(Refused, match="404"):
        client.artifact("0" * 64)


def test_a_client_is_the_first_to_give_up_an_idle_connection(running: tuple[Stack, Client]) -> None:
    """After 5 s, when many clients still take it for good."""
    limits = httpx.Limits(keepalive_expiry=60)
    with httpx.Client(base_url=running[0].url, limits=limits, trust_env=False) as http:
        used: list[object] = []
        for pause in (0, 6):
            time.sleep(pause)
            used.append(http.get("/v1/jobs").extensions["network_stream"].get_extra_info("client_addr"))
        assert used[0] == used[1]


def test_no_server() -> None:
    with Client("http://127.0.0.1:9", timeout=2) as nobody, pytest.raises(httpx.ConnectError):
        nobody.job("job_0")


def test_a_reply_that_is_no_problem_document() -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(502, text="<html>bad gateway</html>"))
    with Client("http://proxy", answers) as client, pytest.raises(Refused, match="502: <html>bad gateway"):
        client.job("job_0")


def test_async(client: Client) -> None:
    async def work() -> None:
        async with AsyncClient(str(client.http.base_url)) as mine:
            views = await asyncio.gather(*(mine.submit({**job(2, 3), "seed": seed}, wait=60) for seed in range(5)))
            assert {view.state for view in views} == {"completed"}
            name = views[0].id
            assert await mine.job(name) == views[0] == await mine.send(read(name))
            assert len((await mine.send(items(name))).data) == 2
            assert len((await mine.send(candidates(name, limit=4))).data) == 4
            assert (await mine.send(curve(name))).points
            assert (await mine.send(plugins("methods"))).data
            lines = [line async for line in mine.events(name)]
            assert sum(line == "event: completed" for line in lines) == 1
            assert [line async for line in mine.events(name, "999999999")] == []
            assert (await mine.send(cancel(name))).state == "completed"
            again = await mine.send(submit(job(1, 1), "async-key"))
            assert (await mine.submit(job(1, 1), "async-key")).id == again.id
            with pytest.raises(Refused, match="404"):
                await mine.job("job_0")

    asyncio.run(work())
