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
from search.verdicts import Verdicts
from search.voting import Ballot, Stop, two_highest

Select = Literal["verifier", "majority", "weighted", "bayes", "first_pass", "diverse", "pareto"]
BLOCK = 64
"""Answers judged in one call, at most: a budget of seconds can be passed by one call."""
ROUND = 256
"""Answers drawn in one round of a search that may stop, at most: what is drawn behind its end is wasted."""
MOST_DIVERSE = 4096
"""Answers of an item among which `diverse` and `pareto` select, at most: they do so while a request waits."""
BALANCED = 0.5
"""Difference counts as much as rank."""


class BestOfN(MethodConfig):
    """n independent answers for each item."""

    n: int = Field(16, ge=1, le=1_000_000, description="Answers drawn for each item.")
    select: Select = Field(
        "verifier",
        description="verifier: highest score; majority: most frequent canonical answer; "
        "weighted: canonical answer with the largest sum of the last verifier's values; "
        "bayes: the likeliest by the last verifier's passes and its rates; "
        "first_pass: draw in rounds of 1, 1, 2, 4, ... 256 until every verifier passes one; "
        "diverse: the highest score, then answers that score well and differ from those before; "
        "pareto: answers that no other beats under all verifiers, the best mean rank first.",
    )
    features: str | None = Field(
        None, max_length=200, description="With diverse: the feature space in which answers should differ."
    )
    diversity: float = Field(
        BALANCED, ge=0, le=1, description="With diverse: how much difference counts; 0 is by score alone."
    )

    stop: Stop | None = Field(
        None, description="With majority: end the vote when it is settled (lossless) or probably is (beta)."
    )
    tpr: float | None = Field(
        None, gt=0, lt=1, description="With bayes: chance that a right answer passes; from the verifier's card without."
    )
    fpr: float | None = Field(None, gt=0, lt=1, description="With bayes: chance that a wrong answer passes.")

    @model_validator(mode="after")
    def _votes(self) -> Self:
        """Fields of votes, each with its own rule."""
        if self.stop is not None and self.select != "majority":
            raise ValueError(f"`stop` goes with select 'majority', not {self.select!r}")
        if (self.tpr, self.fpr) == (None, None):
            return self
        if self.select != "bayes":
            raise ValueError(f"`tpr` and `fpr` go with select 'bayes', not {self.select!r}")
        if self.tpr is None or self.fpr is None or self.tpr <= self.fpr:
            raise ValueError(f"give both rates, `tpr` above `fpr`; not {self.tpr} and {self.fpr}")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Fields of `diverse`, all or none."""
        if self.select != "diverse":
            if self.features is not None or self.diversity != BALANCED:
                raise ValueError(f"`features` and `diversity` go with select 'diverse', not {self.select!r}")
        elif self.features is None:
            raise ValueError("select 'diverse' needs `features`, the name of a feature space")
        if self.select in ("diverse", "pareto") and self.n > MOST_DIVERSE:
            raise ValueError(f"n {self.n}: {self.select!r} selects among at most {MOST_DIVERSE} answers")
        return self

    @property
    def samples(self) -> int:
        """Answers for each item."""
        return self.n

    @property
    def piece(self) -> int | None:
        """Samples may be drawn in any order and place; but to stop early one needs the ones before."""
        return self.n if self.stops else None

    @property
    def rule(self) -> str:
        """As configured."""
        return self.select

    @property
    def variety(self) -> Variety | None:
        """As configured."""
        return None if self.features is None else Variety(self.features, self.diversity)

    @property
    def stops(self) -> str | None:
        """As configured."""
        return "target_reached" if self.select == "first_pass" else "converged" if self.stop else None

    @property
    def extends(self) -> str | None:
        """More answers; but when a vote is settled depends on how many are still to come."""
        return None if self.stop else "n"

    @property
    def ballot(self) -> Ballot | None:
        """As configured; `bayes` has none before its rates are known."""
        if self.select == "bayes":
            return Ballot.of_rates(self.tpr, self.fpr) if self.tpr and self.fpr else None
        return {"majority": Ballot("count"), "weighted": Ballot("value")}.get(self.select)

    def more(self, found: Verdicts, count: int, first: int = 0) -> int:
        """How many answers to draw next, of `count` in all; 0 when these are enough. first: the number of the first.

        Rounds of first_pass end at the same samples wherever a search begins: 1, 2, 4, ..., 256, 512, 768, ...
        """
        left, place = count - len(found), first + len(found)
        if self.select == "first_pass":
            end = 1 << place.bit_length() if place < ROUND else (place // ROUND + 1) * ROUND
            return 0 if found.passed.any() else min(end - place, left)
        if self.stop is not None and left:
            return min(self.stop.wanting(two_highest(next(iter(found.scores.values()), ())), left), ROUND, left)
        return left


@plugin(version="1")
async def best_of_n(
    task: Task, tools: Tools, config: BestOfN, resume: Population | None = None
) -> AsyncGenerator[Population]:
    """Draw `task.count` answers, or until one passes or the vote is settled; every answer is judged once."""
    pool = resume or Population.of(await tools.start(0, config.more(Verdicts(), task.count, task.first)))
    while True:
        while not pool.rows.done.all():
            yield pool
            pool = pool.moved(await tools.advance(pool.rows))
        while not pool.idle:
            yield pool
            block = pool.unjudged[:BLOCK]
            pool = pool.judged(block, await tools.judge(pool.rows[block]))
        yield pool
        if not (more := config.more(pool.verdicts, task.count, task.first)):
            return
        pool = pool.joined(await tools.start(len(pool), more))
