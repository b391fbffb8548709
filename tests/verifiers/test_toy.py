"""Toy rewards against their formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search.ports import Answer, Item, Score
from verifiers.toy import Count, Linear, Ones, Quadratic, count, linear, ones, quadratic

ITEM = Item()


def score(verifier, value) -> Score:
    return verifier([Answer(value, ITEM)])[0]


@given(st.floats(-1e6, 1e6), st.floats(-10, 10), st.floats(-10, 10))
def test_linear_is_its_formula(x, slope, intercept):
    assert score(linear(Linear(slope=slope, intercept=intercept)), x).value == slope * x + intercept


@given(st.floats(-1e6, 1e6), st.floats(-10, 10), st.floats(0.1, 10))
def test_quadratic_is_its_formula(x, center, scale):
    got = score(quadratic(Quadratic(center=center, scale=scale)), x).value
    assert got == pytest.approx(-((x - center) ** 2) / (2 * scale**2), rel=1e-12)


def test_number_rewards_take_numpy_scalars_and_integers():
    assert [score(linear(Linear()), x).value for x in (2, np.float64(2), np.float32(2), np.int64(2))] == [2.0] * 4
    assert type(score(linear(Linear()), np.float64(2)).value) is float


@pytest.mark.parametrize("value", [None, "1.5", True, [1.0], math.nan, math.inf, 10**400, np.array(1.0), b"1"])
def test_what_is_no_finite_number_is_unscored(value):
    for verifier in (linear(Linear()), quadratic(Quadratic())):
        value_, passed, reason, canonical = score(verifier, value)
        assert (value_, passed, canonical) == (None, None, None)
        assert reason


def test_a_reward_that_overflows_is_unscored():
    assert "inf" in score(linear(Linear(slope=1e308)), 1e308).reason
    assert "inf" in score(quadratic(Quadratic(scale=1e-300)), 1e308).reason


@given(st.lists(st.integers(0, 1), min_size=1))
def test_ones_of_lists_arrays_and_strings(bits):
    said = "".join(map(str, bits))
    for value in (bits, tuple(bits), np.array(bits, np.int64), np.array(bits, np.uint8), said):
        assert score(ones(Ones(weight=1.5)), value) == Score(1.5 * sum(bits), None, None, said)


@pytest.mark.parametrize("value", ["012", [0, 2], [0, True], [[0, 1]], 3, np.zeros((2, 2), int), [0.0, 1.0], b"01"])
def test_what_are_no_bits_is_unscored(value):
    assert score(ones(Ones()), value).value is None
    assert score(ones(Ones()), value).reason


def test_count_of_symbols():
    assert score(count(Count(symbol=2, weight=-0.5)), [0, 2, 2, 1, 22]) == Score(-1.0, None, None, "0,2,2,1,22")
    assert score(count(Count(symbol="2")), [0, 2, 2]).value == 2.0
    assert score(count(Count(symbol="a")), "banana").value == 3.0
    assert score(count(Count(symbol="ab")), ["ab", "a"]).value == 1.0
    assert score(count(Count(symbol=1)), np.array([1, 1, 0])).value == 2.0
    assert score(count(Count(symbol="a")), "") == Score(0.0)


def test_configs_refuse_what_they_cannot_use():
    for wrong in ({"scale": 0}, {"scale": -1.0}, {"center": math.nan}, {"centre": 1.0}, {"scale": "1"}):
        with pytest.raises(ValidationError):
            Quadratic(**wrong)
    with pytest.raises(ValidationError):
        Count(symbol=True)
    with pytest.raises(ValidationError):
        Count()
