"""The shipped digits networks: images, prompts, precision. Their accuracy is measured by `bench/digits.py`."""

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
import torch

from generators.builtin import GENERATORS
from generators.digits import CLASSES, NULL_CLASS, evaluated, images, loaded
from generators.solvers import Solver
from search import keys
from search.ports import Item, Rows

ITEMS = [Item(prompt=c) for c in CLASSES]
KEYS = keys.rows(keys.problem(0, "digits"), 0, len(ITEMS))


def run(generator: Any, rows: Rows) -> Rows:
    while not rows.done.all():
        rows = generator.advance(rows)
    return rows


def build(name: str, **config: Any) -> Any:
    found = GENERATORS.find(name)
    return found.factory(found.config(**config))


def test_naming_and_building_a_generator_imports_no_torch() -> None:
    code = (
        "import sys; from generators.builtin import GENERATORS as g; p = g.find('digits'); "
        "assert p.factory(p.config()).price == 1 and p.card; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["digits", "digits-early", "digits-unconditional"])
def test_answers_are_images_of_ink_on_black(name: str) -> None:
    generator = build(name, steps=4)
    rows = run(generator, generator.start(ITEMS, KEYS))
    for image in generator.finish(rows):
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8
        assert 5 < image.mean() < 100  # digits of the training set: 8 to 70
        assert image[:2].mean() < 20  # their border is empty


@pytest.fixture(scope="module")
def limit() -> Any:
    """Where 60 levels lead."""
    long = build("digits", steps=60)
    return run(long, long.start(ITEMS, KEYS)).columns["x0"]


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # how diffusers hands tensors to numpy
@pytest.mark.parametrize("solver", get_args(Solver))
def test_every_solver_draws_what_the_long_way_draws(solver: Solver, limit: Any) -> None:
    """At 8 levels the deterministic solvers are within .2 of the same starts' answers at 60 (latents: -1 to 1, rms)."""
    generator = build("digits", steps=8, solver=solver)
    rows = run(generator, generator.start(ITEMS, KEYS))
    for image in generator.finish(rows):
        assert 5 < image.mean() < 100
        assert image[:2].mean() < 20
    if solver != "pc":
        assert np.sqrt(np.square(rows.columns["x0"] - limit).mean()) < 0.2


def test_eta_left_open_follows_the_method() -> None:
    config = GENERATORS.find("digits").config
    assert (config().suited({"stochastic_step"}).eta, config().suited({"preview"}).eta) == (1.0, 0.0)
    assert config(eta=0.3).suited({"stochastic_step"}).eta == 0.3
    assert config(solver="pc").suited(set()).eta == 1.0
    assert config(solver="unipc").suited({"stochastic_step"}).eta == 0.0
    assert build("digits").eta == 0.0


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"eta": 0.0}, "set eta above 0"),
        ({"solver": "pc", "eta": 0.0}, "set eta above 0"),
        ({"solver": "heun"}, "set solver to one of ddim, pc, not heun"),
        ({"steps": 1}, "set steps above 1"),
    ],
)
def test_a_configuration_without_a_stochastic_step_says_what_to_change(settings: dict[str, Any], remedy: str) -> None:
    found = GENERATORS.find("digits")
    assert remedy in found.config(**settings).suited({"stochastic_step"}).lacks["stochastic_step"]
    assert not found.config().suited({"stochastic_step"}).lacks


def test_a_deterministic_solver_takes_no_eta() -> None:
    config = GENERATORS.find("digits").config
    assert config(solver="euler", eta=0.0).eta == 0
    with pytest.raises(ValueError, match="eta must be 0 or left out with solver 'euler'"):
        config(solver="euler", eta=0.5)


@pytest.mark.parametrize(("solver", "guidance", "cost"), [("ddim", 1.0, 7), ("pc", 1.0, 13), ("heun", 2.0, 24)])
def test_evaluations_are_those_of_the_generator(solver: Solver, guidance: float, cost: int) -> None:
    generator = build("digits", steps=7, solver=solver, guidance=guidance)
    announced = GENERATORS.find("digits").config(steps=7, solver=solver, guidance=guidance).evaluations
    assert announced == generator.steps * generator.price == cost


def test_images_undo_pixel_unshuffle() -> None:
    import torch

    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    latents = torch.nn.functional.pixel_unshuffle(torch.tensor(pixels[:, None]).float() / 127.5 - 1, 2)
    np.testing.assert_array_equal(images(latents.numpy()), pixels)


def test_the_answer_of_a_key_is_the_same_in_any_company() -> None:
    generator = build("digits", steps=3, eta=1.0)
    rows = generator.start(ITEMS, KEYS)
    together = generator.finish(run(generator, rows))
    alone = generator.finish(run(generator, rows[3:4]))
    assert np.abs(together[3].astype(int) - alone[0]).max() <= 1


def test_the_prompt_is_not_told_to_the_unconditional_network() -> None:
    generator = build("digits-unconditional", steps=2)
    assert (generator.start([Item(prompt="a cat")], KEYS[:1]).columns["label"] == NULL_CLASS).all()
    assert generator.batch_key == build("digits", steps=7, eta=0.5).batch_key  # one call serves both


def test_half_precision_draws_nearly_the_same_images() -> None:
    exact, coarse = (build("digits", steps=3, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert exact.batch_key != coarse.batch_key
    a, b = (np.stack(g.finish(run(g, g.start(ITEMS, KEYS)))).astype(float) for g in (exact, coarse))
    assert np.abs(a - b).mean() < 4  # of 255; another class or noise moves the mean by 20 and more


def test_weights_are_loaded_once() -> None:
    assert loaded("digits") is loaded("digits")


@pytest.mark.parametrize("rows", [1, 3, 32])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_traced_network_is_the_network(dtype: Any, rows: int) -> None:
    """Recorded on two rows; kernels may split the work of large batches otherwise."""
    x, level, label = torch.randn(rows, 4, 14, 14), torch.arange(rows) * 15 % 1000, torch.arange(rows) % 11
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        eager = loaded("digits")(x, level, class_labels=label).sample.float()
        traced = evaluated("digits", dtype)(x, level, label)
        torch.testing.assert_close(traced, eager, rtol=0, atol=1e-5 if dtype == "float32" else 0.05)


@pytest.mark.parametrize("prompt", ["", "10", "x", "٣", "a seven"])
@pytest.mark.parametrize("name", ["digits", "digits-early"])
def test_refuses_prompts_that_are_no_digit(name: str, prompt: str) -> None:
    config = GENERATORS.find(name).config()
    with pytest.raises(ValueError, match="the prompt must be one digit, 0, 1"):
        config.check(Item(prompt=prompt))
    config.check(Item(prompt="7"))
    GENERATORS.find("digits-unconditional").config().check(Item(prompt=prompt))
