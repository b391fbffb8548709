"""Beam search: against a plain loop, and where it is soft-value decoding or best of n."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exact import model, verifier
from pydantic import ValidationError
from searches import VALUE, Early, Search, gain, judge, killed_anywhere, record, rewards, same_in_company

from generators.fake import Fake
from search import keys
from search.metering import Budget
from search.methods.beam import Beam
from search.population import NoWeight
from search.ports import Item


def mixture(steps: int = 6) -> Any:
    return model("toy/gaussian_mixture", steps=steps)


@pytest.mark.parametrize(("start", "end"), [(4, 4), (8, 2), (2, 5), (1, 1)])
@pytest.mark.parametrize("every", [1, 2, 4, 9])
def test_a_plain_loop_finds_the_same(start: int, end: int, every: int) -> None:
    generator, steps, children = mixture(), 6, 3
    config = {"n": 1, "start": start, "end": end, "children": children, "every": every}
    outcome = Search(generator, VALUE, "beam", config).end()
    count = start * children
    rows = generator.start([Item(id="a")] * count, keys.rows(keys.problem(5, "a"), 0, count))
    evaluations = 0
    for step in range(1, steps + 1):
        rows = generator.advance(rows)
        evaluations += len(rows)
        if step % every == 0 or step == steps:
            width = int(np.floor(start + (end - start) * step / steps + 0.5))
            values = np.array(generator.finish(rows) if step == steps else generator.preview(rows))
            best = np.argsort(-values, kind="stable")[:width]
            rows = rows[best] if step == steps else rows.fork(np.repeat(best, children))
    assert outcome.population is not None
    assert outcome.population.names() == keys.name(rows.keys[:1])
    assert list(outcome.population.verdicts.answers) == list(generator.finish(rows)[:1])
    assert outcome.spent.evaluations == evaluations <= Beam(**config).trajectories * steps  # type: ignore[arg-type]
    assert outcome.spent.verifier_calls <= Beam(**config).verdicts(steps) * Beam(**config).widest  # type: ignore[arg-type]


@pytest.mark.parametrize("children", [1, 2, 6])
def test_a_beam_of_one_is_soft_value_decoding_of_the_best(children: int) -> None:
    one = Search(mixture(), VALUE, "beam", {"start": 1, "end": 1, "children": children}).found()
    same = Search(mixture(), VALUE, "soft_value", {"n": 1, "children": children}).found()
    if children > 1:  # with one candidate soft-value decoding forks nothing
        assert record(one) == record(same)
    assert len(one) == 1


def test_ranking_at_the_end_alone_gives_the_best_of_n() -> None:
    """Digest for digest, best first."""
    found = Search(mixture(), VALUE, "beam", {"n": 3, "start": 4, "end": 3, "children": 5, "every": 6}).found()
    drawn = Search(mixture(), VALUE, "best_of_n", {"n": 20}).found()
    assert record(found) == record(drawn[np.argsort(-rewards(drawn))[:3]].found())


def test_a_constant_width_costs_its_trajectories() -> None:
    config = {"n": 2, "start": 3, "end": 3, "children": 4, "every": 2}
    outcome = Search(mixture(), VALUE, "beam", config).end()
    assert outcome.spent.evaluations == 3 * 4 * 6 == Beam(**config).trajectories * 6  # type: ignore[arg-type]
    assert (outcome.spent.previews, outcome.spent.verifier_calls) == (12 * 2, 12 * 3)
    assert Beam(**config).verdicts(6) == 3  # type: ignore[arg-type]


def test_widths_are_linear() -> None:
    config = Beam(start=9, end=1, n=1)
    assert [config.width(step, 8) for step in range(9)] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [Beam(start=2, end=4).width(step, 4) for step in range(5)] == [2, 3, 3, 4, 4]


@pytest.mark.parametrize("generator", [mixture(), Early(5)], ids=["mixture", "early"])
@pytest.mark.parametrize(
    "config",
    [{"n": 2}, {"n": 1, "start": 6, "end": 2, "children": 3, "every": 2}, {"n": 4, "start": 2, "end": 5}],
    ids=str,
)
def test_killed_anywhere_and_in_company(generator: Any, config: dict[str, Any]) -> None:
    search = Search(generator, VALUE, "beam", config)
    assert killed_anywhere(search) > 2
    same_in_company(search)


def test_rows_that_end_early_stay_and_are_judged_once() -> None:
    asked: list[float] = []

    def score(x: float) -> float:
        asked.append(x)
        return x

    found = Search(Early(6), judge(score), "beam", {"n": 3, "start": 4, "end": 4, "children": 3}).found()
    assert len(found) == 3
    assert len(set(found.names())) == 3
    assert (np.diff(rewards(found)) <= 0).all()
    ended = [x for x in asked if x > 1]
    assert len(ended) == len(set(ended))


@pytest.mark.parametrize(("limit", "drawn"), [(0, 0), (71, 0), (72, 2), (1000, 2)])
@pytest.mark.parametrize("currency", ["evaluations", "verifier_calls", "previews"])
def test_a_budget_affords_the_beam_or_nothing(currency: str, limit: int, drawn: int) -> None:
    budget = Budget(**{currency: limit * 5 // 6 if currency == "previews" else limit})
    search = Search(mixture(), VALUE, "beam", {"n": 2, "start": 3, "end": 3, "children": 4}, budget=budget)
    outcome = search.end()
    assert outcome.error is None
    assert outcome.stop_reason == (None if drawn else "budget")
    assert (0 if outcome.population is None else len(outcome.population)) == drawn
    if not drawn:
        assert outcome.spent.evaluations == 0


def test_previews_of_which_none_is_scored_end_the_search() -> None:
    outcome = Search(Fake(3), judge(lambda x: None), "beam", {}).end()
    assert isinstance(outcome.error, NoWeight)
    assert str(outcome.error).startswith("step 1: none of 16 answers was scored: cannot read")


def test_unscored_rows_come_last() -> None:
    found = Search(Fake(3), judge(lambda x: x if x > 0 else None), "beam", {"n": 4}).found()
    assert not np.isnan(rewards(found)).any()


def test_it_improves_on_the_model() -> None:
    mean, error = gain("beam", {"n": 1, "start": 4, "end": 1, "children": 4})
    assert mean - 4 * error > 1.5


def test_another_first_sample_is_another_search() -> None:
    search = Search(mixture(), verifier("toy/linear"), "beam", {"n": 2})
    assert not {*search.found().names()} & {*replace(search, first=2).found().names()}


def test_limits() -> None:
    assert (Beam(n=3).samples, Beam(n=3).piece) == (3, 3)
    for wrong in ({"n": 0}, {"n": 5}, {"children": 0}, {"start": 0}, {"end": 0}, {"every": 0}, {"n": 3, "end": 2}):
        with pytest.raises(ValidationError):
            Beam(**wrong)  # type: ignore[arg-type]
