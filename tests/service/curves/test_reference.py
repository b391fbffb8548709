"""The curves agree with values found by independent exact, brute-force or quadrature methods (reference.json)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from service.curves import coverage, selection

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reference.json").read_text())


def binomial_mean(function: Any, n: int, p: float, k: int) -> float:
    """Return E[function(n, C, k)] for C ~ Binomial(n, p): what an unbiased estimator must average to."""
    c = np.arange(n + 1)
    return float(binom.pmf(c, n, p) @ function(n, c, k))


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
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_reference_value(case: dict[str, Any]) -> None:
    found = OURS[case["function"]](**case["inputs"])
    assert found == pytest.approx(case["expected"], rel=case["rtol"], abs=case["atol"])
