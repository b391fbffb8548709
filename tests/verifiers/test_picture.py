"""Closed forms over images: against values worked out by hand, against Pillow, and letters that are really read."""

import base64
import io
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from search.ports import Answer, Item
from verifiers.builtin import VERIFIERS
from verifiers.images.measures import edit_similarity, ssim

NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
GREY = np.full((20, 30), 100, np.uint8)


def one(name: str, value: Any, item: Item | None = None, **config: Any) -> Any:
    found = VERIFIERS.find(name)
    return found.factory(found.config(**config))([Answer(value, item or Item())])[0]


def test_sharpness_is_the_variance_of_the_laplacian():
    spike = np.zeros((5, 5), np.uint8)
    spike[2, 2] = 10
    laplacian = np.zeros((5, 5))
    laplacian[2, 2], laplacian[[1, 3, 2, 2], [2, 2, 1, 3]] = -40, 10
    assert one("image_quality", spike).value == pytest.approx(laplacian.var())
    assert one("image_quality", GREY).value == 0
    ramp = np.tile(np.arange(0, 60, 2, dtype=np.uint8), (20, 1))
    inner = one("image_quality", ramp).value  # only the mirrored edges bend
    assert inner == pytest.approx(np.var([4] * 20 + [0] * 560 + [-4] * 20))


def test_contrast_entropy_and_colourfulness():
    half = np.zeros((10, 10), np.uint8)
    half[:5] = 255
    assert one("image_quality", half, measure="contrast").value == pytest.approx(0.5)
    assert one("image_quality", half, measure="entropy").value == pytest.approx(1.0)
    assert one("image_quality", GREY, measure="entropy").value == 0
    assert one("image_quality", GREY, measure="colourfulness").value == 0
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200  # rg = 200, yb = 100 everywhere: no spread, a mean
    assert one("image_quality", red, measure="colourfulness").value == pytest.approx(0.3 * np.hypot(200, 100))


@pytest.mark.parametrize("value", [NOISE, GREY, np.zeros((1, 1), np.uint8)])
def test_jpeg_size_is_that_of_pillow(value):
    for quality in (95, 10):
        out = io.BytesIO()
        Image.fromarray(value).save(out, "JPEG", quality=quality)
        size = len(out.getvalue()) / 1000
        assert one("jpeg_size", value, quality=quality).value == -size
        assert one("jpeg_size", value, quality=quality, want="large").value == size
    assert "at most 65500" in one("jpeg_size", np.zeros((1, 70_000), np.uint8)).reason


def target(image: Any, kind: str = "PNG") -> Item:
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind)
    coded = base64.b64encode(out.getvalue()).decode()
    return Item(id="i", target=f"data:image/{kind.lower()};base64,{coded}")


def test_ssim_closed_forms():
    """Constant images have the light's term alone; an image and itself are 1; one window is the formula itself."""
    a, b = np.full((16, 16), 60, np.uint8), np.full((16, 16), 120, np.uint8)
    c1, c2 = 2.55**2, 7.65**2
    assert ssim(a, b) == pytest.approx((2 * 60 * 120 + c1) / (60**2 + 120**2 + c1))
    assert ssim(NOISE, NOISE) == pytest.approx(1)
    x, y = NOISE[:11, :11, 0], NOISE[11:22, :11, 0]
    at = np.arange(11) - 5
    w = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    w /= w.sum()
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum(), (w * (x - mx) * (y - my)).sum()
    by_hand = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(x, y) == pytest.approx(by_hand)
    assert ssim(NOISE, 255 - NOISE) < 0
    assert ssim(NOISE[:1, :1], NOISE[:1, :1]) == pytest.approx(1)  # smaller than any window


def test_similarity_to_the_reference():
    assert one("image_similarity", NOISE, target(NOISE)).value == pytest.approx(1)
    shifted = np.clip(NOISE.astype(int) + 51, 0, 255).astype(np.uint8)
    by_hand = -np.mean((shifted / 255 - NOISE / 255) ** 2)
    assert one("image_similarity", shifted, target(NOISE), measure="mse").value == pytest.approx(by_hand)
    as_jpeg = one("image_similarity", NOISE, target(NOISE, "JPEG")).value
    assert 0.5 < as_jpeg < 1
    assert "[20, 30] and the reference [32, 48]" in one("image_similarity", GREY, target(NOISE)).reason


@pytest.mark.parametrize(
    "wanted",
    [None, 7, "", "cat", "data:image/svg+xml;base64,AAAA", "data:image/png;base64,AAAA", "data:image/png;base64,*",
     "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode()],
)  # fmt: skip
def test_a_target_that_is_no_image_is_refused(wanted):
    item = Item(id="odd", target=wanted)
    with pytest.raises(ValueError, match=r"of item 'odd' .* expected a data URL, data:image/png;base64"):
        VERIFIERS.find("image_similarity").config().check(item)
    assert one("image_similarity", NOISE, item).value is None


@pytest.mark.parametrize(
    ("said", "wanted", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("a" * 50, "b" * 50, 50),
     ("gumbo", "gambol", 2), ("ab", "ba", 2)],
)  # fmt: skip
def test_edit_distance(said, wanted, distance):
    assert edit_similarity(said, wanted) == pytest.approx(1 - distance / max(len(said), len(wanted)))
    assert edit_similarity(said, said) == 1


def lettered(text: str) -> Any:
    picture = Image.new("RGB", (220, 64), (250, 240, 200))
    ImageDraw.Draw(picture).text((16, 12), text, fill=(120, 0, 0), font=ImageFont.load_default(size=36))
    return np.asarray(picture)


@pytest.mark.skipif(find_spec("rapidocr_onnxruntime") is None, reason="NOT TESTED: rapidocr-onnxruntime is not there")
def test_letters_are_read():
    found = VERIFIERS.find("ocr_match")
    verifier = found.factory(found.config())
    item = Item(id="i", prompt="a sign", target="Open Door")
    right, wrong, empty, strange = verifier(
        [Answer(v, item) for v in (lettered("OPEN DOOR"), lettered("OPEN D00"), GREY, "x")]
    )
    assert right[:2] == (1.0, True)
    assert right.canonical == "opendoor"
    assert 0.5 < wrong.value < 1
    assert not wrong.passed
    assert empty[:2] == (0.0, False)
    assert empty.canonical is None
    assert strange.value is None


def test_what_should_be_read_must_be_said():
    config = VERIFIERS.find("ocr_match").config
    assert config().wanted(Item(prompt="Stop!")) == "stop!"
    assert config(casefold=False, spaces=True).wanted(Item(prompt="x", target="A  b")) == "A b"
    with pytest.raises(ValueError, match="item 'e' names no text to be read"):
        config().check(Item(id="e", prompt="  "))
