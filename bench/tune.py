"""Tune the digits' sampler at few steps, and look at what was found with other eyes.

    python -m bench.tune digits.npz [--steps 4 5 6] [--population 12] [--generations 6] [--out docs/bench/tune.json]

digits.npz: real digits, see `generators.training.mnist`. For each number of steps a tune runs on a service of its own:
listed timesteps, solver, and the ratios of unipc, at equal evaluations, by the Frechet distance to what 20 steps of
unipc draw from the same noises, in the space `digit_embedding` (network A). No real digit is used in it.

Held out: `--each` images of every digit of other noises, for the preset, the evenly spaced DDIM that the tune started
from, and the other solvers evenly spaced, which a person might have tried first; their Frechet distance to the real
digits in the spaces of two other networks (judge B, and `ccexam`, trained by others). `gain` is how much nearer the
preset is, with a 95 % interval: bootstrap over images, the same noises together, and over real digits. Prints one JSON
object.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.digits import draw
from bench.printed import printed
from generators.builtin import GENERATORS
from search.ports import Floats, Item
from service.calls import preset, trials, tune, tune_of
from service.client import Client
from service.curves.frechet import Moments, frechet
from service.embedded import Stack
from service.settings import Settings
from verifiers import digits

SEED = 1000
"""Of the noises that no tune has seen: those use 0 and 1."""
RESAMPLES = 400
SOLVERS = ["ddim", "dpm++", "deis", "unipc"]
"""Among which a tune chooses: the first is the baseline's. All cost the same."""


def spec(steps: int, samples: int, population: int, generations: int) -> dict[str, Any]:
    """The tune at so many evaluations an image."""
    levers: dict[str, Any] = {
        "timesteps": {"low": 0, "high": 999, "count": steps, "falling": True},
        "solver": {"choices": SOLVERS},
        "dc_ratios": {"low": 0.5, "high": 1.5, "count": steps - 3, "when": {"solver": ["unipc"]}},
    }
    reference = {"name": "digits", "steps": 20, "solver": "unipc"}
    return {
        "preset": f"fast{steps}",
        "model": {"name": "digits", "steps": steps},
        "levers": levers,
        "items": [{"id": str(digit), "prompt": str(digit)} for digit in range(10)],
        "verifiers": ["digit_classifier"],
        "objective": {"measure": "frechet", "features": "digit_embedding", "reference": reference},
        "samples": samples,
        "population": population,
        "generations": generations,
    }


def tuned(client: Client, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A tune to its end: the preset's settings, and what it took."""
    started, told = time.monotonic(), -1
    name = client.send(tune(asked)).id
    while not (view := client.send(tune_of(name))).finished:
        if view.trials_done != told:
            told = view.trials_done
            best = None if view.best is None else view.best.value
            print(f"{asked['preset']}: {told} trials, {view.evaluations} evaluations, best {best}", file=sys.stderr)
        time.sleep(1)
    if view.state != "completed" or view.best is None or view.baseline is None:
        raise RuntimeError(f"the tune has {view.state}: {view.error}")
    config = client.send(preset(asked["preset"])).config
    count = len(client.send(trials(name)).data)
    objective = {"baseline": view.baseline.value, "preset": view.best.value}
    seconds = round(time.monotonic() - started, 1)
    return {"config": config, "objective": objective, "trials": count, "evaluations": view.evaluations} | {
        "seconds": seconds
    }


def images(config: Mapping[str, Any], each: int) -> NDArray[np.uint8]:
    """Held-out images of every digit, uint8 [10 * each, 28, 28]."""
    found = GENERATORS.find("digits")
    items = [Item(id=f"held-out-{digit}", prompt=str(digit)) for digit in range(10)]
    return np.stack(draw(found.factory(found.config.model_validate(config)), items, each, SEED))


def distances(drawn: Mapping[str, Floats], real: Floats, seed: int = 0) -> dict[str, Any]:
    """Frechet distances to the real points, and how much nearer the preset is to them than each of the others."""
    rng = np.random.default_rng(seed)
    n, names = len(drawn["preset"]), list(drawn)

    def of(some: NDArray[np.int64], reals: NDArray[np.int64]) -> list[float]:
        there = Moments.of(real[reals])
        return [frechet(Moments.of(drawn[name][some]), there) for name in names]

    found = dict(zip(names, of(np.arange(n), np.arange(len(real))), strict=True))
    again = np.array([of(rng.integers(0, n, n), rng.integers(0, len(real), len(real))) for _ in range(RESAMPLES)])
    result: dict[str, Any] = {"distance": {name: round(value, 3) for name, value in found.items()}, "gain": {}}
    mine = names.index("preset")
    for i, name in enumerate(names):
        if i != mine:
            low, high = np.quantile(again[:, i] - again[:, mine], [0.025, 0.975])
            gain = {"value": round(found[name] - found["preset"], 3), "interval": [round(low, 3), round(high, 3)]}
            result["gain"][name] = gain | {"beats": bool(low > 0)}
    return result


def measured(client: Client, steps: int, options: argparse.Namespace, real: Mapping[str, Floats]) -> dict[str, Any]:
    """One number of steps."""
    line = tuned(client, spec(steps, options.samples, options.population, options.generations))
    configs = {"preset": line["config"]}
    configs |= {f"uniform {solver}": {"steps": steps, "solver": solver} for solver in SOLVERS}
    drawn = {name: images(config, options.each) for name, config in configs.items()}
    held_out = {
        judge: distances({name: digits.embedding(net, some) for name, some in drawn.items()}, real[judge])
        for judge, net in judges().items()
    }
    return {"steps": steps, **line, "held_out": held_out}


def judges() -> dict[str, Any]:
    """The networks whose spaces no tune has seen."""
    return {"digit_classifier_b": digits.shipped("digit_classifier_b"), "ccexam": digits.borrowed()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="digits.npz of generators.training.mnist")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--samples", type=int, default=24, help="images of each digit by one candidate")
    parser.add_argument("--population", type=int, default=12)
    parser.add_argument("--generations", type=int, default=6)
    parser.add_argument("--each", type=int, default=100, help="held-out images of each digit")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    real = {judge: digits.embedding(net, np.load(options.data)["images"]) for judge, net in judges().items()}
    settings = {name: getattr(options, name) for name in ("samples", "population", "generations", "each")}
    result: dict[str, Any] = {"bench": "tune", **settings, "tuned": []}
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        chosen = Settings(data_dir=Path(folder))
        with Stack(chosen, log=Path(folder) / "worker.log") as stack, Client(stack.url) as client:
            result["tuned"] = [measured(client, steps, options, real) for steps in options.steps]
    printed(result, options.out)


if __name__ == "__main__":
    main()
