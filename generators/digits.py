"""Class-conditional diffusion over 28x28 handwritten digits, small enough to run anywhere."""

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from generators.denoising import Model, Network, Preserving, always
from generators.diffusion import Diffusion
from generators.solvers import STOCHASTIC, Solver, evaluations
from generators.tracing import traced
from search.configs import ModelConfig
from search.plugins import plugin
from search.ports import Floats, Generator, Item

NULL_CLASS = 10
WEIGHTS = Path(__file__).parent / "weights"
CLASSES = tuple("0123456789")

OFFERS = ("preview", "stochastic_step", "renoise", "neighbours", "log_weights")

Precision = Literal["float32", "bfloat16"]


class Sampler(ModelConfig):
    """How the digits network is sampled."""

    steps: int = Field(
        10, ge=1, le=1000, description="Noise levels; see `solver` for their evaluations. Guided ones cost double."
    )
    eta: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Noise of each step: 0 deterministic (DDIM), 1 ancestral. "
        "Left out: 1 for methods that need a stochastic step and for the solver `pc`, else 0.",
    )
    solver: Solver = Field(
        "ddim",
        description="`ddim` and `pc` (predictor-corrector) take eta; the others are deterministic. Evaluations: "
        "`heun` 2 * steps - 2, `pc` 2 * steps - 1, else one a level.",
    )
    dtype: Precision = Field("float32", description="Precision of the network's layers; latents stay float32.")

    @property
    def levels(self) -> int:
        """Noise levels that a row goes through."""
        return self.steps

    @property
    def evaluations(self) -> int:
        """One at each level; `heun` and `pc` take nearly two."""
        return evaluations(self.solver, self.levels)

    @property
    def noise(self) -> float:
        """Eta; where it is left open, 1 for `pc` and else 0."""
        return float(self.solver == "pc") if self.eta is None else self.eta

    @property
    def lacks(self) -> Mapping[str, str]:
        """A stochastic step, unless something is drawn between two evaluations; weights, unless by ancestral steps."""
        lacks = dict[str, str]()
        if self.solver != "ddim" or self.noise != 1:
            lacks["log_weights"] = "leave solver out and set eta to 1"
        if self.solver not in STOCHASTIC:
            lacks["stochastic_step"] = f"set solver to one of {', '.join(sorted(STOCHASTIC))}, not {self.solver}"
        elif self.levels == 1:
            lacks["stochastic_step"] = "set steps above 1: noise is drawn between two levels"
        elif self.eta == 0:
            lacks["stochastic_step"] = "set eta above 0"
        return lacks

    def suited(self, needs: Collection[str]) -> Self:
        """With eta 1 where a method needs a stochastic step or weights and eta was left open."""
        drawn = self.solver in STOCHASTIC and not {"stochastic_step", "log_weights"}.isdisjoint(needs)
        eta = 1.0 if drawn else self.noise
        return self.model_copy(update={"eta": eta}) if self.eta is None else self

    @model_validator(mode="after")
    def _deterministic(self) -> Self:
        if self.eta and self.solver not in STOCHASTIC:
            raise ValueError(f"eta must be 0 or left out with solver {self.solver!r}, not {self.eta}")
        return self


class Guided(Sampler):
    """A sampler of a network that is told a condition."""

    guidance: float = Field(1.0, ge=0, le=20, description="Classifier-free guidance; 1 is none and costs half.")
    _factors: int = PrivateAttr(1)  # most laws whose product a method may sample: it sets no field, so it is none

    @property
    def evaluations(self) -> int:
        """Those of the solver, each of which is two when guided or for a method with targets of two factors."""
        return super().evaluations * (self._factors if self.guidance == 1 else 2)

    def suited(self, needs: Collection[str]) -> Self:
        """Ready for two factors, with and without the class, where a method needs weights."""
        suited = super().suited(needs).model_copy()
        suited._factors = 2 if "log_weights" in needs else 1
        return suited


