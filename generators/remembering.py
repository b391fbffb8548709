"""What a language model has read, kept by its content: keys and values of prompts, and of what rows generated.

It is a memo: rows are the truth, and what is not here is computed again from their tokens. It is bounded, and safe for
several threads.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np

from search.ports import Ints

ROOM = 16  # tokens by which memory for generated ones grows
Name = tuple[bytes, bytes]
"""The digest of a row's tokens, and its key: rows of equal tokens keep places of their own, and forks find either."""
ANY = b""


@dataclass(eq=False)
class Generated:
    """Keys and values of the tokens that some rows generated after their prompts, [layers, 2, n, heads, room, d].

    front: how many of each row's tokens are here, int64 [n]; whoever holds the last one may add to it in place, once.
    -1 while somebody does. What lies before the front never changes.
    """

    values: Any
    front: Ints
    names: list[Name] = field(default_factory=list[Name])

    @classmethod
    def copied(cls, sources: Sequence[tuple["Generated", int] | None], lengths: Ints, empty: Any) -> "Generated":
        """Rows put together from others, with room for a token more. empty: values of no rows, [layers, 2, 0, ...]."""
        import torch

        shape = list(empty.shape)
        shape[2], shape[4] = len(sources), rounded(int(lengths.max(initial=0)) + 1)
        values = torch.zeros(shape, dtype=empty.dtype, device=empty.device)
        places: dict[int, list[tuple[int, int]]] = {}
        known: dict[int, Generated] = {}
        for i, source in enumerate(sources):
            if source is not None and lengths[i]:
                known[id(source[0])] = source[0]
                places.setdefault(id(source[0]), []).append((i, source[1]))
        for name, pairs in places.items():
            into, out_of = np.array(pairs, np.int64).T
            old, room = known[name].values, int(lengths[into].max())
            values[:, :, into, :, :room] = old[:, :, out_of, :, :room]
        return cls(values, lengths.copy())


def rounded(tokens: int) -> int:
    """The room for so many."""
    return -(-tokens // ROOM) * ROOM


def named(ids: Any) -> bytes:
    """The name of a sequence of token ids, int32 [length]."""
    return blake2b(ids.tobytes(), digest_size=16).digest()


@dataclass(eq=False)
class Memory:
    """Keys and values by the tokens that they belong to. limit: bytes of prompts, and as many of generated tokens."""

    limit: int
    prompts: OrderedDict[bytes, Any] = field(default_factory=OrderedDict[bytes, Any])
    places: dict[Name, tuple[Generated, int]] = field(default_factory=dict[Name, tuple[Generated, int]])
    blocks: OrderedDict[int, Generated] = field(default_factory=OrderedDict[int, Generated])
    lock: Lock = field(default_factory=Lock)

    def prompt(self, name: bytes, read: Callable[[], Any]) -> Any:
        """Keys and values of a prompt, [layers, 2, heads, tokens, d]; `read` computes them when they are not here."""
        with self.lock:
            if name in self.prompts:
                self.prompts.move_to_end(name)
                return self.prompts[name]
        found = read()
        with self.lock:
            self.prompts[name] = found
            while len(self.prompts) > 1 and sum(one.nbytes for one in self.prompts.values()) > self.limit:
                self.prompts.popitem(last=False)
        return found

    def look(self, names: Sequence[Name], lengths: Ints) -> list[tuple[Generated, int] | None]:
        """Where each row's own tokens are; None for those that are not here, or that have none yet."""
        with self.lock:
            return [
                (self.places.get(name) or self.places.get((name[0], ANY))) if n else None
                for name, n in zip(names, lengths.tolist(), strict=True)
            ]

    def claim(self, found: Sequence[tuple[Generated, int] | None], lengths: Ints) -> tuple[Generated, int] | None:
        """The block whose rows from a place on are just these, to be added to in place; None when there is none."""
        if (first := found[0]) is None:
            return None
        block, start = first
        with self.lock:
            whole = block.front[start : start + len(found)]
            in_order = all(at is not None and at[0] is block and at[1] == start + i for i, at in enumerate(found))
            if not in_order or not np.array_equal(whole, lengths):
                return None
            if int(lengths.max()) >= block.values.shape[4]:
                return None  # no room
            block.front[start : start + len(found)] = -1
            return block, start

    def keep(self, block: Generated, start: int, names: Sequence[Name], lengths: Ints) -> None:
        """From now on the rows of `block` from `start` on are known by these names and may be added to."""
        with self.lock:
            block.front[start : start + len(names)] = lengths
            for i, name in enumerate(names):
                self.places[name] = self.places[name[0], ANY] = block, start + i
            block.names.extend(names)
            block.names.extend((name[0], ANY) for name in names)
            self.blocks[id(block)] = block
            self.blocks.move_to_end(id(block))
            while len(self.blocks) > 1 and sum(one.values.nbytes for one in self.blocks.values()) > self.limit:
                self._forget(self.blocks.popitem(last=False)[1])

    def _forget(self, block: Generated) -> None:
        for name in block.names:
            if name in self.places and self.places[name][0] is block:
                del self.places[name]
