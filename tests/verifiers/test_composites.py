"""Verifiers made of verifiers: ranks, early exits, and chances, against closed forms and reference values."""

import asyncio

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from search.engine import Engine
from search.ports import Answer, Item, Score
from service import catalog
from service.catalog import Invalid
from service.planner import shards
from service.spec import JobSpec
from verifiers.calibration import Calibrated, calibrated, isotonic, pava, platt
from verifiers.composites import Cascade, Ensemble, cascade, ensemble, ranked

ITEM = Item(id="i", target="7")
LINEAR, NEAR_2 = "toy/linear", {"name": "toy/quadratic", "center": 2.0}


def scores(verifier, *values, item=ITEM):
    return asyncio.run(verifier([Answer(value, item) for value in values]))


def stages(*given):
    return Cascade.model_validate({"stages": list(given)})


# ensemble


def test_mean_rank():
    verifier = ensemble(Ensemble.model_validate({"verifiers": [LINEAR, NEAR_2]}))
    # values 0, 1, 2, 3: ranks under linear 0, 1/3, 2/3, 1; under -(x-2)^2 0, 1/2 (a tie of 1 and 3), 1, 1/2
    assert [s.value for s in scores(verifier, 0.0, 1.0, 2.0, 3.0)] == pytest.approx([0, 5 / 12, 5 / 6, 3 / 4])
    assert scores(verifier, 5.0)[0].value == 0.5
    assert scores(verifier) == []


def test_ranks_take_no_scale():
    x = np.array([0.1, 5.0, 2.0, np.nan, 2.0])
    assert ranked(np.exp(x)).tolist()[:3] == ranked(x).tolist()[:3] == [0.0, 1.0, 0.5]
    assert np.isnan(ranked(x)[3])


def test_an_ensemble_keeps_items_apart_and_errors_as_records():
    verifier = ensemble(Ensemble.model_validate({"verifiers": [LINEAR, NEAR_2]}))
    other = Item(id="j")
    found = asyncio.run(verifier([Answer(0.0, ITEM), Answer(100.0, other), Answer(1.0, ITEM), Answer("x", ITEM)]))
    assert [s.value for s in found] == [0.0, 0.5, 1.0, None]
    assert found[3].reason == "toy/linear: expected a number, found str"


def test_verdicts_and_votes_of_an_ensemble():
    both = ensemble(Ensemble.model_validate({"verifiers": ["numeric", {"name": "regex", "pattern": "^7$"}]}))
    assert [(s.passed, s.canonical) for s in scores(both, "7", "7.0", "8")] == [(True, "7"), (False, "7"), (False, "8")]


# cascade


CHEAP = {"verifier": {"name": "toy/linear"}, "below": 1.0, "above": 3.0}
DEAR = {"verifier": {"name": "toy/quadratic", "center": 2.0, "threshold": -0.1}}


def test_the_first_stage_that_decides():
    found = scores(cascade(stages(CHEAP, DEAR)), 0.5, 1.0, 2.0, 3.0)
    assert [(s.value, s.passed) for s in found] == [(0.5, False), (-0.5, False), (0.0, True), (3.0, True)]
    assert [s.reason for s in found] == [f"decided by stage {n}" for n in (
        "0, toy/linear", "1, toy/quadratic", "1, toy/quadratic", "0, toy/linear")]  # fmt: skip


def test_the_dear_stage_sees_only_what_is_left():
    asked = []

    async def ask(index, answers):
        asked.append((index, [answer.value for answer in answers]))
        return [Score(answer.value) for answer in answers]

    combine = cascade(stages(CHEAP, DEAR)).combine
    asyncio.run(combine([Answer(x, ITEM) for x in (0.0, 2.0, 9.0, 1.5)], ask))
    assert asked == [(0, [0.0, 2.0, 9.0, 1.5]), (1, [2.0, 1.5])]
    asked.clear()
    asyncio.run(combine([Answer(0.0, ITEM)], ask))
    assert asked == [(0, [0.0])]


