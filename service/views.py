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
    scores: list[ScoreView]
    grades: list[ScoreView]


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
