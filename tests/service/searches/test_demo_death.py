"""The demo's jobs on the real network, with their worker killed in the middle."""

import os
import signal
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from service.client import Client
from service.demo import SAMPLES, job
from service.embedded import Stack
from service.settings import Settings

pytestmark = pytest.mark.skipif(not find_spec("torch"), reason="the demo needs torch, which is not installed")
PROMPTS, STEPS = 33, 10  # three shards: of 16, 16 and 1 items


def test_killed_in_the_middle_of_the_demo(tmp_path: Path) -> None:
    """Nothing is lost or counted twice: every sample is there once, with one score and one grade, paid once."""
    with Stack(Settings(data_dir=tmp_path), log=tmp_path / "worker.log") as stack, Client(stack.url) as client:
        names = [client.submit(job("digits-unconditional", "digit_classifier_b", PROMPTS)).id for _ in range(2)]
        killed: list[str] = []
        deadline = time.monotonic() + 240
        while not all((views := [client.job(name) for name in names])[i].finished for i in range(2)):
            assert time.monotonic() < deadline, views
            # Between commits of the same job: shards are running, the last committed one is behind us.
            if len(killed) < 2 and sum(view.counts.done for view in views) > 8 * len(killed):
                worker, child = next(iter(stack.children.items()))
                if worker not in killed and child.poll() is None:
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(worker)
            time.sleep(0.05)
        assert len(killed) == 2
        for view in views:
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
