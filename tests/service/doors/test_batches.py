"""OpenAI's own client against files and batches."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from helping import frozen, offspring, refused, until
from openai import OpenAI

from service.api.doors.batching import Batching
from service.api.doors.lines import checked, groups
from service.artifacts import Artifacts
from service.client import Client
from service.embedded import Stack
from service.store import Store, batches, files, jobs
from service.store.batch_tables import batches as batch_table

CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"


@pytest.fixture(scope="module")
def sdk(running: tuple[Stack, Client]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running[0].url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def line(name: str, said: str = "hello", url: str = CHAT, **more: Any) -> dict[str, Any]:
    """One request of a batch."""
    ask = {"messages": [{"role": "user", "content": said}]} if url == CHAT else {"prompt": said}
    return {"custom_id": name, "method": "POST", "url": url, "body": {"model": "outside/words"} | ask | more}


def packed(*lines: Any) -> bytes:
    """A file."""
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines)


def begun(sdk: OpenAI, data: bytes, endpoint: str = CHAT, **more: Any) -> openai.types.Batch:
    """Upload and create."""
    file = sdk.files.create(file=("in.jsonl", data), purpose="batch")
    return sdk.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,  # type: ignore[arg-type]
        completion_window=more.pop("window", "24h"),
        **more,
    )


def at_end(sdk: OpenAI, batch: openai.types.Batch, seconds: float = 120) -> openai.types.Batch:
    """The batch when nothing more will happen."""
    last = {"completed", "failed", "cancelled", "expired"}
    until(lambda: sdk.batches.retrieve(batch.id).status in last, seconds, 0.1)
    return sdk.batches.retrieve(batch.id)


def lines_of(sdk: OpenAI, file: str | None) -> list[dict[str, Any]]:
    """What a file says."""
    return [] if file is None else [json.loads(one) for one in sdk.files.content(file).text.splitlines()]


def test_a_batch(sdk: OpenAI) -> None:
    lines = [line(f"q{i}", f"question {i}", max_tokens=1 + i % 3, n=2) for i in range(30)]
    lines += [line("odd", top_p=0.5), line("stream", stream=True), line("down", "down", max_tokens=1, n=2)]
    batch = at_end(sdk, begun(sdk, packed(*lines), metadata={"of": "tests"}))
    assert (batch.status, batch.metadata, batch.errors) == ("completed", {"of": "tests"}, None)
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (33, 30, 3)
    assert len(batch.model_extra["jobs"]) == 3  # one for each number of tokens
    out = {one["custom_id"]: one for one in lines_of(sdk, batch.output_file_id)}
    assert out.keys() == {f"q{i}" for i in range(30)}
    for i in range(30):
        response = out[f"q{i}"]["response"]
        body = openai.types.chat.ChatCompletion.model_validate(response["body"])
        assert response["status_code"] == 200
        assert [len((c.message.content or "").split()) for c in body.choices] == [1 + i % 3] * 2
    assert len({one["response"]["body"]["id"] for one in out.values()}) == 30
    bad = {one["custom_id"]: one for one in lines_of(sdk, batch.error_file_id)}
    assert bad.keys() == {"odd", "stream", "down"}
    assert "unknown field" in bad["odd"]["error"]["message"]
    assert (bad["odd"]["response"]["status_code"], bad["down"]["response"]["status_code"]) == (422, 502)
    assert "the endpoint is down" in bad["down"]["error"]["message"]


def test_completions_and_jobs(sdk: OpenAI) -> None:
    lines = [line(f"{i}", "x", "/v1/completions", prompt=["a", "b"], seed=7) for i in range(2)]
    batch = at_end(sdk, begun(sdk, packed(*lines), "/v1/completions"))
    one, other = (found["response"]["body"] for found in lines_of(sdk, batch.output_file_id))
    assert [choice["text"] for choice in one["choices"]] == [choice["text"] for choice in other["choices"]]
    straight = sdk.completions.create(model="outside/words", prompt=["a", "b"], seed=7)
    assert [choice["text"] for choice in one["choices"]] == [choice.text for choice in straight.choices]
    spec = {"model": "toy/noop", "items": [{}, {}], "verifiers": ["toy/linear"], "search": {"n": 3}}
    asks = [{"custom_id": name, "method": "POST", "url": "/v1/jobs", "body": spec | more} for name, more in JOBS]
    batch = at_end(sdk, begun(sdk, packed(*asks), "/v1/jobs"))
    (found,) = lines_of(sdk, batch.output_file_id)
    assert found["response"]["body"]["state"] == "completed"
    assert [item["drawn"] for item in found["response"]["body"]["items"]] == [3, 3]
    (wrong,) = lines_of(sdk, batch.error_file_id)
    assert "unknown model" in wrong["error"]["message"]


JOBS: list[tuple[str, dict[str, Any]]] = [("good", {}), ("bad", {"model": "nothing"})]

FAULTS = [
    (packed(b"{\n"), "invalid_json_line", 1),
    (packed(line("a"), b'{"a": NaN}\n'), "invalid_json_line", 2),
    (packed(line("a"), b"\n", line("a")), "duplicate_custom_id", 3),
    (packed({**line("a"), "url": "/v1/embeddings"}), "invalid_url", 1),
    (packed({**line("a"), "method": "GET"}), "invalid_method", 1),
    (packed({**line("a"), "body": "x"}), "missing_required_parameter", 1),
    (packed({**line("a"), "custom_id": 3}), "missing_required_parameter", 1),
    (packed({**line("a"), "colour": 3}), "unknown_field", 1),
    (packed(b"[1]\n"), "invalid_json_line", 1),
    (packed(b"\xff\n"), "invalid_json_line", 1),
    (b"\n\n", "empty_file", None),
]


@pytest.mark.parametrize(("data", "code", "number"), FAULTS)
def test_files_that_are_no_batches(data: bytes, code: str, number: int | None) -> None:
    _, (fault,) = checked(data.splitlines(keepends=True), CHAT)
    assert (fault.code, fault.line) == (code, number)


def test_a_bad_file_fails_the_batch(sdk: OpenAI) -> None:
    batch = at_end(sdk, begun(sdk, packed(line("a"), b"{\n", line("a"))))
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.errors is not None
    assert [(fault.code, fault.line) for fault in batch.errors.data or []] == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
    ]


def test_too_many_lines() -> None:
    data = (packed(line(f"{i}")) for i in range(50_002))
    assert [fault.code for fault in checked(data, CHAT)[1]] == ["too_many_requests"]


def test_cancelled_and_expired(sdk: OpenAI, stack: Stack) -> None:
    """What is answered is kept, what is not says why."""
    store = Store(stack.settings.database)
    for how in ("cancelled", "expired"):
        lines = [line("quick", "x"), line("slow", "slow", max_tokens=3)]
        batch = begun(sdk, packed(*lines), window="90m")
        until(lambda name=batch.id: sdk.batches.retrieve(name).request_counts.completed == 1)  # type: ignore[misc,union-attr]
        if how == "cancelled":
            assert sdk.batches.cancel(batch.id).status == "cancelling"
        else:
            assert (batch.expires_at or 0) - batch.created_at == 90 * 60
            mine = sa.update(batch_table).where(batch_table.c.name == batch.id).values(expires=time.time())
            store.write(lambda connection, mine=mine: connection.execute(mine))  # its time is over
        batch = at_end(sdk, batch)
        assert batch.status == how
        assert [one["custom_id"] for one in lines_of(sdk, batch.output_file_id)] == ["quick"]
        (lost,) = lines_of(sdk, batch.error_file_id)
        assert (lost["custom_id"], lost["error"]["code"]) == ("slow", f"batch_{how}")
        assert sdk.batches.cancel(batch.id).status == how  # too late, and harmless
    store.close()


def drives(pid: int) -> bool:
    """Whether a process is the one that drives batches."""
    try:
        return b"doors.aside" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_the_process_that_drives_batches_is_killed(sdk: OpenAI, stack: Stack) -> None:
    """Another one goes on; no line is answered twice and none is lost."""
    ids = [f"{i}" for i in range(100)]
    with frozen(stack):
        batch = begun(sdk, packed(*(line(name, max_tokens=1, seed=1) for name in ids)))
        until(lambda: sdk.batches.retrieve(batch.id).status == "in_progress")
        (driver,) = (pid for pid in offspring(os.getpid()) if drives(pid))
        os.kill(driver, signal.SIGKILL)
    batch = at_end(sdk, batch, 200)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert sorted(one["custom_id"] for one in lines_of(sdk, batch.output_file_id)) == sorted(ids)
    until(lambda: not Path(f"/proc/{driver}").exists())


def test_files(sdk: OpenAI, client: Client) -> None:
    data = packed(line("a"))
    file = sdk.files.create(file=("../in put\n.jsonl", data), purpose="batch")
    assert (file.bytes, file.purpose, file.status) == (len(data), "batch", "processed")
    assert "/" not in file.filename
    assert sdk.files.retrieve(file.id) == file
    assert next(iter(sdk.files.list())).id == file.id
    assert sdk.files.content(file.id).read() == data
    twin = sdk.files.create(file=("twin.jsonl", data), purpose="batch")
    assert sdk.files.delete(file.id).deleted
    assert sdk.files.content(twin.id).read() == data  # the same bytes
    sdk.files.delete(twin.id)
    for call in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
        with pytest.raises(openai.NotFoundError, match="no file"):
            call(file.id)  # type: ignore[operator]
    refused(client.http.post("/v1/files", files={"file": ("a", b"x")}, data={"purpose": "fine-tune"}), 422)
    refused(client.http.post("/v1/files", files={"file": ("a", b"")}, data={"purpose": "batch"}), 422)
    refused(client.http.post("/v1/files", data={"purpose": "batch"}), 415)
    refused(client.http.post("/v1/files", json={"purpose": "batch"}), 415)


def test_refusals_of_batches(sdk: OpenAI, client: Client) -> None:
    file = sdk.files.create(file=("in.jsonl", packed(line("a"))), purpose="batch").id
    good = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    for change, status in (
        ({"input_file_id": "file-0"}, 404),
        ({"endpoint": "/v1/embeddings"}, 422),
        ({"completion_window": "soon"}, 422),
        ({"colour": 1}, 422),
    ):
        refused(client.http.post("/v1/batches", json=good | change), status)
    refused(client.http.get("/v1/batches/batch_0"), 404)
    refused(client.http.post("/v1/batches/batch_0/cancel"), 404)


def test_pages(sdk: OpenAI) -> None:
    made = [begun(sdk, packed(line("a"))).id for _ in range(3)]
    assert [batch.id for batch in sdk.batches.list(limit=2)][:3] == made[::-1]


def test_groups_do_not_depend_on_who_makes_them() -> None:
    data = [packed(line(f"{i}", f"q {i}", max_tokens=1 + i % 2)) for i in range(50)]
    one, other = (list(groups(data, CHAT, "batch_x")) for _ in range(2))
    assert [[r.line.custom_id for r in g.requests] for g in one] == [
        [f"{i}" for i in range(0, 50, 2)],
        [f"{i}" for i in range(1, 50, 2)],
    ]
    assert [g.prepared.spec for g in one if g.prepared] == [g.prepared.spec for g in other if g.prepared]
    bad = [*data, packed(line("x", "q", max_tokens=1) | {"body": line("x")["body"] | {"max_tokens": 1, "n": 10**9}})]
    assert [r.line.custom_id for g in groups(bad, CHAT, "batch_x") for r in g.refused] == ["x"]


def test_a_driver_that_dies_makes_nothing_twice(store: Store, tmp_path: Path) -> None:
    """Each step is taken by a driver that knows nothing of those before, two at a time."""
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    path = tmp_path / "in.jsonl"
    path.write_bytes(packed(*(line(f"{i}", max_tokens=1 + i % 4) for i in range(40)), line("bad", n=0)))
    with path.open("rb") as source:
        sha256, size = artifacts.put_file(source, "jsonl")
    file = store.write(files.create, "in.jsonl", "batch", size, sha256)
    batch = store.write(batches.create, CHAT, ("24h", 86400.0), file.name, None)

    def once() -> None:
        row = store.read(batches.find, batch.name)
        for _ in "ab":
            Batching(store, artifacts)._step(row)

    once()
    assert store.read(batches.find, batch.name).state == "in_progress"
    for _ in range(3):
        once()
        made = store.read(batches.jobs_of, batch.id)
        assert [job.items for job in made] == [10] * 4
    for job in made:
        store.write(jobs.cancel, job.name)
    once()
    assert store.read(batches.find, batch.name).state == "finalizing"
    once()
    ended = store.read(batches.find, batch.name)
    assert (ended.state, ended.completed, ended.failed, ended.output) == ("completed", 0, 41, None)
    with artifacts.opened(store.read(files.find, ended.error).sha256, "jsonl") as out:
        assert len(list(out)) == 41
    assert len(store.read(files.page, 10, None, "batch_output")) == 1


def test_a_batch_of_images(sdk: OpenAI) -> None:
    more = {"model": "digits", "search": {"model": {"steps": 2}}}
    lines = [line(f"q{i}", str(i), url=IMAGES, **more, response_format="b64_json") for i in range(3)]
    lines += [
        line("link", "5", url=IMAGES, **more),
        line("text", "5", url=IMAGES, **{"model": "toy/bits", "search": {}}),
    ]
    batch = at_end(sdk, begun(sdk, packed(*lines), IMAGES))
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (4, 1)
    out = {one["custom_id"]: one["response"]["body"] for one in lines_of(sdk, batch.output_file_id)}
    for i in range(3):
        assert base64.b64decode(out[f"q{i}"]["data"][0]["b64_json"]).startswith(b"\x89PNG")
        assert out[f"q{i}"]["search"]["usage"] is None  # three lines are one job
    assert out["link"]["data"][0]["url"].startswith("/v1/artifacts/")
    assert out["link"]["search"]["usage"]["evaluations"] == 2
    (bad,) = lines_of(sdk, batch.error_file_id)
    assert "'toy/bits' draws no images" in bad["error"]["message"]
