"""The same seed gives the same answers, whoever runs them and whatever runs beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helping import done, ended, found, job, service, whole

from service.client import Client

TOY: dict[str, Any] = {
    "model": {"name": "toy/gaussian_mixture", "weights": [1.0], "means": [0.0], "variances": [1.0]},
    "items": [{"id": f"{i}"} for i in range(512)],
    "search": {"method": "best_of_n", "n": 16},
    "verifiers": ["toy/linear"],
    "seed": 7,
}
MEAN, SD = 1.766, 0.542
"""Of the largest of 16 standard normals. The mean of 512 has a standard error of 0.024, their standard deviation one of
0.019 (their kurtosis is 3.4): 0.075 is three and four of them."""


@pytest.fixture(scope="module")
def alone(running: Any) -> Any:
    """Everything the job found with one worker and nothing else to do."""
    client: Client = running[1]
    view = done(client, TOY)
    whole(client, view, 16)
    return view, found(client, view.id)


def test_best_of_16_standard_normals(client: Client, alone: Any) -> None:
    view, rows = alone
    best = [item.best[0].scores[0].value or 0.0 for item in client.items(view.id)]
    assert len(best) == 512
    assert np.mean(best) == pytest.approx(MEAN, abs=0.075)
    assert np.std(best) == pytest.approx(SD, abs=0.075)
    answers = np.array([row[3] for row in rows])
    assert answers.mean() == pytest.approx(0, abs=4 / 90)  # four standard errors of 8,192 draws
    assert answers.std() == pytest.approx(1, abs=4 / 128)
    assert len({row[2] for row in rows}) == len(rows)


def test_another_seed_gives_other_answers(client: Client, alone: Any) -> None:
    other = done(client, {**TOY, "seed": 8, "items": TOY["items"][:20]})
    assert not {row[2] for row in found(client, other.id)} & {row[2] for row in alone[1]}


def test_two_workers_and_eight_other_jobs(alone: Any, tmp_path: Path) -> None:
    with service(tmp_path, workers=2) as (_, client):
        others = [client.submit(job(40, 16, seed=i, model=TOY["model"])) for i in range(4)]
        mine = client.submit(TOY)
        others += [client.submit(job(30, 9, seed=i, model="toy/noop", priority="interactive")) for i in range(4)]
        ended(client, mine.id)
        rows = found(client, mine.id)
        for other in others:
            assert ended(client, other.id).state == "completed"
    assert rows == alone[1]


def test_items_are_named_not_counted(client: Client, alone: Any) -> None:
    """An item's id decides its answers, not its place or its neighbours."""
    some = done(client, {**TOY, "items": [{"id": "400"}, {"id": "3"}], "search": {"method": "best_of_n", "n": 4}})
    rows = {(row[0], row[1]): row[2:] for row in alone[1]}
    for item, sample, *rest in found(client, some.id):
        assert tuple(rest) == rows[(400, 3)[item], sample]
