"""What the pipelines of each class want, as a table: how a prompt is encoded, and how the denoiser is called.

All else is the same for all of them: levels from the scheduler's configuration, latents from the autoencoder's, and the
sampler of `generators.diffusion`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

Told = Mapping[str, Any]
"""Arguments of a denoiser that come from prompts: tensors whose first axis is the prompts."""


class Condition(NamedTuple):
    """What a row is told. free: it stands for no prompt, or a negative one, beside a prompt that guides.

    strength: of the guidance that a distilled network was trained to be told (FLUX dev).
    """

    text: str
    free: bool = False
    strength: float = 0.0


@dataclass(frozen=True)
class Family:
    """Pipelines of one class.

    encode: (pipeline, condition, (height, width) in pixels) to the denoiser's arguments, one prompt.
    denoise: (pipeline, x [n, ...], level [n], arguments) to its output, shaped like x. patch: latents that must divide
    height and width. size: of pictures, where the denoiser's configuration says nothing. without: parts that are not
    loaded. frames: latents have an axis of time, which is one long.
    """

    encode: Callable[[Any, Condition, tuple[int, int]], Told]
    denoise: Callable[[Any, Any, Any, Told], Any]
    denoiser: str = "transformer"
    patch: int = 1
    size: tuple[int, int] = (1024, 1024)
    without: tuple[str, ...] = ()
    frames: bool = False


def _encoded_sd(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    return {"encoder_hidden_states": pipe.encode_prompt(of.text, pipe._execution_device, 1, False)[0]}


def _denoised_sd(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    return pipe.unet(x, level, **told, return_dict=False)[0]


def _encoded_sdxl(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    """No negative prompt is zeros where the pipeline says so; the size is told twice, around the crop's corner."""
    import torch

    device = pipe._execution_device
    found, _, pooled, _ = pipe.encode_prompt(of.text, device=device, do_classifier_free_guidance=False)
    if of.free and not of.text and pipe.config.force_zeros_for_empty_prompt:
        found, pooled = torch.zeros_like(found), torch.zeros_like(pooled)
    ids = torch.tensor([[*size, 0, 0, *size]], dtype=found.dtype, device=device)
    return {"encoder_hidden_states": found, "text_embeds": pooled, "time_ids": ids}


def _denoised_sdxl(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    added = {name: told[name] for name in ("text_embeds", "time_ids")}
    states = told["encoder_hidden_states"]
    return pipe.unet(x, level, encoder_hidden_states=states, added_cond_kwargs=added, return_dict=False)[0]


def _encoded_sd3(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    device = pipe._execution_device
    found, _, pooled, _ = pipe.encode_prompt(of.text, None, None, device=device, do_classifier_free_guidance=False)
    return {"encoder_hidden_states": found, "pooled_projections": pooled}


def _denoised_sd3(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    return pipe.transformer(hidden_states=x, timestep=level, **told, return_dict=False)[0]


def _encoded_flux(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    import torch

    device = pipe._execution_device
    found, pooled, _ = pipe.encode_prompt(of.text, None, device=device)
    told = {"encoder_hidden_states": found, "pooled_projections": pooled}
    if not pipe.transformer.config.guidance_embeds:
        return told
    return told | {"guidance": torch.tensor([of.strength], dtype=torch.float32, device=device)}


def _denoised_flux(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    """Latents go through the transformer as a line of 2 x 2 patches."""
    n, channels, height, width = x.shape
    packed = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    text = x.new_zeros(told["encoder_hidden_states"].shape[1], 3)
    places = _places(height // 2, width // 2, x.device, x.dtype)
    ids = {"txt_ids": text, "img_ids": places}
    out = pipe.transformer(hidden_states=packed, timestep=level / 1000, **told, **ids, return_dict=False)[0]
    return out.reshape(n, height // 2, width // 2, channels, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


@lru_cache(16)
def _places(height: int, width: int, device: Any, dtype: Any) -> Any:
    """FLUX's positions of patches: (0, row, column), [height width, 3]; made once, for a copy waits for the device."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3).to(device, dtype)


def _encoded_pixart(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    device = pipe._execution_device
    found, mask, _, _ = pipe.encode_prompt(of.text, do_classifier_free_guidance=False, device=device)
    return {"encoder_hidden_states": found, "encoder_attention_mask": mask}


def _denoised_pixart(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    """The second half of its output is a learned variance, which the sampler has no use for."""
    added = {"resolution": None, "aspect_ratio": None}
    return pipe.transformer(x, timestep=level, added_cond_kwargs=added, **told, return_dict=False)[0][:, : x.shape[1]]


def _encoded_sana(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    """A prompt comes behind the instructions that the pipeline gives to its language model; a free one does not."""
    default = inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default
    found, mask, _, _ = pipe.encode_prompt(
        of.text,
        do_classifier_free_guidance=False,
        device=pipe._execution_device,
        complex_human_instruction=None if of.free else default,
    )
    return {"encoder_hidden_states": found, "encoder_attention_mask": mask}


def _denoised_sana(pipe: Any, x: Any, level: Any, told: Told) -> Any:
    scaled = level * pipe.transformer.config.timestep_scale
    return pipe.transformer(x, timestep=scaled, **told, return_dict=False)[0][:, : x.shape[1]]


def _encoded_wan(pipe: Any, of: Condition, size: tuple[int, int]) -> Told:
    found, _ = pipe.encode_prompt(of.text, None, False, device=pipe._execution_device)
    return {"encoder_hidden_states": found}


FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family(
        _encoded_sd,
        _denoised_sd,
        "unet",
        size=(512, 512),
        without=("safety_checker", "feature_extractor", "image_encoder"),
    ),
    "StableDiffusionXLPipeline": Family(
        _encoded_sdxl, _denoised_sdxl, "unet", without=("feature_extractor", "image_encoder")
    ),
    "StableDiffusion3Pipeline": Family(
        _encoded_sd3, _denoised_sd3, patch=2, without=("feature_extractor", "image_encoder")
    ),
    "FluxPipeline": Family(_encoded_flux, _denoised_flux, patch=2, without=("feature_extractor", "image_encoder")),
    "PixArtSigmaPipeline": Family(_encoded_pixart, _denoised_pixart, patch=2),
    "SanaPipeline": Family(_encoded_sana, _denoised_sana),
    "WanPipeline": Family(_encoded_wan, _denoised_sd3, patch=2, size=(480, 832), frames=True),
}
"""By `_class_name` of a pipeline's model_index.json."""
