"""The areas that the bench prints, against scikit-learn's and against pairs counted one by one."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.hallucination import Pool, auroc, best, ranked, separated, within

RNG = np.random.default_rng(0)


def test_areas() -> None:
    values, broken = RNG.integers(0, 9, 200).astype(float), RNG.random(200) < 0.3
    assert auroc(values, broken) == pytest.approx(roc_auc_score(broken, values))
    group = RNG.integers(0, 4, 200)
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, i in zip(values[broken], group[broken], strict=True)
        for b, j in zip(values[~broken], group[~broken], strict=True)
        if i == j
    ]
    assert within(values, broken, group) == pytest.approx(np.mean(pairs))


def test_what_is_chosen_and_how_it_is_separated() -> None:
    """Variances that know everything: the area is 1, and one right answer among the first k is found."""
    right = RNG.random((40, 4)) < 0.5
    pool = Pool(right, right - 0.5, RNG.random((40, 4)))
    assert (best(pool, pool.steady[:, :2]) == right[:, :2].any(1)).all()
    assert separated(pool, repeats=20)["same digit"]["low"] == 1
    same = Pool(right, pool.judged, pool.judged)
    assert (ranked(same, 3).argmax(1) == pool.judged[:, :3].argmax(1)).all()
