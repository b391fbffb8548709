"""Feature spaces: the exam, taken by every built-in one; the exam itself; and what is near what."""

from pathlib import Path

import numpy as np
import pytest

import verifiers
from verifiers.conformance import Failed
from verifiers.conformance_features import examine
from verifiers.features import FEATURES, Placed, Plain, space


def pictures():
    noise = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    return [np.zeros((28, 28), np.uint8), *noise]


SAMPLES = {
    "pixels": [*pictures(), np.full((5, 7, 3), 200, np.uint8)],
    "number": [0.5, -1, 3.25, 65504.0, 1e-9],
    "ngrams": ["a text", "", "0110", [0, 1, 1, 1], ["ab", "c"], "\u202e right to left"],
    "digit_embedding": pictures(),
}


def made(name):
    return FEATURES.find(name).factory(Plain())


def points(name, *values):
    found = made(name)(values)
    assert not found.faults
    return found.points


def test_every_builtin_sits_the_exam():
    assert sorted(SAMPLES) == sorted(FEATURES.builtins)


@pytest.mark.parametrize("name", sorted(FEATURES.builtins))
def test_the_exam(name):
    examine(made(name), SAMPLES[name])


@pytest.mark.parametrize("name", sorted(FEATURES.builtins))
def test_every_builtin_has_a_card(name):
    plugin = FEATURES.find(name)
    assert plugin.card == (Path(verifiers.__file__).parent / "cards" / f"{name}.md").read_text()
    assert plugin.card.startswith(f"# {name}\n\nFeature space: ")
    assert f"version {plugin.facts.version}, place {plugin.facts.place}" in plugin.card


def order_matters(values):
    return Placed(np.arange(len(values), dtype=np.float32)[:, None], {})


def overflows(values):
    return Placed(np.array([[1e9 * (i + 1)] for i in range(len(values))], np.float32), {})


def silent(values):
    return Placed(np.full((len(values), 1), np.nan, np.float32), {})


def same_for_all(values):
    return Placed(np.zeros((len(values), 2), np.float32), {})


def raises_nothing_but_drops(values):
    return Placed(np.zeros((max(0, len(values) - 1), 2), np.float32), {})


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (order_matters, "another order"),
        (overflows, "lies at"),
        (silent, "lies at"),
        (same_for_all, "one place"),
        (raises_nothing_but_drops, "2 answers got 1 points"),
    ],
)
def test_the_exam_finds(broken, says):
    with pytest.raises(Failed, match=says):
        examine(broken, [1.0, 2.0])


def test_the_exam_finds_a_change_of_the_answers():
    def scribbles(values):
        for value in values:
            value += 1
        return Placed(np.array([[v[0]] for v in values], np.float32), {})

    with pytest.raises(Failed, match="changed the answers"):
        examine(scribbles, [np.zeros(1), np.ones(1)])


def test_pixels_are_means_of_cells():
    image = np.zeros((16, 24, 3), np.uint8)
    image[:2, :3, 0] = 255  # the first cell is red
    image[14, 21:, :] = 255  # half of the last is white
    (point,) = points("pixels", image).reshape(1, 8, 8, 3)
    np.testing.assert_allclose(point[0, 0], [1, 0, 0])
    np.testing.assert_allclose(point[7, 7], [0.5] * 3, atol=1 / 255)
    assert np.count_nonzero(point) == 4


def test_grey_is_the_colour_grey():
    grey = pictures()[1]
    a, b = points("pixels", grey, np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(a, b)


def test_ngrams_are_of_length_1_and_see_common_runs():
    a, near, far, empty = points("ngrams", "the quick brown fox", "the quick brown dog", "LOREM IPSUM", "")
    np.testing.assert_allclose([a @ a, near @ near], 1, rtol=1e-6)
    assert a @ near > 0.5 > a @ far
    assert not empty.any()
    np.testing.assert_array_equal(*points("ngrams", "0110", [0, 1, 1, 0]))


def test_ngrams_do_not_depend_on_the_process():
    """A hash that is salted, as Python's, would put the same answer elsewhere in every worker."""
    (point,) = points("ngrams", "abc")
    np.testing.assert_array_equal(np.flatnonzero(point), [129, 204, 214])


def test_digit_embedding_is_what_the_last_layer_reads():
    torch = pytest.importorskip("torch")
    from verifiers.digits import probabilities, shipped

    images = np.stack(pictures())
    last = shipped("digit_classifier").classifier[2]
    found = torch.as_tensor(points("digit_embedding", *images)).double().to(last.weight.device)
    with torch.inference_mode():
        chances = last(found).softmax(1).cpu().numpy()
    np.testing.assert_allclose(chances, probabilities(shipped("digit_classifier"), images), atol=1e-5)


def test_an_unreadable_answer_has_a_reason_and_no_place():
    found = made("number")([1.5, "one", 1e6])
    assert found.points[0] == 1.5
    assert np.isnan(found.points[1:]).all()
    assert found.faults[1] == "expected a number, found str"
    assert "at most 65504" in found.faults[2]


def test_embed_sees_only_what_was_read():
    seen = []

    def embed(stacked):
        seen.append(stacked.shape)
        return stacked

    assert space(1, lambda value: np.array([value]), embed)([]).points.shape == (0, 1)
    assert seen == []
