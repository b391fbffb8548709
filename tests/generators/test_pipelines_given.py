"""Pictures to go on from, and pictures with a part missing: what is known stays, and what is not is searched for."""

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image
from piping import HOLE, HOLED, KEYS, PICTURE, PIXELS, QUIET, Made, Make, configured, png, run

from generators.pictures import diffusers
from generators.pipelines.loading import loaded
from search import keys
from search.ports import Item, Rows

pytestmark = QUIET


def latents(made: Made, family: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the pipeline's own autoencoder makes of the picture."""
    import torch

    pipe = loaded(configured(made(family), monkeypatch).source).pipe
    x = pipe.image_processor.preprocess(Image.fromarray(PIXELS))
    with torch.no_grad():
        z = pipe.vae.encode(x).latent_dist.mode()
    return ((z - (pipe.vae.config.shift_factor or 0)) * pipe.vae.config.scaling_factor).numpy()[0]


@pytest.mark.parametrize("family", ["sd-v", "sd3"])
@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_rows_begin_as_the_picture_with_the_noise_of_their_level(
    family: str, strength: float, made: Made, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = make(family, steps=8, strength=strength)
    rows = generator.start([PICTURE] * 4, KEYS)
    skipped = 8 - int(8 * strength)
    assert generator.steps == 8 - skipped
    _, a, s = generator.model.levels(np.array([8]), np.array([skipped]))
    noise = keys.normals(KEYS, keys.START, generator.model.size).reshape(4, *generator.model.shape)
    np.testing.assert_allclose(rows.columns["x"], a * latents(made, family, monkeypatch) + s * noise, atol=1e-5)
    assert run(generator, rows).step.tolist() == [8 - skipped] * 4


@pytest.mark.parametrize("family", ["sd", "flux-dev"])
def test_going_on_is_that_of_diffusers(family: str, made: Made, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image-to-image pipeline over the same parts, with our noise in place of its own: one grey level."""
    import diffusers as theirs
    import torch

    config = configured(made(family), monkeypatch, steps=8, strength=0.5)
    generator: Any = diffusers(config)
    noise = keys.normals(KEYS[:1], keys.START, generator.model.size).reshape(1, *generator.model.shape)
    drawn = torch.tensor(noise, dtype=torch.float32)
    kind, told, more = (
        theirs.StableDiffusionImg2ImgPipeline,
        {"guidance_scale": 1.0},
        {"requires_safety_checker": False},
    )
    if family == "flux-dev":
        kind, told, more = theirs.FluxImg2ImgPipeline, {"guidance_scale": 3.5, "height": 16, "width": 16}, {}
    other = kind(**loaded(config.source).pipe.components, **more)
    module = __import__(kind.__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: drawn)
    monkeypatch.setattr(module, "retrieve_latents", lambda out, **_: out.latent_dist.mode())
    picture = other(
        "a red fox", image=Image.fromarray(PIXELS), strength=0.5, num_inference_steps=8, output_type="np", **told
    ).images[0]
    ours = generator.finish(run(generator, generator.start([PICTURE], KEYS[:1])))[0]
    np.testing.assert_allclose(ours, picture * 255, atol=1.01)


@pytest.mark.parametrize("family", ["sd", "sd3", "flux-dev", "pixart-sigma", "sana", "wan"])
@pytest.mark.parametrize(("solver", "eta"), [("ddim", 1.0), ("ddim", 0.0), ("dpm++", None)])
def test_what_is_known_stays(
    family: str, solver: str, eta: float | None, made: Made, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every level the known latents are a given + s eps, and in the answer they are what was given."""
    generator = make(family, steps=4, strength=1.0, solver=solver, eta=eta)
    rows = generator.start([HOLED] * 4, KEYS)
    given = rows.columns["given"]
    known = np.broadcast_to(~rows.columns["open"], given.shape)
    assert 0 < known.mean() < 1
    if family == "sd":
        np.testing.assert_allclose(given[0], latents(made, family, monkeypatch), atol=1e-5)
        hole = HOLE.reshape(8, 2, 8, 2).any((1, 3))
        np.testing.assert_array_equal(rows.columns["open"][0, 0], hole)
    while not rows.done.all():
        rows = generator.advance(rows)
        np.testing.assert_array_equal(rows.columns["x0"][known], given[known])
        step = rows.step - 1
        _, a, s = generator.model.levels(np.full(4, 4), step)
        eps = (rows.columns["x"] - a[0] * given)[known] / s[0]
        assert abs(eps.std() - 1) < 6 / (2 * eps.size) ** 0.5
    free = rows.columns["x0"][~known]
    assert np.abs(free - given[~known]).max() > 0.1
    assert len(np.unique(rows.columns["x0"].reshape(4, -1).sum(1))) == 4


def test_neighbours_of_a_picture_turn_its_noise_alone(make: Make) -> None:
    generator = make("sd-v", steps=4, strength=0.5)
    pivots = generator.start([HOLED] * 4, KEYS)
    near = generator.neighbours(pivots, keys.fork(KEYS, np.arange(4)), 0.9)
    _, a, s = generator.model.levels(np.array([4]), np.array([2]))
    p, q = (((rows.columns["x"] - a * rows.columns["given"]) / s).reshape(4, -1) for rows in (pivots, near))
    np.testing.assert_allclose((p * q).sum(1) / (p * p).sum(1), 0.9, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(q, axis=1), np.linalg.norm(p, axis=1), rtol=1e-4)


def test_pictures_and_holes_share_a_call_and_can_be_renoised(make: Make) -> None:
    generator = make("sd-v", steps=6, strength=0.5, eta=1.0)
    rows = run(generator, generator.start([PICTURE, HOLED, PICTURE, HOLED], KEYS))
    back = generator.renoise(rows.fork(np.arange(4)), 1)
    again = run(generator, back)
    assert again.step.tolist() == [3] * 4
    alone = Rows.join([run(generator, back[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(again.columns["x0"], alone.columns["x0"], atol=1e-4)
    with pytest.raises(ValueError, match="take rows that begin as noise"):
        generator.toward((1.5,))


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"image": png(PIXELS)}, {}, "needs the model's `strength`"),
    ({}, {"strength": 0.5}, "every item needs an `image`"),
    ({"image": "not base64!"}, {"strength": 0.5}, "`image` is no base64"),
    ({"image": base64.b64encode(b"GIF89a").decode()}, {"strength": 0.5}, "`image` cannot be read as a picture"),
    ({"image": png(PIXELS)[:200]}, {"strength": 0.5}, "`image` (cannot be read|is no base64)"),
    ({"image": png(PIXELS), "mask": png(HOLE[:8])}, {"strength": 0.5}, "`mask` has 16 x 8 pixels; .* the 16 x 16"),
    ({"image": png(PIXELS), "mask": png(HOLE * 0)}, {"strength": 0.5}, "`mask` is black everywhere"),
    ({"image": png(np.zeros((1, 8193), np.uint8))}, {"strength": 0.5}, "8193 x 1 pixels; at most 8192"),
    ({"image": png(PIXELS, "GIF")}, {"strength": 0.5}, "should be a PNG, JPEG or WebP"),
]


@pytest.mark.parametrize(("item", "settings", "sentence"), BAD)
def test_pictures_that_cannot_be_used_are_refused(
    item: dict[str, Any], settings: dict[str, Any], sentence: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, monkeypatch, **settings)
    with pytest.raises(ValueError, match=sentence):
        config.check(Item(prompt="x", **item))


def test_a_thin_hole_stays_open_when_the_picture_is_made_smaller() -> None:
    from generators.pipelines.given import missing

    mask = np.zeros((160, 160), np.uint8)
    mask[:, 80] = 255
    open_ = missing(Item(prompt="x", image=png(np.zeros((160, 160, 3), np.uint8)), mask=png(mask)), (16, 16), 2)
    np.testing.assert_array_equal(open_.any(0), [False] * 4 + [True] + [False] * 3)


def test_a_mask_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="a `mask` goes with an `image`"):
        Item(prompt="x", mask=png(HOLE))


def test_heun_takes_no_half_of_a_way(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'heun' has no half of a way"):
        configured(tmp_path, monkeypatch, solver="heun", strength=0.4)
