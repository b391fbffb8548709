"""An answer as an image: uint8 [h, w] or [h, w, 3]; everything else is Unreadable."""

import base64
import binascii
import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.ports import Floats, Item
from verifiers.each import Unreadable, shown

Image = NDArray[np.uint8]
LARGEST = 2**26
"""Pixels of an image, at most: 8192 x 8192."""
KINDS = tuple(f"data:image/{kind};base64" for kind in ("png", "jpeg", "webp"))


def image(value: Any) -> Image:
    """The image. Raises Unreadable."""
    if type(value) is not np.ndarray:
        raise Unreadable(f"expected an image, uint8 [h, w] or [h, w, 3], found {type(value).__name__}")
    array: NDArray[Any] = value
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or 0 in array.shape:
        raise Unreadable(f"expected an image, uint8 [h, w] or [h, w, 3], found {array.dtype} {list(array.shape)}")
    if array.shape[0] * array.shape[1] > LARGEST:
        raise Unreadable(f"the image has {array.shape[0]} x {array.shape[1]} pixels; at most {LARGEST} are judged")
    return array


def coloured(value: Any) -> Image:
    """The image as red, green and blue, uint8 [h, w, 3]; a grey one has three equal. Raises Unreadable."""
    found = image(value)
    return np.ascontiguousarray(found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=2))


def luminance(value: Any) -> Floats:
    """Light, 0 to 255, float64 [h, w] (ITU-R BT.601). Raises Unreadable."""
    found = image(value).astype(np.float64)
    return found if found.ndim == 2 else found @ np.array([0.299, 0.587, 0.114])


def picture(value: Any) -> Any:
    """The image as Pillow's, in RGB. Raises Unreadable."""
    from PIL import Image as Pillow

    return Pillow.fromarray(coloured(value))


def png(value: Any) -> bytes:
    """The image as PNG. Raises Unreadable."""
    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.fromarray(image(value)).save(out, "PNG")
    return out.getvalue()


def reference(item: Item) -> Image:
    """The image in an item's target: a data URL of a PNG, JPEG or WebP. Raises Unreadable, a ValueError."""
    from PIL import Image as Pillow

    try:
        return decoded(item.target if isinstance(item.target, str) else "")
    except (binascii.Error, OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        why = f"target {shown(item.target)} of item {item.id!r} is no image that can be read: {error!s:.100}"
        raise Unreadable(f"{why}; expected a data URL, data:image/png;base64,...") from error


@lru_cache(maxsize=64)
def decoded(url: str) -> Image:
    """The image in a data URL; read-only, since it is remembered. Raises ValueError, or what Pillow raises."""
    from PIL import Image as Pillow

    head, _, coded = url.partition(",")
    if head not in KINDS:
        raise ValueError(f"it begins with {head[:30]!r}; valid: {', '.join(KINDS)}")
    with Pillow.open(io.BytesIO(base64.b64decode(coded, validate=True)), formats=("PNG", "JPEG", "WEBP")) as opened:
        if opened.width * opened.height > LARGEST:
            raise ValueError(f"it has {opened.width} x {opened.height} pixels; at most {LARGEST} are judged")
        found = np.array(opened.convert("L" if opened.mode in ("1", "L") else "RGB"))
    found.flags.writeable = False
    return found


def asked(item: Item, template: str = "{}") -> str:
    """The text that an image answers: the item's prompt, in the place of {}. Raises Unreadable without one."""
    if not item.asked.strip():
        raise Unreadable(f"item {item.id!r} has no prompt to compare the image with")
    return template.replace("{}", item.asked)
