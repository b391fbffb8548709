"""How well an image fits its prompt, by networks with one space for both: CLIP, SigLIP and their fine-tunes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from search.plugins import plugin
from search.ports import Floats, Score, Verifier
from verifiers.images.networks import Seen, batched, captioned, tensor_of, texts, unit
from verifiers.loading import Named, Weights, network, reader

Read = Callable[[Any, Any], Any]
"""(network, cosines [n]) -> values [n]."""


class Aligned(Weights):
    """A network with one space for images and texts."""

    processor: Named | None = Field(
        None, description="Where tokenizer and image processor are, when not at `path`; as for that."
    )
    template: str = Field("{}", max_length=1000, description="The text that is compared; {} is the item's prompt.")

    @field_validator("template")
    @classmethod
    def _placed(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError(f"template {template!r} must hold {{}} once, for the prompt")
        return template


def compared(config: Aligned, read: Read, needs: str = "logit_scale") -> Verifier:
    """A verifier from the cosine of an image and its prompt. needs: a parameter that `read` takes of the network."""
    net = network("AutoModel", config.path, config.revision, config.dtype, config.device)
    if not hasattr(net, "get_image_features") or not hasattr(net, needs):
        kind = type(net).__name__
        raise ValueError(f"model {config.path!r} is a {kind}, without the {needs} of one space for images and texts")
    source, revision = (config.path, config.revision) if config.processor is None else (config.processor, None)
    tokenizer, processor = reader("AutoTokenizer", source, revision), reader("AutoImageProcessor", source, revision)
    longest: int = net.config.text_config.max_position_embeddings
    sigmoid = hasattr(net, "logit_bias")  # SigLIP's texts were always padded to the end, without a mask

    def judge(block: Sequence[Seen]) -> Floats:
        import torch

        tokens, which = texts(tokenizer, block, longest, whole=sigmoid)
        names = ["input_ids"] if sigmoid else ["input_ids", "attention_mask"]
        with torch.inference_mode():
            words = net.get_text_features(**{name: tokens[name].to(net.device) for name in names}).pooler_output
            sights = net.get_image_features(pixel_values=tensor_of(processor, net, block)).pooler_output
            cosines = (unit(sights) * unit(words)[which]).sum(1)
            return np.asarray(read(net, cosines.double()).cpu().numpy(), np.float64)

    return batched(config.batch, captioned(config.template), judge, Score)


@plugin(version="1", place="device")
def clip_score(config: Aligned) -> Verifier:
    """100 max(cos, 0) of the image and its prompt (Hessel et al. 2021, arXiv 2104.08718)."""
    return compared(config, lambda net, cosines: 100 * cosines.clamp(min=0))


@plugin(version="1", place="device")
def siglip_score(config: Aligned) -> Verifier:
    """The chance that image and text belong together (Zhai et al. 2023, arXiv 2303.15343)."""

    def read(net: Any, cosines: Any) -> Any:
        return (cosines * net.logit_scale.double().exp() + net.logit_bias.double()).sigmoid()

    return compared(config, read, "logit_bias")


@plugin(version="1", place="device")
def pick_score(config: Aligned) -> Verifier:
    """exp(logit_scale) cos, what people would pick (Kirstain et al. 2023, arXiv 2305.01569)."""
    return compared(config, lambda net, cosines: cosines * net.logit_scale.double().exp())


@plugin(version="1", place="device")
def hps(config: Aligned) -> Verifier:
    """100 cos under a CLIP that was trained on people's preferences (Wu et al. 2023, HPSv2, arXiv 2306.09341)."""
    return compared(config, lambda net, cosines: 100 * cosines)
