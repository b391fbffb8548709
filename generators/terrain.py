"""Height maps of terrain from a consistency model that others trained (PyPI: adaptive-terrain-diffusion, MIT licence).

Its network f(x, sigma) leads from any noise level, x = x0 + sigma z, straight to clean data (Song et al. 2023,
arXiv 2303.01469). Only its ONNX file is read, after its SHA-256 is verified; no code of the package is run.
"""

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from search.configs import ModelConfig
from search.keys import START, Words, normals
from search.plugins import plugin
from search.ports import Floats, Generator, Item, Rows

FILE = "terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx"
SHA256 = "95be54b4a39d58320e187a7ec533351c957f16a00be58773c86074828ee67887"
SIDE = 128
NOISIEST, CLEANEST = 80.0, 0.002  # the levels between which the network was trained; f(x, CLEANEST) = x
TALLEST, KNEE = 22.16864013671875, 0.1  # metres: the network's -1..1 is asinh(height / KNEE) up to TALLEST
DIFFICULTIES = tuple(map(str, range(1, 101)))
RANDOM = {"stochastic_step", "renoise"}

Single = NDArray[np.float32]
Network = Callable[[Single, Single, Single], Single]
"""(x [n, 128, 128], sigma [n], difficulty [n] from 0 to 1) -> x0 [n, 128, 128], from -1 to 1."""


class Terrain(ModelConfig):
    """Terrain of the difficulty that the prompt names."""

    steps: int | None = Field(
        None, ge=1, le=64, description="Evaluations of a sample; open: 1, or 4 when the method needs random steps."
    )
    lowest: float = Field(
        40.0, ge=CLEANEST, le=NOISIEST, description="Noise level of the last step; the first has 80. Below 20: grain."
    )
    level: float = Field(0.02, ge=1e-4, le=1, description="Metres for each of the 255 grey levels of an answer.")

    @property
    def evaluations(self) -> int:
        """One a step."""
        return self.steps or 1

    @property
    def picture(self) -> tuple[int, int] | None:
        """As the network's fields."""
        return 128, 128

    @property
    def lacks(self) -> Mapping[str, str]:
        """A single step has no randomness but its start's."""
        return {} if self.evaluations > 1 else dict.fromkeys(sorted(RANDOM), "set steps above 1")

    def suited(self, needs: Collection[str]) -> Self:
        """One step, unless the method steers the steps."""
        if self.steps is not None:
            return self
        return self.model_copy(update={"steps": 4 if RANDOM & set(needs) else 1})

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is a difficulty."""
        if item.prompt not in DIFFICULTIES:
            raise ValueError(f"the prompt must be a difficulty, a whole number 1 to 100, not {item.prompt[:50]!r}")


@plugin(version="1", offers=("preview", "stochastic_step", "renoise", "neighbours", "draws_images"))
def terrain(config: Terrain) -> Generator:
    """128x128 height maps of the prompt's difficulty. Raises ImportError when the package is missing or another one."""
    return Landscape(network(), config.evaluations, config.lowest, config.level)


