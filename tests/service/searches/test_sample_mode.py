"""`sample` mode over HTTP: weighted answers, log Z of every population, genealogy; and what cannot be sampled."""

from typing import Any

import numpy as np
import pytest
from helping import done, job

from service.client import Client, Refused
from service.views import SampleView

G2 = {"name": "toy/gaussian_mixture"}


def sampled(client: Client, **search: Any) -> tuple[SampleView, str]:
    spec = job(1, model=G2, search={"method": "feynman_kac", "every": 4, "begin": 4, **search}, mode="sample", seed=7)
    view = done(client, spec)
    item = next(client.items(view.id))
    assert item.sample is not None
    return item.sample, view.id


def weights(sample: SampleView) -> Any:
    logs = np.array([-np.inf if w is None else w for w in sample.log_weights])
    raw = np.exp(logs - logs.max())
    return raw / raw.sum()


def test_a_tilted_mixture(client: Client) -> None:
    """G2: E[x] 1.437763, log Z .530930; one population of 1024 knows the mean to .04."""
    sample, name = sampled(client, particles=1024, repeats=8)
    x = np.array(sample.answers, float)
    assert len(x) == len(sample.log_weights) == 8 * 1024
    assert weights(sample) @ x == pytest.approx(1.437763, abs=4 * 0.04 / np.sqrt(8))
    assert len(sample.log_z) == 8
    assert np.log(np.mean(np.exp(sample.log_z))) == pytest.approx(0.530930, abs=0.1)
    assert 0.005 < (sample.log_z_sd or 0) < 0.2
    assert 0.3 * len(x) < sample.ess <= len(x)
    assert 8 < sample.ancestors < len(x)
    assert sample.warning is None
    populations = client.send(client_populations(name)).data
    assert [p.first for p in populations] == list(range(0, 8192, 1024))
    for population in populations:
        line = np.arange(1024)
        for split in population.splits:
            line = line[split.parents]
        assert len(set(line.tolist())) == population.ancestors
    with pytest.raises(Refused, match="no item 1 in a job of 1; they are counted from 0") as missing:
        client.send(client_populations(name, 1))
    assert missing.value.status == 404


def client_populations(name: str, item: int = 0) -> Any:
    from service.calls import Call
    from service.views import Populations

    return Call("GET", f"/v1/jobs/{name}/items/{item}/populations", Populations)


def test_islands_of_different_luck_are_weighed_by_their_own_log_z(client: Client) -> None:
    """500 populations of 4: plain averages of their means are biased, the weights that compare across are not."""
    sample, _ = sampled(client, particles=4, repeats=500, tilt=2.0)
    x, w = np.array(sample.answers, float), weights(sample)
    raw = np.exp(np.array([-np.inf if v is None else v for v in sample.log_weights])).reshape(500, 4)
    assert np.allclose(np.log(raw.mean(1)), [-np.inf if z is None else z for z in sample.log_z])
    exact = np.array([0.7 * np.exp(-3 + 0.5), 0.3 * np.exp(3 + 0.5)])  # tilt 2: exp(2 m + 2 v), means m + 2 v
    mean = float(exact @ np.array([-1.0, 2.0]) / exact.sum())
    each = (raw * x.reshape(500, 4)).sum(1) / raw.sum(1)
    assert w @ x == pytest.approx(mean, abs=0.1)
    assert each.mean() < mean - 0.1  # the naive average must fail, or the test shows nothing


def test_few_effective_samples_are_announced(client: Client) -> None:
    sample, _ = sampled(client, particles=400, tilt=8.0, potential="paper_sum", ess=0.01)
    assert sample.ess < 20
    assert sample.warning is not None
    assert "ESS" in sample.warning


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "sample"}, ["'sample' needs", "feynman_kac"]),
        (
            {"mode": "sample", "keep": "top_k", "search": {"method": "feynman_kac"}},
            ["'sample' returns", "valid here: all"],
        ),
        ({"search": {"method": "feynman_kac", "particles": 1000, "repeats": 100000}}, ["10,000,000"]),
        ({"search": {"method": "feynman_kac", "particles": 1}}, ["particles", "greater than or equal to 2"]),
        ({"search": {"method": "feynman_kac", "tilt": -1.0}}, ["tilt"]),
        ({"model": {"name": "digits", "eta": 0.0}, "search": {"method": "feynman_kac"}}, ["eta", "stochastic_step"]),
        ({"model": "toy/noop", "search": {"method": "soft_value"}}, ["stochastic_step", "would work", "best_of_n"]),
        ({"search": {"method": "feynman_kac", "target": {"kind": "product"}}}, ["guide"]),
        ({"search": {"method": "feynman_kac", "target": {"kind": "annealing", "power": 0.0}}}, ["power"]),
        ({"search": {"method": "noise_search", "algorithm": "paths", "forward": 0.9}}, ["backward"]),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_remedy(client: Client, changes: Any, words: list[str]) -> None:
    spec = job(**changes)
    if spec["model"] == {"name": "digits", "eta": 0.0}:
        spec["items"] = [{"prompt": "7"}]
        spec["verifiers"] = ["digit_classifier"]
    with pytest.raises(Refused) as refused:
        client.submit(spec)
    for word in words:
        assert word in str(refused.value), refused.value


def test_correctors_over_http(client: Client) -> None:
    """G6: the product of N(0, 1) and N(1, .25) is N(.8, .2)."""
    one = {"weights": [1.0], "means": [0.0], "variances": [1.0]}
    guide = {"weights": [1.0], "means": [1.0], "variances": [0.25]}
    spec = job(
        1,
        model={"name": "toy/gaussian_mixture", **one, "guide": guide, "steps": 400},
        search={"method": "feynman_kac", "particles": 1024, "repeats": 4, "tilt": 0.0, "target": {"kind": "product"}},
        mode="sample",
    )
    sample = next(client.items(done(client, spec).id)).sample
    assert sample is not None
    x, w = np.array(sample.answers, float), weights(sample)
    assert w @ x == pytest.approx(0.8, abs=0.05)
    assert w @ x**2 - (w @ x) ** 2 == pytest.approx(0.2, abs=0.04)
    assert np.log(np.mean(np.exp(sample.log_z))) == pytest.approx(-1.430510, abs=0.15)


def test_a_budget_for_fewer_particles_keeps_their_weights(client: Client) -> None:
    spec = job(1, model=G2, search={"method": "feynman_kac"}, mode="sample", budget={"evaluations": 100})
    view = done(client, spec)
    sample = next(client.items(view.id)).sample
    assert sample is not None
    assert len(sample.answers) == 5  # 20 steps each
    assert view.stop_reason == "budget"
    assert len(sample.log_z) == 1
    assert sample.ess > 1
