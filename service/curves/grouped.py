"""Shares of answers that come in groups, such as the samples of one item, and whether they differ between jobs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.curves.imperfect import clopper_pearson, wilson


class Share(NamedTuple):
    """A share with its interval. n: answers. effective: how many independent ones would tell as much, at most n."""

    share: float
    low: float
    high: float
    n: int
    effective: float


class Homogeneity(NamedTuple):
    """A test that shares do not differ. test: `chi2` or `fisher`. statistic: None for Fisher's."""

    test: str
    statistic: float | None
    p: float


def grouped_share(
    hit: ArrayLike, weight: ArrayLike, group: NDArray[np.int64], level: float, exact: bool = False
) -> Share | None:
    """Return sum w y / sum w of hits y (N,) with weights w (N,) > 0 in groups (N,); None without answers.

    Wilson, or Clopper-Pearson when `exact`, with the effective number: N by the design effect, which is
    the linearised variance of the ratio over group totals by that of N independent answers, at least 1. Where the
    share is 0 or 1 it is (sum w)^2 / sum w^2 (Kish 1965). Raises ValueError for a level outside (0, 1).
    """
    y, w = np.asarray(hit, np.float64), np.asarray(weight, np.float64)
    n = int(y.size)
    if not n:
        return None
    total = float(w.sum())
    share = min(1.0, float(w @ y) / total)
    effective = total**2 / float(w @ w)
    groups = np.unique(group, return_inverse=True)[1]
    residual = np.bincount(groups, w * (y - share)).astype(np.float64)
    if 0 < share < 1 and residual.size > 1:
        spread = float(residual @ residual) * residual.size / (residual.size - 1) / total**2
        effective = n / max(1.0, spread * (n - 1) / (share * (1 - share)))
    effective = min(float(n), max(1.0, effective))
    whole = max(1, int(effective + 1e-9))
    low, high = clopper_pearson(share * whole, whole, level) if exact else wilson(share * effective, effective, level)
    return Share(share, low, high, n, effective)


def homogeneity(shares: Sequence[Share]) -> Homogeneity | None:
    """Return a test that the shares of J >= 2 samples are one: Pearson's chi-square, or Fisher's where J = 2 is small.

    The counts are effective ones, so that answers of one item do not count as independent (Rao and Scott 1981). None
    when all of them are 0 or all are 1, or with fewer than two.
    """
    from scipy import stats

    table = np.array([[s.share * s.effective, (1 - s.share) * s.effective] for s in shares]).reshape(-1, 2)
    if len(table) < 2 or not table.sum(axis=0).all():
        return None
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if len(table) == 2 and expected.min() < 5:
        return Homogeneity("fisher", None, float(stats.fisher_exact(np.rint(table).astype(np.int64))[1]))  # type: ignore[arg-type,index]
    found = stats.chi2_contingency(table, correction=False)
    return Homogeneity("chi2", float(found.statistic), float(found.pvalue))  # type: ignore[attr-defined]
