"""Networks without memory and verifiers of every bad kind: rows 9 and 10."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence

import pytest
from auditing import Bed
from helping import done, ended, items, job, pids, whole

from search.ports import Answer, Item, Score
from service import processes

Recovered = Callable[[int, float], None]


def test_out_of_memory(bed: Bed, recovered: Recovered) -> None:
    """A network that holds four rows at a time does the job; one that holds none fails it with a reason."""
    before, start = pids(bed.stack), time.monotonic()
    spec = job(model="outside/by_prompt", search={"n": 40})
    views = [bed.submit(spec | {"items": items(prompt)}) for prompt in ("hungry", "starving")]
    good, bad = (ended(bed.client, view.id) for view in views)
    recovered(9, time.monotonic() - start)
    assert (good.state, bad.state) == ("completed", "failed")
    whole(bed.client, good, 40)
    assert "out of memory" in str(bed.client.job(bad.id).error)
    assert pids(bed.stack) == before
    bed.audit()


BAD = {  # what is said of the answers that it does not judge
    "raises": "cannot judge this",
    "nan": "not a finite number",
    "short": "scores for",
    "huge": None,
    "slow": None,
    "hangs": "not decided within 0.2 s|died",
    "dies": "died",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_verifiers(bed: Bed, kind: str, recovered: Recovered) -> None:
    """What they cannot judge is unscored, with a reason; the good verifier's best answer is what it was."""
    good = {"name": "outside/above", "label": "good"}
    spec = job(1, 40, model={"name": "outside/slow", "steps": 1}, verifiers=[good], seed=3)
    best = next(bed.client.items(done(bed.client, spec).id)).best
    bad = {"name": "outside/misjudging", "label": "bad", "kind": kind}
    view = bed.submit(spec | {"graders": [bad]})
    other = done(bed.client, job(2, 2))
    last = ended(bed.client, view.id)
    whole(bed.client, last, 40)
    (item,) = bed.client.items(view.id)
    assert [one.seed for one in item.best] == [one.seed for one in best]
    verdicts = [grade for one in bed.client.candidates(view.id) for grade in one.grades]
    assert len(verdicts) == 40
    assert all((one.value is None and one.passed is None) == bool(one.reason) for one in verdicts)
    if (said := BAD[kind]) is not None:
        unscored = [one for one in verdicts if one.value is None]
        assert unscored
        assert {one.reason for one in unscored if not re.search(said, str(one.reason))} == set()
    assert other.state == "completed"
    recovered(10, 0)
    bed.audit()


def test_an_answer_that_kills_a_verifiers_process_is_unscored_alone() -> None:
    verifier = processes.Elsewhere("outside/poisoned", "{}")
    answers = [Answer("die" if i == 3 else "live", Item()) for i in range(9)]

    async def main() -> list[Sequence[Score]]:
        return await asyncio.gather(verifier(answers), verifier(answers[4:]))  # the second may share the first's fate

    first, second = asyncio.run(main())
    assert [score.value for score in first] == [None if i == 3 else 1.0 for i in range(9)]
    assert first[3].reason == "the process of verifier 'outside/poisoned' died"
    assert [score.value for score in second] == [1.0] * 5


def test_answers_that_all_kill_a_verifiers_process_are_not_all_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "DEATHS", 2)
    verifier = processes.Elsewhere("outside/poisoned", "{}")
    scores = asyncio.run(verifier([Answer("die", Item())] * 4))
    assert [score.value for score in scores] == [None] * 4
    assert [str(score.reason).startswith("not asked") for score in scores] == [False, False, True, True]


def test_a_healthy_pool_is_not_dropped_for_a_broken_one() -> None:
    pool = processes.Pool(1)
    broken = pool.get()
    pool.drop(broken)
    healthy = pool.get()
    pool.drop(broken)
    assert pool.get() is healthy is not broken
