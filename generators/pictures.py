"""Text-to-image models that others trained, through diffusers: any pipeline of a family that `pipelines` knows."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from generators.denoising import Model
from generators.diffusion import Diffusion
from generators.digits import device
from generators.inpainting import Given
from generators.pipelines import given, loading, pictures
from generators.pipelines.families import Condition
from generators.pipelines.folder import Folder
from generators.pipelines.loading import Source, loaded
from generators.sampler import OFFERS, Guided
from search.allowing import allowed
from search.plugins import plugin
from search.ports import Frozen, Generator, Item, Many

MODELS = "WINNOW_IMAGE_MODELS"
FLOWING = frozenset({"ddim", "euler", "dpm++", "deis", "unipc"})
"""Solvers that a flow has."""
Side = Annotated[int, Field(ge=8, le=4096)]
Path = Annotated[str, Field(max_length=1000), allowed(MODELS)]


class Lora(Frozen):
    """Weights that change a pipeline (Hu et al. 2022)."""

    path: Path = Field(min_length=1, description="A .safetensors file, a folder or a hub's id; as for `path`.")
    scale: float = Field(1.0, ge=-10, le=10, description="How strongly.")


class Pictures(Guided):
    """A picture of the prompt."""

    path: Path = Field(
        min_length=1, description="A folder of diffusers or a hub's id: one of those in WINNOW_IMAGE_MODELS."
    )
    revision: str | None = Field(None, max_length=200, description="Of a hub's id: a commit, branch or tag.")
    variant: str | None = Field(None, max_length=50, description="Of the weights' files, such as fp16.")
    guidance: float = Field(1.0, ge=0, le=50, description="Classifier-free guidance; 1 is none and costs half.")
    distilled: float = Field(
        3.5, ge=0, le=50, description="Guidance that FLUX dev is told, at no cost; other models take none."
    )
    negative: str = Field("", max_length=10_000, description="With guidance: what a picture should not show.")
    size: tuple[Side, Side] | None = Field(
        None, strict=False, description="Height and width in pixels; the model's own when left out."
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="For items with an `image`: the share of the steps that is taken from it, 1 from noise alone. "
        "With a `mask`, what is black in it is kept.",
    )
    loras: Many[Lora] = Field((), max_length=8, description="Added to the weights, one after another.")
    preview: Path = Field("", description="A tiny autoencoder for previews, as for `path`; else the pipeline's own.")
    device: str | None = Field(
        None, pattern=r"^(cpu|cuda(:\d+)?|xpu(:\d+)?|mps)$", description="Left out: a GPU when the worker has one."
    )
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="Parts that wait in the host's memory: whole networks, or single layers (slow)."
    )
    attention: str = Field("", max_length=50, description="An attention backend of diffusers, such as flash or native.")
    compile: bool = Field(False, description="Compile the denoiser with torch.compile; the first calls take minutes.")

    @property
    def levels(self) -> int:
        """Those behind the picture that a row begins with."""
        return self.steps if self.strength is None else max(1, int(self.steps * self.strength))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.solver == "heun" and self.levels < self.steps:
            raise ValueError("solver 'heun' has no half of a way; set strength to 1, or another solver")
        return self

    def check(self, item: Item) -> None:
        """Raise ValueError for an item that asks for nothing, or whose picture cannot be used."""
        if not item.prompt:
            raise ValueError("an item for a text-to-image model needs a `prompt`; this one has none")
        if item.image and self.strength is None:
            raise ValueError("an item with an `image` needs the model's `strength`, above 0 to 1; it is left out")
        if self.strength is not None:
            if not item.image:
                raise ValueError("with `strength`, every item needs an `image`; this one has none")
            given.checked(item)

    @property
    def source(self) -> Source:
        """What is loaded for it."""
        return Source(
            self.path,
            self.revision,
            self.variant,
            self.dtype,
            self.device or device(),
            tuple((lora.path, lora.scale) for lora in self.loras),
            self.offload,
            self.attention,
            self.compile,
            self.preview,
        )

    def label(self, item: Item) -> Any:
        """What a row is told, as it travels with the row."""
        return {"text": item.prompt, "negative": self.negative, "strength": self.distilled}


@plugin(version="1", offers=(*OFFERS, "image"))
def diffusers(config: Pictures) -> Generator:
    """A pipeline: Stable Diffusion 1.5, 2.1, XL and 3.5, FLUX, PixArt-Sigma, Sana, Wan 2.1. Loads nothing yet.

    Raises ValueError for a folder that is none, a pipeline that is not known, and a solver that it does not have.
    """
    folder = loading.found(config.path, config.revision, config.variant)
    if folder.kind == "flow" and config.solver not in FLOWING:
        raise ValueError(f"{config.path!r} is a flow, without solver {config.solver!r}; valid: {sorted(FLOWING)}")
    made = model(config, folder)
    if folder.kind != "flow" and config.steps > len(made.signal):
        raise ValueError(
            f"{config.path!r} has {len(made.signal)} levels; steps must be as many or fewer, not {config.steps}"
        )
    begun = None if config.strength is None else partial(_given, config, folder)
    return Diffusion(
        made,
        config.label,
        config.steps,
        config.noise,
        config.guidance,
        config.solver,
        watch=config.watch or 0.0,
        given=begun,
        skipped=config.steps - config.levels,
    )


def _given(config: Pictures, folder: Folder, item: Item) -> Given:
    """An item's picture in latents, and where it is to be made anew."""
    size, frames = config.size or folder.size, folder.family.frames
    picture = given.pixels(item, size)[None]
    latents = pictures.encoded(loaded(config.source).pipe.vae, picture, frames)[0]
    places = given.missing(item, size, folder.shrinking)
    return Given(latents, places.reshape(*[1] * (latents.ndim - 2), *places.shape))


def model(config: Pictures, folder: Folder) -> Model:
    """The pipeline of a folder as a network; rows of one source and size share its calls."""
    source, size = config.source, config.size or folder.size
    family = folder.family

    def network(x: Any, level: Any, labels: Any) -> Any:
        pipe, prompts, _ = loaded(source)
        told = prompts.told([_condition(label) for label in labels.tolist()], size)
        return family.denoise(pipe, x.to(getattr(pipe, family.denoiser).dtype), level, told).float()

    def sketched(latents: Any) -> list[Any]:
        return pictures.decoded(loaded(source).sketch, latents)

    return Model(
        name=f"{source} {size}",
        network=network,
        kind=folder.kind,
        shape=folder.shape(size),
        schedule=folder.schedule(size),
        null=_free,
        decode=lambda latents: pictures.decoded(loaded(source).pipe.vae, latents),
        device=lambda: loading.present(source.device),
        sketch=sketched if config.preview else None,
    )


def _condition(label: Mapping[str, Any]) -> Condition:
    return Condition(label["text"], label.get("free", False), label["strength"])


def _free(labels: Any) -> Any:
    """Labels of the negative prompts."""
    return np.array([{**label, "text": label["negative"], "free": True} for label in labels.tolist()], object)
