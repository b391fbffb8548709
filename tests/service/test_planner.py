"""Shards cover every sample once, and their shares never add up to more than the budget."""

import pytest
from helping import prepared
from hypothesis import given
from hypothesis import strategies as st

from service.catalog import Invalid, Prepared
from service.planner import MOST_SPANS, SHARD_SAMPLES, shards, share, spans, stop_reason
from service.spec import Span

budgets = st.none() | st.integers(0, 5000)


def planned(items: int, n: int, steps: int, select: str, evaluations: int | None, calls: int | None) -> Prepared:
    return prepared(
        items,
        model={"name": "toy/gaussian_mixture", "steps": steps},
        search={"n": n, "select": select},
        verifiers=["toy/linear", "toy/quadratic"],
        budget={"evaluations": evaluations, "verifier_calls": calls, "verifier_seconds": 3.0},
    )


@given(
    st.integers(1, 40),
    st.integers(1, 300),
    st.integers(1, 100),
    st.sampled_from(["verifier", "majority", "first_pass"]),
    budgets,
    budgets,
)
def test_cover_and_shares(
    items: int, n: int, steps: int, select: str, evaluations: int | None, calls: int | None
) -> None:
    plan = planned(items, n, steps, select, evaluations, calls)
    packed = shards(plan)
    assert all(packed)
    every: list[Span] = [span for shard in packed for span in shard]
    samples = sorted((span.item, s) for span in every for s in range(span.first, span.first + span.count))
    assert samples == [(i, s) for i in range(items) for s in range(n)]
    for name, total in (("evaluations", evaluations), ("verifier_calls", calls)):
        shares = [getattr(span, name) for span in every]
        if total is None:
            assert set(shares) == {None}
        else:
            assert all(part >= 0 for part in shares)
            assert sum(shares) <= total
    assert sum(span.verifier_seconds or 0 for span in every) <= 3.0 + 1e-6
    if plan.plan.piece is None:
        largest = max(1, min(SHARD_SAMPLES, 2000 // steps))
        assert all(sum(span.count for span in shard) <= largest for shard in packed)
    else:
        assert len(every) == items


@given(st.integers(0, 10**6), st.integers(1, 500))
def test_share(total: int, parts: int) -> None:
    each = [share(total, part, parts) or 0 for part in range(parts)]
    assert sum(each) == total
    assert max(each) - min(each) <= 1


def test_first_samples_are_paid_in_full() -> None:
    plan = planned(1, 100, 10, "verifier", 55, None)
    assert [span.evaluations for span in spans(plan, 4)][:3] == [40, 15, 0]


def test_a_job_of_too_many_pieces_is_refused_at_once() -> None:
    with pytest.raises(Invalid, match=f"at most {MOST_SPANS}"):
        shards(prepared(1000, 1_000_000))
    assert shards(prepared(1, 1_000_000))


def test_stop_reason() -> None:
    assert stop_reason({None: 3}) is None
    assert stop_reason({None: 3, "budget": 1, "error": 1}) == "budget"
    assert stop_reason({"target_reached": 2}) == "target_reached"
    assert stop_reason({"target_reached": 2, None: 1}) is None
    assert stop_reason({"budget": 2, "cancelled": 1}) == "cancelled"
