"""Repeated sampling (Brown et al. 2024, "Large Language Monkeys", arXiv 2407.21787)."""

from collections.abc import AsyncGenerator
from typing import Literal, Self

from pydantic import Field, model_validator

from search.configs import MethodConfig
from search.diversity import Variety
from search.plugins import plugin
from search.population import Population
from search.ports import Task
from search.tools import Tools

Select = Literal["verifier", "majority", "first_pass", "diverse"]
BLOCK = 64
"""Answers judged in one call, at most: a budget of seconds can be passed by one call."""
ROUND = 256
"""Answers drawn in one round of first_pass, at most: what is drawn behind the first pass is wasted."""
MOST_DIVERSE = 4096
"""Answers of an item among which `diverse` selects, at most: it does so while a request waits."""
BALANCED = 0.5
"""Difference counts as much as rank."""


class BestOfN(MethodConfig):
    """n independent answers for each item."""

    n: int = Field(16, ge=1, le=1_000_000, description="Answers drawn for each item.")
    select: Select = Field(
        "verifier",
        description="verifier: highest score; majority: most frequent canonical answer; "
        "first_pass: draw in rounds of 1, 1, 2, 4, ... 256 until every verifier passes one; "
        "diverse: the highest score, then answers that score well and differ from those before.",
    )
    features: str | None = Field(
        None, max_length=200, description="With diverse: the feature space in which answers should differ."
    )
    diversity: float = Field(
        BALANCED, ge=0, le=1, description="With diverse: how much difference counts; 0 is by score alone."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Fields of `diverse`, all or none."""
        if self.select != "diverse":
            if self.features is not None or self.diversity != BALANCED:
                raise ValueError(f"`features` and `diversity` go with select 'diverse', not {self.select!r}")
        elif self.features is None:
            raise ValueError("select 'diverse' needs `features`, the name of a feature space")
        elif self.n > MOST_DIVERSE:
            raise ValueError(f"n {self.n}: 'diverse' selects among at most {MOST_DIVERSE} answers")
        return self

    @property
    def samples(self) -> int:
        """Answers for each item."""
        return self.n

    @property
    def piece(self) -> int | None:
        """Samples may be drawn in any order and place; but stopping at the first pass needs the ones before."""
        return self.n if self.select == "first_pass" else None

    @property
    def rule(self) -> str:
        """As configured."""
        return self.select

    @property
    def variety(self) -> Variety | None:
        """As configured."""
        return None if self.features is None else Variety(self.features, self.diversity)

    def round(self, drawn: int, count: int) -> int:
        """How many to draw next, of `count` in all."""
        return min(max(1, drawn), ROUND, count - drawn) if self.select == "first_pass" else count - drawn


@plugin(version="1")
async def best_of_n(
    task: Task, tools: Tools, config: BestOfN, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """Draw `task.count` answers, or until one passes; every answer is judged once."""
    pool = resume or Population.of(await tools.start(0, config.round(0, task.count)))
    while True:
        while not pool.rows.done.all():
            yield pool
            pool = pool.moved(await tools.advance(pool.rows))
        while not pool.idle:
            yield pool
            block = pool.unjudged[:BLOCK]
            pool = pool.judged(block, await tools.judge(pool.rows[block]))
        yield pool
        found = config.select == "first_pass" and pool.verdicts.passed.any()
        if found or len(pool) >= task.count:
            return
        pool = pool.joined(await tools.start(len(pool), config.round(len(pool), task.count)))
