"""Advice on small pools whose figures are known."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.advice import Audit, Evidence, Method, advise, advise_compare
from service.curves.coverage import coverage, pass_at_k
from service.views import Advice

EACH = {"samples": 1.0, "evaluations": 10.0}


def evidence(drawn: int, right: Any, **changes: Any) -> Evidence:
    """A graded job of n answers an item."""
    c = np.array(right)
    n = np.full(len(c), drawn)
    grid = np.array(sorted({1, 2, drawn // 2, drawn}))
    solved = np.array([pass_at_k(n, c, int(k)) for k in grid])
    given = Evidence([f"q{i}" for i in range(len(c))], n, c, "grader", "verifier", grid, solved, each=EACH)
    return replace(given, **changes)


def told(kind: str, given: Evidence) -> Advice:
    (found,) = [advice for advice in advise(given) if advice.kind == kind]
    return found


def kinds(given: Evidence) -> list[str]:
    return [advice.kind for advice in advise(given)]


def test_the_published_example() -> None:
    """p ~ Beta(.3, 2), f = .05, t = 1, a wrong answer as bad as a right one is good: k* = 4 (arXiv 2411.17501)."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 2, 4000)
    n = 200
    c = rng.binomial(n, p)
    accepted = c + rng.binomial(n - c, 0.05)
    found = told("optimal_k", evidence(n, c, accepted=accepted, both=c))
    assert found.numbers["k_estimate"] in (4, 5)
    assert found.numbers["fpr"] == pytest.approx(0.05, abs=0.003)
    assert found.numbers["alpha"] == pytest.approx(0.3, abs=0.05)
    assert f"More than k = {found.numbers['k']} samples lowers expected value; after that, abstain." in found.text
    ends = told("outcome", evidence(n, c, accepted=accepted, both=c))
    assert sum(float(ends.numbers[name]) for name in ("right", "wrong", "abstain")) == pytest.approx(1)  # type: ignore[arg-type]


def test_a_dearer_mistake_means_fewer_samples() -> None:
    rng = np.random.default_rng(1)
    c = rng.binomial(100, rng.beta(0.3, 2, 2000))
    accepted = c + rng.binomial(100 - c, 0.05)
    ks = [
        told("optimal_k", evidence(100, c, accepted=accepted, both=c, loss=loss)).numbers["k_estimate"]
        for loss in (0.25, 1.0, 4.0)
    ]
    assert ks == sorted(ks, reverse=True)
    assert len(set(ks)) == 3


def test_few_labels_mean_caution_and_say_how_many_more() -> None:
    """The k that is recommended is that of the upper end of the false-positive rate."""
    rng = np.random.default_rng(2)
    c = rng.binomial(64, rng.beta(0.3, 2, 300))
    accepted = c + rng.binomial(64 - c, 0.05)
    audit = Audit(accepted_right=40, accepted_wrong=10, rejected_wrong=49, rejected_right=1)
    found = told("optimal_k", evidence(64, c, accepted=accepted, both=c, audit=audit)).numbers
    assert found["labels"] == 100
    assert found["k"] < found["k_estimate"]  # type: ignore[operator]
    assert found["fpr_low"] < found["fpr"] < found["fpr_high"]  # type: ignore[operator]
    assert found["more_labels"] > 0  # type: ignore[operator]
    assert found["k_high_then"] <= found["k_high"]  # type: ignore[operator]


def test_rates_unknown_asks_for_an_audit() -> None:
    given = evidence(8, [1, 4, 0, 8], judge="verifier", accepted=np.array([1, 4, 0, 8]))
    assert "label about 100 answers" in told("audit", given).text
    assert "optimal_k" not in kinds(given)
    assert "audit" not in kinds(replace(given, accepted=None))


