"""A language model of transformers as a function of rows of tokens: one call is one token of every row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.attending import NAME, Prefill, Step, attention, least
from generators.pretrained import Pretrained, pretrained
from generators.remembering import Generated, Memory, Name, named
from generators.wording import Manner
from search.keys import Words
from search.ports import Ints

LIMIT = 2**30
"""Bytes of keys and values to keep: of prompts, and as many of generated tokens."""
Tokens = NDArray[np.int32]
SHORT = 16
"""A prompt of fewer tokens is kept with what its rows generate: products of so few columns depend on the rows."""
CHUNK = 64
"""Tokens of a prompt that are read at once."""
adopting = Lock()


@dataclass(eq=False)
class Network:
    """One model's weights and what it has read. Nothing is loaded before the first use.

    path: says where the model is. dtype and device: where its weights live, and as what. settings: of all jobs on it,
    by the digests that rows carry. padded: rows that its calls have been filled up with, see `least`.
    """

    name: str
    path: Callable[[], str]
    dtype: str
    device: Callable[[], str]
    memory: Memory = field(default_factory=lambda: Memory(LIMIT))
    settings: dict[int, Manner] = field(default_factory=dict[int, Manner])
    padded: int = 0
    _counting: Lock = field(default_factory=Lock)

    @cached_property
    def loaded(self) -> Pretrained:
        """Model and tokenizer. Raises as `pretrained` does, and ValueError for attention of another kind than ours."""
        found = pretrained(self.path(), self.dtype, self.device())
        with adopting:
            adopted(found.model)
        return found

    @cached_property
    def least(self) -> int:
        """Rows of a step, at least, for a row's numbers not to depend on its company: more are made up."""
        import torch

        model = self.loaded.model
        if model.device.type != "cpu":
            return 1
        linear = (part.weight for part in model.modules() if isinstance(part, torch.nn.Linear))
        head = model.config.hidden_size // model.config.num_attention_heads
        products = {(weight.shape[1], weight.shape[0]) for weight in linear} | {(head, 2 * CHUNK), (2 * CHUNK, head)}
        return least(frozenset(products), self.dtype)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a text."""
        told = self.loaded.model.generation_config.eos_token_id
        found = {self.loaded.tokenizer.eos_token_id, *(told if isinstance(told, list) else [told])}
        return frozenset(found - {None})

    @cached_property
    def _empty(self) -> Any:
        """Keys and values of no row's tokens: [layers, 2, 0, heads, 0, d]."""
        kept = self._chunk([], np.zeros(1, np.int32))
        return kept[:, :, None, :, :0][:, :, :0]

    def read(self, ids: Tokens) -> Any:
        """Keys and values of a text's tokens, [length]: a tensor [layers, 2, heads, length, d].

        Read in chunks, each known by all tokens up to its end: texts that begin alike share them, and a chunk is always
        computed in one way, whoever asked first.
        """
        import torch

        if not len(ids):
            return self._empty[:, :, 0]
        read: list[Any] = []
        for first in range(0, len(ids), CHUNK):
            so_far = ids[: first + CHUNK]
            read.append(
                self.memory.prompt(named(so_far), lambda past=tuple(read), new=so_far[first:]: self._chunk(past, new))
            )
        return torch.cat(read, 3)

    def _chunk(self, past: Sequence[Any], ids: Tokens) -> Any:
        """Keys and values of some tokens behind others."""
        import torch

        model, before = self.loaded.model, torch.cat(list(past), 3) if past else None
        start = 0 if before is None else before.shape[3]
        seen = Prefill(before, [])
        tokens = torch.from_numpy(ids.astype(np.int64))[None].to(model.device)
        places = torch.arange(start, start + len(ids), device=model.device)[None]
        model.base_model(input_ids=tokens, position_ids=places, cache=seen, use_cache=True)
        return torch.stack([torch.stack([k[0], v[0]]) for k, v in seen.layers])

    def logits(self, ids: Tokens, lengths: Ints, prompts: Ints, keys: Words) -> Any:
        """What follows the first `lengths` tokens of each row of ids [n, width]: a tensor [n, vocabulary], float32.

        prompts: how many of them are the prompt. It is read once, but for its last token; that and what was generated
        is fed token by token, one each call, while memory lasts. keys: of the rows, uint32 [n, 2].
        """
        import torch

        read = np.where(prompts > SHORT, prompts - 1, 0)  # tokens to share
        heads = [named(row[:n]) for row, n in zip(ids, read.tolist(), strict=True)]
        first = {name: i for i, name in reversed(list(enumerate(heads)))}
        order = np.argsort([first[name] for name in heads], kind="stable")
        found = self._sorted(Asked(ids[order], lengths[order], read[order], keys[order]), [heads[i] for i in order])
        if (order == np.arange(len(order))).all():
            return found
        return found[torch.from_numpy(np.argsort(order)).to(found.device)]

    def _sorted(self, rows: "Asked", heads: Sequence[bytes]) -> Any:
        """`logits` of rows of which those with one prompt, named by `heads`, lie side by side."""
        import torch

        ids, lengths = rows.ids, rows.lengths
        edges = [i for i in range(len(heads)) if not i or heads[i] != heads[i - 1]]
        groups: list[tuple[int, int, Any]] = []
        for i, last in zip(edges, [*edges[1:], len(heads)], strict=True):
            if n := int(rows.read[i]):
                whole = self.memory.prompt(b"whole" + heads[i], lambda i=i, n=n: self.read(ids[i, :n]))
                groups.append((i, last, whole))
        block, start = self._held(rows)
        step = stepped(groups, block, start, rows.place, self.least)
        padded = np.arange(max(self.least, len(ids))) % len(ids)  # whoever is alone gets company: see `least`
        with self._counting:
            self.padded += len(padded) - len(ids)
        tokens = torch.from_numpy(ids[padded, lengths[padded] - 1].astype(np.int64)).to(block.values.device)
        at = torch.from_numpy(lengths[padded] - 1).to(block.values.device)
        model = self.loaded.model
        output = model(input_ids=tokens[:, None], position_ids=at[:, None], cache=step, use_cache=True).logits
        self.memory.keep(block, start, rows.names(lengths), rows.place + 1)
        return output[: len(ids), 0].float()

    def _held(self, rows: "Asked") -> tuple[Generated, int]:
        """The rows' own tokens in one block, from a place on, with room for the next: in place where possible."""
        names, place = rows.names(rows.lengths - 1), rows.place
        found = self.memory.look(names, place)
        if (claimed := self.memory.claim(found, place)) is not None:
            return claimed
        lost = np.array([i for i, at in enumerate(found) if at is None and place[i]], np.int64)
        if len(lost):
            self._again(rows[lost])
            found = self.memory.look(names, place)
        return Generated.copied(found, place, self._empty), 0

    def _again(self, rows: "Asked") -> None:
        """Feed rows what memory has lost (or never had, as of rows from another worker), in the way of the first time.

        So a search that goes on elsewhere goes on with the very same numbers.
        """
        for n in range(1, int((rows.lengths - rows.read).max())):
            late = rows[np.flatnonzero(rows.read + n < rows.lengths)]
            early = replace(late, lengths=late.read + n)
            self._sorted(early, [name for name, _ in early.names(early.read)])


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows whose next token is asked for: ids [n, width], of which `lengths` are theirs and `read` are shared."""

    ids: Tokens
    lengths: Ints
    read: Ints
    keys: Words

    @property
    def place(self) -> Ints:
        """Tokens of its own that each row has fed before."""
        return self.lengths - 1 - self.read

    def names(self, lengths: Ints) -> list[Name]:
        """The name of each row's first `lengths` tokens."""
        texts = zip(self.ids, lengths.tolist(), self.keys, strict=True)
        return [(named(row[:n]), key.tobytes()) for row, n, key in texts]

    def __getitem__(self, index: Ints) -> "Asked":
        return Asked(self.ids[index], self.lengths[index], self.read[index], self.keys[index])


def stepped(groups: Sequence[tuple[int, int, Any]], block: Generated, start: int, place: Ints, enough: int) -> Step:
    """The cache of one step over rows `start`, `start` + 1, ... of a block."""
    import torch

    values = block.values[:, :, start : start + len(place)]
    rows, at = torch.arange(len(place), device=values.device), torch.from_numpy(place).to(values.device)
    seen = torch.arange(values.shape[4], device=values.device) <= at[:, None]
    mask = torch.zeros(seen.shape, device=values.device).masked_fill(~seen, -torch.inf)
    return Step(groups, values, rows, at, mask[:, None, None], enough)


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
            f"{config.model_type!r} has layers {sorted(kinds)}, soft cap {capped}: only decoders of plain full"
            " attention (Llama, Qwen 2 and 3, SmolLM) are served here"
        )
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
