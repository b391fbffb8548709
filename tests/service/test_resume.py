"""A search goes on where its worker died, and ends as if nothing had happened."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from helping import done, ended, found, job, pids, service, until

WORK = job(
    1,
    model={"name": "toy/gaussian_mixture", "steps": 1500},
    search={"method": "feynman_kac", "particles": 400, "every": 100, "tilt": 2.0, "ess": 0.9},
    mode="sample",
    seed=3,
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_population_goes_on_where_its_worker_died(tmp_path: Path, number: int) -> None:
    with service(tmp_path / "calm") as (_, client):
        calm = done(client, WORK)
        expected: Any = (found(client, calm.id), next(client.items(calm.id)).sample, calm.usage.evaluations)
    with service(tmp_path / "struck", checkpoint_seconds=0.2, lease_seconds=2.0) as (stack, client):
        view = client.submit(WORK)
        folder = tmp_path / "struck" / "artifacts" / "checkpoints"
        until(lambda: [path for path in folder.glob("*") if path.suffix != ".part"])
        os.kill(pids(stack)[0], number)
        view = ended(client, view.id)
        assert view.state == "completed"
        assert (found(client, view.id), next(client.items(view.id)).sample, view.usage.evaluations) == expected
        assert not list(folder.iterdir())  # forgotten when the shard was done
    log = (tmp_path / "struck" / "worker.log").read_text()
    assert "goes on from step" in log
