"""Identical answers are scored once; answers that only look alike are not taken for each other."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from generators.toy import Bits, bits
from search.engine import Engine, Shared
from search.known import Known, content
from search.metering import Budget, Metered, Spent
from search.methods.best_of_n import BestOfN, best_of_n
from search.ports import Answer, Item, Message, Score, Task
from search.run import run
from search.scoring import Judge

ITEM = Item(id="a", prompt="p")


def asked(values: Sequence[Any], items: Sequence[Item] = (ITEM,), verdict: Score | None = None) -> list[Any]:
    """What a verifier is asked when the values come once for each item, one search after the other."""
    seen: list[Any] = []

    def verify(answers: Sequence[Answer]) -> list[Score]:
        seen.extend(answer.value for answer in answers)
        return [verdict or Score(float(len(str(answer.value)))) for answer in answers]

    async def main() -> None:
        engine, judge = Engine(), Judge("v", "v", verify)
        for item in items:
            found = await engine.judge(judge, [Answer(value, item) for value in values])
            expected = [verdict or Score(float(len(str(value)))) for value in values]
            assert list(found.scores) == expected

    asyncio.run(main())
    return seen


def test_once_for_each_answer_and_item() -> None:
    other = Item(id="a", prompt="p", target=1)
    assert asked(["x", "y", "x", "x"]) == ["x", "y"]
    assert asked(["x", "y"], [ITEM, ITEM, ITEM]) == ["x", "y"]
    assert asked(["x"], [ITEM, other, ITEM]) == ["x", "x"]
    talks = [Item(id="a", messages=(Message(role="user", content=words),)) for words in ("1 + 1?", "1 + 2?", "1 + 1?")]
    assert asked(["x"], talks) == ["x", "x"]  # one id, two conversations


def test_scores_that_depend_on_company_are_not_remembered() -> None:
    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [Score(float(len(answers))) for _ in answers]

    async def main() -> None:
        engine, judge = Engine(), Judge("v", "v", verify, together=True)
        for values in (["x", "y"], ["x"], ["x", "x", "x"]):
            found = await engine.judge(judge, [Answer(value, ITEM) for value in values])
            assert [score.value for score in found.scores] == [len(values)] * len(values)

    asyncio.run(main())


def test_known_answers_cost_calls_and_no_seconds() -> None:
    """Else what a search may still do would depend on what its worker has done before."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        time.sleep(0.01)
        return [Score(0.0) for _ in answers]

    async def main() -> None:
        engine, walk, judge = Engine(), bits(Bits(length=2)), Judge("v", "v", verify)
        spent: list[Spent] = []
        for _ in range(2):
            task = Task(ITEM, 0, 0, 6)
            tools = Metered(Shared(engine, task, walk, [judge]), walk, 1, Budget())
            spent.append((await run(best_of_n(task, tools, BestOfN(n=6)), tools)).spent)
        first, again = spent
        assert first.verifier_seconds >= 0.01
        assert again == replace(first, verifier_seconds=0.0)
        assert again.verifier_calls == 6

    asyncio.run(main())


def test_unscored_answers_are_asked_again() -> None:
    assert asked(["x", "x"], [ITEM, ITEM], Score(None, None, "out of order")) == ["x", "x"]


def test_what_looks_alike_is_not_identical() -> None:
    image = np.zeros((2, 3), np.uint8)
    values: list[Any] = [1, True, "1", [1], ["1"], {"a": 1}, "", [], image, image.reshape(3, 2), image.astype(np.int8)]
    assert len({content(value) for value in values}) == len(values)
    assert content(image.T.copy().T) == content(image)
    assert content("a" * 100) != content("a" * 99)
    assert content("\ud800" * 100) == content("\ud800" * 100)
    assert content(object()) is None


def test_answers_that_cannot_be_compared_stand_alone() -> None:
    one = object()
    assert asked([one, one]) == [one, one]


def test_what_was_asked_longest_ago_is_forgotten() -> None:
    known = Known(most=10)
    for number in range(5):
        item = Item(id=str(number))
        known.learn("v", item, {("text", f"{i}"): Score(1.0) for i in range(4)})
    assert known.held <= 10
    assert known.look("v", [Answer("1", Item(id="4"))]).missing == {}
    assert known.look("v", [Answer("1", Item(id="0"))]).missing


def test_the_same_picture_of_two_trajectories_is_two_answers() -> None:
    picture = np.zeros((2, 2), np.uint8)

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [Score(answer.trajectory_variance) for answer in answers]

    async def main() -> None:
        engine, judge = Engine(), Judge("v", "v", verify)
        for _ in range(2):
            found = await engine.judge(judge, [Answer(picture, ITEM, v) for v in (0.5, 0.25, 0.5)])
            assert [score.value for score in found.scores] == [0.5, 0.25, 0.5]

    asyncio.run(main())
