"""Every method on every real network that it can search; what it cannot is refused with the reason."""

import asyncio
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods import METHODS
from search.ports import Task
from search.run import Outcome, run
from service import catalog
from service.catalog import Invalid, Prepared
from service.spec import JobSpec

MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "digits": ("7", {"steps": 4}, "digit_classifier"),
    "digits-early": ("7", {"steps": 4}, "digit_classifier"),
    "digits-unconditional": ("7", {"steps": 4}, "digit_classifier"),
    "terrain": ("40", {"steps": 2}, "terrain/range"),
}
SEARCHES: dict[str, list[dict[str, Any]]] = {
    "best_of_n": [{"n": 2}],
    "feynman_kac": [{"particles": 2, "tilt": 20.0}, {"particles": 2, "schedule": "adaptive", "resampling": "ssp"}],
    "soft_value": [{"n": 1, "children": 2}],
    "rollover": [{"n": 1, "width": 2}],
    "beam": [{"n": 1, "children": 2, "start": 1, "end": 1}],
    "noise_search": [
        {"algorithm": "random", "n": 2},
        {"algorithm": "zero_order", "n": 1, "neighbours": 2, "rounds": 1},
        {"algorithm": "paths", "n": 1, "ways": 2, "start": 0.5, "forward": 0.4, "backward": 0.9},
    ],
}


def prepared(name: str, search: dict[str, Any], **model: Any) -> Prepared:
    prompt, config, verifier = MODELS[name]
    spec = {
        "model": {"name": name, **config, **model},
        "items": [{"prompt": prompt}],
        "search": search,
        "verifiers": [verifier if verifier != "terrain/range" else {"name": verifier, "target": 1.0}],
    }
    return catalog.prepare(JobSpec.model_validate(spec))


def searched(ready: Prepared) -> Outcome:
    generator, plan = catalog.generator(ready.model), ready.plan
    judges = [catalog.judge(judge) for judge in ready.of("verifier")]
    task = Task(ready.spec.items[0], 3, 0, plan.piece or plan.samples)
    budget = Budget(evaluations=round(plan.trajectories * generator.steps * generator.price))

    async def main() -> Outcome:
        shared = Shared(Engine(), task, generator, judges)
        tools = Metered(shared, generator, 1, budget, plan.verdicts(generator.steps))
        return await run(ready.method.plugin.factory(task, tools, plan), tools)

    return asyncio.run(main())


def test_every_method_has_its_cases() -> None:
    assert set(SEARCHES) == set(METHODS.names())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", SEARCHES)
def test_runs(name: str, method: str) -> None:
    if name == "terrain" and not find_spec("onnxruntime"):
        pytest.skip("NOT RUN: the model 'terrain' needs the extra winnow-service[terrain]")
    if name != "terrain" and not find_spec("torch"):
        pytest.skip("NOT RUN: the digits models need torch")
    for config in SEARCHES[method]:
        outcome = searched(prepared(name, {"method": method, **config}))
        assert outcome.error is None
        assert outcome.stop_reason is None
        assert outcome.population is not None
        found = outcome.population.found()
        assert 1 <= len(found) == len(found.verdicts)
        assert not np.isnan(found.verdicts.rewards).any()
        assert all(answer.dtype == np.uint8 for answer in found.verdicts.answers)
        assert len(set(found.names())) == len(found)


@pytest.mark.parametrize("method", ["feynman_kac", "soft_value", "rollover", "beam"])
def test_a_deterministic_step_is_refused_with_the_remedy(method: str) -> None:
    for settings in ({"eta": 0.0}, {"solver": "dpm++"}):
        with pytest.raises(Invalid, match="stochastic_step"):
            prepared("digits", {"method": method}, **settings)
