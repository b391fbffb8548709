"""Numbers of a population in one array: the same answers, read one by one or all at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from generators.builtin import GENERATORS
from generators.fake import Fake
from search.answers import Answers, Numbers, had, joined, numbers
from search.engine import Engine, Shared
from search.ports import Answer, Failed, Item, Rows, Score, Task, Values
from search.scoring import Judge
from search.verdicts import Verdicts
from verifiers.builtin import VERIFIERS

ITEM = Item(id="a")
GIVEN = [0.5, -1.0, 3.25]


class Arrayed(Fake):
    """A walk whose answers lie in one array."""

    def preview(self, rows: Rows) -> Any:
        return Numbers(rows.columns["x"])

    finish = preview


def test_numbers_read_like_a_list_of_floats() -> None:
    held = Numbers(np.array(GIVEN))
    assert (list(held), len(held), held[1], held[-1]) == (GIVEN, 3, -1.0, 3.25)
    assert {type(x) for x in [*held, held[0]]} == {float}
    assert list(held[1:]) == GIVEN[1:]
    assert isinstance(held[1:], Numbers)


@pytest.mark.parametrize("values", [GIVEN, Numbers(np.array(GIVEN)), ["x", {"a": 1}, None]])
def test_answers_read_like_a_list_of_answers(values: Sequence[Any]) -> None:
    answers, listed = Answers(values, ITEM), [Answer(value, ITEM) for value in values]
    assert list(answers) == listed
    assert [answers[i] for i in range(3)] == listed
    assert list(answers[1:]) == listed[1:]


def test_numbers_of_answers() -> None:
    for values in (GIVEN, Numbers(np.array(GIVEN))):
        array = numbers(Answers(values, ITEM))
        assert array is not None
        assert array.tolist() == GIVEN
    for other in ([0.5, 1], [0.5, True], [0.5, "1"], [np.float64(1.0)], [Failed("down")]):
        assert numbers(Answers(other, ITEM)) is None
    assert numbers([Answer(0.5, ITEM), Answer(1.5, Item(id="b"))]) is not None


def test_blocks_are_joined_in_order() -> None:
    one, two = Numbers(np.array([1.0, 2.0])), Numbers(np.array([3.0]))
    assert isinstance(joined([one, two]), Numbers)
    assert list(joined([one, two])) == [1.0, 2.0, 3.0]
    assert joined([one, ["x"], two]) == [1.0, 2.0, "x", 3.0]


def test_what_failed_was_not_had() -> None:
    held = Numbers(np.array(GIVEN))
    assert had(held) is held
    assert had([1, Failed("down"), None]) == [1, None]


def test_a_toy_population_stays_in_arrays() -> None:
    """From the preview to the score, over several calls: else a population of 100,000 would cost seconds a step."""
    model, reward = GENERATORS.find("toy/gaussian_mixture"), VERIFIERS.find("toy/linear")
    judge = Judge("v", "v", reward.factory(reward.config.model_validate({"slope": 2.0})))
    tools = Shared(Engine(most=5), Task(ITEM, 0, 0, 12), model.factory(model.config.model_validate({})), [judge])

    async def main() -> Verdicts:
        return await tools.preview(await tools.advance(await tools.start(0, 12)))

    found = asyncio.run(main())
    assert isinstance(found.answers, Numbers)
    assert isinstance(found.scores["v"], Values)
    np.testing.assert_array_equal(found.rewards, 2 * found.answers.array)


def test_a_verifier_sees_the_same_whether_answers_lie_in_an_array() -> None:
    """Over several calls, by two judges: one that reads each answer and one that reads them all."""

    def halves(answers: Sequence[Answer]) -> list[Score]:
        return [Score(answer.value / 2, canonical=str(answer.value)) for answer in answers]

    def ranks(answers: Sequence[Answer]) -> list[Score]:
        return [Score(float(sum(b.value < a.value for b in answers))) for a in answers]

    def verdicts(walk: Fake) -> Verdicts:
        judges = [Judge("halves", "h", halves), Judge("ranks", "r", ranks)]
        tools = Shared(Engine(most=5), Task(ITEM, 0, 0, 12), walk, judges)

        async def main() -> Verdicts:
            return await tools.preview(await tools.advance(await tools.start(0, 12)))

        return asyncio.run(main())

    arrayed, listed = verdicts(Arrayed(3)), verdicts(Fake(3))
    assert isinstance(arrayed.answers, Numbers)
    assert list(arrayed.answers) == list(listed.answers)
    assert arrayed.scores == listed.scores


def test_answers_carry_what_their_rows_know_of_the_trajectory() -> None:
    keys = np.zeros((3, 2), np.uint32)
    plain, watched = (Rows.fresh(keys, c) for c in ({}, {"trajectory_variance": np.array([0.1, 0.2, -1.0])}))
    values = ["a", Failed("down"), "c"]
    assert [(a.value, a.trajectory_variance) for a in Answers.of(values, ITEM, plain)] == [("a", None), ("c", None)]
    told = Answers.of(values, ITEM, watched)
    assert [(a.value, a.trajectory_variance) for a in told] == [("a", 0.1), ("c", -1.0)]
    assert [told[i] for i in range(2)] == list(told)
    assert list(told[1:]) == [Answer("c", ITEM, -1.0)]
    assert len(list(Answers.of([], ITEM, watched[np.zeros(0, int)]))) == 0
