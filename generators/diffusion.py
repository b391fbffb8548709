"""Diffusion and flow networks as generators: every row carries its own number of steps, eta, guidance and label.

Rows at different levels, of jobs with different settings, share one network call.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from generators import noise
from search.keys import START, Words, normals
from search.ports import Floats, Ints, Item, Rows

Kind = Literal["epsilon", "v", "sample", "flow"]
Network = Callable[[Any, Any, Any], Any]
"""(x float32 [n, ...], level int64 [n], label int64 [n]) -> output shaped like x; tensors on the model's device."""


def predictions(kind: Kind, x: Any, output: Any, a: Any, s: Any) -> tuple[Any, Any]:
    """The clean sample and the noise, (x0hat, epshat), that a network's output stands for.

    x = a x0 + s eps; `a`, `s` broadcast against x. epsilon needs a > 0, sample needs s > 0, flow has a = 1 - s.
    Tensors or arrays. Sources: DDPM (Ho et al. 2020), v (Salimans & Ho 2022), flow matching (Lipman et al. 2023).
    """
    match kind:
        case "epsilon":
            return (x - s * output) / a, output
        case "v":
            return a * x - s * output, a * output + s * x
        case "sample":
            return output, (x - a * output) / s
        case "flow":
            return x - s * output, x + a * output


def step(x0hat: Any, epshat: Any, a: Any, s: Any, a_next: Any, s_next: Any, eta: Any, xi: Any) -> Any:
    """x at the next level: a' x0hat + sqrt(s'^2 - tau^2) epshat + tau xi, DDIM's family (Song et al. 2021, eq. 12, 16).

    tau^2 = eta^2 (s^2 - (a/a')^2 s'^2) s'^2 / s^2; eta 0 is deterministic, 1 ancestral. xi: standard normals like
    x0hat. Levels and eta broadcast against it, one per row; s > 0, a' > 0, and the next level is no noisier.
    """
    kept = (a * s_next / (a_next * s)) ** 2  # 1 - kept = tau^2 / (eta s')^2, without the cancellation of the form above
    tau = eta * s_next * (1 - kept) ** 0.5
    return a_next * x0hat + s_next * (1 - eta**2 * (1 - kept)) ** 0.5 * epshat + tau * xi


class Levels(NamedTuple):
    """Where each row stands and goes: the network's level index, int64 [n], and a, s, a', s', float64 [n]."""

    trained: Ints
    a: Floats
    s: Floats
    a_next: Floats
    s_next: Floats