class DigitsUnconditional(Sampler):
    """A digit of any class: the prompt is not told to the network."""


class Digits(Guided):
    """A digit of the class that the prompt names."""

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is one digit."""
        if item.prompt not in CLASSES:
            raise ValueError(f"the prompt must be one digit, {', '.join(CLASSES)}, not {item.prompt[:50]!r}")


@plugin(version="2", offers=OFFERS)
def digits(config: Digits) -> Generator:
    """The fully trained network, asked for the prompt's digit."""
    return _sampled("digits", config)


@plugin(version="2", offers=OFFERS)
def digits_early(config: Digits) -> Generator:
    """An early checkpoint of the same training: about one image in four is not the asked digit."""
    return _sampled("digits-early", config)


@plugin(version="2", offers=OFFERS)
def digits_unconditional(config: DigitsUnconditional) -> Generator:
    """The fully trained network without a class: only a verifier can find the asked digit."""
    trained = model("digits", config.dtype)
    return Diffusion(
        trained, lambda item: NULL_CLASS, config.steps, config.noise, solver=config.solver, conditional=False
    )


def _sampled(weights: str, config: Digits) -> Generator:
    trained = model(weights, config.dtype)
    return Diffusion(trained, _class, config.steps, config.noise, config.guidance, config.solver)


def _class(item: Item) -> int:
    return CLASSES.index(item.prompt)


def network() -> Any:
    """UNet over pixel-unshuffled digits: [n, 4, 14, 14] + timestep + class (10 = null) -> v, same shape."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel(
        sample_size=14,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 96),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
        attention_head_dim=24,
        num_class_embeds=11,
        dropout=0.15,
    )


def model(weights: str, dtype: Precision = "float32") -> Model:
    """The network with `weights/WEIGHTS.safetensors` (elsewhere when WEIGHTS is a whole path). Loads nothing yet."""
    return Model(
        name=f"{weights} {dtype}",
        network=_network(weights, dtype),
        kind="v",
        shape=(4, 14, 14),
        schedule=Preserving(squared_cosine()),
        null=always(NULL_CLASS),
        decode=images,
        device=device,
    )


def squared_cosine(levels: int = 1000) -> Floats:
    """Cumulative alpha of the schedule `squaredcos_cap_v2` (Nichol & Dhariwal 2021, eq. 17), float64 [levels]."""
    f = np.cos((np.arange(levels + 1) / levels + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999), dtype=np.float64)


def images(latents: Any) -> list[Any]:
    """Latents, float32 [n, 4, 14, 14] in -1..1, as images, uint8 [28, 28]: undoes torch's pixel_unshuffle by 2."""
    pixels = latents.reshape(-1, 2, 2, 14, 14).transpose(0, 3, 1, 4, 2).reshape(-1, 28, 28)
    return list(np.rint(np.clip((pixels + 1) * 127.5, 0, 255)).astype(np.uint8))


def _network(weights: str, dtype: Precision) -> Network:
    """The network as a function that loads its weights when first called."""

    return lambda x, level, label: evaluated(weights, dtype)(x, level, label)


@cache
def evaluated(weights: str, dtype: Precision) -> Network:
    """The loaded network, (x, level, label) -> v; traced where the interpreter would be in the way."""
    import torch

    net = loaded(weights)

    def evaluate(x: Any, level: Any, label: Any) -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            return net(x, level, class_labels=label, return_dict=False)[0].float()

    if device() != "cpu":
        return evaluate
    return traced(evaluate, torch.zeros(2, 4, 14, 14), torch.zeros(2, dtype=torch.int64), torch.arange(2))


@cache
def loaded(weights: str) -> Any:
    """The network with its weights, once per process, in evaluation mode on the process's device."""
    from safetensors.torch import load

    net = network()
    net.load_state_dict(load((WEIGHTS / f"{weights}.safetensors").read_bytes()))
    return net.float().eval().requires_grad_(False).to(device())


@cache
def device() -> str:
    """Where the network lives in this process."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
