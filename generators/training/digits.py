"""Train the diffusion model of `generators/digits.py`: about 35 minutes on two cores.

    python -m generators.training.digits digits.npz OUT [--steps 8000] [--seed 0]

v-prediction (Salimans & Ho 2022) on the squared-cosine schedule, class dropped to null in 15 % of the rows
(classifier-free guidance), exponential moving average of the weights. Every `--every` steps the average is
written as OUT/step-N.safetensors in half precision; `bench/digits.py` measures their class accuracy.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file

from generators.digits import NULL_CLASS, network


def train(data: Path, out: Path, steps: int, every: int, batch: int, seed: int) -> None:
    """Run the recipe; writes weights and prints one JSON line per checkpoint."""
    torch.manual_seed(seed)
    pool = np.load(data)
    images = torch.from_numpy(pool["images"]).float().div(127.5).sub(1).unsqueeze(1)
    latents = torch.nn.functional.pixel_unshuffle(images, 2)
    labels = torch.from_numpy(pool["labels"]).long()
    level = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    net = network().train()
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min(1.0, (i + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * i / steps)))
    )
    started, running = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        pick = torch.randint(len(latents), (batch,))
        x0, c = latents[pick], labels[pick]
        c = torch.where(torch.rand(batch) < 0.15, NULL_CLASS, c)
        t = torch.randint(len(level), (batch,))
        a, s = level[t].sqrt().view(-1, 1, 1, 1), (1 - level[t]).sqrt().view(-1, 1, 1, 1)
        eps = torch.randn_like(x0)
        with torch.autocast("cpu", torch.bfloat16):
            v = net(a * x0 + s * eps, t, class_labels=c).sample
        loss = torch.nn.functional.mse_loss(v.float(), a * eps - s * x0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(0.998, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        running += loss.item()
        if step % every == 0:
            half = {k: v.half().contiguous() for k, v in average.items()}
            save_file(half, out / f"step-{step}.safetensors")
            seconds = round(time.monotonic() - started, 1)
            print(json.dumps({"step": step, "loss": running / every, "seconds": seconds}), flush=True)
            running = 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="digits.npz from generators.training.mnist")
    parser.add_argument("out", type=Path, help="folder for the checkpoints")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options.data, options.out, options.steps, options.every, options.batch, options.seed)


if __name__ == "__main__":
    main()
