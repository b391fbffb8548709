"""Answers of which is known whether they are right, beside a verifier's verdicts, and the rates that follow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.ports import Bools, Floats, Ints
from service.curves.grouped import Share, grouped_share
from service.curves.intervals import Interval
from service.curves.rates import rates_from_audit
from service.store.audits import Confusion, Labels, Verdicts


class Truth(NamedTuple):
    """Answers that the verifier scored and of which is known whether they are right [n].

    group: item, another number in another job. weight: scored answers of its job and verdict for each known one.
    accepted: share of all verdicts that accept, in the jobs that these are of; None without verdicts.
    sampled: some answers were picked and labelled; otherwise a grader saw them all.
    """

    group: Ints
    value: Floats
    verdict: NDArray[np.int8]
    right: Bools
    weight: Floats
    accepted: float | None
    sampled: bool

    @property
    def counts(self) -> Confusion:
        """By label and verdict."""
        yes, no = self.verdict == 1, self.verdict == 0
        cells = (yes & self.right, yes & ~self.right, no & self.right, no & ~self.right)
        return Confusion(*(int(cell.sum()) for cell in cells))


class Rates(NamedTuple):
    """Rates of a verifier; None where nothing shows them."""

    tpr: Share | None
    fpr: Share | None
    ppv: Share | None
    npv: Share | None


NONE = Rates(None, None, None, None)


def by_labels(found: Verdicts, said: Labels) -> Truth:
    """What people labelled."""
    _, rows, which = np.intersect1d(found.place, said.place, assume_unique=True, return_indices=True)
    return _known(found, rows, said.right[which], True)


def by_grader(found: Verdicts, grades: Verdicts) -> Truth:
    """What a grader passed and did not pass; answers on which it gave no verdict are left out."""
    _, rows, which = np.intersect1d(found.place, grades.place, assume_unique=True, return_indices=True)
    given = grades.verdict[which] >= 0
    return _known(found, rows[given], grades.verdict[which[given]] == 1, False)


def _known(found: Verdicts, rows: Ints, right: Bools, sampled: bool) -> Truth:
    scored = ~np.isnan(found.value)
    kept = scored[rows]
    rows, right = rows[kept], right[kept]
    verdict = found.verdict[rows]
    weight = np.ones(len(rows))
    for each in (-1, 0, 1):
        mine = verdict == each
        if mine.any():
            weight[mine] = float((scored & (found.verdict == each)).sum()) / float(mine.sum())
    given = scored & (found.verdict >= 0)
    accepted = float((found.verdict[given] == 1).mean()) if given.any() else None
    return Truth(found.item[rows], found.value[rows], verdict, right, weight, accepted, sampled)


def together(parts: Sequence[Truth]) -> Truth | None:
    """Several jobs as one; None without any answer. `accepted` weighs jobs by their verdicts."""
    parts = [part for part in parts if len(part.right)]
    if not parts:
        return None
    group = np.concatenate([part.group + (i << 32) for i, part in enumerate(parts)])
    value, verdict, right, weight = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "verdict", "right", "weight")
    )
    sizes = [(part.accepted, float(part.weight[part.verdict >= 0].sum())) for part in parts]
    known = [(share, size) for share, size in sizes if share is not None and size]
    total = sum(size for _, size in known)
    accepted = sum(share * size for share, size in known) / total if total else None
    return Truth(group, value, verdict, right, weight, accepted, parts[0].sampled)


def rates(t: Truth, level: float, exact: bool = False) -> Rates:
    """Rates with intervals for other items like these. exact: Clopper-Pearson instead of Wilson.

    A grader's are shares of all answers. Of labelled ones only PPV and NPV are: each verdict's labels are a uniform
    sample of that verdict's answers whether they were picked from all answers or by verdict, while shares among right
    answers would depend on how many of each verdict were picked. TPR and FPR follow from them and the known share
    accepted.
    """

    def share(of: Bools, hit: Bools, at: float = level) -> Share | None:
        return grouped_share(hit[of], t.weight[of], t.group[of], at, exact)

    yes, no = t.verdict == 1, t.verdict == 0
    ppv, npv = share(yes, t.right), share(no, ~t.right)
    if not t.sampled:
        both = yes | no
        return Rates(share(both & t.right, yes), share(both & ~t.right, yes), ppv, npv)
    if ppv is None or npv is None or t.accepted is None or not 0 < t.accepted < 1:
        return Rates(None, None, ppv, npv)
    if exact:
        joint = 1 - (1 - level) / 2  # both shares lie in their intervals with chance `level`
        ends = share(yes, t.right, joint), share(no, ~t.right, joint)
        return Rates(*_corners(t.accepted, ppv, npv, ends[0] or ppv, ends[1] or npv), ppv, npv)
    return Rates(*_combined(t.accepted, ppv, npv, level), ppv, npv)


def _combined(q: float, ppv: Share, npv: Share, level: float) -> tuple[Share | None, Share | None]:
    """TPR and FPR; the one is the other with right and wrong exchanged."""
    accepted, rejected = (s.effective * (1 + 1e-12) for s in (ppv, npv))  # never below 1 by rounding
    right, wrong = ppv.share * accepted, (1 - ppv.share) * accepted
    known, missed = npv.share * rejected, (1 - npv.share) * rejected
    out: list[Share | None] = []
    for cells in ((wrong, right, missed, known), (right, wrong, known, missed)):
        found = rates_from_audit(q, *cells, level)
        out.append(None if found is None else _share(found.fpr, found.fpr_interval(1), ppv.n + npv.n))
    return out[0], out[1]


def _corners(q: float, ppv: Share, npv: Share, of_ppv: Share, of_npv: Share) -> tuple[Share | None, Share | None]:
    """TPR, which rises with PPV and NPV, and FPR, which falls with both, at the ends of both intervals."""

    def part(accepted: float, rejected: float) -> float | None:
        total = q * accepted + (1 - q) * rejected
        return q * accepted / total if total else None

    out: list[Share | None] = []
    at = part(ppv.share, 1 - npv.share)
    low, high = part(of_ppv.low, 1 - of_npv.low), part(of_ppv.high, 1 - of_npv.high)
    out.append(None if at is None else _share(at, Interval(low or 0.0, 1.0 if high is None else high), ppv.n + npv.n))
    at = part(1 - ppv.share, npv.share)
    low, high = part(1 - of_ppv.high, of_npv.high), part(1 - of_ppv.low, of_npv.low)
    out.append(None if at is None else _share(at, Interval(low or 0.0, 1.0 if high is None else high), ppv.n + npv.n))
    return out[0], out[1]


def _share(value: float, ends: Interval, n: int) -> Share:
    return Share(value, ends.low, ends.high, n, float("nan"))
