"""Embeddings of prompts, each computed once and kept while it is in use."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from generators.noise import placed
from generators.pipelines.families import Condition, Family, Told

KEPT = 128
"""Prompts whose embeddings stay on the device; those of FLUX have 4 MB each."""


class Prompts:
    """The denoiser's arguments for rows, out of the embeddings of their prompts; the last KEPT are remembered."""

    def __init__(self, pipe: Any, family: Family) -> None:
        self._pipe, self._family = pipe, family
        self._known: OrderedDict[tuple[Condition, tuple[int, int]], Told] = OrderedDict()
        self._lock = Lock()
        self.encoded = 0

    def told(self, rows: Sequence[Condition], size: tuple[int, int]) -> Mapping[str, Any]:
        """Tensors with the rows as their first axis, for pictures of (height, width) pixels."""
        import torch

        different = list(dict.fromkeys(rows))
        found = [self._one(condition, size) for condition in different]
        if len(found) == 1:
            return {name: tensor.expand(len(rows), *tensor.shape[1:]) for name, tensor in found[0].items()}
        place = {condition: i for i, condition in enumerate(different)}
        device = next(iter(found[0].values())).device
        which = placed([place[condition] for condition in rows], str(device))
        return {name: torch.cat([one[name] for one in found]).index_select(0, which) for name in found[0]}

    def _one(self, condition: Condition, size: tuple[int, int]) -> Told:
        with self._lock:  # lanes ask side by side, and text encoders may be moved to the device for it
            key = condition, size
            if key not in self._known:
                self._known[key] = self._family.encode(self._pipe, condition, size)
                self.encoded += 1
                if len(self._known) > KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]
