"""A verifier's shares job by job in order of time, and whether they differ."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from service.curves.grouped import Share, grouped_share, homogeneity
from service.store.audits import Verdicts
from service.truth import NONE, Rates, Truth, rates
from service.views import Drift, DriftTest, JobRates, ShareView

Row = sa.Row[Any]


class Mine(NamedTuple):
    """The verifier in one job; `truth` None when nobody says what is right there."""

    row: Row
    found: Verdicts
    truth: Truth | None


def passed_share(found: Sequence[Verdicts], level: float, exact: bool) -> Share | None:
    """Share of verdicts that accept."""
    verdict = np.concatenate([f.verdict for f in found])
    group = np.concatenate([f.item + (i << 32) for i, f in enumerate(found)])
    given = verdict >= 0
    return grouped_share(verdict[given] == 1, np.ones(int(given.sum())), group[given], level, exact)


def drift(mine: Sequence[Mine], level: float, exact: bool) -> Drift:
    """Each job's shares in order of time, and tests of those that the source of truth shows directly."""
    rows: list[tuple[Row, Share | None, Rates]] = []
    for row, found, truth in mine:
        known = rates(truth, level, exact) if truth is not None and len(truth.right) else NONE
        rows.append((row, passed_share([found], level, exact), known))
    sampled = any(m.truth is not None and m.truth.sampled for m in mine)
    views = [
        JobRates(job=row.job_name, at=row.created, passed=share_view(p), **rate_views(known)) for row, p, known in rows
    ]
    tests: list[DriftTest] = []
    for name in ("passed", "ppv", "npv") if sampled else ("passed", "tpr", "fpr"):
        shares = [p if name == "passed" else getattr(known, name) for _, p, known in rows]
        there = [share for share in shares if share is not None]
        if found := homogeneity(there):
            text = _sentence(name, len(there), found.p, 1 - level)
            tests.append(DriftTest(share=name, text=text, **found._asdict()))
    return Drift(jobs=views, tests=tests)


def _sentence(name: str, jobs: int, p: float, alpha: float) -> str:
    what = {"passed": "share accepted", "tpr": "true-positive rate", "fpr": "false-positive rate"}
    share = what.get(name, {"ppv": "precision of acceptance", "npv": "precision of rejection"}.get(name, name))
    if p >= alpha:
        return f"No sign that its {share} differs between {jobs} jobs (p = {p:.2g})."
    why = "" if name in ("tpr", "fpr") else ", which harder or easier items alone may do"
    return f"Its {share} differs between {jobs} jobs (p = {p:.2g}){why}."


def share_view(share: Share | None) -> ShareView | None:
    """A share as the API has it."""
    if share is None:
        return None
    effective = None if np.isnan(share.effective) else share.effective
    return ShareView(share=share.share, low=share.low, high=share.high, n=share.n, effective=effective)


def rate_views(found: Rates) -> dict[str, Any]:
    """TPR, FPR, PPV and NPV as the API has them, by name."""
    return {name: share_view(share) for name, share in found._asdict().items()}
