"""OpenAI's own client against the door of images."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from helping import refused
from openai import OpenAI
from PIL import Image

from service.api.doors.images import drawing
from service.client import Client
from service.embedded import Stack

MODEL: dict[str, Any] = {"model": {"steps": 2}}
ROOT = "/v1/images/generations"


@pytest.fixture(scope="module")
def sdk(running: tuple[Stack, Client]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running[0].url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def pixels(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "PNG"
        return np.asarray(opened)


def test_the_best_of_a_search_as_bytes_and_as_addresses(sdk: OpenAI, client: Client) -> None:
    search = {**MODEL, "n": 6, "verifiers": ["digit_classifier"], "graders": ["digit_classifier_b"], "seed": 1}
    search |= {"budget": {"evaluations": 12}}
    seed = search.pop("seed")
    more: dict[str, Any] = {"model": "digits", "prompt": "7", "n": 2, "size": "28x28"}
    body = {"search": search, "seed": seed}
    reply = sdk.images.generate(**more, response_format="b64_json", extra_body=body)
    assert reply.data is not None
    assert len(reply.data) == 2
    images = [pixels(base64.b64decode(one.b64_json or "")) for one in reply.data]
    assert {image.shape for image in images} == {(28, 28)}
    assert all(one.url is None for one in reply.data)
    told = (reply.model_extra or {})["search"]
    assert (told["method"], told["verifiers"], told["drawn"], told["evaluations"]) == (
        "best_of_n", ["digit_classifier"], 6, 12)  # fmt: skip
    assert (told["usage"]["evaluations"], told["usage"]["verifier_calls"]) == (12, 6)
    assert told["usage"]["unspent"] == {"evaluations": 0}
    values = [one["scores"]["digit_classifier"] for one in told["returned"]]
    drawn = sorted((c.scores[0].value or 0 for c in client.candidates(told["job"])), reverse=True)
    assert values == drawn[:2]
    assert all("digit_classifier_b" in one["grades"] for one in told["returned"])

    again = sdk.images.generate(**more, response_format="url", extra_body=body)
    assert again.data is not None
    for one, image in zip(again.data, images, strict=True):  # the same seed gives the same images
        assert one.b64_json is None
        assert one.url is not None
        assert one.url.startswith(client.http.base_url.copy_with(path="/v1/artifacts/").__str__())
        np.testing.assert_array_equal(pixels(httpx.get(one.url, trust_env=False, timeout=60).content), image)
    assert sdk.images.generate(**more, extra_body=body).data == again.data  # addresses unless asked otherwise


def test_without_a_search_n_are_drawn(sdk: OpenAI, client: Client) -> None:
    reply = sdk.images.generate(model="digits", prompt="3", n=3, size="auto", extra_body={"search": MODEL})
    told = (reply.model_extra or {})["search"]
    assert (told["drawn"], told["verifiers"], len(reply.data or [])) == (3, ["any"], 3)
    assert client.job(told["job"]).model == "digits"


REFUSALS = [
    ({"model": "dall-e-3"}, "unknown model 'dall-e-3'; valid"),
    ({"model": "toy/bits"}, "'toy/bits' draws no images; models that do: diffusers, digits, digits-early"),
    ({"model": "outside/words"}, "'outside/words' draws no images"),
    ({"size": "1024x1024"}, "size '1024x1024' is not offered by 'digits'; valid: auto, 28x28"),
    ({"size": "28"}, "size"),
    ({"n": 4, "search": {"n": 3}}, "3 answers are drawn, 4 asked for"),
    ({"n": 5, "search": {"method": "feynman_kac", "particles": 4, "verifiers": ["digit_classifier"]}}, "4 answers"),
    ({"n": 0}, "n"),
    ({"prompt": "a cat"}, "the prompt must be one digit"),
    ({"quality": "hd"}, "quality is not supported; leave it out"),
    ({"output_format": "webp"}, "output_format is not supported"),
    ({"stream": True}, "stream is not supported"),
    ({"response_format": "gif"}, "response_format"),
    ({"temperature": 1}, "unknown field; valid"),
    ({"search": {"verifiers": ["clip"]}}, "unknown verifier 'clip'; valid"),
    ({"search": {"model": {"stepz": 3}}}, "stepz: unknown field; valid"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSALS)
def test_refusals(client: Client, changes: dict[str, Any], said: str) -> None:
    body = {"model": "digits", "prompt": "7"} | changes
    assert said in refused(client.http.post(ROOT, json=body), 422)["detail"]


def test_no_answer(sdk: OpenAI) -> None:
    search = {**MODEL, "select": "first_pass", "verifiers": [{"name": "jpeg_size", "threshold": 0.0}]}
    with pytest.raises(openai.UnprocessableEntityError, match="the verifiers accept none") as none:
        sdk.images.generate(model="digits", prompt="7", extra_body={"search": search})
    assert none.value.code == "none_accepted"


def test_models_that_draw() -> None:
    assert {"digits", "digits-early", "digits-unconditional", "terrain"} <= set(drawing())
    assert not {"toy/bits", "endpoint", "outside/missing"} & set(drawing())
