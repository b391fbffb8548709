"""Networks that see images: answers in blocks, numbers out."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from search.ports import Answer, Floats, Score, Verifier, unscored
from verifiers.each import Unreadable
from verifiers.images.reading import asked, picture
from verifiers.loading import tensors


class Seen(NamedTuple):
    """An answer as a network sees it: Pillow's image, and the text that it answers."""

    image: Any
    text: str


def wordless(answer: Answer) -> Seen:
    """The image alone. Raises Unreadable."""
    return Seen(picture(answer.value), "")


def captioned(template: str = "{}") -> Callable[[Answer], Seen]:
    """The image and the item's prompt in a template. Raises Unreadable."""
    return lambda answer: Seen(picture(answer.value), asked(answer.item, template))


def batched(
    size: int, see: Callable[[Answer], Seen], judge: Callable[[Sequence[Seen]], Floats], score: Callable[[float], Score]
) -> Verifier:
    """A verifier: `see` reads an answer or raises Unreadable, `judge` gives a number to each of at most `size`."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        out: dict[int, Score] = {}
        ready: list[tuple[int, Seen]] = []

        def flush() -> None:
            values: Floats = judge([seen for _, seen in ready])
            for (i, _), value in zip(ready, values.tolist(), strict=True):
                out[i] = score(value) if np.isfinite(value) else unscored(f"the network gave {value}")
            ready.clear()

        for i, answer in enumerate(answers):
            try:
                ready.append((i, see(answer)))
            except Unreadable as error:
                out[i] = unscored(str(error))
            if len(ready) == size:
                flush()
        if ready:
            flush()
        return [out[i] for i in range(len(answers))]

    return verify


def tensor_of(processor: Any, net: Any, block: Sequence[Seen]) -> Any:
    """The images as the network takes them, [n, 3, h, w] on its device."""
    found = processor(images=[seen.image for seen in block], return_tensors="pt")["pixel_values"]
    return found.to(net.device, net.dtype)


def unit(features: Any) -> Any:
    """Rows of length 1, in float32 whatever the network's precision."""
    features = features.float()
    return features / features.norm(dim=-1, keepdim=True)


def texts(tokenizer: Any, block: Sequence[Seen], longest: int, whole: bool = False) -> tuple[Any, Any]:
    """Tokens of the block's distinct texts, cut at `longest`, and which of them each row has. whole: padded to it."""
    distinct = list(dict.fromkeys(seen.text for seen in block))
    padding = "max_length" if whole else True
    tokens = tokenizer(distinct, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
    return tokens, [distinct.index(seen.text) for seen in block]


def head(path: str, file: str, revision: str | None, width: int) -> Callable[[Any], Any]:
    """Linear layers one behind the other, float32 [n, width] -> [n], as LAION's heads are: nothing between them.

    The file holds `NAME.weight` [out, in] and `NAME.bias` [out] of each layer, in order of the numbers in their names.
    Raises ValueError for layers that do not fit on each other, on the features, or end in more than one number.
    """
    held = tensors(path, file, revision)
    names = sorted((name for name in held if name.endswith("weight")), key=_ordered)
    layers = [(held[name].float(), held.get(f"{name.removesuffix('weight')}bias")) for name in names]
    widths = [width, *(len(weight) for weight, _ in layers)]
    shapes = [list(weight.shape) for weight, _ in layers]
    if shapes != [[b, a] for a, b in pairwise(widths)] or widths[-1] != 1 or not layers:
        raise ValueError(f"head {path!r} has layers {shapes}; expected linear ones from {width} features to 1 number")

    def apply(features: Any) -> Any:
        for weight, bias in layers:
            features = features @ weight.T.to(features.device)
            features = features if bias is None else features + bias.float().to(features.device)
        return features[:, 0]

    return apply


def _ordered(name: str) -> tuple[tuple[int, str], ...]:
    """Numbers in a name by their size: layers.10 behind layers.2."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in name.split("."))
