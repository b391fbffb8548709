"""A small bidirectional transformer over masked tokens: what it predicts depends on the tokens, never on the time.

For masked diffusion the best prediction does not depend on the time (Ou et al. 2024, arXiv 2406.03736; Zheng et al.
2024, arXiv 2409.02908), so there is no time embedding, and rows at different times share one call.
"""

from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"


def network(symbols: int, length: int, width: int, layers: int, heads: int) -> Any:
    """Tokens, int64 [n, length] with `symbols` for a mask, to scores of every symbol, [n, length, symbols]."""
    from torch import nn
    from torch.nn import functional

    def attention(q: Any, k: Any, v: Any) -> Any:
        # Plain: for 40 tokens it trains twice as fast as the fused one, whose half-precision gradient is slow on CPUs.
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.between, self.wide, self.narrow = (
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.Linear(4 * width, width),
            )

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
            x = x + self.out(attention(q, k, v).transpose(1, 2).flatten(2))
            return x + self.narrow(functional.gelu(self.wide(self.between(x))))

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(symbols + 1, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.last, self.head = nn.LayerNorm(width), nn.Linear(width, symbols)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.last(self.blocks(self.token(tokens) + self.place.weight)))

    return Masked()


@cache
def loaded(weights: str) -> tuple[Any, str]:
    """The network of weights/WEIGHTS.safetensors, once per process, in evaluation mode, and the device it is on.

    On a CPU it is traced: the interpreter, which writes and reads answers meanwhile, is asked for once, not by layer.
    """
    import json

    import torch
    from safetensors import safe_open

    from generators.digits import device
    from generators.tracing import traced

    with safe_open(WEIGHTS / f"{weights}.safetensors", "pt") as file:
        about = json.loads(file.metadata()["about"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    net = network(len(about["alphabet"]), **about["shape"])
    net.load_state_dict(state)
    net = net.float().eval().requires_grad_(False).to(device())
    if device() != "cpu":
        return net, device()
    return traced(net, torch.zeros(2, about["shape"]["length"], dtype=torch.int64)), device()
