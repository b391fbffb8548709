"""Jobs, their items and their answers."""

from typing import Any, Literal

from pydantic import Field, JsonValue

from service.views.base import View

JobState = Literal["queued", "in_progress", "cancelling", "completed", "failed", "cancelled", "expired"]


class Counts(View):
    """Running counts of a job."""

    items: int
    done: int
    failed: int
    candidates: int
    unscored: int
    lost: int = Field(0, description="Answers that could not be had, such as of an endpoint that was down.")
    shards: int
    shards_done: int


class Usage(View):
    """What was spent, in each currency; `unspent` only where the job has a limit."""

    evaluations: int
    previews: int
    verifier_calls: int
    verifier_seconds: float
    tokens: int = Field(0, description="Generated, as far as they were reported.")
    prompt_tokens: int = Field(0, description="Read, as far as they were reported; a prompt shared by answers, once.")
    unreported: int = Field(0, description="Answers whose tokens nobody told; they are in no count of tokens.")
    seconds: float = Field(description="Wall-clock seconds from the first shard to the end, or to now; of each run.")
    unspent: dict[str, float] = Field(default_factory=dict)


class JobView(View):
    """A job."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    stop_reason: str | None = Field(description="null when everything asked for was drawn.")
    error: str | None
    model: str
    rescores: str | None = Field(None, description="The job whose answers these are, judged again.")
    created_at: float
    started_at: float | None
    finished_at: float | None
    extended: int = Field(0, description="How often it was extended; it started and finished when it last did.")
    extended_at: float | None = Field(None, description="When it was last extended; null when it never was.")
    extends: str | None = Field(
        None, description="The field of `search` in which it can be extended; null where none is, and in lists."
    )
    counts: Counts
    usage: Usage
    spec: dict[str, Any] | None = Field(None, description="The job as it was accepted, or extended; left out of lists.")

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


class Verified(View):
    """Verdicts on given answers. `data` is null while the job that asks for them runs."""

    object: Literal["verification"] = "verification"
    job: str = Field(description="The job that asked the verifiers; it stays until it is deleted.")
    state: JobState
    data: list[list[ScoreView]] | None = Field(description="For each answer, in order, the verdict of each verifier.")


class CandidateView(View):
    """One answer with its verdicts. `seed` is its row's key: with the job's model and item it names all its noise."""

    item: int
    sample: int
    seed: str
    answer: JsonValue
    artifact: str | None = Field(description="SHA-256; the bytes are at /v1/artifacts/{sha256}.")
    evaluations: int
    log_weight: float | None = Field(None, description="Weight among all of its item's answers; null without.")
    tokens: int | None = Field(None, description="Tokens generated; null where none are counted or nobody told.")
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
    lost: int = Field(0, description="Answers that could not be had.")
    evaluations: int
    tokens: int = 0
    prompt_tokens: int = 0
    unreported: int = 0
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
