"""Fronts by hand, and by their definition on random answers."""

import numpy as np
import pytest

from search.fronts import crowding, fronts, pareto
from search.methods.best_of_n import BestOfN
from search.ports import Score
from search.verdicts import Verdicts


def test_a_front_by_hand() -> None:
    """a (4, 1), b (3, 3), c (1, 4) beat d (2, 2) and e (3, 1); d and e beat each other in one objective; f (0, 0)."""
    values = np.array([[4.0, 3, 1, 2, 3, 0], [1.0, 3, 4, 2, 1, 0]])
    assert fronts(values).tolist() == [0, 0, 0, 1, 1, 2]
    assert crowding(values[:, :3]).tolist() == [np.inf, 2.0, np.inf]
    assert crowding(np.array([[0.0, 1, 3, 4], [4.0, 3, 1, 0]])).tolist() == [np.inf, 0.75 + 0.75, 1.5, np.inf]
    assert pareto(values, np.array([0, 1.0, 0, 0, 0, 0]), 5).tolist() == [1, 0, 2, 3, 4]
    assert pareto(np.zeros((2, 0)), np.zeros(0), 3).tolist() == []


@pytest.mark.parametrize("levels", [3, 1000])
def test_fronts_are_what_their_definition_says(levels: int) -> None:
    """With few levels there are many ties: equal answers share a front."""
    values = np.random.default_rng(levels).integers(0, levels, (3, 200)).astype(float)
    rank = fronts(values)
    for i in range(200):
        better = ((values >= values[:, [i]]).all(0) & (values > values[:, [i]]).any(0)).nonzero()[0]
        assert rank[i] == (rank[better].max() + 1 if len(better) else 0)


def test_the_best_mean_rank_is_on_the_front_and_comes_first() -> None:
    values = np.random.default_rng(1).integers(0, 9, (2, 60)).astype(float)
    scores = {str(i): [Score(x) for x in row.tolist()] for i, row in enumerate(values)}
    standing = Verdicts(list(range(60)), scores).standing
    order = pareto(values, standing, 60)
    assert sorted(order.tolist()) == list(range(60))
    assert order[0] == standing.argmax()
    assert fronts(values)[order].tolist() == sorted(fronts(values).tolist())


def test_it_is_a_rule_of_best_of_n() -> None:
    assert BestOfN(n=8, select="pareto").rule == "pareto"
    with pytest.raises(ValueError, match="'pareto' selects among at most 4096"):
        BestOfN(n=5000, select="pareto")
