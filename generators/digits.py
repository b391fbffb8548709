"""Class-conditional diffusion over 28x28 handwritten digits, small enough to run anywhere."""

from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from generators.denoising import Model, Network, Preserving, always
from generators.diffusion import Diffusion
from generators.sampler import LEVELS, OFFERS, SKIPS, Guided, Levered, Precision
from generators.tracing import traced
from search.plugins import plugin
from search.ports import Floats, Generator, Item, Many

NULL_CLASS = 10
WEIGHTS = Path(__file__).parent / "weights"
CLASSES = tuple("0123456789")

SIDES = (28, 28)


class Drawn(Levered):
    """An image as MNIST's digits."""

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width."""
        return SIDES


class DigitsUnconditional(Drawn):
    """A digit of any class: the prompt is not told to the network."""


class Digits(Guided, Drawn):
    """A digit of the class that the prompt names."""

    guidance_interval: Many[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="The cleanest and the noisiest level, 0 to 999, with guidance; without it the others cost half.",
    )

    @model_validator(mode="after")
    def _interval(self) -> Self:
        if (ends := self.guidance_interval) is not None:
            if not 0 <= ends[0] <= ends[1] < LEVELS:
                raise ValueError(f"guidance_interval must rise within 0..{LEVELS - 1}, not {list(ends)}")
            if self.guidance == 1:
                raise ValueError("guidance_interval needs a guidance other than 1")
        return self

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is one digit."""
        if item.prompt not in CLASSES:
            raise ValueError(f"the prompt must be one digit, {', '.join(CLASSES)}, not {item.prompt[:50]!r}")


@plugin(version="3", offers=OFFERS)
def digits(config: Digits) -> Generator:
    """The fully trained network, asked for the prompt's digit."""
    return _sampled("digits", config)


@plugin(version="3", offers=OFFERS)
def digits_early(config: Digits) -> Generator:
    """An early checkpoint of the same training: about one image in four is not the asked digit."""
    return _sampled("digits-early", config)


@plugin(version="3", offers=OFFERS)
def digits_unconditional(config: DigitsUnconditional) -> Generator:
    """The fully trained network without a class: only a verifier can find the asked digit."""
    trained = model("digits", config.dtype)
    return Diffusion(
        trained,
        lambda item: NULL_CLASS,
        config.steps,
        config.noise,
        solver=config.solver,
        conditional=False,
        watch=config.watch or 0.0,
        levers=config.levers(),
    )


def _sampled(weights: str, config: Digits) -> Generator:
    return Diffusion(
        model(weights, config.dtype),
        _class,
        config.steps,
        config.noise,
        config.guidance,
        config.solver,
        watch=config.watch or 0.0,
        levers=config.levers(config.guidance_interval),
    )


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
        skips=SKIPS,
    )


def squared_cosine(levels: int = LEVELS) -> Floats:
    """Cumulative alpha of the schedule `squaredcos_cap_v2` (Nichol & Dhariwal 2021, eq. 17), float64 [levels]."""
    f = np.cos((np.arange(levels + 1) / levels + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999), dtype=np.float64)


def images(latents: Any) -> list[Any]:
    """Latents, float32 [n, 4, 14, 14] in -1..1, as images, uint8 [28, 28]: undoes torch's pixel_unshuffle by 2."""
    pixels = latents.reshape(-1, 2, 2, 14, 14).transpose(0, 3, 1, 4, 2).reshape(-1, 28, 28)
    return list(np.rint(np.clip((pixels + 1) * 127.5, 0, 255)).astype(np.uint8))


def _network(weights: str, dtype: Precision) -> Network:
    """The network as a function that loads its weights when first called."""

    return lambda *given: evaluated(weights, dtype, len(given) > 3)(*given)


@cache
def evaluated(weights: str, dtype: Precision, skips: bool = False) -> Network:
    """The loaded network, (x, level, label) -> v, or (x, level, label, skip) -> v.

    Traced where the interpreter would be in the way.
    """
    import torch

    net = loaded(weights)

    def evaluate(x: Any, level: Any, label: Any, *skip: Any) -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            if skip:
                return scaled(net, x, level, label, *skip).float()
            return net(x, level, class_labels=label, return_dict=False)[0].float()

    if device() != "cpu":
        return evaluate
    example = (torch.zeros(2, 4, 14, 14), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    return traced(evaluate, *example, *([torch.ones(2, SKIPS)] if skips else []))


def scaled(net: Any, x: Any, level: Any, label: Any, skip: Any) -> Any:
    """The UNet with its skip connections scaled (Skip-Tuning, arXiv 2402.15170): `UNet2DModel.forward` otherwise.

    skip: [n, SKIPS], a coefficient for each resolution, the finest first. At 1 the numbers are those of the network.
    """
    emb = net.time_embedding(net.time_proj(level)) + net.class_embedding(label)
    x = net.conv_in(x)
    kept = [x]
    for block in net.down_blocks:
        x, more = block(hidden_states=x, temb=emb)
        kept += more
    x = net.mid_block(x, emb)
    for depth, block in reversed(list(enumerate(reversed(net.up_blocks)))):
        n, scale = len(block.resnets), skip[:, depth].reshape(-1, 1, 1, 1)
        kept, mine = kept[:-n], tuple(part * scale for part in kept[-n:])
        x = block(x, mine, emb)
    return net.conv_out(net.conv_act(net.conv_norm_out(x)))


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
