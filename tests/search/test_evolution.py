"""Evolutionary search: closed forms with a known optimum, and laws of what it proposes."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from search.evolution import Genes, Lever, Tried, generation

TIMESTEPS = Lever(low=0, high=999, count=5, falling=True)
RATIOS = Lever(low=-1, high=2, count=2)


def searched(
    levers: dict[str, Lever],
    worth: Callable[[Genes], float | None],
    seed: int = 0,
    generations: int = 12,
    size: int = 16,
    **more: Any,
) -> list[Tried]:
    done: list[Tried] = []
    for _ in range(generations):
        done += [Tried(genes, worth(genes)) for genes in generation(levers, seed, done, size, **more)]
    return done


def best(done: list[Tried]) -> Tried:
    return max((one for one in done if one.value is not None), key=lambda one: one.value or 0.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_optimum_of_a_closed_form(seed: int) -> None:
    """Squared distance to a schedule and to two ratios, the better solver worth .5: all are found among 6e15."""
    goal, ratios = [960, 700, 430, 210, 40], [0.4, 1.1]

    def worth(genes: Any) -> float:
        off = sum(((a - b) / 999) ** 2 for a, b in zip(genes["timesteps"], goal, strict=True))
        off += sum((a - b) ** 2 for a, b in zip(genes.get("dc_ratios", [0, 0]), ratios, strict=True))
        return -off - 0.5 * (genes["solver"] != "unipc")

    levers = {"timesteps": TIMESTEPS, "solver": Lever(choices=("ddim", "unipc", "dpm++")), "dc_ratios": RATIOS}
    levers["dc_ratios"] = RATIOS.model_copy(update={"when": {"solver": ("unipc",)}})
    found = best(searched(levers, worth, seed, generations=30))
    assert found.value is not None
    assert found.value > -0.004  # a random candidate is at -.5 on average; 480 of them reach -.06
    assert found.genes["solver"] == "unipc"


def test_random_draws_alone_are_worse() -> None:
    def worth(genes: Any) -> float:
        return -sum(((a - b) / 999) ** 2 for a, b in zip(genes["timesteps"], [990, 960, 900, 80, 40], strict=True))

    evolved = best(searched({"timesteps": TIMESTEPS}, worth)).value
    drawn = best([Tried(genes, worth(genes)) for genes in generation({"timesteps": TIMESTEPS}, 0, [], 12 * 16)]).value
    assert evolved is not None
    assert drawn is not None
    assert evolved > 0.2 * drawn  # both are negative


def test_the_same_seed_proposes_the_same_and_another_seed_other() -> None:
    def worth(genes: Any) -> float:
        return float(genes["x"])

    levers = {"x": Lever(low=0, high=1)}
    one, again, other = (searched(levers, worth, seed, 3, 6) for seed in (5, 5, 6))
    assert one == again
    assert one != other


def test_a_search_that_goes_on_from_what_is_known_is_the_same() -> None:
    """Nothing but `done` is remembered between generations."""
    levers = {"timesteps": TIMESTEPS}
    whole = searched(levers, lambda genes: -float(genes["timesteps"][0]), generations=4)  # type: ignore[index,arg-type]
    assert generation(levers, 0, whole[:48], 16) == [one.genes for one in whole[48:]]


def test_no_candidate_comes_twice_and_a_small_space_ends() -> None:
    levers = {"solver": Lever(choices=("a", "b", "c")), "x": Lever(low=0, high=1, whole=True)}
    done = searched(levers, lambda genes: 1.0, generations=6)
    assert len(done) == 6  # of 3 * 2
    assert len({str(one.genes) for one in done}) == 6


def test_only_valid_candidates_are_proposed() -> None:
    done = searched({"x": Lever(low=0, high=1)}, lambda genes: 1.0, valid=lambda genes: genes["x"] > 0.7)  # type: ignore[operator]
    assert done
    assert all(one.genes["x"] > 0.7 for one in done)  # type: ignore[operator]


def test_what_could_not_be_measured_is_no_parent() -> None:
    done = [Tried({"x": 0.9}, None), Tried({"x": 0.1}, 1.0)]
    near = generation({"x": Lever(low=0, high=1)}, 0, done, 8)
    assert all(abs(float(genes["x"]) - 0.1) < 0.6 for genes in near)  # type: ignore[arg-type]


def test_an_unordered_number_is_drawn_anew_when_it_changes() -> None:
    parents = [Tried({"start": 500}, 1.0)]
    values = [genes["start"] for genes in generation(
        {"start": Lever(low=0, high=10**6, whole=True, ordered=False)}, 0, parents, 64
    )]  # fmt: skip
    assert sum(int(value) > 10**5 for value in values) > 40  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 12),
    room=st.integers(0, 40),
    low=st.integers(0, 900),
)
def test_falling_lists_fall_within_their_range(seed: int, count: int, room: int, low: int) -> None:
    lever = Lever(low=low, high=low + count + room, count=count, falling=True)
    done = [Tried(genes, 0.0) for genes in generation({"t": lever}, seed, [], 2)]
    for genes in [one.genes for one in done] + generation({"t": lever}, seed, done, 2):
        values: Any = genes["t"]
        assert len(values) == count
        assert all(a > b for a, b in pairwise(values))
        assert low <= values[-1]
        assert values[0] <= low + count + room


def test_a_lever_is_left_out_where_its_condition_fails() -> None:
    levers = {
        "solver": Lever(choices=("ddim", "unipc")),
        "ratio": Lever(low=0, high=2, when={"solver": ("unipc",)}),
        "more": Lever(low=0, high=2, when={"ratio": (5.0,)}),
    }
    for genes in generation(levers, 3, [], 20):
        assert ("ratio" in genes) == (genes["solver"] == "unipc")
        assert "more" not in genes


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "needs `choices`, or `low` below `high`, not None and None"),
        ({"low": 1.0, "high": 1.0}, "`low` below `high`, not 1.0 and 1.0"),
        ({"choices": ["a"], "low": 0.0, "high": 1.0}, "and not both"),
        ({"low": 0.5, "high": 3.0, "whole": True}, "must be whole, not 0.5 and 3"),
        ({"low": 0.0, "high": 3.0, "falling": True}, "needs a `count`, at most 4 within 0..3"),
        ({"low": 0.0, "high": 3.0, "falling": True, "count": 5}, "at most 4 within 0..3"),
    ],
)
def test_a_lever_that_means_nothing_is_refused(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        Lever.model_validate(fields)
