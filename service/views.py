"""What the API answers with; the client reads the same models."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

JobState = Literal["queued", "in_progress", "cancelling", "completed", "failed", "cancelled", "expired"]


class View(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True)


class Counts(View):
    """Running counts of a job."""

    items: int
    done: int
    failed: int
    candidates: int
    unscored: int
    shards: int
    shards_done: int


class Usage(View):
    """What was spent, in each currency; `unspent` only where the job has a limit."""

    evaluations: int
    previews: int
    verifier_calls: int
    verifier_seconds: float
    seconds: float = Field(description="Wall-clock seconds from the first shard to the end, or to now.")
    unspent: dict[str, float] = {}


class JobView(View):
    """A job."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    stop_reason: str | None = Field(description="null when everything asked for was drawn.")
    error: str | None
    model: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    counts: Counts
    usage: Usage
    spec: dict[str, Any] | None = Field(None, description="The job as it was accepted; left out of lists.")

    @property
    def finished(self) -> bool:
        """No more will happen."""
        return self.state in ("completed", "failed", "cancelled", "expired")


class ScoreView(View):
    """One verdict. `value` and `passed` are null when unscored, and `reason` says why."""

    name: str
    value: float | None
    passed: bool | None
    canonical: str | None = None
    reason: str | None
    version: str
    ms: float


class CandidateView(View):
    """One answer with its verdicts. `seed` is its row's key: with the job's model and item it names all its noise."""

    item: int
    sample: int
    seed: str
    answer: JsonValue
    artifact: str | None = Field(description="SHA-256; the bytes are at /v1/artifacts/{sha256}.")
    evaluations: int
    log_weight: float | None = Field(None, description="Weight among all of its item's answers; null without.")
    scores: list[ScoreView]
    grades: list[ScoreView]


class SampleView(View):
    """Weighted answers of one item: E[f(x)] under the target is their weighted mean of f.

    `log_weights` are not normalised and compare across repeats: an answer's weight is exp(log_weight), null is zero.
    """

    answers: list[JsonValue] = Field(description="In order of sample; images as {artifact: SHA-256}.")
    log_weights: list[float | None]
    log_z: list[float | None] = Field(description="One for each repeat; exp(log_z) is unbiased for Z.")
    log_z_sd: float | None = Field(description="Spread of log_z over repeats; null for fewer than two.")
    ess: float = Field(description="Effective sample size of all weights together.")
    ancestors: int = Field(description="Distinct rows of the first generation that an answer descends from.")
    warning: str | None = Field(description="When the weights say little.")


class SplitView(View):
    """One resampling: each particle's parent. Empty where there were too many to keep."""

    step: int
    ess: float
    parents: list[int]


class PopulationView(View):
    """One population of a method that keeps weights, with its genealogy."""

    first: int = Field(description="Its first sample.")
    particles: int
    log_z: float | None
    ess: float
    ancestors: int
    splits: list[SplitView]


class Populations(View):
    """All populations of one item."""

    data: list[PopulationView]


class ItemView(View):
    """One item with its best answers, best first. None that the job's rule accepts: an empty list."""

    number: int
    id: str
    state: str
    stop_reason: str | None
    error: str | None
    drawn: int
    evaluations: int
    best: list[CandidateView]
    sample: SampleView | None = Field(None, description="Only in `sample` mode.")


class Page(View):
    """A page of a list. Ask again with `after` = `next` while it is not null."""

    next: str | None


class Jobs(Page):
    """A page of jobs, newest first."""

    data: list[JobView]


class Items(Page):
    """A page of items."""

    data: list[ItemView]


class Candidates(Page):
    """A page of candidates."""

    data: list[CandidateView]


class Estimate(View):
    """A mean over items with its interval for another set of items like these."""

    mean: float
    low: float
    high: float


class Point(View):
    """One budget on a curve. `items`: those with at least k answers, over which the means are taken."""

    k: int
    items: int
    evaluations: float = Field(description="Mean evaluations spent on an item for k samples.")
    coverage: Estimate = Field(description="Share of items with a passing answer among k (pass@k).")
    selected: Estimate | None = Field(description="Share of items whose best-of-k by the one verifier passes.")


class CurveView(View):
    """Coverage and selected accuracy against budget, from one pool of samples."""

    job: str
    judge: str = Field(description="Whose passes count: a grader's, or the verifier's own when there is no grader.")
    verifier: str = Field(
        description="The first verifier. It selects, unless the job votes or ranks by several: then `selected` is null."
    )
    level: float
    estimator: Literal["pool", "prefix"] = Field(
        description="pool: unbiased over all subsets of k. prefix: the first k draws, where pools stop at a pass."
    )
    samples: int
    unscored: float = Field(description="Share of answers without a verdict; they count as failures here.")
    points: list[Point]


class PluginView(View):
    """A model, verifier or method that a job may name."""

    name: str
    version: str
    card: str
    config: dict[str, Any] = Field(description="JSON Schema of its own fields.")
    offers: list[str]
    needs: list[str]


class Plugins(View):
    """All plug-ins of a kind."""

    data: list[PluginView]


class Spread(View):
    """A mean over `items` items with its interval for another set of items like these; no interval is null."""

    mean: float
    low: float | None
    high: float | None
    items: int


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
