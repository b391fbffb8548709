"""Audits, and what they show of a verifier."""

from typing import Any, Literal

from pydantic import Field, JsonValue

from service.views.base import View
from service.views.jobs import ScoreView


class ToLabel(View):
    """An answer for a person to label. `score` is null unless it was asked for: knowing it would sway the label."""

    item: int
    id: str
    prompt: str
    sample: int
    answer: JsonValue
    artifact: str | None = Field(description="SHA-256; the bytes are at /v1/artifacts/{sha256}.")
    score: ScoreView | None


class AuditCounts(View):
    """Labelled answers by verdict: right accepted, wrong accepted, right rejected, wrong rejected."""

    tp: int
    fp: int
    fn: int
    tn: int


class NextAudits(View):
    """Answers to label, in an order that says nothing of their verdicts."""

    job: str
    judge: str
    by: Literal["answer", "verdict"]
    labelled: int
    scored: int
    data: list[ToLabel]


class AuditView(View):
    """A label."""

    item: int
    sample: int
    right: bool
    at: float


class Audits(View):
    """Labels of one judge of a job."""

    job: str
    judge: str
    counts: AuditCounts
    data: list[AuditView]
    next: str | None


class ShareView(View):
    """A share with its interval for other items like these.

    `effective`: how many independent answers tell as much; null where two shares were combined.
    """

    share: float
    low: float
    high: float
    n: int
    effective: float | None = None


class CardName(View):
    """A verifier that judged anything; `config` names its settings."""

    name: str
    version: str
    config: str
    settings: dict[str, Any]
    jobs: list[str]
    verdicts: int = Field(description="Answers that it was asked about, unscored ones too.")


class Cards(View):
    """All verifiers that judged anything, the newest last."""

    data: list[CardName]


class Bin(View):
    """Answers whose values lie together: their mean value, and the share of them that is right."""

    predicted: float
    right: float
    answers: int


class CalibrationView(View):
    """Whether values mean chances; lower is better. `ece_low` and `ece_high`: a bootstrap interval over answers."""

    answers: int
    brier: float
    log_loss: float
    ece: float
    ece_low: float
    ece_high: float
    bins: list[Bin]


class AgreementView(View):
    """How far another verifier agrees on the same answers; kappa is null where either never varies."""

    name: str
    version: str
    config: str
    n: int
    share: float
    kappa: float | None
    low: float | None
    high: float | None


class JobRates(View):
    """The verifier in one job."""

    job: str
    at: float
    passed: ShareView | None
    tpr: ShareView | None
    fpr: ShareView | None
    ppv: ShareView | None
    npv: ShareView | None


class DriftTest(View):
    """A test that a share is the same in every job."""

    share: Literal["passed", "tpr", "fpr", "ppv", "npv"]
    test: Literal["chi2", "fisher"]
    statistic: float | None
    p: float
    text: str


class Drift(View):
    """Jobs in order of time, and tests that they do not differ."""

    jobs: list[JobRates]
    tests: list[DriftTest]


class Card(CardName):
    """What is known of a verifier. `against`: who says what is right: `audits`, a grader's label, or null: nobody.

    Of one that has judged nothing, `jobs` and `settings` are empty, and so is `config`.
    """

    card: str = Field(description="What its authors say of it, in Markdown; empty when it is no longer installed.")
    level: float
    interval: Literal["wilson", "clopper_pearson"]
    against: str | None
    counts: AuditCounts
    passed: ShareView | None = Field(description="Share of its verdicts that accept.")
    tpr: ShareView | None = Field(description="Share of right answers that it accepts.")
    fpr: ShareView | None = Field(description="Share of wrong answers that it accepts.")
    ppv: ShareView | None = Field(description="Share of accepted answers that are right.")
    npv: ShareView | None = Field(description="Share of rejected answers that are wrong.")
    right: float | None = Field(description="Share of all answers that are right, by Rogan and Gladen.")
    unscored: float | None = Field(description="Share of answers without a value; they are neither labels nor scores.")
    median_ms: float | None
    calibration: CalibrationView | None
    uncalibrated: str | None = Field(description="Why there is no calibration.")
    agreement: list[AgreementView]
    drift: Drift
    notes: list[str]
