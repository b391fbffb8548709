"""Every search method on every family, through the engine; and a search that goes on from each of its checkpoints."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from piping import HOLED, QUIET, Made, configured

from generators.pictures import diffusers
from generators.pipelines import tiny
from search.checkpoint import pack, unpack
from search.engine import Engine, Shared
from search.metering import Budget, Metered
from search.methods import METHODS
from search.ports import Answer, Item, Score, Task
from search.run import Outcome, run
from search.scoring import Judge

pytestmark = QUIET
SEARCHES: list[tuple[str, dict[str, Any]]] = [
    ("best_of_n", {"n": 2}),
    ("feynman_kac", {"particles": 2, "tilt": 20.0}),
    ("soft_value", {"n": 1, "children": 2}),
    ("rollover", {"n": 1, "width": 2}),
    ("beam", {"n": 1, "children": 2, "start": 1, "end": 1}),
    ("noise_search", {"algorithm": "zero_order", "n": 1, "neighbours": 2, "rounds": 1}),
    ("noise_search", {"algorithm": "paths", "n": 1, "ways": 2, "start": 0.5, "forward": 0.4, "backward": 0.9}),
]


def warmth(answers: Sequence[Answer]) -> list[Score]:
    """How much more red than blue there is."""
    return [Score(float(a.value[..., 0].mean() - a.value[..., 2].mean()) / 255) for a in answers]


def searched(folder: Any, patch: pytest.MonkeyPatch, name: str, search: dict[str, Any], **more: Any) -> Outcome:
    """One search on a pipeline. more: item, states (gets all that it yields), before (one of them)."""
    found = METHODS.find(name)
    plan: Any = found.config(**search)
    item, states, before = more.pop("item", Item(prompt="a red fox")), more.pop("states", []), more.pop("before", None)
    config = configured(folder, patch, **more).suited(found.facts.needs | plan.needs)
    generator: Any = diffusers(config)
    generator = generator.toward(plan.exponents) if plan.exponents else generator
    task = Task(item, 3, 0, plan.piece or plan.samples)

    async def main() -> Outcome:
        tools = Metered(
            Shared(Engine(), task, generator, [Judge("warmth", "warmth", warmth)]),
            generator,
            1,
            Budget(),
            plan.verdicts(generator.steps),
        )
        known: dict[str, Any] = {}
        if before:
            known["resume"], tools.spent = before
        seen = lambda state: states.append((state, replace(tools.spent)))  # noqa: E731
        return await run(found.factory(task, tools, plan, **known), tools, seen=seen)

    assert config.evaluations == generator.steps * generator.price
    outcome = asyncio.run(main())
    if outcome.error:
        raise outcome.error
    return outcome


@pytest.mark.parametrize(("name", "search"), SEARCHES)
@pytest.mark.parametrize("family", list(tiny.TINY))
def test_every_method_runs(
    family: str, name: str, search: dict[str, Any], made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guided, at its cost, to pictures that differ and have scores; previews are scored where the method wants them."""
    outcome = searched(made(family), monkeypatch, name, search, steps=4, guidance=2.0)
    assert outcome.stop_reason is None
    assert outcome.population is not None
    found = outcome.population.found()
    assert all(answer.dtype == np.uint8 and answer.ndim == 3 for answer in found.verdicts.answers)
    assert np.isfinite(found.verdicts.rewards).all()
    assert len(set(found.names())) == len(found) >= 1
    assert outcome.spent.evaluations % 2 == 0
    assert outcome.spent.evaluations >= 8


@pytest.mark.parametrize(("name", "search"), SEARCHES)
@pytest.mark.parametrize("family", ["sd-v", "flux-dev"])
def test_a_hole_is_searched(
    family: str, name: str, search: dict[str, Any], made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inpainting as an inverse problem: whatever the method does to rows, what is known stays."""
    settings = {"steps": 4, "strength": 1.0, "item": HOLED}
    outcome = searched(made(family), monkeypatch, name, search, **settings)
    assert outcome.population is not None
    columns = outcome.population.found().rows.columns
    known = np.broadcast_to(~columns["open"], columns["x0"].shape)
    np.testing.assert_array_equal(columns["x0"][known], columns["given"][known])


@pytest.mark.parametrize(
    ("family", "name", "search"),
    [
        ("sd-v", "feynman_kac", {"particles": 4, "tilt": 20.0, "ess": 0.9}),
        ("flux-dev", "soft_value", {"n": 2, "children": 3}),
        ("sd3", "noise_search", {"algorithm": "zero_order", "n": 1, "neighbours": 2, "rounds": 2}),
    ],
)
def test_a_search_goes_on_from_its_checkpoints(
    family: str, name: str, search: dict[str, Any], made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, read back and continued, every state leads to the same pictures, to one grey level."""
    states: list[Any] = []
    straight = searched(made(family), monkeypatch, name, search, steps=4, states=states)
    assert straight.population is not None
    assert len(states) > 2
    for before in states[:-1:2]:
        again = searched(made(family), monkeypatch, name, search, steps=4, before=unpack(pack(list(before))))
        assert again.population is not None
        assert again.population.found().names() == straight.population.found().names()
        assert again.spent.evaluations == straight.spent.evaluations
        pairs = zip(
            again.population.found().verdicts.answers, straight.population.found().verdicts.answers, strict=True
        )
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours.astype(float), theirs, atol=1)


def test_steering_steers(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even random networks: with the same verifier 16 particles end warmer than 16 plain samples on average."""
    plain = searched(made("sd-v"), monkeypatch, "best_of_n", {"n": 16}, steps=6, eta=1.0)
    steered = searched(made("sd-v"), monkeypatch, "feynman_kac", {"particles": 16, "tilt": 100.0}, steps=6)
    assert plain.population is not None
    assert steered.population is not None
    means = [outcome.population.found().verdicts.rewards for outcome in (plain, steered)]  # type: ignore[union-attr]
    error = means[0].std() / 16**0.5
    assert means[1].mean() > means[0].mean() + 2 * error


def test_log_weights_are_those_of_networks_with_levels_of_variance(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    search = {"particles": 4, "tilt": 1.0, "target": {"kind": "guidance", "strength": 1.5}}
    outcome = searched(made("sd-v"), monkeypatch, "feynman_kac", search, steps=8)
    assert outcome.population is not None
    assert outcome.spent.evaluations == 4 * 8 * 2
    with pytest.raises(ValueError, match="is a flow"):
        diffusers(configured(made("sd3"), monkeypatch, eta=1.0)).toward((1.2,))  # type: ignore[attr-defined]