def test_an_unscored_stage_decides_nothing():
    verifier = cascade(stages({"verifier": "toy/linear", "above": 1.0}, {"verifier": "numeric"}))
    found = scores(verifier, "7", "eight", None)
    assert [(s.value, s.passed, s.canonical) for s in found] == [
        (1.0, True, "7"),
        (0.0, False, None),
        (None, None, None),
    ]
    assert found[2].reason.startswith("decided by stage 1, numeric: ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([CHEAP], "at least 2"),
        ([CHEAP, CHEAP], "stage 1 .*expected none"),
        ([DEAR, DEAR], "stage 0 .*expected `below`, `above` or both"),
        ([{**CHEAP, "below": 4.0}, DEAR], "both would decide"),
        (
            [{**CHEAP, "verifier": "toy/lineal"}, DEAR],
            "unknown verifier 'toy/lineal'; valid: aesthetic, any, boxed",
        ),
        ([{**CHEAP, "verifier": {"name": "toy/linear", "slop": 1}}, DEAR], "unknown field; valid: intercept, slope"),
        ([{**CHEAP, "verifier": {"name": "toy/linear", "slope": "1"}}, DEAR], "'toy/linear': slope"),
    ],
)
def test_what_makes_no_cascade(given, said):
    with pytest.raises(ValidationError, match=said):
        stages(*given)


# calibration


def pairs(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return x, rng.random(n) < 1 / (1 + np.exp(-(2 * x - 0.5)))


def test_platt_is_the_minimum_of_the_cross_entropy():
    x, right = pairs()
    up, down = right.sum(), (~right).sum()
    t = np.where(right, (up + 1) / (up + 2), 1 / (down + 2))

    def loss(w):
        logits = w[0] * x + w[1]
        return float((np.logaddexp(0, logits) - t * logits).sum())

    reference = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    chance = platt(x, right)
    for value in (-3.0, -0.2, 0.0, 1.7):
        assert chance(value) == pytest.approx(1 / (1 + np.exp(-(reference @ [value, 1]))), abs=1e-6)


def test_platt_stays_finite_where_classes_do_not_overlap_and_never_falls():
    apart = platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
    # Four points allow the targets 3/4 and 1/4 of Platt: chances stay near them
    assert 0.05 < apart(0.0) < 0.5 < apart(3.0) < 0.95
    falling = platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, True, False, False]))
    assert falling(0.0) == falling(3.0) == pytest.approx(0.5)
    same = platt(np.array([1.0, 1.0, 1.0]), np.array([True, True, False]))
    assert same(1.0) == pytest.approx((2 * 3 / 4 + 1 / 3) / 3)  # the mean target
    huge = platt(np.array([-1e300, 1e300]), np.array([False, True]))
    assert np.isfinite(huge(1e300))


def test_isotonic_is_that_of_scikit_learn():
    x, right = pairs(300, 1)
    x = np.round(x, 1)  # many ties
    reference = IsotonicRegression(out_of_bounds="clip").fit(x, right.astype(float))
    chance = isotonic(x, right)
    for value in np.linspace(-4, 4, 81):
        assert chance(float(value)) == pytest.approx(float(reference.predict([value])[0]), abs=1e-12)


def test_pooling_adjacent_violators():
    assert pava(np.array([1.0, 0.0, 2.0]), np.ones(3)).tolist() == [0.5, 0.5, 2.0]
    assert pava(np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0])).tolist() == [1.75] * 3
    assert pava(np.array([1.0]), np.ones(1)).tolist() == [1.0]


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrated_verifier_keeps_order_votes_and_errors(method):
    x, right = pairs()
    given = [[float(value), bool(one)] for value, one in zip(x, right, strict=True)]
    config = Calibrated.model_validate({"verifier": "toy/linear", "pairs": given, "method": method, "passing": 0.6})
    assert Calibrated.model_validate_json(config.model_dump_json()) == config
    found = scores(calibrated(config), *np.linspace(-3, 3, 25).tolist())
    values = [s.value for s in found]
    assert values == sorted(values)
    assert all(0 <= s.value <= 1 and s.passed == (s.value >= 0.6) for s in found)
    assert scores(calibrated(config), "x")[0] == Score(None, None, "expected a number, found str")
    voting = {"verifier": "numeric", "pairs": [[0, False], [1, True]], "method": method}
    assert scores(calibrated(Calibrated.model_validate(voting)), "7.0")[0].canonical == "7"


