"""What a denoising network's output means, the one stochastic step, and a trained model with its noise levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generators.noise import placed
from search.ports import Floats, Ints

Kind = Literal["epsilon", "v", "sample", "flow"]
Network = Callable[..., Any]
"""(x float32 [n, ...], level [n], label [n]) -> output shaped like x; tensors on the model's device.

Labels are int64, or JSON values, which come as they are in an array of objects. A model with `skips` is also given the
coefficients of its skip connections, float32 [n, skips], unless all are 1.
"""


def denoised(kind: Kind, x: Any, output: Any, a: Any, s: Any) -> Any:
    """The clean sample, x0hat, that a network's output stands for; the noise is then (x - a x0hat) / s.

    x = a x0 + s eps; `a`, `s` broadcast against x. epsilon needs a > 0, flow has a = 1 - s. Tensors or arrays.
    Sources: DDPM (Ho et al. 2020), v (Salimans & Ho 2022), flow matching (Lipman et al. 2023).
    """
    match kind:
        case "epsilon":
            return (x - s * output) / a
        case "v":
            return a * x - s * output
        case "sample":
            return output
        case "flow":
            return x - s * output


def step(x0hat: Any, epshat: Any, a: Any, s: Any, a_next: Any, s_next: Any, eta: Any, xi: Any) -> Any:
    """x at the next level: a' x0hat + sqrt(s'^2 - tau^2) epshat + tau xi, DDIM's family (Song et al. 2021, eq. 12, 16).

    tau^2 = eta^2 (s^2 - (a/a')^2 s'^2) s'^2 / s^2; eta 0 is deterministic, 1 ancestral. xi: standard normals like
    x0hat. Levels and eta broadcast against it, one per row; s > 0, a' > 0, and the next level is no noisier.
    """
    kept = (a * s_next / (a_next * s)) ** 2  # 1 - kept = tau^2 / (eta s')^2, without the cancellation of the form above
    tau = eta * s_next * (1 - kept) ** 0.5
    x = a_next * x0hat
    x += s_next * (1 - eta**2 * (1 - kept)) ** 0.5 * epshat
    x += tau * xi
    return x


class Levels(NamedTuple):
    """Where each row stands: what the network is told of it, int64 or float32 [n], and a and s, float64 [n]."""

    trained: NDArray[Any]
    a: Floats
    s: Floats


@dataclass(frozen=True, eq=False)
class Preserving:
    """Variance-preserving levels. signal: the trained levels' cumulative alpha, float64, from clean to noise.

    a^2 = signal, s^2 = 1 - signal. The network is told the trained level's index.
    """

    signal: Floats
    index = np.int64

    @property
    def trained(self) -> int:
        """Levels."""
        return len(self.signal)

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


@dataclass(frozen=True)
class Flow:
    """Levels of a linear flow, a = 1 - s: s = c t / (1 + (c - 1) t) at even times t, c the shift (Esser et al. 2024).

    The network is told `trained` s.
    """

    shift: float = 1.0
    trained: int = 1000
    index = np.float32

    def levels(self, count: Ints, number: Ints) -> Levels:
        """Level `number`, from 0, of `count` (int64 [n] each): first pure noise, behind the last clean data."""
        t = 1 - number / count
        s = self.shift * t / (1 + (self.shift - 1) * t)
        return Levels((self.trained * s).astype(np.float32), 1 - s, s)

    def placed(self, at: NDArray[Any]) -> Levels:
        """Levels of which the network is told `at`, float32 [n]; 0 is clean data."""
        s = at.astype(np.float64) / self.trained
        return Levels(at, 1 - s, s)


@dataclass(frozen=True, eq=False)
class Model:
    """What was trained, shared by all jobs that sample from it.

    name: its rows share calls under this name, so it names weights and precision. shape: of one latent. null: labels
    that mean no condition, in place of the labels that it is given. decode: latents, float32 [n, *shape], to answers;
    sketch: to previews, where these should cost less. device: where the network lives, asked when it is first needed,
    so that describing a model imports no torch. skips: resolutions of the network whose skip connections can be scaled;
    0: it takes no such coefficients.
    """

    name: str
    network: Network
    kind: Kind
    shape: tuple[int, ...]
    schedule: Preserving | Flow
    null: Callable[[NDArray[Any]], NDArray[Any]]
    decode: Callable[[Any], list[Any]]
    device: Callable[[], str] = lambda: "cpu"
    sketch: Callable[[Any], list[Any]] | None = None
    skips: int = 0

    @property
    def size(self) -> int:
        """Numbers in one latent."""
        return int(np.prod(self.shape))

    @property
    def signal(self) -> Floats:
        """Cumulative alpha of the trained levels. Raises ValueError for a flow, which has none."""
        if isinstance(self.schedule, Flow):
            raise ValueError(f"{self.name} is a flow, without the variance-preserving levels that this needs")
        return self.schedule.signal

    def levels(self, count: Ints, number: Ints) -> Levels:
        """Level `number`, from 0, of `count` (int64 [n] each)."""
        return self.schedule.levels(count, number)

    def placed(self, at: NDArray[Any]) -> Levels:
        """Levels of which the network is told `at`, [n]."""
        return self.schedule.placed(at)

    def told(self, labels: NDArray[Any]) -> Any:
        """Labels as the network takes them."""
        return labels if labels.dtype.hasobject else self.tensor(labels)

    def tensor(self, value: Any) -> Any:
        """An array on the model's device, copied."""
        return placed(value, self.device())

    def per_row(self, *values: Any) -> Sequence[Any]:
        """Several float [n] as float32 on the device, [n, 1, ...] against latents: copied there in one piece."""
        table = np.array(values, np.float32)
        return self.tensor(table.reshape(*table.shape, *[1] * len(self.shape))).unbind()


def always(label: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The same label in place of any other."""
    return lambda labels: np.full_like(labels, label)


def labels(given: Sequence[Any]) -> NDArray[Any]:
    """A column of classes (int64), or of JSON objects."""
    return np.array(given, object if any(isinstance(label, dict) for label in given) else np.int64)
