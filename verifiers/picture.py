"""Verifiers of images by closed forms: quality without a reference, size as JPEG, likeness to a reference."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Item, Score, Verifier
from verifiers.each import Unreadable, each
from verifiers.images import measures
from verifiers.images.reading import Image, image, reference

QUALITIES: Mapping[str, Callable[[Image], float]] = {
    "sharpness": measures.sharpness,
    "contrast": measures.contrast,
    "colourfulness": measures.colourfulness,
    "entropy": measures.entropy,
}


class Quality(Config):
    """What is measured."""

    measure: Literal["sharpness", "contrast", "colourfulness", "entropy"] = Field(
        "sharpness", description="sharpness, contrast, colourfulness or entropy."
    )


class JpegSize(Config):
    """Which size is better."""

    want: Literal["small", "large"] = Field("small", description="small: compressible images are better; large: not.")
    quality: int = Field(95, ge=1, le=95, description="Of the JPEG.")


class Similarity(Config):
    """How likeness is measured."""

    measure: Literal["ssim", "mse"] = Field("ssim", description="ssim: structure; mse: pixel by pixel.")

    def check(self, item: Item) -> None:
        reference(item)


@plugin(version="1")
def image_quality(config: Quality) -> Verifier:
    """A closed form of quality without a reference."""
    measured = QUALITIES[config.measure]
    return each(lambda answer: Score(measured(image(answer.value))))


@plugin(version="1")
def jpeg_size(config: JpegSize) -> Verifier:
    """Kilobytes of the image as a JPEG, less being better or more (Black et al. 2023, arXiv 2305.13301)."""
    sign = -1 if config.want == "small" else 1
    return each(lambda answer: Score(sign * measures.jpeg_bytes(image(answer.value), config.quality) / 1000))


@plugin(version="1")
def image_similarity(config: Similarity) -> Verifier:
    """Likeness to the image in the item's target, which has the answer's size."""

    def judge(answer: Answer) -> Score:
        mine, wanted = image(answer.value), reference(answer.item)
        if mine.shape[:2] != wanted.shape[:2]:
            raise Unreadable(
                f"the image is {list(mine.shape[:2])} and the reference {list(wanted.shape[:2])}: no one size"
            )
        if config.measure == "mse":
            return Score(-measures.mean_squared_error(mine, wanted))
        return Score(measures.ssim(mine, wanted))

    return each(judge)
