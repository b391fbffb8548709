"""The next token, drawn by keyed Gumbel noise: a pure function of a row's key, the token's place and the logits.

argmax(z + Gumbel noise) is a draw from softmax(z) (Gumbel 1954; Maddison et al. 2014). A maximum of such sums is again
Gumbel, at the logsumexp of its z: so the draw takes a block of BLOCK tokens first, by the logsumexp of each block, and
then a token in it. It is the same law with 450 random numbers in place of 50,000.
"""

from typing import Any, NamedTuple

import numpy as np

from search.keys import Words, uniforms
from search.ports import Floats, Ints

BLOCK = 256


class Law(NamedTuple):
    """How each row's token is drawn: arrays [n].

    temperature: 0 takes the likeliest. top_k: the so many likeliest alone, 0 for all. top_p: the likeliest alone that
    together have this probability, at least one. Both at the temperature, top_k first.
    """

    temperature: Floats
    top_k: Ints
    top_p: Floats

    def of(self, rows: Ints) -> "Law":
        """That of some rows."""
        return Law(self.temperature[rows], self.top_k[rows], self.top_p[rows])


def drawn(logits: Any, keys: Words, places: Ints, law: Law) -> tuple[Ints, Floats]:
    """A token for each row, int64 [n], and its log-probability under the model itself, float64 [n].

    logits: float tensor [n, vocabulary], on any device; tokens and log-probabilities are fetched once, together.
    """
    import torch

    n, size = logits.shape
    blocks = -(-size // BLOCK)
    noise = torch.from_numpy(-np.log(-np.log(uniforms(keys, places, blocks + BLOCK)))).to(logits.device)
    greedy = law.temperature == 0
    divisor = torch.from_numpy(np.where(greedy, 1.0, law.temperature)).to(logits.device)
    z = torch.full((n, blocks * BLOCK), -torch.inf, dtype=torch.float64, device=logits.device)
    z[:, :size] = logits / divisor[:, None]
    if law.top_k.any() or (law.top_p < 1).any():
        z = _cut(z, law)
    z = z.view(n, blocks, BLOCK)
    rows = torch.arange(n, device=logits.device)
    block = (torch.logsumexp(z, 2) + noise[:, :blocks]).argmax(1)
    token = block * BLOCK + (z[rows, block] + noise[:, blocks:]).argmax(1)
    if greedy.any():
        token = torch.where(torch.from_numpy(greedy).to(logits.device), logits.argmax(1), token)
    logprob = logits[rows, token].double() - torch.logsumexp(logits, 1).double()
    both = torch.stack([token.double(), logprob]).cpu().numpy()  # a token's number is exact in float64
    return both[0].astype(np.int64), both[1]


def _cut(z: Any, law: Law) -> Any:
    """z with -inf for tokens that top_k or top_p leave out; equal ones at the edge by their place in the vocabulary."""
    import torch

    top_k = torch.from_numpy(np.where(law.top_k > 0, law.top_k, z.shape[1])).to(z.device)
    top_p = torch.from_numpy(law.top_p).to(z.device)
    sorted_z, order = z.sort(dim=1, descending=True, stable=True)
    rank = torch.arange(z.shape[1], device=z.device)
    sorted_z = sorted_z.masked_fill(rank >= top_k[:, None], -torch.inf)
    p = sorted_z.softmax(1)
    before = p.cumsum(1) - p  # probability of the likelier ones
    dropped = (before >= top_p[:, None]) & (top_p[:, None] < 1) & (rank > 0)
    return torch.empty_like(z).scatter_(1, order, sorted_z.masked_fill(dropped, -torch.inf))
