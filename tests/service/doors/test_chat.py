"""OpenAI's own client against the doors of chat and completions."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from helping import done, refused, until
from openai import OpenAI

from service.client import Client
from service.embedded import Stack

HELLO = [{"role": "system", "content": "Short."}, {"role": "user", "content": "Say something"}]


@pytest.fixture(scope="module")
def sdk(running: tuple[Stack, Client]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running[0].url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_chat(sdk: OpenAI, client: Client) -> None:
    reply = sdk.chat.completions.create(model="outside/words", messages=HELLO, n=2, max_tokens=5, seed=1)  # type: ignore[call-overload]
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert [len(choice.message.content.split()) for choice in reply.choices] == [5, 5]
    assert {choice.finish_reason for choice in reply.choices} == {"length"}
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (2, 10, 12)
    job = client.job(reply.model_extra["search"]["job"])
    assert job.usage.tokens == 10
    assert job.spec is not None
    assert job.spec["items"][0]["messages"] == HELLO
    again = sdk.chat.completions.create(model="outside/words", messages=HELLO, n=2, max_tokens=5, seed=1)  # type: ignore[call-overload]
    assert [c.message for c in again.choices] == [c.message for c in reply.choices]
    other = sdk.chat.completions.create(model="outside/words", messages=HELLO, n=2, max_tokens=5)  # type: ignore[call-overload]
    assert [c.message for c in other.choices] != [c.message for c in reply.choices]


def test_stop_temperature_and_logprobs(sdk: OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model="outside/words", messages=HELLO, n=8, stop=["a", "b"], max_completion_tokens=64, logprobs=True
    )  # type: ignore[call-overload]
    for choice in reply.choices:
        words = choice.message.content.split()
        assert not {"a", "b"} & set(words)
        assert [token.token for token in choice.logprobs.content] == words
        assert {token.logprob for token in choice.logprobs.content} <= {-2.0794}
    assert {choice.finish_reason for choice in reply.choices} == {"stop"}
    flat = sdk.chat.completions.create(model="outside/words", messages=HELLO, temperature=0, max_tokens=3)  # type: ignore[call-overload]
    assert flat.choices[0].message.content == "a a a"


def test_search_finds_what_is_asked_for(sdk: OpenAI) -> None:
    search = {"n": 200, "verifiers": [{"name": "regex", "pattern": "^a a"}], "graders": ["any"]}
    reply = sdk.chat.completions.create(
        model="outside/words",
        messages=HELLO,
        max_tokens=2,
        seed=0,
        extra_body={"search": search},  # type: ignore[call-overload]
    )
    assert reply.choices[0].message.content == "a a"
    told = reply.model_extra["search"]
    assert (told["drawn"], told["lost"], told["evaluations"]) == (200, 0, 200)
    assert told["returned"][0]["scores"] == {"regex": 1.0}
    assert told["returned"][0]["grades"] == {"any": 1.0}
    assert reply.usage.completion_tokens == 400  # all that was drawn


def test_majority(sdk: OpenAI) -> None:
    reply = sdk.completions.create(
        model="outside/words",
        prompt="vote",
        max_tokens=1,
        seed=3,
        extra_body={"search": {"n": 64, "select": "majority"}},
    )
    assert reply.choices[0].text in "abcdefgh"


def test_stream(sdk: OpenAI) -> None:
    more = {"model": "outside/words", "messages": HELLO, "n": 2, "max_tokens": 4, "seed": 1}
    whole = sdk.chat.completions.create(**more)
    text = ["", ""]
    ends: dict[int, str] = {}
    usage = None
    for chunk in sdk.chat.completions.create(**more, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text[choice.index] += choice.delta.content or ""
            ends |= {choice.index: choice.finish_reason} if choice.finish_reason else {}
    assert text == [choice.message.content for choice in whole.choices]
    assert ends == {0: "length", 1: "length"}
    assert usage == whole.usage


def test_completions(sdk: OpenAI) -> None:
    reply = sdk.completions.create(model="outside/words", prompt=["one", "two"], n=2, max_tokens=3, logprobs=0, seed=5)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    for choice in reply.choices:
        assert choice.text.split() == choice.logprobs.tokens
    pieces = list(sdk.completions.create(model="outside/words", prompt="one", max_tokens=3, seed=5, stream=True))
    assert "".join(choice.text for piece in pieces for choice in piece.choices) == reply.choices[0].text
    best = sdk.completions.create(
        model="outside/words",
        prompt="one",
        max_tokens=1,
        best_of=100,
        extra_body={"search": {"verifiers": [{"name": "regex", "pattern": "h"}]}},
    )
    assert best.choices[0].text == "h"


def test_numbers_are_answers_too(sdk: OpenAI) -> None:
    """A model without text: its answers are JSON, and it takes one turn of the user alone."""
    reply = sdk.chat.completions.create(model="toy/bits", messages=[{"role": "user", "content": "bits"}], seed=1)
    assert reply.choices[0].message.content is not None
    assert set(reply.choices[0].message.content) <= set("[]01, ")
    assert reply.usage is None  # it counts no tokens
    with pytest.raises(openai.UnprocessableEntityError, match="takes no conversation"):
        sdk.chat.completions.create(model="toy/bits", messages=HELLO)  # type: ignore[call-overload]


def test_unknown_lengths_are_no_usage(sdk: OpenAI, client: Client) -> None:
    reply = sdk.completions.create(model="outside/words", prompt="quiet", n=3)
    assert reply.usage is None
    job = client.job(reply.model_extra["search"][0]["job"])
    assert (job.usage.tokens, job.usage.unreported) == (0, 3)


REFUSALS = [
    ({"temperature": 3}, "temperature"),
    ({"frequency_penalty": 0.5}, "frequency_penalty is not supported"),
    ({"tools": [{"type": "function"}]}, "tools is not supported"),
    ({"n": 0}, "n"),
    ({"top_p": 0.5}, "model.top_p: unknown field; valid: logprobs, max_tokens, stop, temperature"),
    ({"model": "gpt-4"}, "unknown model 'gpt-4'; valid"),
    ({"colour": "red"}, "unknown field; valid"),
    ({"stream_options": {"include_usage": True}}, "goes with stream"),
    ({"search": {"n": 1}, "n": 2}, "1 answers are drawn, 2 asked for"),
    ({"search": {"method": "magic"}}, "unknown method 'magic'"),
    ({"search": {"particles": 4}}, "unknown field"),
    ({"search": {"model": {"temperature": 1}}, "temperature": 1}, "given twice"),
    ({"search": {"verifiers": ["nobody"]}}, "unknown verifier 'nobody'"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "content"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSALS)
def test_refusals(client: Client, changes: dict[str, object], said: str) -> None:
    body = {"model": "outside/words", "messages": HELLO} | changes
    assert said in refused(client.http.post("/v1/chat/completions", json=body), 422)["detail"]


def test_no_answer(sdk: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="the verifiers accept none") as none:
        sdk.completions.create(
            model="outside/words",
            prompt="x",
            extra_body={
                "search": {"n": 4, "select": "first_pass", "verifiers": [{"name": "regex", "pattern": "never"}]}
            },
        )
    assert none.value.code == "none_accepted"
    assert "verdicts are missing" not in none.value.message
    unread = {"search": {"n": 4, "verifiers": [{"name": "regex", "pattern": "1"}]}}
    with pytest.raises(openai.UnprocessableEntityError, match="4 verdicts are missing: its candidates say why"):
        sdk.completions.create(model="toy/bits", prompt="", extra_body=unread)  # bits are a list, and no text
    with pytest.raises(openai.InternalServerError, match="the endpoint is down") as down:
        sdk.completions.create(model="outside/words", prompt="down", n=2)
    assert (down.value.status_code, down.value.code) == (502, "failed")
    with pytest.raises(openai.APIError, match="the endpoint is down"):
        list(sdk.completions.create(model="outside/words", prompt="down", stream=True))


def test_who_leaves_ends_the_job(sdk: OpenAI, client: Client) -> None:
    """Waiting or streaming; but not with a key, by which the reply is found again."""

    def newest() -> str | None:
        return next((view["id"] for view in client.http.get("/v1/jobs?limit=1").json()["data"]), None)

    def left(**more: Any) -> str:
        """The job of somebody who leaves after 1.5 s; on a busy machine it may be made only then."""
        before = newest()
        with pytest.raises(openai.APITimeoutError):
            list(sdk.completions.create(model="outside/words", prompt="slow", timeout=1.5, **more))
        return until(lambda: (name := newest()) != before and name) or ""

    for stream in (False, True):
        name = left(stream=stream)
        until(lambda name=name: client.job(name).state == "cancelled")  # type: ignore[misc]
    name = left(extra_headers={"Idempotency-Key": "doors-1"})
    until(lambda: client.job(name).state == "in_progress")
    client.cancel(name)


def test_a_key_gives_the_same_reply(sdk: OpenAI) -> None:
    key, out = {"Idempotency-Key": "doors-2"}, list[openai.types.Completion]()

    def ask() -> None:
        out.append(sdk.completions.create(model="outside/words", prompt="once", extra_headers=key))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({reply.id for reply in out}) == 1
    assert len({reply.choices[0].text for reply in out}) == 1
    with pytest.raises(openai.ConflictError):
        sdk.completions.create(model="outside/words", prompt="other", extra_headers=key)


def test_models(sdk: OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert "toy/bits" in names
    assert sdk.models.retrieve("toy/bits").object == "model"


def test_lost_among_found(client: Client) -> None:
    """A job of several items: one that cannot be answered fails alone."""
    spec = {"model": "outside/words", "items": [{"prompt": "down"}, {"prompt": "up"}], "verifiers": ["any"]}
    view = done(client, spec)
    assert (view.counts.failed, view.counts.lost) == (1, 16)
    down, up = client.items(view.id)
    assert (down.state, down.error, down.drawn, down.lost) == ("failed", "503: the endpoint is down", 0, 16)
    assert (up.state, up.drawn, up.lost) == ("completed", 16, 0)
    reasons = {c.scores[0].reason for c in client.candidates(view.id) if c.item == 0}
    assert reasons == {"503: the endpoint is down"}
    assert client.curve(view.id).points[0].items == 1


def test_httpx_sees_server_sent_events(client: Client) -> None:
    body = {"model": "outside/words", "prompt": "x", "stream": True}
    with client.http.stream("POST", "/v1/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert isinstance(response, httpx.Response)


def test_the_guides_snippet(running: tuple[Stack, Client], capsys: pytest.CaptureFixture[str]) -> None:
    section = (Path(__file__).parents[3] / "docs" / "guide.md").read_text().split("## OpenAI's doors")[1]
    snippet = section.split("```python\n")[1].split("```")[0]
    exec(snippet.replace("http://127.0.0.1:8000", running[0].url))
    assert set(json.loads(capsys.readouterr().out)) <= {0, 1}
