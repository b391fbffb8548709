"""Noise search: nothing is generated twice, the incumbent is never lost, every answer can be made again."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exact import model, verifier
from pydantic import ValidationError
from searches import (
    VALUE,
    Search,
    Straight,
    gain,
    judge,
    killed_anywhere,
    many,
    record,
    rewards,
    same_in_company,
)

from search.engine import Engine
from search.metering import Budget
from search.methods.noise_search import NoiseSearch, course, path, reproduced
from search.population import NoWeight
from search.run import run

ZERO = {"algorithm": "zero_order", "n": 1, "neighbours": 4, "rounds": 5}
PATHS = {"algorithm": "paths", "n": 3, "ways": 4}


def mixture(steps: int = 20) -> Any:
    return model("toy/gaussian_mixture", steps=steps)


def test_random_is_best_of_n() -> None:
    search = Search(mixture(5), VALUE, "noise_search", {"algorithm": "random", "n": 9})
    assert record(search.found()) == record(Search(mixture(5), VALUE, "best_of_n", {"n": 9}).found())
    parts = many([replace(search, count=4), replace(search, first=4, count=5)])
    assert [name for part in parts for name in part.names()] == search.found().names()


@pytest.mark.parametrize(("neighbours", "rounds"), [(4, 5), (1, 3), (7, 1)])
def test_zero_order_costs_what_the_paper_should(neighbours: int, rounds: int) -> None:
    """(1 + rounds K) T evaluations: the pivot is not generated again in each round."""
    config = {"algorithm": "zero_order", "n": 2, "neighbours": neighbours, "rounds": rounds}
    outcome = Search(Straight(3), VALUE, "noise_search", config).end()
    answers = 1 + rounds * neighbours
    assert outcome.spent.evaluations == answers * 3
    assert (outcome.spent.previews, outcome.spent.verifier_calls) == (0, answers)
    plan = NoiseSearch(**config)  # type: ignore[arg-type]
    assert (plan.samples, plan.piece, plan.trajectories) == (2 * answers, answers, 2.0 * answers)
    assert outcome.population is not None
    assert len(set(outcome.population.names())) == answers
    assert len(set(outcome.population.verdicts.answers)) == answers


def test_the_pivot_is_the_best_so_far_and_neighbours_are_near() -> None:
    found = Search(Straight(2), VALUE, "noise_search", {**ZERO, "cosine": 0.8, "rounds": 20}).found()
    value, pivot, x = rewards(found), found.memory["pivot"], found.rows.columns["x"]
    moves = 0
    for first in range(1, len(found), 4):
        assert set(pivot[first : first + 4]) == {value[:first].argmax()}
        moves += value[first : first + 4].max() > value[:first].max()
    assert 3 < moves < 20  # it moved, and it stayed
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose((unit[1:] * unit[pivot[1:]]).sum(1), 0.8, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), np.linalg.norm(x[0]), rtol=1e-12)


def test_one_round_has_the_law_of_the_best_neighbour() -> None:
    """In d dimensions a neighbour's first number is c p + sqrt(1 - c^2) sqrt(|p|^2 - p^2) t, t that of a random unit
    vector of d - 1 dimensions; for d = 3 it is the cosine of a uniform angle. The best of 4 is 4 of those; its mean
    over 1,000 searches has a standard error below .04."""
    config = {**ZERO, "rounds": 1, "cosine": 0.6}
    found = many([Search(Straight(1, size=3), VALUE, "noise_search", config, seed) for seed in range(1000)])
    got = np.array([rewards(p)[1:].max() for p in found])
    p = np.array([population.rows.columns["x"][0] for population in found])
    t = np.cos(np.pi * (np.arange(20_000) + 0.5) / 20_000)  # w.e is |e - (e.u)u| cos(angle), the angle in the plane
    largest = np.sort(t)
    weights = np.diff((np.arange(20_001) / 20_000) ** 4)
    expected = 0.6 * p[:, 0] + 0.8 * np.sqrt((p[:, 1:] ** 2).sum(1)) * (largest @ weights)
    assert abs(np.mean(got - expected)) < 4 * np.std(got - expected) / np.sqrt(1000)


@pytest.mark.parametrize("generator", [Straight(3), Straight(1)], ids=["3", "1"])
def test_every_answer_is_made_again_from_its_path(generator: Straight) -> None:
    """Of the second search of the job, from the seed, the item, the search's first sample and the path alone."""
    search = Search(generator, VALUE, "noise_search", ZERO, first=21)
    found, plan = search.found(), NoiseSearch(**ZERO)  # type: ignore[arg-type]
    assert record(found) != record(replace(search, first=0).found())
    depths = set()
    for answer in range(len(found)):
        way = path(found, answer)
        depths.add(len(way))
        tools = search.tools(Engine())
        row = asyncio.run(reproduced(tools, plan, way))
        assert record(found[np.array([answer])].found())[:4] == (
            [found.names()[answer]],
            row.step.tolist(),
            row.spent.tolist(),
            {name: column.tolist() for name, column in row.columns.items()},
        )
        assert tools.spent.evaluations == generator.steps
    assert len(depths) > 2


