"""How far two verifiers agree on the same answers, beyond what their pass rates alone would give."""

from math import sqrt
from typing import NamedTuple

from service.curves.imperfect import wilson
from service.curves.intervals import Interval, check_level


class Agreement(NamedTuple):
    """Share of equal verdicts and Cohen's kappa, each with its interval; kappa None where either never varies."""

    share: float
    share_interval: Interval
    kappa: float | None
    kappa_interval: tuple[float, float] | None


def agreement(both: int, first_only: int, second_only: int, neither: int, level: float = 0.95) -> Agreement:
    """Return the agreement of two yes/no verdicts on the same answers, from the counts of the four outcomes.

    kappa = (po - pe)/(1 - pe), po the share agreed, pe what independent verdicts of the same rates would agree on: 1 is
    perfect, 0 is chance. Its interval is the large-sample one, cut to [-1, 1]; answers count as independent. Raises
    ValueError for negative counts, no answers, or a level outside (0, 1).
    Source: Fleiss, Cohen and Everitt 1969, 10.1037/h0028106.
    """
    from scipy.special import ndtri

    check_level(level)
    cells = (both, first_only, second_only, neither)
    total = sum(cells)
    if min(cells) < 0 or not total:
        raise ValueError(f"counts must not be negative and must hold at least one answer; got {cells}")
    share, interval = (both + neither) / total, wilson(both + neither, total, level)
    a, b, c, d = (x / total for x in cells)
    first, second = a + b, a + c
    chance = first * second + (1 - first) * (1 - second)  # pe
    if not (0 < first < 1 and 0 < second < 1):
        return Agreement(share, interval, None, None)
    kappa = (share - chance) / (1 - chance)
    half = float(ndtri((1 + level) / 2)) * sqrt(max(0.0, _variance(a, b, c, d, kappa, chance) / total))
    return Agreement(share, interval, kappa, (max(-1.0, kappa - half), min(1.0, kappa + half)))


def _variance(a: float, b: float, c: float, d: float, kappa: float, chance: float) -> float:
    """Return M times the large-sample variance of kappa (their equation 13)."""
    row, column, rest = (a + b, c + d), (a + c, b + d), 1 - kappa
    agreed = sum(p * (1 - (r + s) * rest) ** 2 for p, r, s in zip((a, d), row, column, strict=True))
    apart = rest**2 * (b * (column[0] + row[1]) ** 2 + c * (column[1] + row[0]) ** 2)
    return (agreed + apart - (kappa - chance * rest) ** 2) / (1 - chance) ** 2