@dataclass(frozen=True, eq=False)
class Model:
    """What was trained, shared by all jobs that sample from it.

    name: its rows share calls under this name, so it names weights and precision. shape: of one latent. signal: the
    trained levels' cumulative alpha, float64, from clean to noise (a^2 = signal, s^2 = 1 - signal). null: the label
    that means no condition. decode: latents, float32 [n, *shape], to answers. device: where the network lives,
    asked when it is first needed, so that describing a model imports no torch.
    """

    name: str
    network: Network
    kind: Kind
    shape: tuple[int, ...]
    signal: Floats
    null: int
    decode: Callable[[Any], list[Any]]
    device: Callable[[], str] = lambda: "cpu"

    def levels(self, steps: Ints, done: Ints) -> Levels:
        """Levels of rows that have `done` of `steps` steps behind them (int64 [n]); `trailing` spacing of diffusers.

        The first step starts at the noisiest level, the last ends in clean data (Lin et al. 2024, table 2).
        """
        trained = len(self.signal)
        a = np.sqrt(np.append(self.signal, 1.0))  # the level after the last step has index -1: clean
        s = np.sqrt(1 - np.append(self.signal, 1.0))
        now = np.round(trained - done * (trained / steps)).astype(np.int64) - 1
        after = np.round(trained - (done + 1) * (trained / steps)).astype(np.int64) - 1
        return Levels(now, a[now], s[now], a[after], s[after])


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Generator over a trained model.

    label: an item's class (the model's null for none). steps: network calls of one row, at most the trained levels.
    eta: noise of each step, 0 to 1; with 0 a row's start decides its answer, so that copies never separate.
    guidance: strength of classifier-free guidance (Ho & Salimans 2022); 1 is none, anything else costs two evaluations.
    """

    model: Model
    label: Callable[[Item], int]
    steps: int
    eta: float = 0.0
    guidance: float = 1.0

    @property
    def batch_key(self) -> Hashable:
        """The model, and whether its rows take two evaluations; all else is kept per row."""
        return ("diffusion", self.model.name, self.guidance != 1)

    @property
    def price(self) -> int:
        """Evaluations of one step: 2 when guided."""
        return 1 if self.guidance == 1 else 2

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        """Pure noise, drawn in numpy so that a key names the same start on every device."""
        n, shape = len(keys), self.model.shape
        x = normals(keys, START, int(np.prod(shape))).astype(np.float32).reshape(n, *shape)
        return Rows.fresh(
            keys,
            {
                "x": x,
                "x0": np.zeros_like(x),
                "label": np.array([self.label(item) for item in items], np.int64),
                "steps": np.full(n, self.steps, np.int64),
                "eta": np.full(n, self.eta, np.float32),
                "guidance": np.full(n, self.guidance, np.float32),
            },
        )

    def advance(self, rows: Rows) -> Rows:
        """One denoising step of every row."""
        import torch

        columns, shape = rows.columns, (len(rows), *[1] * len(self.model.shape))
        levels = self.model.levels(columns["steps"], rows.step)

        def on_device(value: Any) -> Any:
            return torch.tensor(np.ascontiguousarray(value), device=self.model.device())

        def per_row(value: Any) -> Any:
            return on_device(value.astype(np.float32).reshape(shape))

        with torch.inference_mode():
            x = on_device(columns["x"])
            a, s, a_next, s_next, eta, strength = map(per_row, (*levels[1:], columns["eta"], columns["guidance"]))
            output = self._evaluate(x, on_device(levels.trained), on_device(columns["label"]), strength)
            x0hat, epshat = predictions(self.model.kind, x, output, a, s)
            xi = self._noise(rows, (columns["eta"] > 0) & (levels.s_next > 0))
            moved = step(x0hat, epshat, a, s, a_next, s_next, eta, xi)
            return rows.moved(rows.step + 1 >= columns["steps"], {"x": moved.cpu().numpy(), "x0": x0hat.cpu().numpy()})

    def _evaluate(self, x: Any, level: Any, label: Any, strength: Any) -> Any:
        """The network's output, guided when this generator's rows are: null + w (conditioned - null)."""
        if self.guidance == 1:
            return self.model.network(x, level, label)
        import torch

        null = torch.full_like(label, self.model.null)
        both = self.model.network(torch.cat([x, x]), torch.cat([level, level]), torch.cat([label, null]))
        conditioned, free = both.chunk(2)
        return free + strength * (conditioned - free)

    def _noise(self, rows: Rows, stochastic: Any) -> Any:
        """This step's normals of the rows marked `stochastic`, 0 elsewhere: [n, *shape], or the number 0."""
        if not stochastic.any():
            return 0.0
        size = int(np.prod(self.model.shape))
        drawn = noise.normals(rows.keys[stochastic], rows.step[stochastic], size, self.model.device())
        if not stochastic.all():
            import torch

            some, drawn = drawn, torch.zeros((len(rows), size), device=self.model.device())
            drawn[torch.tensor(stochastic, device=self.model.device())] = some
        return drawn.reshape(len(rows), *self.model.shape)

    def preview(self, rows: Rows) -> list[Any]:
        """The last evaluation's x0hat, decoded: no evaluation of its own. Before the first step, the zero latent."""
        return self.model.decode(rows.columns["x0"])

    def finish(self, rows: Rows) -> list[Any]:
        """The decoded latents."""
        return self.model.decode(rows.columns["x"])