def test_digits_are_made_again() -> None:
    """On a network: alone, its rows may differ from those of a batch by rounding."""
    config = {**ZERO, "rounds": 3}
    search = Search(
        model("digits-unconditional", steps=3), judge(lambda image: float(image.mean())), "noise_search", config
    )
    found, plan = search.found(), NoiseSearch(**config)  # type: ignore[arg-type]
    assert len({image.tobytes() for image in found.verdicts.answers}) == 13
    best = int(rewards(found).argmax())
    for answer in (best, 12):
        row = asyncio.run(reproduced(search.tools(Engine()), plan, path(found, answer)))
        np.testing.assert_allclose(row.columns["x0"][0], found.rows.columns["x0"][answer], atol=1e-4)


@pytest.mark.parametrize(("limit", "drawn"), [(2, 0), (3, 1), (14, 1), (15, 5), (26, 5), (27, 9), (62, 17), (63, 21)])
def test_zero_order_within_a_budget_has_whole_rounds(limit: int, drawn: int) -> None:
    search = Search(Straight(3), VALUE, "noise_search", ZERO, budget=Budget(evaluations=limit))
    outcome = search.end()
    assert outcome.stop_reason == (None if drawn == 21 else "budget")
    assert outcome.spent.evaluations == 3 * drawn
    if drawn:
        assert outcome.population is not None
        assert outcome.population.verdicts.answers == replace(search, budget=None).found().verdicts.answers[:drawn]


def test_an_unscored_answer_is_no_pivot() -> None:
    found = Search(Straight(1), judge(lambda x: x if x > 0.5 else None), "noise_search", ZERO).found()
    value, pivot = rewards(found), found.memory["pivot"]
    assert np.isnan(value).any()
    for first in range(1, len(found), 4):
        before = np.nan_to_num(value[:first], nan=-np.inf)
        assert pivot[first] == before.argmax()


def test_zero_order_climbs() -> None:
    """8 normals: the first has sd 1; the noise keeps its length, so that the best possible is sqrt(8) or so.

    The mean of 15 searches is 2.6 with a standard error of .14.
    """
    found = many([Search(Straight(1), VALUE, "noise_search", {**ZERO, "rounds": 20}, s) for s in range(15)])
    assert np.mean([rewards(p).max() for p in found]) > 2.2
    assert all(rewards(p).max() >= rewards(p)[0] for p in found)


@pytest.mark.parametrize(
    ("steps", "begin", "rounds"),
    [
        (20, 18, [(2, 19), (3, 20)]),
        (100, 89, [(11, 92), (14, 95), (17, 98), (20, 100)]),
        (50, 44, [(5, 46), (7, 48), (9, 50)]),
        (4, 3, [(0, 4)]),
        (2, 1, [(0, 2)]),
    ],
)
def test_course_of_the_papers_defaults(steps: int, begin: int, rounds: list[tuple[int, int]]) -> None:
    found = NoiseSearch(algorithm="paths").course(steps)
    assert found.begin == begin
    assert [tuple(r) for r in found.rounds] == rounds


@pytest.mark.parametrize("steps", [2, 3, 7, 20, 33])
@pytest.mark.parametrize("parts", [(0.11, 0.78, 0.81), (0.9, 0.1, 0.3), (0.5, 0.5, 1.0), (0.01, 0.98, 0.99)])
def test_paths_cost_is_exact(steps: int, parts: tuple[float, float, float]) -> None:
    config = {**PATHS, **dict(zip(("start", "forward", "backward"), parts, strict=True))}
    plan: Any = NoiseSearch(**config)  # type: ignore[arg-type]
    begin, rounds = plan.course(steps)
    cost = 3 * begin + 12 * sum(r.ranked - r.renoised for r in rounds)
    assert all(r.renoised < s <= r.ranked for r, s in zip(rounds, (begin, *(r.ranked for r in rounds)), strict=False))
    outcome = Search(mixture(steps), VALUE, "noise_search", config).end()
    assert (outcome.error, outcome.stop_reason) == (None, None)
    assert outcome.spent.evaluations == cost
    assert outcome.spent.evaluations <= plan.trajectories * steps + 1e-6
    assert outcome.spent.verifier_calls == 12 * len(rounds) == 12 * plan.verdicts(steps)
    assert outcome.spent.previews == 12 * (len(rounds) - 1)
    assert outcome.population is not None
    assert len(outcome.population) == 3
    assert outcome.population.idle


