"""Scores of reasoning-gym's own tasks, whose items `items_from` draws: the task knows which answers are right.

Some of its scorers hand the answer, or the item's metadata, to Python's `eval` or to sympy's `parse_expr`, which is
one. Both come from strangers, so neither reaches them here: see `tamed`.
"""

import ast
import json
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import Field, JsonValue

from search.plugins import Unknown, plugin
from search.ports import Answer, Config, Frozen, Item, Score, Verifier
from verifiers.answers import Pattern, first_group
from verifiers.each import Unreadable, each, finite, shown, text
from verifiers.patience import patience
from verifiers.reading import boxed

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FUNCTIONS = "sin|cos|tan|asin|acos|atan|sinh|cosh|tanh|exp|log|ln|sqrt|pi|Abs"
_ARITHMETIC = re.compile(rf"(?:\d{{1,30}}|(?<![A-Za-z0-9_.])(?:{_FUNCTIONS}|[A-Za-z])(?![A-Za-z0-9_])|[-+*/^().,\s])*+")
_HEXADECIMAL = re.compile(r"(?:(?<!\w)(?:0x[0-9a-fA-F]{1,16}|\d{1,3})(?!\w)|[-+&|^~()\s]|\*(?!\*)|<<|>>){1,2000}+")
_FAR = re.compile(r"<<(?!\s*(?:0x[0-9a-fA-F]{1,2}|\d{1,2})(?!\w))")
_EVALUATED = ("simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown")
"""Tasks whose scorers parse mathematics with `parse_expr`."""


class Entry(Frozen):
    """An item's target: an item of the task as reasoning-gym makes it."""

    task: str = Field(max_length=200, description="Name of the task, such as lcm.")
    answer: str | None = Field(max_length=100_000, description="An answer that is right, where the task has one.")
    metadata: dict[str, JsonValue] = Field(description="What the task's scorer reads.")
    config: dict[str, JsonValue] = Field(default_factory=dict, description="The task's own settings.")
    seed: int = 0
    index: int = 0


def entry_of(item: Item) -> Entry:
    """The item's target. Raises Unreadable, a ValueError, for anything else."""
    try:
        return Entry.model_validate(item.target)
    except ValueError as error:
        expected = "expected an object of `task`, `answer` and `metadata`, as `items_from` draws it"
        raise Unreadable(f"target {shown(item.target)} of item {item.id!r}: {expected}") from error


class ReasoningGym(Config):
    """An answer to an item of a reasoning-gym task."""

    pattern: Pattern | None = Field(
        default=None,
        description="Where the answer stands: the first group (or all) of its last match. "
        "None: the last <answer>...</answer>, else the last \\boxed{}, else all of the text.",
    )

    def said(self, answer: str) -> str | None:
        """The answer in a text, or None where the pattern does not match."""
        if self.pattern is not None:
            found = None
            for found in re.finditer(self.pattern, answer):  # noqa: B007
                pass
            return first_group(found).strip() if found else None
        if tagged := _TAGGED.findall(answer):
            return tagged[-1].strip()
        inside = boxed(answer)
        return (answer if inside is None else inside).strip()

    def check(self, item: Item) -> None:
        entry_of(item)


def literal(expression: str) -> Any:
    """In place of `eval`: the value of a literal, such as a list of lists. Raises ValueError for anything else."""
    if len(expression) > 20_000 or _FAR.search(expression):
        raise ValueError("too long, or shifted too far")
    if _HEXADECIMAL.fullmatch(expression) and "0x" in expression:
        return eval(expression, {"__builtins__": {}}, {})  # noqa: S307 - hexadecimal numbers and their operators alone
    return ast.literal_eval(expression)


def harmless(expression: str) -> bool:
    """Whether an expression holds numbers, operators, brackets, single letters and common functions alone."""
    return len(expression) <= 2000 and _ARITHMETIC.fullmatch(expression) is not None


def names() -> list[str]:
    """Every task. Raises ImportError, with the remedy, when reasoning-gym is not installed."""
    library()
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


def library() -> Any:
    """reasoning-gym. Raises ImportError, with the remedy, when it is not installed."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise ImportError("reasoning-gym is not installed; pip install winnow-service[language]") from error
    return reasoning_gym


def dataset(task: str, **settings: Any) -> Any:
    """A task's items. Raises Unknown, which lists the tasks, and ValueError for settings that it does not take."""
    if task not in (valid := names()):
        raise Unknown("task", task, valid)
    try:
        return library().create_dataset(task, **settings)
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"the task {task!r} does not take this: {error!s:.300}") from error


@lru_cache(maxsize=64)
def tamed(task: str, config: str) -> Any:
    """A task that scores answers, with `literal` in place of `eval` in its module."""
    made = dataset(task, size=1, **json.loads(config))
    vars(sys.modules[type(made).__module__])["eval"] = literal
    return made


def score(entry: Entry, said: str) -> float:
    """What the task says of an answer, from 0 to 1. Raises Unreadable where it cannot say."""
    fields = {"answer": entry.answer, "metadata": entry.metadata}
    if entry.task in _EVALUATED:
        read: Mapping[str, Any] = {"answer": entry.answer or "", "integrand": entry.metadata.get("integrand", "")}
        if not all(isinstance(value, str) and harmless(value) for value in read.values()):
            raise Unreadable("the item's own expressions hold more than numbers, operators and common functions")
        if not harmless(said):
            return 0.0
    try:
        return float(tamed(entry.task, json.dumps(entry.config)).score_answer(said, {"question": "", **fields}))
    except Unreadable:
        raise
    except (Exception, SystemExit) as error:
        raise Unreadable(f"the task {entry.task!r} cannot score it: {type(error).__name__}: {error!s:.200}") from error


@plugin(version="1", place="process")
def reasoning_gym(config: ReasoningGym) -> Verifier:
    """The task's own score of the answer, from 0 to 1; passes at 1. Votes as the answer in the text."""

    names()  # loads the library, which takes seconds, before anything is timed

    def judge(answer: Answer) -> Score:
        entry, written = entry_of(answer.item), text(answer.value)
        with patience(5.0):
            said = config.said(written)
            if not said:
                return Score(0.0, False, "no answer found")
            value = finite(score(entry, said))
        return Score(value, value >= 1, None if value >= 1 else "not what the task accepts", said[:1000])

    return each(judge)
