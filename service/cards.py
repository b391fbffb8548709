"""A verifier's card: what all its verdicts, and what is known of right and wrong, show of it."""

import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from search.plugins import Unknown
from service.checks import listed
from service.curves.agreement import agreement
from service.curves.calibration import calibration, reliability
from service.curves.grouped import Share
from service.curves.imperfect import rogan_gladen
from service.drift import Mine, drift, passed_share, rate_views, share_view
from service.registries import described
from service.store import audits
from service.store.access import Missing
from service.store.results import judges_of
from service.truth import NONE, Rates, Truth, by_grader, by_labels, rates, together
from service.views import AgreementView, AuditCounts, Bin, CalibrationView, Card, CardName, Cards, Drift
from verifiers.builtin import VERIFIERS

Row = sa.Row[Any]
Kind = Literal["wilson", "clopper_pearson"]
AUDITS = "audits"
CALIBRATED = 4000
"""Answers of a calibration, at most: a uniform sample of more tells as much as anybody reads from a curve."""


class Asked(NamedTuple):
    """What a card is asked for. version, config, against: the newest, and the people, then a grader, when None."""

    name: str
    version: str | None = None
    config: str | None = None
    level: float = 0.95
    against: str | None = None
    interval: Kind = "wilson"


def digest(config: str) -> str:
    """A short name of a configuration: of its JSON with keys in order."""
    return sha256(json.dumps(json.loads(config), sort_keys=True).encode()).hexdigest()[:12]


def cards(connection: sa.Connection) -> Cards:
    """Verifiers that judged anything, by name, version and configuration."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in audits.judged(connection):
        groups.setdefault((row.name, row.version, digest(row.config)), []).append(row)
    return Cards(data=[CardName(**_named(connection, rows)) for rows in groups.values()])


def _named(connection: sa.Connection, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "name": rows[0].name,
        "version": rows[0].version,
        "config": digest(rows[0].config),
        "settings": json.loads(rows[0].config),
        "jobs": list(dict.fromkeys(row.job_name for row in rows)),
        "verdicts": audits.asked(connection, [row.id for row in rows]),
    }


def card(connection: sa.Connection, asked: Asked) -> Card:
    """The card of one verifier. Raises Missing for an unknown one, or a grader that none of its jobs has."""
    rows = _chosen(connection, asked)
    if not rows:
        return _unaudited(asked)
    read = cache(lambda judge: audits.verdicts(connection, judge))
    against, mine = _truths(connection, rows, asked.against, read)
    exact = asked.interval == "clopper_pearson"
    truth = together([m.truth for m in mine if m.truth is not None])
    found = rates(truth, asked.level, exact) if truth else NONE
    passed = passed_share([m.found for m in mine], asked.level, exact)
    values = np.concatenate([m.found.value for m in mine])
    ms = np.concatenate([m.found.ms for m in mine])
    ms = ms[~np.isnan(ms)]
    calibrated, why = _calibration(values, truth, asked.level)
    right, notes = _right(passed, found, truth)
    return Card(
        **_named(connection, rows),
        card=_published(asked.name),
        level=asked.level,
        interval=asked.interval,
        against=against,
        counts=AuditCounts(**(truth.counts if truth else audits.Confusion(0, 0, 0, 0))._asdict()),
        passed=share_view(passed),
        **rate_views(found),
        right=right,
        unscored=float(np.isnan(values).mean()),
        median_ms=float(np.median(ms)) if ms.size else None,
        calibration=calibrated,
        uncalibrated=why,
        agreement=_agreement(connection, mine, read, asked.level),
        drift=drift(mine, asked.level, exact),
        notes=notes,
    )


def _published(name: str) -> str:
    """What a verifier's authors say of it; nothing of one that is no longer installed."""
    try:
        return described("verifiers", name).card
    except Unknown:
        return ""


def _unaudited(asked: Asked) -> Card:
    """The card of a verifier that no job has asked yet: what it is, and that nothing is known of its verdicts."""
    if asked.against not in (None, AUDITS):
        raise _graderless(asked.against, [])
    plugin = described("verifiers", asked.name)
    unknown = ["passed", "tpr", "fpr", "ppv", "npv", "right", "unscored", "median_ms", "calibration"]
    return Card(
        name=plugin.name,
        version=plugin.version,
        config="",
        settings={},
        jobs=[],
        verdicts=0,
        card=plugin.card,
        level=asked.level,
        interval=asked.interval,
        against=None,
        counts=AuditCounts(tp=0, fp=0, fn=0, tn=0),
        **dict.fromkeys(unknown),
        uncalibrated="it has judged nothing",
        agreement=[],
        drift=Drift(jobs=[], tests=[]),
        notes=["Not audited: it has judged nothing yet. Name it in a job, then label some of its answers."],
    )


def known(connection: sa.Connection, asked: Asked) -> Rates:
    """The rates of one verifier alone; none of one that judged nothing, or of which nobody says what is right."""
    try:
        rows = _chosen(connection, asked)
    except Missing:
        return NONE
    mine = _truths(connection, rows, asked.against, lambda judge: audits.verdicts(connection, judge))[1]
    truth = together([m.truth for m in mine if m.truth is not None])
    return rates(truth, asked.level, asked.interval == "clopper_pearson") if truth else NONE


