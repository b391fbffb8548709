"""A model whose answers are as hostile as its prompts, as a plug-in of another distribution."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.configs import ModelConfig
from search.keys import START, Words, uniforms
from search.ports import Answer, Config, Generator, Item, Rows, Score, Verifier

ENTRY_POINTS = """
[winnow.generators]
hostile/echo = hostile:echo

[winnow.verifiers]
hostile/grumble = hostile:grumble
"""

SCRIPT = "<script>window.hit = 1; alert('script')</script></script><!--"
IMAGE = "<img src=x onerror=\"window.hit = 1\"><svg onload='window.hit = 1'>\"'><a href=javascript:window.hit=1>go</a>"
CONTROL = "bell\x07 escape\x1b[31m back\x08space \x7f\x85\u2028\u2029 \ufeff tab\there"
TURNED = "\u202eright to left\u202c \u2066isolate \u200b\u200dz\u0335\u0321\u0489algo"
LONG = "1 MB "
"""The prompt whose answers are long."""

ANSWERS: dict[str, Any] = {
    SCRIPT: SCRIPT,
    IMAGE: {IMAGE: [IMAGE], "__proto__": IMAGE, "constructor": IMAGE},
    CONTROL: CONTROL,
    TURNED: TURNED,
    LONG: "<b>" * 350_000,
}


class Echo(ModelConfig):
    """Nothing to choose."""


@dataclass(frozen=True)
class Echoing:
    """One step; the answer belongs to the prompt."""

    config: Echo
    steps = 1
    price = 1

    @property
    def batch_key(self) -> Hashable:
        return "echo"

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        which = [list(ANSWERS).index(item.prompt) if item.prompt in ANSWERS else -1 for item in items]
        return Rows.fresh(keys, {"which": np.array(which), "u": uniforms(keys, START, 1)[:, 0]})

    def advance(self, rows: Rows) -> Rows:
        return rows.moved(np.ones(len(rows), bool), {})

    def preview(self, rows: Rows) -> list[Any]:
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        known = [*ANSWERS.values(), "plain"]
        return [known[i] for i in rows.columns["which"].tolist()]


def echo(config: Echo) -> Generator:
    """Answers with what is worst."""
    return Echoing(config)


class Grumble(Config):
    """Nothing to choose."""


def grumble(config: Grumble) -> Verifier:
    """Scores by length; what it cannot read it says in hostile words."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [
            Score(float(len(str(a.value))), len(str(a.value)) > 60, canonical=str(a.value)[:100])
            if a.item.prompt != CONTROL
            else Score(None, None, IMAGE + CONTROL)
            for a in answers
        ]

    return verify
