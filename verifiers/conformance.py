"""The exam that every verifier passes, and a fake for the tests of everything that uses one.

>>> from verifiers.conformance import examine
>>> examine(my_verifier(MyConfig()), [Answer("7", item), Answer("8", item)])
"""

import asyncio
import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.ports import Answer, Item, Score, Verifier, unscored

TOLERANCE = 1e-5


class Failed(AssertionError):
    """A verifier breaks the contract; the message says how."""


def demand(condition: bool, complaint: str) -> None:
    """Raise Failed with the complaint unless the condition holds."""
    if not condition:
        raise Failed(complaint)


def hostile() -> dict[str, Any]:
    """What a model may answer in the worst case, by name."""
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    return {
        "None": None, "True": True, "the empty string": "", "nan": math.nan, "inf": math.inf, "-inf": -math.inf,
        "an integer of 10,000 digits": 10**10_000, "-0.0": -0.0, "1e308": 1e308, "a complex number": 1j,
        "a million letters": "a" * 10**6, "a million digits": "1" * 10**6, "5,000 digits": "9" * 5000,
        "a lone surrogate": "\ud800", "a null character": "\0", "spaces": " \t\n" * 1000,
        "a huge exponent": "1e999999999",
        "unbalanced braces": r"\boxed{" * 1000, "open brackets": "[" * 50_000, "JSON's unknown NaN": "NaN",
        "bytes": b"\xff\x00", "a dictionary": {"a": [1]}, "an object": object(), "a set": {1},
        "nested lists": [[1, [2, [None]]], []], "500 nested lists": deep, "a list of huge integers": [10**10_000],
        "an empty array": np.zeros(0), "a number's array": np.array(7),
        "an array of objects": np.array([None, "a"], object), "a narrow image": np.zeros((28, 27), np.uint8),
        "an image in colour": np.zeros((28, 28, 3), np.uint8), "an image of floats": np.full((28, 28), np.nan),
        "a batch of images": np.zeros((2, 28, 28), np.uint8),
    }  # fmt: skip


def examine(verifier: Verifier, answers: Sequence[Answer], together: bool = False) -> None:
    """Raise Failed when the verifier breaks the contract on these answers, which are its usual ones.

    It must give one well-formed Score per answer; be deterministic; judge an answer the same whatever its place and its
    company (values within 1e-5); take no answers; survive hostile ones; and leave what it is given unchanged. Plain and
    async verifiers alike; not to be called from a running event loop. Raises ValueError for no answers.
    together: its scores may depend on the company, as a tournament's do; all else is asked of it too.
    """
    if not answers:
        raise ValueError("the exam needs at least one answer, one that the verifier usually sees")
    answers = list(answers)
    before = copy.deepcopy(answers)
    scores = judged(verifier, answers)
    demand(same_things(answers, before), "the verifier changed the answers that it was given")
    demand(all(map(alike, judged(verifier, answers), scores)), "the same answers got other scores the second time")
    demand(not judged(verifier, []), "no answers must give no scores")
    if not together:
        check_company(verifier, answers, scores)
    check_hostile(verifier, answers, scores, together)


def check_company(verifier: Verifier, answers: list[Answer], scores: list[Score]) -> None:
    """Each answer gets the same score in any order, alone, and in a larger batch."""
    order = [int(i) for i in np.random.default_rng(0).permutation(len(answers))]
    for index, where in ((order, "in another order"), (order * 3, "in a larger batch")):
        for i, score in zip(index, judged(verifier, [answers[i] for i in index]), strict=True):
            demand(alike(score, scores[i]), f"answer {i} got {scores[i]}, but {score} {where}")
    for i, answer in enumerate(answers):
        (score,) = judged(verifier, [answer])
        demand(alike(score, scores[i]), f"answer {i} got {scores[i]} in company, but {score} alone")


def check_hostile(verifier: Verifier, answers: list[Answer], scores: list[Score], together: bool = False) -> None:
    """Hostile answers get a Score each, and leave the scores of the others alone."""
    for name, value in hostile().items():
        try:
            judged(verifier, [Answer(value, answers[0].item)])
        except Failed as error:
            raise Failed(f"on a hostile answer, {name}: {error}") from error
    mixed = [Answer(value, answers[0].item) for value in hostile().values()] + answers
    for i, score in enumerate(judged(verifier, mixed)[-len(answers) :]):
        fine = together or alike(score, scores[i])
        demand(fine, f"answer {i} got {scores[i]}, but {score} beside hostile answers")
    strange = judged(verifier, [Answer(answers[0].value, Item(id="strange", prompt="", target=None))])
    demand(len(strange) == 1, "an item without prompt and target must still get a score")


def judged(verifier: Verifier, answers: Sequence[Answer]) -> list[Score]:
    """The verifier's scores, well-formed. Raises Failed when they are not, or when it raises."""
    try:
        given = verifier(list(answers))
        if inspect.isawaitable(given):
            given = asyncio.run(waited(given))
    except Exception as error:
        raise Failed(f"the verifier raised {type(error).__name__}: {error!s:.99}; it should return unscored") from error
    scores = list(given)
    demand(len(scores) == len(answers), f"{len(answers)} answers got {len(scores)} scores")
    for score in scores:
        check_score(score)
    return scores


async def waited(given: Any) -> Any:
    """The result of any awaitable."""
    return await given


def check_score(score: Any) -> None:
    """A finite value, or none and the reason."""
    demand(isinstance(score, Score), f"expected a Score, found {type(score).__name__}")
    value, passed, reason, canonical = score
    if value is None:
        demand(passed is None and canonical is None, f"an unscored answer neither passes nor votes: {score!s:.200}")
        demand(isinstance(reason, str) and bool(reason.strip()), "an unscored answer needs a reason")
    else:
        demand(type(value) is float and math.isfinite(value), f"a value is a finite float or None, not {value!r:.100}")
    demand(passed is None or type(passed) is bool, f"passed is True, False or None, not {passed!r:.100}")
    for name, words in (("reason", reason), ("canonical", canonical)):
        demand(words is None or isinstance(words, str), f"{name} is text or None, not {words!r:.100}")
        demand(words is None or "\ud800" not in words, f"{name} must be valid Unicode")
    demand(reason is None or len(reason) <= 1000, "a reason has at most 1,000 characters")


def alike(a: Score, b: Score) -> bool:
    """The same score, with values within TOLERANCE."""
    if a.value is None or b.value is None:
        return a == b
    return math.isclose(a.value, b.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE) and a[1:] == b[1:]


def same_things(a: Sequence[Answer], b: Sequence[Answer]) -> bool:
    """Equal answers; arrays by their bytes."""

    def same(x: Any, y: Any) -> bool:
        if hasattr(x, "tobytes"):
            return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        return [x] == [y]

    return len(a) == len(b) and all(same(x.value, y.value) and x.item == y.item for x, y in zip(a, b, strict=True))


def fake(values: Mapping[Any, float | None]) -> Verifier:
    """A verifier that knows its verdicts: answer -> value. It passes above 0; None and unknown answers are unscored."""

    def one(value: Any) -> Score:
        try:
            known = values.get(value)
        except TypeError:  # unhashable
            known = None
        if known is None:
            return unscored("the fake has no value for this answer")
        return Score(float(known), known > 0, None, str(value))

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [one(answer.value) for answer in answers]

    return verify
