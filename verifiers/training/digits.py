"""Train the two digit judges of `verifiers/digits.py`: about five minutes on one core.

    python -m verifiers.training.digits --data digits.npz OUT [--epochs 40] [--seed 0]

`digit_classifier` learns from the first half of the images, `digit_classifier_b` from the second; each is measured on
the half that it never saw, with the weights as they are written (half precision). Plain cross-entropy, AdamW with one
cosine cycle, an exponential moving average of the weights, and every image redrawn in each epoch by a small random
rotation, scaling, shear and shift. `digits.npz` comes from `generators.training.mnist`.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from verifiers.digits import OURS, SIDE, borrowed, network, normalised, probabilities, ready


def jittered(images: torch.Tensor) -> torch.Tensor:
    """Images [n, 28, 28], each turned by up to 12 degrees, scaled and sheared by 12 % and shifted by 2.5 pixels."""
    n = len(images)

    def spread(width: float) -> torch.Tensor:
        return (2 * torch.rand(n) - 1) * width

    angle, scale, shear = spread(math.radians(12)), 1 + spread(0.12), spread(0.12)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 2 * 2.5 / SIDE  # the grid runs from -1 to 1
    rows = (cos, shear * cos - sin, spread(shift), sin, shear * sin + cos, spread(shift))
    grid = functional.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, SIDE, SIDE], align_corners=False)
    return functional.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int, batch: int = 64) -> dict[str, torch.Tensor]:
    """Averaged weights, fp16, of a network fitted to images (float [n, 28, 28], 0 to 255) and labels (int64 [n])."""
    net = network(OURS).train()
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    total = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=total, pct_start=0.1)
    order = torch.cat([torch.randperm(len(images))[: len(images) // batch * batch] for _ in range(epochs)])
    for step, pick in enumerate(order.view(total, batch)):
        loss = functional.cross_entropy(net(normalised(jittered(images[pick]))), labels[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        decay = min(0.995, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - decay)
    return {name: value.half().contiguous() for name, value in average.items()}


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    p, extra = hits / n, z * z / n
    centre = (p + extra / 2) / (1 + extra)
    half = z * math.sqrt(p * (1 - p) / n + extra / (4 * n)) / (1 + extra)
    return centre - half, centre + half


def report(name: str, net: Any, images: np.ndarray, labels: np.ndarray) -> None:
    """Print the accuracy on these images (uint8 [n, 28, 28]) as one JSON line."""
    hits = int((probabilities(net, images).argmax(1) == labels).sum())
    low, high = wilson(hits, len(labels))
    line = {"judge": name, "right": hits, "of": len(labels), "accuracy": hits / len(labels), "wilson95": [low, high]}
    print(json.dumps(line), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the weights")
    parser.add_argument("--data", type=Path, required=True, help="digits.npz from generators.training.mnist")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pool = np.load(options.data)
    images, labels = pool["images"], pool["labels"]
    half = len(images) // 2
    sides = {"digit_classifier": slice(0, half), "digit_classifier_b": slice(half, None)}
    for number, (name, mine) in enumerate(sides.items()):
        torch.manual_seed(options.seed + number)
        weights = train(torch.from_numpy(images[mine]).float(), torch.from_numpy(labels[mine]).long(), options.epochs)
        save_file(weights, options.out / f"{name}.safetensors")
        rest = np.ones(len(images), bool)
        rest[mine] = False
        report(name, ready(OURS, weights), images[rest], labels[rest])
    try:
        report("ccexam", borrowed(), images, labels)
    except ImportError as error:
        print(json.dumps({"judge": "ccexam", "skipped": str(error)}))


if __name__ == "__main__":
    main()
