"""What a denoising network's output means, the one stochastic step, and a trained model with its noise levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from search.ports import Floats, Ints

Kind = Literal["epsilon", "v", "sample", "flow"]
Network = Callable[..., Any]
"""(x float32 [n, ...], level int64 [n], label int64 [n]) -> output shaped like x; tensors on the model's device.

A model with `skips` is also given the coefficients of its skip connections, float32 [n, skips], unless all are 1.
"""


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
    """Where each row stands: the network's level index, int64 [n], and a and s, float64 [n]."""

    trained: Ints
    a: Floats
    s: Floats


@dataclass(frozen=True, eq=False)
class Model:
    """What was trained, shared by all jobs that sample from it.

    name: its rows share calls under this name, so it names weights and precision. shape: of one latent. signal: the
    trained levels' cumulative alpha, float64, from clean to noise (a^2 = signal, s^2 = 1 - signal). null: the label
    that means no condition. decode: latents, float32 [n, *shape], to answers. device: where the network lives,
    asked when it is first needed, so that describing a model imports no torch. skips: resolutions of the network whose
    skip connections can be scaled; 0: it takes no such coefficients.
    """

    name: str
    network: Network
    kind: Kind
    shape: tuple[int, ...]
    signal: Floats
    null: int
    decode: Callable[[Any], list[Any]]
    device: Callable[[], str] = lambda: "cpu"
    skips: int = 0

    @property
    def size(self) -> int:
        """Numbers in one latent."""
        return int(np.prod(self.shape))

    def levels(self, count: Ints, number: Ints) -> Levels:
        """Level `number`, from 0, of `count` (int64 [n] each); `trailing` spacing of diffusers.

        The first is the noisiest, the one behind the last is clean data (Lin et al. 2024, table 2).
        """
        trained = len(self.signal)
        return self.placed(np.round(trained - number * (trained / count)).astype(np.int64) - 1)

    def placed(self, at: Ints) -> Levels:
        """Trained levels `at`, int64 [n]; -1 is clean data."""
        a, s = self._trained
        return Levels(at, a[at], s[at])

    @cached_property
    def _trained(self) -> tuple[Floats, Floats]:
        """a and s of every trained level and, at index -1, of clean data."""
        signal = np.append(self.signal, 1.0)
        return np.sqrt(signal), np.sqrt(1 - signal)

    def tensor(self, value: Any) -> Any:
        """An array on the model's device, copied."""
        import torch

        return torch.tensor(np.ascontiguousarray(value), device=self.device())

    def per_row(self, *values: Any) -> Sequence[Any]:
        """Several float [n] as float32 on the device, [n, 1, ...] against latents: copied there in one piece."""
        table = np.array(values, np.float32)
        return self.tensor(table.reshape(*table.shape, *[1] * len(self.shape))).unbind()
