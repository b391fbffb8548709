"""What networks say of an image beside its prompt's fit: beauty, preference, what should not be shown, likeness."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Floats, Item, Score, Verifier
from verifiers.images.networks import Seen, batched, captioned, head, tensor_of, texts, unit, wordless
from verifiers.images.reading import picture, reference
from verifiers.loading import Named, Weights, network, reader

MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072
"""Of ImageReward-v1.0's outputs, by which its authors standardise it."""
WORDS = 35
"""Tokens of a prompt that ImageReward reads."""


class Headed(Weights):
    """A network and a head of linear layers over its features."""

    head: Named = Field(
        description="Safetensors file of the head, or the directory or hub name with it; as for `path`."
    )
    head_file: str = Field("model.safetensors", max_length=200, description="Its name there.")


class Preferred(Headed):
    """A BLIP with a head."""

    mean: float = Field(MEAN, description="Subtracted from the head's output.")
    deviation: float = Field(DEVIATION, gt=0, description="What it is then divided by.")


class Forbidden(Weights):
    """An image classifier."""

    label: str = Field("nsfw", max_length=100, description="The class that should not be seen.")


class Likeness(Weights):
    """A network whose features tell what is in an image."""

    def check(self, item: Item) -> None:
        reference(item)


def features(net: Any, pixels: Any) -> Any:
    """A row of features for each image, [n, d]: the joint space's where there is one, else what pools the image."""
    found = net.get_image_features(pixel_values=pixels) if hasattr(net, "get_image_features") else net(pixels)
    pooled = getattr(found, "pooler_output", None)
    return found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)


@plugin(version="1", place="device")
def aesthetic(config: Headed) -> Verifier:
    """LAION's head over CLIP's normalised image features: a mark for beauty, about 1 to 10."""
    import torch

    net = network("AutoModel", config.path, config.revision, config.dtype, config.device)
    if (width := getattr(net.config, "projection_dim", None)) is None or not hasattr(net, "get_image_features"):
        raise ValueError(f"model {config.path!r} is a {type(net).__name__}; an aesthetic head sits on a CLIP")
    processor = reader("AutoImageProcessor", config.path, config.revision)
    layers = head(config.head, config.head_file, None, width)

    def judge(block: Sequence[Seen]) -> Floats:
        with torch.inference_mode():
            found = unit(features(net, tensor_of(processor, net, block)))
            return layers(found).double().cpu().numpy()

    return batched(config.batch, wordless, judge, Score)


@plugin(version="1", place="device")
def image_reward(config: Preferred) -> Verifier:
    """BLIP's text encoder looks at the image, a head reads its first token (Xu et al. 2023, arXiv 2304.05977)."""
    import torch

    net = network("BlipForImageTextRetrieval", config.path, config.revision, config.dtype, config.device)
    tokenizer = reader("AutoTokenizer", config.path, config.revision)
    processor = reader("AutoImageProcessor", config.path, config.revision)
    layers = head(config.head, config.head_file, None, net.config.text_config.hidden_size)
    longest = min(WORDS, net.config.text_config.max_position_embeddings)

    def judge(block: Sequence[Seen]) -> Floats:
        tokens, which = texts(tokenizer, block, longest, whole=True)
        ids, mask = (tokens[name][which].to(net.device) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            sights = net.vision_model(tensor_of(processor, net, block)).last_hidden_state
            seen = torch.ones(sights.shape[:2], dtype=torch.int64, device=net.device)
            read = net.text_encoder(
                ids, attention_mask=mask, encoder_hidden_states=sights, encoder_attention_mask=seen
            ).last_hidden_state[:, 0]
            return ((layers(read.float()).double() - config.mean) / config.deviation).cpu().numpy()

    return batched(config.batch, captioned(), judge, Score)


@plugin(version="1", place="device")
def nsfw(config: Forbidden) -> Verifier:
    """One less the chance, by an image classifier, of a class that should not be seen."""
    import torch

    net = network("AutoModelForImageClassification", config.path, config.revision, config.dtype, config.device)
    names: dict[int, str] = net.config.id2label
    if config.label not in names.values():
        raise ValueError(f"label {config.label!r}: model {config.path!r} knows {', '.join(names.values())}")
    place = next(i for i, name in names.items() if name == config.label)
    processor = reader("AutoImageProcessor", config.path, config.revision)

    def judge(block: Sequence[Seen]) -> Floats:
        with torch.inference_mode():
            logits = net(tensor_of(processor, net, block)).logits
            return 1 - logits.double().softmax(1)[:, place].cpu().numpy()

    return batched(config.batch, wordless, judge, lambda value: Score(value, value >= 0.5))


@plugin(version="1", place="device")
def feature_similarity(config: Likeness) -> Verifier:
    """Cosine of a network's features of the image and of the one in the item's target."""
    import torch

    net = network("AutoModel", config.path, config.revision, config.dtype, config.device)
    processor = reader("AutoImageProcessor", config.path, config.revision)

    def see(answer: Answer) -> Seen:
        wanted = reference(answer.item)
        return Seen((picture(answer.value), picture(wanted)), str(answer.item.target))

    def judge(block: Sequence[Seen]) -> Floats:
        distinct = {seen.text: i for i, seen in enumerate(block)}
        both = [Seen(seen.image[0], "") for seen in block] + [Seen(block[i].image[1], "") for i in distinct.values()]
        which = {text: len(block) + place for place, text in enumerate(distinct)}
        with torch.inference_mode():
            found = unit(features(net, tensor_of(processor, net, both)))
            wanted = found[[which[seen.text] for seen in block]]
            return np.asarray((found[: len(block)] * wanted).sum(1).double().cpu().numpy(), np.float64)

    return batched(config.batch, see, judge, Score)
