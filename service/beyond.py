"""What models expect of more samples than were drawn."""

from service.curves.extrapolate import (
    beta_binomial_coverage,
    fit_beta_binomial,
    fit_power_law,
    fit_zero_inflated,
    power_law,
)
from service.pools import Pools
from service.views import Beyond, Point

REACH = (1.5, 2, 3, 5, 7, 10)
"""Multiples of n at which models are shown."""


def beyond(pools: Pools, points: list[Point]) -> list[Beyond]:
    """Models from the last budget that all items have to ten times it, above the floor that needs no model."""
    whole = [point for point in points if point.items == len(pools.drawn)]
    if len(whole) < 2 or len(pools.drawn) < 2:
        return []
    last, drawn, passes = whole[-1], pools.drawn, pools.passes
    beta, zero = fit_beta_binomial(drawn, passes), fit_zero_inflated(drawn, passes)
    law = fit_power_law([point.k for point in whole], [point.coverage.mean for point in whole])
    return [
        Beyond(
            k=k,
            floor=last.coverage.mean,
            beta_binomial=None if beta is None else float(beta_binomial_coverage(beta.a, beta.b, k)),
            zero_inflated=None if zero is None else float(beta_binomial_coverage(zero.a, zero.b, k, zero.zero)),
            power_law=None if law is None else float(power_law(law.a, law.b, k)),
        )
        for k in [last.k, *(int(times * last.k) for times in REACH if int(times * last.k) > last.k)]
    ]
