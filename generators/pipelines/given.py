"""Pictures and masks of items: read with care, for they come from callers."""

import base64
import binascii
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.ports import Item

FORMATS = ("PNG", "JPEG", "WEBP")
MOST = 8192
"""Pixels of a side, at most."""


def read(text: str, what: str) -> Any:
    """A picture (of PIL) out of base64, or out of a data: URL. Raises ValueError for anything else."""
    from PIL import Image, ImageOps

    right = "a PNG, JPEG or WebP in base64"
    _, _, body = text.partition(",") if text.startswith("data:") else ("", "", text)
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"`{what}` is no base64 ({body[:30]!r}); it should be {right}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as of a picture that is small only while it is packed
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            small = max(picture.size) <= MOST
            if small:
                picture = ImageOps.exif_transpose(picture)
    except Exception:  # of many kinds, for broken files
        raise ValueError(f"`{what}` cannot be read as a picture; it should be {right}") from None
    if not small:
        raise ValueError(f"`{what}` has {picture.size[0]} x {picture.size[1]} pixels; at most {MOST} a side")
    return picture


def checked(item: Item) -> None:
    """Raise ValueError unless the item's picture, and its mask if it has one, can be used together."""
    picture = read(item.image, "image")
    if item.mask:
        mask = read(item.mask, "mask")
        if mask.size != picture.size:
            sizes = [f"{width} x {height}" for width, height in (mask.size, picture.size)]
            raise ValueError(f"`mask` has {sizes[0]} pixels; it should have the {sizes[1]} of `image`")
        if not _white(mask).any():
            raise ValueError("`mask` is black everywhere; white pixels say what is to be filled in")


def pixels(item: Item, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The item's picture at (height, width) pixels, uint8 [height, width, 3]."""
    return np.asarray(read(item.image, "image").convert("RGB").resize((size[1], size[0])), np.uint8)


def missing(item: Item, size: tuple[int, int], shrinking: int) -> NDArray[np.bool_]:
    """Latents that are to be made, bool [height / shrinking, width / shrinking]: those with a white pixel, or all."""
    height, width = size[0] // shrinking, size[1] // shrinking
    if not item.mask:
        return np.ones((height, width), bool)
    from PIL import Image

    white = Image.fromarray(_white(read(item.mask, "mask")).astype(np.uint8) * 255)
    white = np.asarray(white.resize((size[1], size[0]), Image.Resampling.BOX)) > 0  # a thin line stays
    return np.asarray(white.reshape(height, shrinking, width, shrinking).any((1, 3)), bool)


def _white(mask: Any) -> NDArray[np.bool_]:
    return np.asarray(mask.convert("L")) > 127