@pytest.mark.parametrize(
    "given", [[[1.0, True], [2.0, True]], [[1.0, True]], [[1.0, 1], [0.0, 0]], [["1", True], [0.0, False]]]
)
def test_pairs_that_say_nothing(given):
    with pytest.raises(ValidationError):
        Calibrated.model_validate({"verifier": "toy/linear", "pairs": given})


# in the engine and in a job


def prepared(verifier, n=4, **search):
    spec = {"model": "toy/markov", "items": [{"target": "7"}], "search": {"n": n, **search}, "verifiers": [verifier]}
    return catalog.prepare(JobSpec.model_validate(spec))


def test_parts_run_in_their_own_places():
    """A process part goes to the pool, calls are shared, and what was scored before is not asked again."""
    nested = {"name": "cascade", "stages": [
        {"verifier": {"name": "regex", "pattern": "^7$"}, "above": 1.0},
        {"verifier": {"name": "ensemble", "verifiers": ["numeric", "exact"]}},
    ]}  # fmt: skip
    judge = catalog.judge(prepared(nested).judges[0])
    assert [part.place for part in judge.parts] == ["process", "thread"]
    assert [part.place for part in judge.parts[1].parts] == ["process", "thread"]
    assert judge.together
    assert not judge.parts[0].together

    async def twice():
        engine = Engine()
        answers = [Answer(value, ITEM) for value in ("7", "7.0", "8", "7")]
        return [await engine.judge(judge, answers) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert list(first.scores) == list(second.scores)
    assert [s.passed for s in first.scores] == [True, False, False, True]
    assert first.seconds > second.seconds  # the parts remember


def test_a_threshold_of_a_part_counts():
    verifier = {
        "name": "ensemble",
        "verifiers": [{"name": "toy/linear", "threshold": 2.0}, {"name": "toy/linear", "threshold": 0.0}],
    }
    judge = catalog.judge(prepared(verifier).judges[0])
    found = asyncio.run(Engine().judge(judge, [Answer(1.0, ITEM), Answer(3.0, ITEM)]))
    assert [s.passed for s in found.scores] == [False, True]


def test_unknown_parts_are_refused_at_submit():
    with pytest.raises(Invalid, match="unknown verifier 'exakt'; valid: aesthetic, any, boxed"):
        prepared({"name": "ensemble", "verifiers": ["numeric", "exakt"]})
    with pytest.raises(Invalid, match="expected a number"):  # the item's target
        catalog.prepare(JobSpec.model_validate({
            "model": "toy/markov", "items": [{"target": "seven"}],
            "verifiers": [{"name": "ensemble", "verifiers": ["numeric", "exact"]}],
        }))  # fmt: skip


def test_what_compares_answers_must_see_them_all():
    ranks = {"name": "ensemble", "verifiers": ["numeric", "exact"]}
    assert shards(prepared(ranks, 64))
    for n, search in ((65, {}), (8, {"select": "first_pass"})):
        with pytest.raises(Invalid, match="must see all of them at once; valid here: at most"):
            shards(prepared(ranks, n, **search))
    assert shards(prepared("exact", 65))
    spec = {"model": "toy/markov", "items": [{"target": "7"}], "verifiers": ["exact"], "graders": [ranks]}
    search = {"method": "feynman_kac", "particles": 8}  # what it found is graded all at once
    assert shards(catalog.prepare(JobSpec.model_validate({**spec, "search": search})))
    with pytest.raises(Invalid, match="graders"):
        shards(catalog.prepare(JobSpec.model_validate({**spec, "search": {"n": 65}})))
