"""Comparisons."""

from typing import Any

from pydantic import Field

from service.views.base import Estimate, Spread, View
from service.views.curves import Advice
from service.views.jobs import JobState


class Versus(View):
    """The same items under a job and its control: mean differences, job - control, with paired intervals.

    Each interval stands alone: of twenty jobs that equal their control, one is expected to seem different at 95 %.
    """

    passed: Spread | None = Field(description="Share of items passed; unscored items count as failures.")
    passed_scored: Spread | None = Field(description="The same over the items that both jobs have scored.")
    only_here: int = Field(description="Items that pass here and not in the control.")
    only_control: int = Field(description="Items that pass in the control and not here.")
    value: Spread | None = Field(description="The judge's value, over items where both jobs have one.")


class OutcomeView(View):
    """One item: the judge's verdict on the answer that the job returned."""

    item: str
    answered: bool = Field(description="false: the job's rule accepted no answer, which counts as not passed.")
    passed: bool | None = Field(description="null: unscored, or the judge gives no passes.")
    value: float | None
    reason: str | None = Field(description="Why there is no verdict.")
    evaluations: int


class Compared(View):
    """One job of a comparison."""

    job: str
    state: JobState
    model: str
    search: dict[str, Any]
    passed: Estimate | None = Field(description="Share of items passed; null when the judge gives no passes.")
    value: Spread | None = Field(description="The judge's mean value on returned answers; null when there is none.")
    unanswered: int = Field(description="Items for which the job's rule accepted no answer.")
    unscored: int = Field(description="Items that failed, or whose answer has no verdict; they count as failures.")
    cost: dict[str, float] = Field(description="Mean for an item in each currency; seconds are the job's by its items.")
    control: str = Field(description="The job with which this one is compared; itself when it is a control.")
    evaluations_ratio: float | None = Field(description="Evaluations an item here, as a multiple of the control's.")
    equal_budget: bool = Field(description="Whether these evaluations differ by at most 5 %.")
    difference: Versus | None = Field(description="Against the control; null for a control.")
    outcomes: list[OutcomeView] = Field(description="By item, in the order of the first job.")


class Comparison(View):
    """Finished jobs that ran the same items under several searches."""

    judge: str
    level: float
    items: int
    jobs: list[Compared]
    advice: list[Advice] = Field(description="Which job did best at which budget.")