@dataclass(frozen=True, eq=False)
class Landscape:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1), one start and one noise for each row and step.

    Columns: "z" is the noise that the network saw last, or (where "ready") will see next; "x0" is what it answered: the
    exact field in the network's units, of which `heights` makes metres. The rest is the row's configuration.
    """

    network: Network
    steps: int
    lowest: float
    level: float

    @property
    def batch_key(self) -> Hashable:
        """All jobs share calls: rows know their own settings."""
        return "terrain"

    @property
    def price(self) -> int:
        """One evaluation a step."""
        return 1

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Noise, and nothing under it."""
        n, z = len(keys), _noise(keys, START)
        labels = [DIFFICULTIES.index(item.prompt) / 99 for item in items]
        columns = {
            "z": z,
            "x0": np.zeros_like(z),
            "ready": np.ones(n, bool),
            "difficulty": np.array(labels, np.float32),
            "steps": np.full(n, self.steps, np.int64),
            "lowest": np.full(n, self.lowest),
            "level": np.full(n, self.level),
        }
        return Rows.fresh(keys, columns)

    def advance(self, rows: Rows) -> Rows:
        """Noise of the step's level on the last answer, drawn unless the row is ready, and one evaluation of that.

        The noise is sqrt(sigma^2 - CLEANEST^2) z, as an answer counts as data at the cleanest level.
        """
        columns, sigma = rows.columns, _sigma(rows)
        z, late = columns["z"].copy(), np.flatnonzero(~columns["ready"])
        z[late] = _noise(rows.keys[late], rows.step[late])
        spread = np.sqrt(sigma**2 - CLEANEST**2)[:, None, None].astype(np.float32)
        x0 = self.network(columns["x0"] + spread * z, sigma.astype(np.float32), columns["difficulty"])
        done = rows.step + 1 >= columns["steps"]
        return rows.moved(done, {"z": z, "x0": x0, "ready": np.zeros(len(rows), bool)})

    def preview(self, rows: Rows) -> list[Any]:
        """The last evaluation's field as an image; before the first, flat."""
        return images(rows.columns["x0"], rows.columns["level"])

    def finish(self, rows: Rows) -> list[Any]:
        """Images, uint8 [128, 128]: height above the lowest point in grey levels of `level` metres."""
        return images(rows.columns["x0"], rows.columns["level"])

    def renoise(self, rows: Rows, step: int) -> Rows:
        """Rows back at `step`, ready for its evaluation: x0, with noise of that level from their keys."""
        if not (0 <= step < rows.step.min(initial=np.iinfo(np.int64).max)):
            raise ValueError(f"step must lie between 0 and the rows' own {np.unique(rows.step).tolist()}, not {step}")
        n = len(rows)
        columns = {**rows.columns, "z": _noise(rows.keys, step), "ready": np.ones(n, bool)}
        return replace(rows, step=np.full(n, step, np.int64), done=np.zeros(n, bool), columns=columns)

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        """Starts as long as those of `pivots` (at step 0) and at this cosine to them (Ma et al. 2025, 2501.09732)."""
        if pivots.step.any() or not -1 <= cosine <= 1:
            raise ValueError(f"expected pivots at step 0 and a cosine from -1 to 1, not {pivots.step[:8]} and {cosine}")
        p, g = pivots.columns["z"].astype(np.float64), _noise(keys, START).astype(np.float64)
        length = _length(p)
        u = p / length
        w = g - (g * u).sum((1, 2), keepdims=True) * u
        z = length * (cosine * u + np.sqrt(1 - cosine**2) * w / _length(w))
        return Rows.fresh(keys, {**pivots.columns, "z": z.astype(np.float32)})


def heights(x0: NDArray[Any]) -> Floats:
    """Metres above the lowest point, float64 [n, 128, 128], of fields in the network's units."""
    unit = np.clip((np.asarray(x0, np.float64) + 1) / 2, 0, 1)
    metres = KNEE * np.sinh(unit * np.arcsinh(TALLEST / KNEE))
    return metres - metres.min((1, 2), keepdims=True)


def images(x0: NDArray[Any], level: Floats) -> list[Any]:
    """Fields as uint8 [128, 128]; `level` [n] metres a grey level, and whatever is higher than 255 levels is cut."""
    return list(np.rint(np.clip(heights(x0) / level[:, None, None], 0, 255)).astype(np.uint8))


def _sigma(rows: Rows) -> Floats:
    """Noise level of each row's step: geometric from NOISIEST down to its lowest."""
    share = rows.step / np.maximum(rows.columns["steps"] - 1, 1)
    return NOISIEST * (rows.columns["lowest"] / NOISIEST) ** share


def _noise(keys: Words, step: Any) -> Single:
    return normals(keys, step, SIDE * SIDE).reshape(len(keys), SIDE, SIDE).astype(np.float32)


def _length(fields: Floats) -> Floats:
    return np.sqrt(np.square(fields).sum((1, 2), keepdims=True))


@cache
def network() -> Network:
    """The network, once a process, on one thread. Raises ImportError when it is missing, or not the known file."""
    advice = "model 'terrain' runs adaptive-terrain-diffusion==0.4.2 (onnxruntime): pip install winnow-service[terrain]"
    try:
        import onnxruntime

        data = Path(str(distribution("adaptive-terrain-diffusion").locate_file(FILE))).read_bytes()
    except (ImportError, PackageNotFoundError, FileNotFoundError) as error:
        raise ImportError(advice) from error
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise ImportError(f"{FILE} has SHA-256 {digest}, not {SHA256}; {advice}")
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the worker's threads are the parallelism
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def one(*inputs: Any) -> Any:
        return session.run(["denoised"], dict(zip(("noisy", "sigma", "difficulty"), inputs, strict=True)))[0][0, 0]

    def evaluate(x: Single, sigma: Single, difficulty: Single) -> Single:
        # Row by row: on one thread a batch is slower, takes 55 MB a row, and could round otherwise.
        return np.stack([one(x[i, None, None], sigma[i, None], difficulty[i, None]) for i in range(len(x))])

    return evaluate