def test_dearest_course_is_that_of_some_number_of_steps() -> None:
    plan = NoiseSearch(algorithm="paths", n=4, ways=8)
    costs = []
    for steps in range(2, 3000):
        begin, rounds = course(steps, 0.11, 0.78, 0.81)
        costs.append(4 * (begin + 8 * sum(r.ranked - r.renoised for r in rounds)) / steps)
    assert plan.trajectories == max(costs)


def test_paths_improve_round_by_round() -> None:
    """Rows that are kept are the best previews of their round, so that more ways give better answers: by 0, 1.2 and
    2.7, each with a standard error of .13 or less."""
    means = [gain("noise_search", {"algorithm": "paths", "n": 4, "ways": ways}, 40) for ways in (1, 2, 8)]
    assert abs(means[0][0]) < 4 * means[0][1]
    assert means[1][0] + 0.3 < means[2][0]
    assert means[1][0] > 0.5


def test_paths_finish_what_they_keep_when_a_budget_ends_the_rounds() -> None:
    """3 rows to step 18 cost 54; a round renoises 12 rows from 18 to 2 and denoises them to 19 (204 more), and 3 x 1
    finish the kept. Below 54 + 12 x 18 whole groups of 4 are renoised: each must be carried from step 2 to 20."""
    search = Search(mixture(), verifier("toy/linear"), "noise_search", PATHS)
    for limit, n, evaluations in [
        (19, None, 0),
        (20, 1, 20),
        (60, 3, 60),
        (125, 3, 60),
        (126, 3, 54 + 4 * 17 + 3),
        (54 + 12 * 18, 3, 54 + 12 * 17 + 3),
    ]:
        outcome = replace(search, budget=Budget(evaluations=limit)).end()
        assert (outcome.error, outcome.stop_reason) == (None, "budget")
        assert outcome.spent.evaluations == evaluations <= limit
        assert (None if outcome.population is None else len(outcome.population.found())) == n
    whole = replace(search, budget=Budget(evaluations=54 + 12 * 34)).end()
    assert (whole.stop_reason, whole.spent.evaluations) == (None, 54 + 12 * 34)


def test_paths_are_told_when_previews_cannot_be_read() -> None:
    outcome = Search(mixture(), judge(lambda x: None), "noise_search", PATHS).end()
    assert isinstance(outcome.error, NoWeight)
    assert str(outcome.error).startswith("step 19: none of 12 answers was scored: cannot read")


def test_paths_need_two_steps() -> None:
    outcome = Search(mixture(1), VALUE, "noise_search", PATHS).end()
    assert isinstance(outcome.error, ValueError)
    assert "at least 2 steps, not 1" in str(outcome.error)


@pytest.mark.parametrize(
    ("generator", "config"),
    [
        (Straight(3), ZERO),
        (Straight(2), {**ZERO, "neighbours": 1}),
        (mixture(5), {"algorithm": "random", "n": 5}),
        (mixture(), PATHS),
        (mixture(9), {**PATHS, "start": 0.8, "forward": 0.2, "backward": 0.5}),
    ],
    ids=["zero_order", "one neighbour", "random", "paths", "many rounds"],
)
def test_killed_anywhere_and_in_company(generator: Any, config: dict[str, Any]) -> None:
    search = Search(generator, VALUE, "noise_search", config)
    assert killed_anywhere(search) > 6
    same_in_company(search)


def test_a_cut_search_may_be_killed_too() -> None:
    """Wherever it is killed, a search whose budget ended its rounds finishes the same rows."""
    budget = Budget(evaluations=130)
    search = Search(mixture(), verifier("toy/linear"), "noise_search", PATHS, budget=budget)

    async def main() -> None:
        tools, before = search.tools(Engine()), list[Any]()
        first = await run(search.states(tools), tools, seen=lambda s: before.append((s, replace(tools.spent))))
        assert len(before) > 20
        for state, spent in before:
            tools = search.tools(Engine())
            tools.spent = replace(spent)
            outcome = await run(search.states(tools, state), tools)
            assert outcome.stop_reason == first.stop_reason == "budget"
            assert outcome.population is not None
            assert record(outcome.population) == record(before[-1][0])

    asyncio.run(main())


def test_capabilities_of_each_algorithm() -> None:
    assert NoiseSearch(algorithm="random").needs == frozenset()
    assert NoiseSearch(algorithm="zero_order").needs == {"neighbours"}
    assert NoiseSearch(algorithm="paths").needs == {"preview", "renoise"}


def test_limits() -> None:
    for wrong in (
        {"algorithm": "best"},
        {"n": 0},
        {"cosine": 1.0},
        {"neighbours": 0},
        {"rounds": 0},
        {"start": 0.0},
        {"start": 1.0},
        {"forward": 0.81},
        {"backward": 0.5},
        {"backward": 1.1},
    ):
        with pytest.raises(ValidationError):
            NoiseSearch(**wrong)  # type: ignore[arg-type]
