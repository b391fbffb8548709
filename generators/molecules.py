"""Molecules by masked diffusion over SELFIES (Krenn et al. 2020), small enough to run anywhere; answers are SMILES."""

import re
from functools import cache, lru_cache
from typing import Any

import numpy as np

from generators.masked import OFFERS, Law, Masked
from generators.sampling import Sampling
from generators.unmasking import MASK
from search.plugins import plugin
from search.ports import Floats, Generator, Ints, Item

LENGTH = 40
NOP, FREE, REST = "[nop]", "_", "..."
ALPHABET = re.findall(
    r"\[[^\]]*\]",
    "[nop] [C] [=C] [Ring1] [N] [Branch1] [=Branch1] [=O] [O] [=N] [Branch2] [Ring2] [S] [#Branch1] [F] [=Branch2] "
    "[#Branch2] [=Ring1] [#C] [Cl] [P] [NH1] [#N] [Br] [=Ring2] [=S] [H]",
)
"""In the order of the network's symbols."""
WEIGHTS = "molecules"


class Molecules(Sampling):
    """A molecule of at most 40 symbols; the prompt may give some of them."""

    @property
    def size(self) -> int:
        """Symbols, [nop] included."""
        return LENGTH

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is empty, or SELFIES with free places."""
        template(item.prompt)


@plugin(version="1", offers=OFFERS)
def molecules(config: Molecules) -> Generator:
    """A network trained on 284,000 drug-like molecules of MOSES."""
    return Masked(law(WEIGHTS), config)


def law(weights: str) -> Law:
    """The network with `weights/WEIGHTS.safetensors`, or elsewhere when it is a whole path; loads nothing yet."""
    return Law(
        f"molecules {weights}",
        len(ALPHABET),
        LENGTH,
        lambda text: evaluated(weights, text),
        lambda item: template(item.prompt),
        written,
        lambda: worth(weights),
    )


def worth(weights: str) -> int | None:
    """Rows of one call: on a CPU a row's time is level from 8 to 64, and measuring it misleads where others compute.

    The network is loaded, so that one that cannot be is found out before a search begins.
    """
    from generators.transformer import loaded

    return 32 if loaded(weights)[1] == "cpu" else None


def evaluated(weights: str, text: Ints) -> Floats:
    """Log-chances of every symbol, float32 [n, L, V]."""
    import torch

    from generators.transformer import loaded

    net, device = loaded(weights)
    with torch.inference_mode():
        masked = np.where(text == MASK, len(ALPHABET), text)
        scores = net(torch.from_numpy(masked).to(device))
        return scores.log_softmax(-1).cpu().numpy()


def template(prompt: str) -> Ints:
    """Given symbols as their numbers, MASK where free, int64 [LENGTH].

    An empty prompt leaves all free. Else SELFIES in which _ is a free place, and ... at the end frees all that follow;
    without it the rest is [nop], which is nothing. Raises ValueError for anything else.
    """
    whole = prompt.strip() or REST
    body, rest = (whole.removesuffix(REST), True) if whole.endswith(REST) else (whole, False)
    parts = re.findall(r"\[[^\[\]]*\]|_|\S", body)
    number = {symbol: i for i, symbol in enumerate(ALPHABET)} | {FREE: MASK}
    if strange := next((part for part in parts if part not in number), None):
        raise ValueError(f"the prompt holds {strange[:20]!r}; valid: {' '.join(ALPHABET)}, _ (free), ... (the rest)")
    if len(parts) > LENGTH:
        raise ValueError(f"the prompt has {len(parts)} symbols; at most {LENGTH} fit")
    out = np.full(LENGTH, MASK if rest else 0)
    out[: len(parts)] = [number[part] for part in parts]
    if MASK not in out:
        raise ValueError(f"the prompt {prompt[:50]!r} leaves nothing free: write _ for a symbol, or ... at the end")
    return out


def written(text: Any) -> str:
    """Tokens as SMILES; "" for a string that is nothing."""
    return decoded("".join(ALPHABET[i] for i in text if i > 0))


@lru_cache(100_000)
def decoded(selfies: str) -> str:
    """SELFIES as SMILES."""
    return _decoder()(selfies) if selfies else ""


@cache
def _decoder() -> Any:
    import selfies

    return selfies.decoder
