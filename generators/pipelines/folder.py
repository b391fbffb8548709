"""What a pipeline's folder says of itself, read from its JSON files: nothing heavy is imported, no weights are touched.

Everything that cannot work is one ValueError here, before anything is loaded.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from generators.denoising import Flow, Kind, Preserving
from generators.digits import squared_cosine
from generators.pipelines.families import FAMILIES, Family
from search.ports import Floats

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
KINDS: Mapping[str, Kind] = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample", "flow_prediction": "flow"}


@dataclass(frozen=True)
class Folder:
    """A pipeline as `save_pretrained` writes it, at `path`; `name` is what the job called it."""

    path: Path
    name: str

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """Its model_index.json."""
        return self._read("model_index.json")

    def checked(self) -> Self:
        """The same. Raises ValueError for a class or a part that is not known, or has no safe weights."""
        if self.path.suffix in (*PICKLED, ".safetensors"):
            what = "a pickle, which could run code" if self.path.suffix in PICKLED else "a single file"
            raise ValueError(f"{self.name!r} is {what}; give a folder of diffusers, with weights as safetensors")
        if not self.path.is_dir():
            raise ValueError(f"no pipeline at {self.name!r}: there is no such folder")
        index = self.index
        if index.get("_class_name") not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ValueError(f"{self.name!r} is of class {index.get('_class_name')!r}; valid: {known}")
        for part, source in index.items():
            if isinstance(source, list) and source[0] is not None and part not in self.family.without:
                self._check(part, cast("list[str]", source))
        if index.get("boundary_ratio") is not None or index.get("expand_timesteps"):
            raise ValueError(f"{self.name!r} is Wan 2.2, which is not supported; valid: a text-to-video Wan 2.1")
        if self.denoiser.get("time_cond_proj_dim"):
            raise ValueError(f"{self.name!r} is a latent consistency model, whose network is told its guidance")
        return self

    @property
    def family(self) -> Family:
        """Of its class."""
        return FAMILIES[self.index["_class_name"]]

    def _check(self, part: str, source: list[str]) -> None:
        """Raise ValueError unless a part is known code and, if it has weights, has them as safetensors."""
        library, folder = source[0], self.path / part
        if library not in ("diffusers", "transformers"):
            raise ValueError(f"{self.name!r} brings its own code for {part!r} ({library}), which is not run")
        if not folder.is_dir():
            raise ValueError(f"{self.name!r} has no folder {part!r}, which its model_index.json names")
        found = {file.suffix: file.name for file in folder.iterdir()}
        pickled = next((found[suffix] for suffix in PICKLED if suffix in found), None)
        if pickled and ".safetensors" not in found:
            raise ValueError(f"{self.name!r} has {part!r} as a pickle only ({pickled}); convert it to safetensors")

    def _read(self, file: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / file).read_text("utf-8"))
        except OSError as error:
            raise ValueError(f"no pipeline at {self.name!r}: {file} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ValueError(f"{self.name!r}: {file} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{self.name!r}: {file} should hold a JSON object")
        return cast("dict[str, Any]", found)

    @cached_property
    def denoiser(self) -> Mapping[str, Any]:
        """Configuration of the denoiser."""
        return self._read(f"{self.family.denoiser}/config.json")

    @cached_property
    def autoencoder(self) -> Mapping[str, Any]:
        """Configuration of the autoencoder."""
        return self._read("vae/config.json")

    @cached_property
    def scheduler(self) -> Mapping[str, Any]:
        """Configuration of the scheduler that it came with."""
        return self._read("scheduler/scheduler_config.json")

    @property
    def shrinking(self) -> int:
        """Pixels to a latent, in height and width."""
        blocks = self.autoencoder.get("encoder_block_out_channels") or self.autoencoder.get("block_out_channels")
        return 2 ** (len(blocks) - 1) if blocks else int(self.autoencoder.get("scale_factor_spatial", 8))

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Of the latents of pictures of (height, width) pixels. Raises ValueError for a size that does not fit."""
        channels = self.autoencoder.get("latent_channels") or self.autoencoder.get("z_dim") or 4
        taken = int(self.denoiser.get("in_channels") or 4) // (4 if self.index["_class_name"] == "FluxPipeline" else 1)
        if taken != channels:
            raise ValueError(
                f"{self.name!r} takes {taken} channels of latents, where a text-to-image one has {channels}"
            )
        multiple = self.shrinking * self.family.patch
        if any(side % multiple for side in size):
            raise ValueError(f"height and width for {self.name!r} must be multiples of {multiple}, not {list(size)}")
        height, width = (side // self.shrinking for side in size)
        return (channels, 1, height, width) if self.family.frames else (channels, height, width)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the denoiser was made for, in pixels."""
        side = self.denoiser.get("sample_size")
        if isinstance(side, list):
            return side[0] * self.shrinking, side[1] * self.shrinking
        return (side * self.shrinking, side * self.shrinking) if side else self.family.size

    @property
    def kind(self) -> Kind:
        """What its denoiser predicts."""
        if "FlowMatch" in str(self.scheduler.get("_class_name")) or self.scheduler.get("use_flow_sigmas"):
            return "flow"
        said = str(self.scheduler.get("prediction_type", "epsilon"))
        if said not in KINDS:
            raise ValueError(f"{self.name!r} predicts {said!r}; valid: {', '.join(KINDS)}")
        return KINDS[said]

    def schedule(self, size: tuple[int, int]) -> Preserving | Flow:
        """Its noise levels, for pictures of (height, width) pixels."""
        trained = int(self.scheduler.get("num_train_timesteps", 1000))
        if self.kind == "flow":
            return Flow(self._shift(size), trained)
        levels = signal(self.scheduler, trained, self.name)
        if levels[-1] == 0 and self.kind == "epsilon":
            raise ValueError(f"{self.name!r} predicts epsilon at pure noise, which says nothing of the picture")
        return Preserving(levels)

    def _shift(self, size: tuple[int, int]) -> float:
        """Shift of a flow's times; where it is dynamic, by the number of the picture's patches (Esser et al. 2024)."""
        given = self.scheduler
        if strange := [name for name in ("shift_terminal", "invert_sigmas") if given.get(name)]:
            raise ValueError(f"{self.name!r} has a scheduler with {strange[0]}, which is not supported")
        if not given.get("use_dynamic_shifting"):
            return float(given.get("flow_shift") or given.get("shift") or 1.0)
        patches = math.prod(side // (self.shrinking * self.family.patch) for side in size)
        few, many = given.get("base_image_seq_len", 256), given.get("max_image_seq_len", 4096)
        low, high = given.get("base_shift", 0.5), given.get("max_shift", 1.15)
        mu = low + (high - low) * (patches - few) / (many - few)
        return math.exp(mu) if given.get("time_shift_type", "exponential") == "exponential" else mu


def signal(given: Mapping[str, Any], trained: int, name: str) -> Floats:
    """Cumulative alpha of a scheduler's configuration, float64 [trained]. Raises ValueError for an unknown schedule."""
    schedule, ends = given.get("beta_schedule"), (given.get("beta_start", 1e-4), given.get("beta_end", 0.02))
    if given.get("trained_betas") is not None:
        betas = np.array(given["trained_betas"], np.float64)
    elif schedule == "linear":
        betas = np.linspace(*ends, trained)
    elif schedule == "scaled_linear":
        betas = np.linspace(ends[0] ** 0.5, ends[1] ** 0.5, trained) ** 2
    elif schedule == "squaredcos_cap_v2":
        return squared_cosine(trained)
    else:
        known, its = "linear, scaled_linear, squaredcos_cap_v2", given.get("_class_name")
        raise ValueError(f"{name!r} has the beta schedule {schedule!r} (of {its}); valid: {known}")
    found = np.cumprod(1 - betas)
    if given.get("rescale_betas_zero_snr"):  # Lin et al. 2024, algorithm 1
        root = np.sqrt(found)
        found = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return np.asarray(found, np.float64)
