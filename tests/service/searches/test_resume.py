"""A search goes on where its worker died, and ends as if nothing had happened."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from helping import done, ended, found, job, service, strike, until

from service.client import Client
from service.embedded import Stack

WORK = job(
    1,
    model={"name": "toy/gaussian_mixture", "steps": 1500},
    search={"method": "feynman_kac", "particles": 400, "every": 100, "tilt": 2.0, "ess": 0.9},
    mode="sample",
    seed=3,
)


@pytest.fixture(scope="module")
def calm(running: tuple[Stack, Client]) -> Any:
    """What the job finds when nothing happens, and what it costs."""
    return told(running[1], done(running[1], WORK).id)


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Client]]:
    """A service that saves its searches often."""
    with service(tmp_path_factory.mktemp("struck"), checkpoint_seconds=0.05, lease_seconds=2.0) as pair:
        yield pair


def told(client: Client, name: str) -> Any:
    return found(client, name), next(client.items(name)).sample, client.job(name).usage.evaluations


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_population_goes_on_where_its_worker_died(struck: tuple[Stack, Client], calm: Any, number: int) -> None:
    stack, client = struck
    log, folder = stack.settings.data_dir / "worker.log", stack.settings.data_dir / "artifacts" / "checkpoints"
    resumed = log.read_text().count("goes on from step") if log.exists() else 0
    view = client.submit(WORK)
    until(lambda: [path for path in folder.glob("*") if ".part" not in path.name])
    strike(stack, number)
    assert ended(client, view.id).state == "completed"
    assert told(client, view.id) == calm
    until(lambda: not list(folder.iterdir()))  # forgotten when the shard was done
    assert log.read_text().count("goes on from step") > resumed
