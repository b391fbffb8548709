"""How a masked model is sampled, as it stands in a job."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from search.configs import ModelConfig

FIRST_HITTING = 0
"""In place of a number of steps: no grid of times."""


class Sampling(ModelConfig):
    """How masked tokens appear."""

    sampler: Literal["first_hitting", "ancestral"] = Field(
        "first_hitting",
        description="first_hitting: one token an evaluation; ancestral: some of them, in `steps` steps.",
    )
    steps: int | None = Field(None, ge=1, le=10_000, description="ancestral: steps; as many as tokens when left out.")
    order: Literal["uniform", "confidence"] = Field(
        "uniform", description="first_hitting: the place that appears next: any, or the one the model is surest of."
    )
    block: int | None = Field(
        None, ge=1, le=10_000, description="first_hitting: places in a block; blocks are filled from left to right."
    )
    fills: int = Field(
        0, ge=0, le=64, description="Previews: 0 fills masked places with the likeliest symbols; k > 0 are k draws, "
        "of which the verifier `soft` makes one value."
    )  # fmt: skip

    @property
    def size(self) -> int:
        """Tokens of an answer."""
        raise NotImplementedError

    @property
    def grid(self) -> int:
        """Steps of the ancestral sampler, else FIRST_HITTING."""
        return FIRST_HITTING if self.sampler == "first_hitting" else (self.steps or self.size)

    @property
    def evaluations(self) -> int:
        """One a step: a token, or a time of the grid."""
        return self.grid or self.size

    @property
    def lacks(self) -> Mapping[str, str]:
        """Weights, unless tokens appear one by one."""
        return {"log_weights": "set sampler to first_hitting"} if self.sampler == "ancestral" else {}

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.sampler == "ancestral" and (self.order != "uniform" or self.block is not None):
            raise ValueError("`order` and `block` go with sampler 'first_hitting', not 'ancestral'")
        if self.sampler == "first_hitting" and self.steps is not None:
            raise ValueError(f"`steps` {self.steps} goes with sampler 'ancestral': first_hitting takes one a token")
        return self
