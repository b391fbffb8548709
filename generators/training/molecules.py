"""Train the masked diffusion model of `generators/molecules.py`: about 15 minutes on one core.

    python -m generators.training.molecules molecules.npz OUT [--minutes 14] [--seed 0]

The loss of masked diffusion, integrated over time, is the mean cross-entropy of the masked tokens when their number is
uniform on 1..L and their places are too (Ou et al. 2024, arXiv 2406.03736): no weights, no times. AdamW, a cosine over
the minutes given, exponential average of the weights; written as OUT in half precision with its alphabet.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from generators.transformer import network

SHAPE = {"width": 128, "layers": 5, "heads": 4}


def masked(tokens: torch.Tensor, mask: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens with a uniform number of them, at uniform places, masked; and which: bool, like tokens."""
    n, length = tokens.shape
    count = torch.randint(1, length + 1, (n, 1))
    hidden = torch.rand(n, length).argsort(1).argsort(1) < count
    return tokens.masked_fill(hidden, mask), hidden


def train(data: Path, out: Path, minutes: float, batch: int, rate: float, seed: int) -> None:
    """Run the recipe; writes the weights every minute and prints one JSON line each time."""
    torch.manual_seed(seed)
    pool = np.load(data)
    tokens, alphabet = torch.from_numpy(pool["tokens"]).long(), pool["alphabet"].tolist()
    shape = {"length": tokens.shape[1], **SHAPE}
    net = network(len(alphabet), **shape).train()
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2, betas=(0.9, 0.98))
    about = json.dumps({"alphabet": alphabet, "shape": shape})
    started, step, losses, written = time.monotonic(), 0, list[float](), 0.0
    while (part := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))
        clean = tokens[torch.randint(len(tokens), (batch,))]
        noisy, hidden = masked(clean, len(alphabet))
        with torch.autocast("cpu", torch.bfloat16):
            scores = net(noisy)
        loss = torch.nn.functional.cross_entropy(scores.float()[hidden], clean[hidden])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        decay = min(0.995, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        losses.append(loss.item())
        if time.monotonic() - written > 60:
            written = time.monotonic()
            save(average, out, about)
            print(json.dumps({"step": step, "loss": float(np.mean(losses)), "seconds": written - started}), flush=True)
            losses.clear()
    save(average, out, about)
    print(json.dumps({"step": step, "loss": float(np.mean(losses or [math.nan]))}), flush=True)


def save(average: dict[str, torch.Tensor], out: Path, about: str) -> None:
    """The averaged weights, half precision."""
    save_file({k: v.half().contiguous() for k, v in average.items()}, out, {"about": about})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="molecules.npz from generators.training.moses")
    parser.add_argument("out", type=Path, help="the safetensors to write")
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train(options.data, options.out, options.minutes, options.batch, options.rate, options.seed)


if __name__ == "__main__":
    main()
