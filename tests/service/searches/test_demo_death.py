"""The demo's jobs on the real network, with their worker killed in the middle."""

import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from helping import ended, service, strike, until

from service.demo import SAMPLES, job

pytestmark = pytest.mark.skipif(not find_spec("torch"), reason="the demo needs torch, which is not installed")
PROMPTS, STEPS = 33, 10  # three shards: of 16, 16 and 1 items


@pytest.mark.timeout(900)  # a real network, twice begun again: minutes where cores are shared
def test_killed_in_the_middle_of_the_demo(tmp_path: Path) -> None:
    """Nothing is lost or counted twice: every sample is there once, with one score and one grade, paid once."""
    with service(tmp_path, window=2) as (stack, client):  # of six shards two at a time
        names = [client.submit(job("digits-unconditional", "digit_classifier_b", PROMPTS)).id for _ in range(2)]
        until(lambda: any(client.job(name).counts.done for name in names), 400)
        assert strike(stack, signal.SIGKILL) != strike(stack, signal.SIGKILL)
        for view in [ended(client, name, 400) for name in names]:
            assert view.state == "completed"
            assert view.counts.done == PROMPTS
            assert view.counts.candidates == PROMPTS * SAMPLES
            assert view.usage.evaluations == PROMPTS * SAMPLES * STEPS
            found = list(client.candidates(view.id))
            places = Counter((candidate.item, candidate.sample) for candidate in found)
            assert places == Counter({(i, s): 1 for i in range(PROMPTS) for s in range(SAMPLES)})
            assert all(len(c.scores) == len(c.grades) == 1 and c.scores[0].value is not None for c in found)
        # The two jobs have the same seed; whoever died on which shard, they drew the same noise for the same samples.
        first, second = ({(c.item, c.sample): c.seed for c in client.candidates(name)} for name in names)
        assert first == second