def test_draw_more_on_the_unsolved() -> None:
    found = told("unsolved", evidence(16, [0, 1, 3, 16, 0, 8, 2, 5]))
    assert (found.numbers["items"], found.numbers["of"], found.numbers["more"]) == (2, 8, 16)
    assert found.numbers["ids"] == ["q0", "q4"]
    assert 0 < found.numbers["expected"] < 2  # type: ignore[operator]
    assert "unsolved" not in kinds(evidence(16, [1, 2]))
    assert "unsolved" not in kinds(evidence(16, [0, 0]))  # nothing says whether anything would help


def test_the_gap_to_the_verifier() -> None:
    given = evidence(8, [4, 4, 4, 4, 4, 8])
    selected = given.solved * np.array([0.5, 0.5, 0.6, 0.4, 0.5, 1.0])
    found = told("verifier_gap", replace(given, selected=selected))
    assert found.numbers["k"] == 8
    assert found.numbers["gap"] == pytest.approx(2.5 / 6)
    assert 0 < found.numbers["gap_low"] < 2.5 / 6 < found.numbers["gap_high"]  # type: ignore[operator]
    assert "wherever one was drawn" in told("verifier_gap", replace(given, selected=given.solved)).text
    assert "verifier_gap" not in kinds(replace(given, selected=selected, judge="verifier"))


@pytest.mark.parametrize(("by", "word"), [(0.3, "Voting helps"), (-0.3, "Voting hurts"), (0.0, "no difference")])
def test_voting(by: float, word: str) -> None:
    given = evidence(8, [4, 5, 3, 4, 4, 5, 3, 4])
    noise = np.array([0.02, -0.02] * 4)
    found = told("voting", replace(given, majority=given.solved[0] + by + np.broadcast_to(noise, given.solved.shape)))
    assert word in found.text
    assert found.numbers["gain"] == pytest.approx(by)


def test_over_optimisation() -> None:
    """The choice is best at k = 2 and gets worse for every item."""
    given = evidence(8, [4] * 6)
    falls = np.array([0.5, 0.6, 0.5, 0.3])[:, None] + np.linspace(-0.02, 0.02, 6) * np.array([0, 0, 0, 1])[:, None]
    found = told("over_optimisation", replace(given, selected=falls)).numbers
    assert (found["k"], found["last"]) == (2, 8)
    assert found["fall"] == pytest.approx(0.3)
    assert "over_optimisation" not in kinds(replace(given, selected=given.solved))


def told_shares(text: str) -> tuple[list[float], float]:
    """The shares of a text and the difference beside them, in per cent and points."""
    shares = [float(share) for share in re.findall(r"([0-9.]+) %", text)]
    difference = re.search(r"([-0-9.]+) points", text)
    assert difference is not None
    return shares, float(difference[1])


@pytest.mark.parametrize("by", [0.0, 1e-14, -1e-14, -0.0001, 0.0046, 0.03])
@pytest.mark.parametrize(("drawn", "right"), [(8, 7), (80, 63), (400, 201)])
def test_shares_agree_with_the_difference_beside_them(drawn: int, right: int, by: float) -> None:
    """As written: 88 % and 87 % are not 0.0 points apart, nor are 50.3 % and 50.2 %. No difference is -0.0."""
    equal = abs(by) < 1e-12  # but for what summing leaves; else each of three numbers is rounded
    given, share = evidence(drawn, [right] * 8), right / drawn  # 87.5, 78.75 and 50.25 %: round up, or down
    noise = 1e-6 * np.array([1, -1] * 4)
    voting = told("voting", replace(given, majority=given.solved[0] + by + np.broadcast_to(noise, given.solved.shape)))
    falls = share - np.array([0.3, 0, 0.1, 0.1 + by])[:, None] + noise * np.array([0, 0, 0, 1])[:, None]
    texts = [told(kind, replace(given, selected=falls)).text for kind in ("verifier_gap", "over_optimisation")]
    for text in [voting.text, *texts]:
        (first, second), difference = told_shares(text)
        assert abs(abs(first - second) - abs(difference)) < (1e-9 if equal and text is voting.text else 0.11), text
        assert "-0.0 " not in text
        assert "-0.0)" not in text


