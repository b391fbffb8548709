"""A language model of transformers as a function of rows of tokens: one call is one token of every row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.attending import LEAST, NAME, Prefill, Step, attention
from generators.pretrained import Pretrained, pretrained
from generators.remembering import Generated, Memory, named
from generators.wording import Manner
from search.ports import Ints

LIMIT = 2**30
"""Bytes of keys and values to keep: of prompts, and as many of generated tokens."""
Tokens = NDArray[np.int32]
adopting = Lock()


@dataclass(eq=False)
class Network:
    """One model's weights and what it has read. Nothing is loaded before the first use.

    path: says where the model is. dtype and device: where its weights live, and as what. settings: of all jobs on it, by
    the digests that rows carry.
    """

    name: str
    path: Callable[[], str]
    dtype: str
    device: Callable[[], str]
    memory: Memory = field(default_factory=lambda: Memory(LIMIT))
    settings: dict[int, Manner] = field(default_factory=dict[int, Manner])

    @cached_property
    def loaded(self) -> Pretrained:
        """Model and tokenizer. Raises as `pretrained` does, and ValueError for attention of another kind than ours."""
        found = pretrained(self.path(), self.dtype, self.device())
        with adopting:
            adopted(found.model)
        return found

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a text."""
        told = self.loaded.model.generation_config.eos_token_id
        found = {self.loaded.tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])}
        return frozenset(found - {None})

    @cached_property
    def _empty(self) -> Any:
        """Keys and values of no row's tokens: [layers, 2, 0, heads, 0, d]."""
        kept = self.read(np.zeros(1, np.int32))
        return kept[:, :, None, :, :0][:, :, :0]

    def read(self, ids: Tokens) -> Any:
        """Keys and values of the tokens of one text, [length]: a tensor [layers, 2, heads, length, d]."""
        import torch

        model, seen = self.loaded.model, Prefill([])
        tokens = torch.from_numpy(ids.astype(np.int64))[None].to(model.device)
        places = torch.arange(len(ids), device=model.device)[None]
        model.base_model(input_ids=tokens, position_ids=places, cache=seen, use_cache=True)
        return torch.stack([torch.stack([k[0], v[0]]) for k, v in seen.layers])

    def logits(self, ids: Tokens, lengths: Ints, prompts: Ints) -> Any:
        """What follows the first `lengths` tokens of each row of ids [n, width]: a tensor [n, vocabulary], float32.

        prompts: how many of them are the prompt. It is read once, but for its last token; that and what was generated
        is fed token by token, one each call, while memory lasts.
        """
        import torch

        heads = [named(row[: p - 1]) for row, p in zip(ids, prompts.tolist(), strict=True)]
        first = {name: i for i, name in reversed(list(enumerate(heads)))}
        order = np.argsort([first[name] for name in heads], kind="stable")
        found = self._sorted(ids[order], lengths[order], prompts[order], [heads[i] for i in order])
        if (order == np.arange(len(order))).all():
            return found
        return found[torch.from_numpy(np.argsort(order)).to(found.device)]

    def _sorted(self, ids: Tokens, lengths: Ints, prompts: Ints, heads: Sequence[bytes]) -> Any:
        """`logits` of rows of which those with one prompt lie side by side."""
        import torch

        edges = [i for i in range(len(heads)) if not i or heads[i] != heads[i - 1]]
        groups: list[tuple[int, int, Any]] = []
        for i, last in zip(edges, [*edges[1:], len(heads)], strict=True):
            if prompts[i] > 1:
                groups.append((i, last, self.memory.prompt(heads[i], lambda i=i: self.read(ids[i, : prompts[i] - 1]))))
        place = lengths - prompts  # generated tokens that were fed before
        block, start = self._held(ids, lengths, place)
        step = stepped(groups, block, start, place)
        padded = np.arange(max(LEAST, len(ids))) % len(ids)  # whoever is alone gets company: see LEAST
        tokens = torch.from_numpy(ids[padded, lengths[padded] - 1].astype(np.int64)).to(block.values.device)
        at = torch.from_numpy(lengths[padded] - 1).to(block.values.device)
        output = self.loaded.model(
            input_ids=tokens[:, None], position_ids=at[:, None], cache=step, use_cache=True
        ).logits[: len(ids), 0]
        names = [named(row[:n]) for row, n in zip(ids, lengths.tolist(), strict=True)]
        self.memory.keep(block, start, names, place + 1)
        return output.float()

    def _held(self, ids: Tokens, lengths: Ints, place: Ints) -> tuple[Generated, int]:
        """The rows' generated tokens in one block, from a place on, with room for the next: in place where possible."""
        names = [named(row[: n - 1]) for row, n in zip(ids, lengths.tolist(), strict=True)]
        found = self.memory.look(names, place)
        if (claimed := self.memory.claim(found, place)) is not None:
            return claimed
        sources = [
            self._again(row[: n - 1], p) if at is None and p else at
            for row, n, p, at in zip(ids, lengths.tolist(), place.tolist(), found, strict=True)
        ]
        return Generated.copied(sources, place, self._empty), 0

    def _again(self, ids: Tokens, own: int) -> tuple[Generated, int]:
        """The last `own` of these tokens, which memory has lost (or never had, as of a row from another worker)."""
        values = self.read(ids)[:, :, None, :, len(ids) - own :]
        return Generated(values, np.array([own])), 0


def stepped(groups: Sequence[tuple[int, int, Any]], block: Generated, start: int, place: Ints) -> Step:
    """The cache of one step over rows `start`, `start` + 1, ... of a block."""
    import torch

    values = block.values[:, :, start : start + len(place)]
    rows, at = torch.arange(len(place), device=values.device), torch.from_numpy(place).to(values.device)
    seen = torch.arange(values.shape[4], device=values.device) <= at[:, None]
    mask = torch.zeros(seen.shape, device=values.device).masked_fill(~seen, -torch.inf)
    return Step(groups, values, rows, at, mask[:, None, None])


def adopted(model: Any) -> None:
    """Give a model of transformers our attention. Raises ValueError for one that needs more than plain attention."""
    from transformers import AttentionInterface

    if model.config._attn_implementation == NAME:
        return
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    capped = getattr(config, "attn_logit_softcapping", None)
    if kinds != {"full_attention"} or capped or not model._supports_attention_backend:
        raise ValueError(
            f"{config.model_type!r} has layers {sorted(kinds)}, soft cap {capped}: only decoders of plain full attention"
            " (Llama, Qwen 2 and 3, SmolLM) are served; others through an endpoint"
        )
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
