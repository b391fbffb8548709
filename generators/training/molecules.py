"""Train the masked diffusion model of `generators/molecules.py`: about an hour on one core.

    python -m generators.training.molecules molecules.npz OUT [--first WEIGHTS] [--minutes 60] [--seed 0] [--compile]

The loss of masked diffusion, integrated over time, is the mean over rows of the mean cross-entropy of a row's masked
tokens, when their number is uniform on 1..L and their places are too (Ou et al. 2024, arXiv 2406.03736): no times. The
numbers of a batch are stratified (Sahoo et al. 2024, arXiv 2406.07524). Muon (Jordan et al. 2024) for the matrices of
the blocks and AdamW for the rest, rates that fall to 0 over the minutes given, exponential average of the weights;
written every minute as OUT in half precision with its alphabet, so that it can be stopped at any time.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from generators.transformer import network

SHAPE = {"width": 128, "layers": 5, "heads": 4}
HELD = 2048
"""Rows at the end of the data that are not trained on: `held` is their loss, always under the same masks."""


def masked(tokens: torch.Tensor, mask: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens with a uniform number of them, at uniform places, masked; and which: bool, like tokens."""
    n, length = tokens.shape
    spread = (torch.arange(n) + torch.rand(n)) / n
    count = 1 + (length * spread).long().clamp(max=length - 1)
    hidden = torch.rand(n, length).argsort(1).argsort(1) < count[:, None]
    return tokens.masked_fill(hidden, mask), hidden


def loss(scores: torch.Tensor, clean: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Nats a token: the mean over rows of the mean cross-entropy of a row's hidden tokens."""
    each = torch.nn.functional.cross_entropy(scores.float().transpose(1, 2), clean, reduction="none")
    return ((each * hidden).sum(1) / hidden.sum(1)).mean()


def optimisers(net: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, head, norms and biases."""
    inside = {name for name, p in net.named_parameters() if name.startswith("blocks") and p.ndim == 2}
    matrices = [p for name, p in net.named_parameters() if name in inside]
    others = [p for name, p in net.named_parameters() if name not in inside]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


class Recipe(NamedTuple):
    """Of a run. first: the weights to go on from."""

    minutes: float
    batch: int
    rate: float
    seed: int = 0
    first: Path | None = None
    compile: bool = False


def train(data: Path, out: Path, recipe: Recipe) -> None:
    """Run the recipe; writes the weights every minute and prints one JSON line each time."""
    torch.manual_seed(recipe.seed)
    pool = np.load(data)
    tokens, alphabet = torch.from_numpy(pool["tokens"]).long(), pool["alphabet"].tolist()
    tokens, kept = tokens[:-HELD], tokens[-HELD:]
    shape = {"length": tokens.shape[1], **SHAPE}
    net = network(len(alphabet), **shape).train()
    if recipe.first is not None:
        net.load_state_dict({name: value.float() for name, value in load_file(recipe.first).items()})
    call = torch.compile(net) if recipe.compile else net
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    both = optimisers(net, recipe.rate)
    about = json.dumps({"alphabet": alphabet, "shape": shape})
    test = kept, *masked(kept, len(alphabet))
    started, step, losses, written = time.monotonic(), 0, list[float](), 0.0
    while (part := (time.monotonic() - started) / (60 * recipe.minutes)) < 1:
        for group in (group for one in both for group in one.param_groups):
            group["lr"] = recipe.rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * part))
        clean = tokens[torch.randint(len(tokens), (recipe.batch,))]
        noisy, hidden = masked(clean, len(alphabet))
        with torch.autocast("cpu", torch.bfloat16):
            scores = call(noisy)
        now = loss(scores, clean, hidden)
        now.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for one in both:
            one.step()
            one.zero_grad()
        step += 1
        decay = min(0.998, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        losses.append(now.item())
        if time.monotonic() - written > 60:
            written = time.monotonic()
            save(average, out, about)
            said = {"step": step, "loss": float(np.mean(losses)), "held": held(average, shape, test)}
            print(json.dumps(said | {"seconds": round(written - started)}), flush=True)
            losses.clear()
    save(average, out, about)
    print(json.dumps({"step": step, "held": held(average, shape, test)}), flush=True)


def held(average: dict[str, torch.Tensor], shape: dict[str, int], test: tuple[torch.Tensor, ...]) -> float:
    """The loss of the averaged weights on rows that were kept back: clean, noisy, hidden."""
    clean, noisy, hidden = test
    net = network(average["head.bias"].numel(), **shape).eval()
    net.load_state_dict(average)
    with torch.inference_mode():
        return loss(net(noisy), clean, hidden).item()


def save(average: dict[str, torch.Tensor], out: Path, about: str) -> None:
    """The averaged weights, half precision."""
    save_file({k: v.half().contiguous() for k, v in average.items()}, out, {"about": about})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="molecules.npz from generators.training.moses")
    parser.add_argument("out", type=Path, help="the safetensors to write")
    parser.add_argument("--first", type=Path, help="the safetensors to go on from")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="a fifth faster; needs a C++ compiler")
    options = vars(parser.parse_args())
    train(options.pop("data"), options.pop("out"), Recipe(**options))


if __name__ == "__main__":
    main()
