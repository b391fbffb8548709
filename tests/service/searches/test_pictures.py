"""A text-to-image pipeline through the whole service: submitted, searched by a worker, its pictures fetched."""

import base64
import io
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helping import done, ended, service
from PIL import Image

from service.client import Client, Refused
from service.embedded import Stack

pytestmark = [
    pytest.mark.skipif(
        not (find_spec("torch") and find_spec("transformers")), reason="NOT TESTED: the extra `images` is not installed"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def png(pixels: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A flow's pipeline, and the same without its transformer's weights."""
    from generators.pipelines import tiny

    root = tmp_path_factory.mktemp("pipelines")
    whole = tiny.save("sd3", root / "sd3")
    broken = Path(shutil.copytree(whole, root / "broken"))
    for file in (broken / "transformer").glob("*.safetensors"):
        file.unlink()
    return whole, broken


@pytest.fixture(scope="module")
def stack(
    plugins: None, folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, Client]]:
    """A service whose operator allows both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_IMAGE_MODELS", ",".join(map(str, folders)))
        with service(tmp_path_factory.mktemp("data")) as pair:
            yield pair


def spec(folder: Path, search: dict[str, Any], item: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {
        "model": {"name": "diffusers", "path": str(folder), "steps": 4, "size": [16, 16], **model},
        "items": [{"prompt": "a red fox"} | item],
        "search": search,
        "verifiers": ["outside/warm"],
    }


def test_pictures_are_searched_and_served(folders: tuple[Path, Path], stack: tuple[Stack, Client]) -> None:
    running, client = stack
    search = {"method": "feynman_kac", "particles": 4, "tilt": 50.0}
    view = done(client, spec(folders[0], search, {}, guidance=2.0))
    assert (view.counts.candidates, view.counts.unscored) == (4, 0)
    assert view.usage.evaluations == 4 * 4 * 2
    best = next(iter(client.items(view.id))).best[0]
    picture = Image.open(
        io.BytesIO(httpx.get(f"{running.url}/v1/artifacts/{best.artifact}", trust_env=False, timeout=60).content)
    )
    assert (picture.size, picture.mode) == ((16, 16), "RGB")
    pixels = np.asarray(picture, float)
    assert best.scores[0].value == pytest.approx((pixels[..., 0].mean() - pixels[..., 2].mean()) / 255)
    again = done(client, spec(folders[0], search, {}, guidance=2.0))
    assert [b.seed for b in next(iter(client.items(again.id))).best] == [best.seed]


def test_a_hole_is_filled(folders: tuple[Path, Path], stack: tuple[Stack, Client]) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    item = {"image": png(PIXELS), "mask": png(mask)}
    view = done(stack[1], spec(folders[0], {"method": "best_of_n", "n": 2}, item, strength=1.0))
    assert (view.counts.candidates, view.counts.unscored) == (2, 0)
    half = done(stack[1], spec(folders[0], {"method": "best_of_n", "n": 2}, item, strength=0.5))
    assert half.usage.evaluations == 2 * 2


@pytest.mark.parametrize(
    ("item", "model", "sentence"),
    [
        ({"prompt": ""}, {}, "needs a `prompt`"),
        ({"image": "???"}, {"strength": 0.5}, "`image` is no base64"),
        ({"image": png(PIXELS), "mask": png(PIXELS[:4, :4])}, {"strength": 0.5}, "`mask` has 4 x 4 pixels"),
        ({"image": png(PIXELS)}, {}, "needs the model's `strength`"),
        ({"mask": png(PIXELS)}, {}, "a `mask` goes with an `image`"),
        ({}, {"path": "/etc"}, "not among the operator's"),
        ({}, {"solver": "euler", "eta": 0.5}, "eta must be 0"),
        ({}, {"size": [16]}, "size"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    item: dict[str, Any], model: dict[str, Any], sentence: str, folders: tuple[Path, Path], stack: tuple[Stack, Client]
) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        stack[1].submit(spec(folders[0], {}, item, **model))
    assert refused.value.status == 422


def test_other_models_take_no_pictures(stack: tuple[Stack, Client]) -> None:
    job = {"model": "toy/noop", "items": [{"image": png(PIXELS)}], "verifiers": ["toy/linear"]}
    with pytest.raises(Refused, match="'toy/noop' takes no picture; leave `image` out") as refused:
        stack[1].submit(job)
    assert refused.value.status == 422


def test_a_pipeline_that_cannot_be_loaded_fails_the_job_in_one_sentence(
    folders: tuple[Path, Path], stack: tuple[Stack, Client]
) -> None:
    for broken, model, sentence in (
        (folders[1], {}, "cannot be loaded"),
        (folders[0], {"size": [16, 18]}, "multiples"),
    ):
        view = ended(stack[1], stack[1].submit(spec(broken, {}, {}, **model)).id)
        assert view.state == "failed"
        item = next(iter(stack[1].items(view.id)))
        assert sentence in str((view.error, item.error))


def test_the_door_of_images_draws_at_the_size_that_is_asked(
    folders: tuple[Path, Path], stack: tuple[Stack, Client]
) -> None:
    search = {"model": {"path": str(folders[0]), "steps": 3}, "n": 3, "verifiers": ["trajectory_variance"]}
    body = {"model": "diffusers", "prompt": "a fox", "size": "24x16", "response_format": "b64_json", "search": search}
    reply = stack[1].http.post("/v1/images/generations", json=body, timeout=120)
    assert reply.status_code == 200, reply.text
    (found,) = reply.json()["data"]
    with Image.open(io.BytesIO(base64.b64decode(found["b64_json"]))) as opened:
        assert opened.size == (24, 16)
    told = reply.json()["search"]
    assert (told["drawn"], told["usage"]["evaluations"]) == (3, 9)
    assert told["returned"][0]["scores"]["trajectory_variance"] < 0
    twice = {**body, "search": {**search, "model": {**search["model"], "size": [16, 16]}}}  # type: ignore[dict-item]
    refused = stack[1].http.post("/v1/images/generations", json=twice)
    assert refused.status_code == 422
    assert "size is given twice" in refused.json()["detail"]
