"""RNA of any length with independent letters: what is special is the reward, how it folds."""

from typing import Any

import numpy as np
from pydantic import Field

from generators.dna import FREE, template
from generators.masked import OFFERS, Law, Masked
from generators.sampling import Sampling
from search.plugins import plugin
from search.ports import Floats, Generator, Ints, Item

LETTERS = "ACGU"


class Rna(Sampling):
    """RNA; the prompt may give letters and leave others free, as in `GGG____CCC`."""

    length: int = Field(20, ge=1, le=200, description="Letters.")
    gc: float = Field(0.5, gt=0, lt=1, description="Share of G and C.")

    @property
    def size(self) -> int:
        """Letters."""
        return self.length

    def check(self, item: Item) -> None:
        """Raise ValueError unless the prompt is empty, or `length` of A, C, G, U and _, one of them free."""
        template(item.prompt, LETTERS, self.length)


@plugin(version="1", offers=OFFERS)
def rna(config: Rna) -> Generator:
    """Masked diffusion over independent letters; answers are text such as "GGGAAACCC"."""
    log = np.log(np.array([1 - config.gc, config.gc, config.gc, 1 - config.gc]) / 2)

    def predict(text: Ints) -> Floats:
        return np.broadcast_to(log, (*text.shape, 4))

    def given(item: Item) -> Ints:
        return template(item.prompt, LETTERS, config.length)

    return Masked(Law(f"rna {config.length} {config.gc}", 4, config.length, predict, given, _written), config)


def _written(text: Any) -> str:
    return "".join((*LETTERS, FREE)[token] for token in text)