def _chosen(connection: sa.Connection, asked: Asked) -> list[Row]:
    """Verdicts of the version and settings asked for, or of the newest; none of a verifier that has judged nothing."""
    rows = audits.judged(connection, asked.name)
    if not rows and asked.name not in (names := VERIFIERS.names()):
        judged = {row.name for row in audits.judged(connection)}  # some may not be installed any more
        raise Missing(f"unknown verifier {asked.name!r}; valid: {listed(sorted({*names, *judged}))}")
    wanted = [row for row in rows if asked.version in (None, row.version)]
    wanted = [row for row in wanted if asked.config in (None, digest(row.config))]
    if not wanted and (rows or asked.version or asked.config):
        valid = ", ".join(sorted({f"{row.version} {digest(row.config)}" for row in rows})) or "none"
        which = " ".join(word for word in (asked.name, asked.version, asked.config) if word)
        raise Missing(f"no verdicts of {which[:200]!r}; versions and configurations of that name: {valid}")
    if not wanted:
        return []
    last = wanted[-1]
    return [row for row in wanted if (row.version, digest(row.config)) == (last.version, digest(last.config))]


def _graderless(against: str, labels: Sequence[str]) -> Missing:
    return Missing(f"no grader {against[:100]!r} in its jobs; valid: {', '.join([AUDITS, *labels])}")


def _truths(
    connection: sa.Connection, rows: Sequence[Row], against: str | None, read: Any
) -> tuple[str | None, list[Mine]]:
    """Who says what is right, and the verifier in each job beside that."""
    said = {row.id: audits.labels(connection, row.id) for row in rows}
    graders = {
        row.id: {j.label: j.id for j in judges_of(connection, row.job) if j.role == "grader" and j.id != row.id}
        for row in rows
    }
    labels = list(dict.fromkeys(label for row in rows for label in graders[row.id]))
    if against is None:
        against = AUDITS if any(len(one.item) for one in said.values()) else next(iter(labels), None)
    elif against not in (AUDITS, *labels):
        raise _graderless(against, labels)
    mine: list[Mine] = []
    for row in rows:
        truth = None
        if against == AUDITS:
            truth = by_labels(read(row.id), said[row.id])
        elif against in graders[row.id]:
            truth = by_grader(read(row.id), read(graders[row.id][against]))
        mine.append(Mine(row, read(row.id), truth))
    return against, mine


def _right(passed: Share | None, found: Rates, truth: Truth | None) -> tuple[float | None, list[str]]:
    """The true share of right answers, and what a reader of the card should know."""
    if truth is None:
        return None, ["Nobody says which answers are right: label some, or add a grader to a job."]
    notes: list[str] = []
    if passed is None:
        return None, ["It gives no passes, so it has no rates; a threshold makes it give them."]
    if found.tpr is None or found.fpr is None:
        wanted = "right and wrong answers, and labels of both accepted and rejected ones"
        return None, [f"Its rates are not known yet: that takes {wanted}."]
    if found.tpr.share <= found.fpr.share:
        return None, ["It accepts wrong answers as often as right ones: its verdicts say nothing."]
    return rogan_gladen(passed.share, found.tpr.share, found.fpr.share), notes


def _calibration(values: Any, truth: Truth | None, level: float) -> tuple[CalibrationView | None, str | None]:
    """Calibration of a uniform sample of the known answers; or why there is none."""
    known = values[~np.isnan(values)]
    if truth is None:
        return None, "nobody says which answers are right"
    if known.min() < 0 or known.max() > 1:
        return None, f"its values are no chances: they lie between {known.min():.4g} and {known.max():.4g}"
    rng = np.random.default_rng(0)
    kept = np.flatnonzero(rng.random(len(truth.weight)) < truth.weight / truth.weight.max())  # now all weigh the same
    kept = rng.permutation(kept)[:CALIBRATED]
    p, y = truth.value[kept], truth.right[kept]
    found, curve = calibration(p, y, level=level, draws=1000), reliability(p, y)
    columns = (column.tolist() for column in curve)
    bins = [Bin(predicted=a, right=b, answers=n) for a, b, n in zip(*columns, strict=True)]
    low, high = found.ece_interval
    scores = {"brier": found.brier, "log_loss": found.log_loss, "ece": found.ece}
    return CalibrationView(answers=len(kept), **scores, ece_low=low, ece_high=high, bins=bins), None


def _agreement(connection: sa.Connection, mine: Sequence[Mine], read: Any, level: float) -> list[AgreementView]:
    """Against every other verifier with verdicts on the same answers of the same jobs."""
    own = (mine[0].row.name, mine[0].row.version, digest(mine[0].row.config))
    cells: dict[tuple[str, str, str], Any] = {}
    for row, found, _ in mine:
        for other in judges_of(connection, row.job):
            key = (other.name, other.version, digest(other.config))
            if key != own:
                cells[key] = cells.get(key, 0) + _outcomes(found, read(other.id))
    out: list[AgreementView] = []
    for (name, version, config), table in sorted(cells.items()):
        if n := int(table.sum()):
            a = agreement(*table.tolist(), level=level)
            low, high = a.kappa_interval or (None, None)
            named = {"name": name, "version": version, "config": config}
            out.append(AgreementView(**named, n=n, share=a.share, kappa=a.kappa, low=low, high=high))
    return out


def _outcomes(first: audits.Verdicts, second: audits.Verdicts) -> Any:
    """Answers that both accept, only the first, only the second, neither [4]."""
    _, a, b = np.intersect1d(first.place, second.place, assume_unique=True, return_indices=True)
    x, y = first.verdict[a], second.verdict[b]
    given = (x >= 0) & (y >= 0)
    return np.bincount(3 - 2 * x[given] - y[given], minlength=4)
