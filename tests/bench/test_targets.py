"""The rules of the bench do what is said of them: their limits are known."""

import numpy as np
import pytest

from bench.targets import ODDS, PUBLIC, Rule, compared, ours, problems, public

RIGHT = Rule(lambda m, r: r, lambda before, m, r: m - before, forgets="never")


def within(found: dict[str, float], name: str = "", errors: float = 4.0) -> bool:
    """Less than 4 standard errors: a right rule fails once in 16,000 seeds."""
    return abs(found[f"{name}error"]) < errors * found[f"{name}standard error"]


def test_odds_at_every_step_count_the_same_evidence_again() -> None:
    """0.6 against 0.4 over three steps: odds 1.5^6 instead of 1.5; log Z of (1.5^3 + 1.5^-3) / 2."""
    problem = problems()["odds"]
    found = [public(problem, ODDS, 512, seed) for seed in range(16)]
    wrong = problem._replace(mean=1.5**6 / (1 + 1.5**6), log_z=np.log((1.5**3 + 1.5**-3) / 2))
    assert within(compared(found, wrong))
    assert within(compared(found, wrong), "log_z ")
    assert not within(compared(found, problem), errors=20)
    right = compared(ours(problem, {"method": "feynman_kac", "particles": 512}, range(16)), problem)
    assert within(right)
    assert within(right, "log_z ")


def test_argmax_has_no_temperature() -> None:
    """The best of 8 bits is one with probability 1 - 0.7^8; with alpha 1 it is 0.6030, exact for 8 children."""
    problem, search = problems()["bit"], {"method": "soft_value", "n": 512, "children": 8}
    assert within(compared(ours(problem, {**search, "alpha": 0.0}, range(8)), problem._replace(mean=1 - 0.7**8)))
    assert within(compared(ours(problem, {**search, "alpha": 1.0}, range(8)), problem._replace(mean=0.6030)))


def test_what_the_public_difference_forgets_is_all_that_is_wrong_with_it() -> None:
    """It is off by what it forgets at the end, and far off where it forgets at every point."""
    problem = problems()["mixture"]
    kept, last, always = (
        compared([public(problem, rule, 512, seed) for seed in range(24)], problem)
        for rule in (RIGHT, PUBLIC["public_difference"], PUBLIC["public_difference_adaptive"])
    )
    assert within(kept)
    assert within(kept, "log_z ")
    assert not within(last, errors=3)
    assert not within(always, errors=6)
    assert always["error"] < last["error"] < kept["error"]


@pytest.mark.parametrize("rule", ["public_max", "public_sum"])
def test_other_statistics_aim_at_another_target(rule: str) -> None:
    problem = problems()["mixture"]
    found = compared([public(problem, PUBLIC[rule], 256, seed) for seed in range(8)], problem)
    assert abs(found["error"]) > max(0.3, 5 * found["standard error"])
    assert found["log_z error"] > 5 * found["log_z standard error"]


def test_guidance_in_closed_form() -> None:
    """N(0, 1)^-1 N(1, 0.64)^2: the mean of the design document, and log Z by quadrature."""
    problem, x = problems()["guidance"], np.linspace(-20, 20, 400_001)
    q = np.exp(x**2 / 2 - (x - 1) ** 2 / 0.64) * (2 * np.pi) ** -0.5 / 0.64
    assert problem.mean == pytest.approx(1.470588, abs=1e-6)
    assert problem.log_z == pytest.approx(np.log(q.sum() * (x[1] - x[0])), abs=1e-9)
