"""Attention of one new token of each row over its prompt, which rows share, and over what the row itself has generated.

The prompt's keys and values are never copied: the queries of all its rows meet them in one product (Juravsky et al.
2024, "Hydragen", arXiv 2402.05099), and both parts are put together by their normalisers. Every sum runs over one row's
own tokens in their own order, so that on a CPU a row's numbers do not depend on its company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

NAME = "winnow"
SIZES = (4, 8, 16, 32)
"""Rows in a matrix product, of which the least is sought that makes no difference."""


@cache
def least(shapes: frozenset[tuple[int, int]], dtype: str) -> int:
    """From how many rows on the order of sums in products [rows, in] x [in, out] does not depend on their number.

    Measured: libraries choose their kernels by size and by processor (MKL's for float32 need 4 rows on one and 16 on
    another). The highest of SIZES where none is enough.
    """
    return next((size for size in SIZES if all(_steady(size, shape, dtype) for shape in shapes)), SIZES[-1])


def _steady(size: int, shape: tuple[int, int], dtype: str) -> bool:
    """Whether `size` rows and more give what many give."""
    import torch

    said = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, shape[0], generator=said).to(getattr(torch, dtype)) for n in (64, min(shape[1], 4096)))
    many = torch.nn.functional.linear(x, weight)
    few = (n for n in (size, size + 1, size + 3, 2 * size, 2 * size + 1, 33) if n >= size)
    return all(torch.equal(torch.nn.functional.linear(x[:n], weight), many[:n]) for n in few)


@dataclass(frozen=True, eq=False)
class Prefill:
    """The cache of a prompt's tokens behind others that were read `before`, [layers, 2, heads, tokens, d] or None.

    layers: takes the new keys and values of each layer, [1, heads, tokens, d].
    """

    before: Any
    layers: list[tuple[Any, Any]]

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Called by the model's attention."""
        import torch

        self.layers.append((keys, values))
        if self.before is None:
            return keys, values
        old_keys, old_values = self.before[layer]
        return torch.cat([old_keys[None], keys], 2), torch.cat([old_values[None], values], 2)


@dataclass(frozen=True, eq=False)
class Step:
    """The cache of one step of n rows, sorted by prompt.

    prompts: for each the rows from `first` to `last` - 1 and its keys and values, [layers, 2, heads, tokens, d].
    own: keys and values that the rows generated, [layers, 2, n, heads, room, d]. place: where the new ones belong,
    int64 [n]. mask: 0 for places up to it and -inf behind, [n, 1, 1, room]. least: see `least`.
    """

    prompts: Sequence[tuple[int, int, Any]]
    own: Any
    rows: Any
    place: Any
    mask: Any
    least: int

    def update(self, keys: Any, values: Any, layer: int, *_: Any, **__: Any) -> tuple["Layer", Any]:
        """Called by the model's attention: keeps what is new, and hands `attend` all that it needs."""
        n = len(self.rows)
        own = self.own[layer]
        own[0][self.rows, :, self.place] = keys[:n, :, 0]
        own[1][self.rows, :, self.place] = values[:n, :, 0]
        return Layer(self, layer), values


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a step."""

    step: Step
    layer: int

    def attend(self, q: Any, scale: float) -> Any:
        """Queries [n, heads of queries, d] -> what they read, the same shape."""
        import torch

        step = self.step
        keys, values = step.own[self.layer]
        n, heads, _, d = keys.shape
        q = q.reshape(n, heads, -1, d) * scale
        top, total, read = _part((q @ keys.transpose(-1, -2)).float() + step.mask, values, step.least)
        for first, last, cached in step.prompts:
            keys, values = cached[self.layer]
            # Every head's queries of all rows of the prompt in one product.
            mine = q[first:last].transpose(0, 1).reshape(heads, -1, d)
            part = _part(_product(mine, keys.transpose(-1, -2), step.least).float(), values, step.least)
            back = (heads, last - first, -1)
            top_p, total_p, read_p = (x.view(*back, x.shape[-1]).transpose(0, 1) for x in part)
            most = torch.maximum(top[first:last], top_p)
            w, w_p = (top[first:last] - most).exp(), (top_p - most).exp()
            total[first:last] = total[first:last] * w + total_p * w_p
            read[first:last] = read[first:last] * w + read_p * w_p
        return (read / total).reshape(n, -1, d).to(q.dtype)


def _part(scores: Any, values: Any, rows: int) -> tuple[Any, Any, Any]:
    """Highest score, sum of exp(score - highest) and the so weighted values; scores [..., rows, tokens]."""
    top = scores.amax(-1, keepdim=True)
    weights = (scores - top).exp()
    # cumsum adds from left to right: zeros of masked places change nothing.
    return top, weights.cumsum(-1)[..., -1:], _product(weights.to(values.dtype), values, rows).float()


def _product(a: Any, b: Any, rows: int) -> Any:
    """a @ b; with few rows in `a` as if there were so many."""
    import torch

    if (short := rows - a.shape[-2]) <= 0:
        return a @ b
    return (torch.nn.functional.pad(a, (0, 0, 0, short)) @ b)[..., : a.shape[-2], :]


def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **_: Any) -> tuple[Any, None]:
    """For transformers: queries [n, heads, tokens, d] -> [n, tokens, heads, d]."""
    import torch

    if not isinstance(key, Layer):
        new, all_ = query.shape[2], key.shape[2]
        seen = torch.ones(new, all_, dtype=torch.bool, device=query.device).tril(all_ - new)
        read = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, scale=scaling, enable_gqa=True
        )
        return read.transpose(1, 2), None
    n = len(key.step.rows)
    read = key.attend(query[:n, :, 0], scaling)
    return torch.nn.functional.pad(read, (0, 0, 0, 0, 0, len(query) - n))[:, None], None
