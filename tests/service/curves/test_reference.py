"""The curves agree with values found by independent exact, brute-force or quadrature methods (reference.json)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from service.curves import calibration, coverage, extrapolate, imperfect, selection, stopping

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reference.json").read_text())


def binomial_mean(function: Any, n: int, p: float, k: int) -> float:
    """Return E[function(n, C, k)] for C ~ Binomial(n, p): what an unbiased estimator must average to."""
    c = np.arange(n + 1)
    return float(stats.binom.pmf(c, n, p) @ function(n, c, k))


OURS = {
    "pass_at_k": coverage.pass_at_k,
    "mean_of_pass_at_k_over_binomial": lambda **x: binomial_mean(coverage.pass_at_k, **x),
    "pass_hat_k": coverage.pass_hat_k,
    "coverage": coverage.coverage,
    "coverage_ci_t": lambda **x: coverage.coverage_interval(**x, method="t"),
    "coverage_ci_logit": lambda **x: coverage.coverage_interval(**x, method="logit_t"),
    "pass_at_k_var_unbiased": coverage.pass_at_k_variance,
    "mean_of_pass_at_k_var_unbiased_over_binomial": lambda **x: binomial_mean(coverage.pass_at_k_variance, **x),
    "pass_at_k_jackknife_se": coverage.pass_at_k_jackknife_se,
    "expected_draws_pool": coverage.expected_draws,
    "max_at_k": selection.max_at_k,
    "bon_true_at_k": selection.selected_at_k,
    "topm_pass_at_k": selection.top_m_at_k,
    "maj_at_k_pool": lambda counts, correct_index, k: selection.majority_at_k(counts, correct_index, k),
    "best_of_n_kl_bound": selection.best_of_n_kl,
    "betabinom_pass_at_k": lambda alpha, beta, k: extrapolate.beta_binomial_coverage(alpha, beta, k),
    "betabinom_posterior_pass_at_k": lambda alpha, beta, n, c, k: extrapolate.solved_later(alpha, beta, n, c, k),
    "betabinom_mle": extrapolate.fit_beta_binomial,
    "exp_power_law": extrapolate.power_law,
    "exp_power_law_two_point": lambda k1, c1, k2, c2: extrapolate.fit_power_law([k1, k2], [c1, c2]),
    "exp_power_law_fit": lambda k, coverage, loss: extrapolate.fit_power_law(k, coverage),
    "resample_outcome": lambda **x: imperfect.resample_outcome(**x)._asdict(),
    "resample_pool": lambda n, accepted, accepted_correct, k: some(
        imperfect.resample_from_pool(n, accepted, accepted_correct, k), "correct", "wrong", "abstain"
    ),
    "expected_utility_beta": lambda **x: imperfect.expected_utility(**ours(x)),
    "optimal_k_beta": lambda **x: imperfect.optimal_k(**ours(x)),
    "clopper_pearson": imperfect.clopper_pearson,
    "wilson": imperfect.wilson,
    "rogan_gladen": imperfect.rogan_gladen,
    "rates_from_ppv_npv": lambda accept_rate, ppv, npv: imperfect.rates_from_precision(accept_rate, ppv, npv)._asdict(),
    "reservation_uniform": lambda cost: stopping.reservation_value_of(stats.uniform(), cost),
    "reservation_exponential": lambda cost, rate: stopping.reservation_value_of(stats.expon(scale=1 / rate), cost),
    "reservation_normal": lambda cost, mu, sigma: stopping.reservation_value_of(stats.norm(mu, sigma), cost),
    "reservation_bernoulli": lambda p, V, cost: stopping.reservation_value([V, 0], cost, [p, 1 - p]),  # noqa: N803
    "adaptive_consistency_beta": stopping.adaptive_consistency,
    "ece": lambda prob, label, bins, strategy: calibration.expected_calibration_error(prob, label, bins),
    "brier": lambda prob, label: calibration.calibration(prob, label).brier,
    "log_loss": lambda prob, label: calibration.calibration(prob, label).log_loss,
}


def ours(named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by our names."""
    names = {"alpha": "a", "beta": "b", "V": "value", "L": "loss"}
    return {names.get(name, name): value for name, value in named.items()}


def some(values: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(values, name) for name in names}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_reference_value(case: dict[str, Any]) -> None:
    found = OURS[case["function"]](**case["inputs"])
    assert found == pytest.approx(case["expected"], rel=case["rtol"], abs=case["atol"])