def test_cost_of_a_target() -> None:
    given = evidence(32, [8, 4, 16, 2, 8, 8])
    found = told("target_cost", replace(given, target=0.7)).numbers
    k = int(found["k"])  # type: ignore[call-overload]
    assert coverage(given.drawn, given.right, k) >= 0.7 > coverage(given.drawn, given.right, k - 1)  # type: ignore[arg-type]
    assert found["evaluations"] == 10 * k
    rare = evidence(32, [0, 1, 0, 1, 2, 0, 8, 4], target=0.7)
    beyond = told("target_cost", rare)
    assert beyond.numbers["k"] is None
    assert "a model range, not an interval" in beyond.text
    assert beyond.numbers["beta_binomial"] > 32  # type: ignore[operator]
    never = told("target_cost", evidence(32, [0] * 9 + [32], target=0.99))
    assert "better samples are needed" in never.text


def test_what_depends_on_each_other_says_nothing_of_other_budgets() -> None:
    given = evidence(8, [4, 0, 8, 2], accepted=np.array([4, 1, 8, 2]), both=np.array([4, 0, 8, 2]), unscored=0.25)
    assert {"optimal_k", "unsolved", "target_cost", "unscored"} <= set(kinds(given))
    assert kinds(replace(given, independent=False)) == ["unscored"]
    assert "25 % of answers have no verdict" in told("unscored", given).text


@pytest.mark.parametrize("wrong", [{"target": 1.0}, {"value": -1.0}, {"loss": float("nan")}, {"cost": float("inf")}])
def test_stakes_that_mean_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        advise(evidence(8, [4, 0], **wrong))


def near(one: float, other: float) -> bool:
    return abs(one - other) <= 0.05 * other


def method(name: str, evaluations: float, scores: Any) -> Method:
    return Method(f"job_{name}", name, evaluations, np.array(scores, float))


def test_the_best_method_at_each_budget() -> None:
    good, bad = method("good", 100, [1] * 39 + [0]), method("bad", 102, [1] * 10 + [0] * 30)
    found = advise_compare([bad, good, method("dear", 400, [1] * 40)], True, near)
    assert [advice.kind for advice in found] == ["best_method", "cheapest"]
    assert found[0].numbers["job"] == "job_good"
    assert found[0].numbers["difference"] == pytest.approx(0.725)
    assert found[0].numbers["low"] > 0  # type: ignore[operator]
    assert "97.5 % of items passed, 72.5 points" in found[0].text
    assert found[1].numbers["job"] == "job_good"  # as good as any, at a quarter
    assert found[1].numbers["other"] == "job_dear"


def test_methods_that_cannot_be_told_apart() -> None:
    found = advise_compare([method("a", 100, [1, 0, 1, 1]), method("b", 100, [0, 1, 1, 0])], True, near)
    assert "4 items cannot tell from b" in found[0].text
    values = advise_compare([method("a", 100, [1.5, 2.0, np.nan]), method("b", 100, [1.0, 1.4, 7.0])], False, near)
    assert values[0].numbers["job"] == "job_b"
    assert values[0].numbers["difference"] == pytest.approx(-0.55)  # over the items that both have
    assert advise_compare([method("a", 100, [np.nan])], True, near) == []


def test_a_judge_without_passes() -> None:
    """Nothing is said about shares that are 0 because nobody told what is right."""
    rows = np.zeros((4, 3))
    failed = evidence(8, [0, 0, 0], judge="likes", verifier="likes", selected=rows, majority=rows)
    given = replace(failed, right=None)
    assert kinds(given) == ["passless"]
    assert "likes gives values and no passes" in told("passless", given).text
    assert kinds(failed) == ["voting", "target_cost"]
