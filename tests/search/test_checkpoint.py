"""Every state that a method yields leads, stored and read back, to the end that it would have led to."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generators.builtin import GENERATORS
from search.checkpoint import Unreadable, pack, unpack
from search.configs import MethodConfig
from search.engine import Engine, Shared
from search.metering import Budget, Metered, Spent
from search.methods import METHODS
from search.population import Population
from search.ports import Item, Task
from search.run import Outcome, run
from search.scoring import Judge
from verifiers.builtin import VERIFIERS

SEARCHES: dict[str, list[dict[str, Any]]] = {
    "best_of_n": [{"n": 70}, {"n": 9, "select": "first_pass"}],
    "feynman_kac": [
        {"particles": 6, "tilt": 2.0, "every": 2, "potential": potential, "schedule": schedule, "ess": 0.9}
        for potential in ("difference", "max", "mean", "paper_max", "paper_sum")
        for schedule in ("constant", "linear", "adaptive")
    ],
    "soft_value": [{"n": 3, "children": 4}, {"n": 2, "children": 3, "alpha": 0.5, "every": 3}],
    "noise_search": [{"algorithm": "random"}, {"algorithm": "paths"}],
    "rollover": [{"n": 2}],
    "beam": [{}],
}
CASES = [(name, config) for name in METHODS.names() for config in SEARCHES.get(name, [{}])]


def made(registry: Any, name: str, **config: Any) -> Any:
    found = registry.find(name)
    return found.factory(found.config(**config))


def search(name: str, config: MethodConfig, states: list[Any], before: Any = None, company: int = 0) -> Outcome:
    """One search, alone or among others; `states` gets all that it yields, with what it had spent."""
    model = made(GENERATORS, "toy/gaussian_mixture", steps=7)
    judges = [Judge("v", "v", made(VERIFIERS, "toy/linear"), threshold=2.2)]

    async def one(engine: Engine, seed: int, seen: Any, resume: Any) -> Outcome:
        task = Task(Item(id="a"), seed, 0, config.piece or config.samples)
        verdicts = config.verdicts(model.steps)
        tools = Metered(Shared(engine, task, model, judges), model, 1, Budget(), verdicts)
        known: dict[str, Any] = {}
        if resume:
            known["resume"], tools.spent = resume
        states = METHODS.find(name).factory(task, tools, config, **known)
        return await run(states, tools, seen=lambda state: seen.append((state, replace(tools.spent))))

    async def main() -> Outcome:
        engine = Engine()
        found = await asyncio.gather(
            *(one(engine, seed, states if not seed else [], before) for seed in range(company + 1))
        )
        return found[0]

    outcome = asyncio.run(main())
    assert outcome.error is None
    return outcome


def record(outcome: Outcome) -> Any:
    """All that a search gives; but for seconds, which differ from run to run."""
    assert outcome.population is not None
    mine = outcome.population.found()
    spent = (outcome.spent.evaluations, outcome.spent.previews, outcome.spent.verifier_calls)
    scores = {label: list(values) for label, values in mine.verdicts.scores.items()}
    weights = (mine.log_weights.tolist(), mine.log_z, mine.ancestors.tolist())
    return mine.names(), list(mine.verdicts.answers), scores, weights, spent, outcome.stop_reason


@pytest.mark.parametrize(("name", "config"), CASES)
def test_resumed_anywhere_equals_straight_through(name: str, config: dict[str, Any]) -> None:
    states: list[tuple[Population, Spent]] = []
    checked = METHODS.find(name).config(**config)
    straight = record(search(name, checked, states))  # type: ignore[arg-type]
    assert len(states) > 3
    for state in states[:: max(1, len(states) // 25)]:
        assert record(search(name, checked, [], unpack(pack(state)))) == straight  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "config"), CASES)
def test_alone_equals_in_company(name: str, config: dict[str, Any]) -> None:
    checked = METHODS.find(name).config(**config)
    assert record(search(name, checked, [])) == record(search(name, checked, [], company=3))  # type: ignore[arg-type]


def test_values_come_back() -> None:
    images = [np.full((2, 3), i, np.uint8) for i in range(3)]
    value = {"a": [1, 2.5, None, "x", True], "t": (float("-inf"), float("nan")), 3: images, "ragged": [images[0], 1]}
    again = unpack(pack(value))
    assert again["a"] == value["a"]
    assert again["t"][0] == float("-inf")
    assert np.isnan(again["t"][1])
    assert all(map(np.array_equal, again[3], images))
    assert again["ragged"][1] == 1


def test_what_cannot_be_kept_says_so() -> None:
    with pytest.raises(TypeError, match="object"):
        pack([object()])


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", pack(1)[:-30], pack(1).replace(b"tree", b"bush")])
def test_damaged_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(data)
