"""How a diffusion network is sampled: what its configurations share, and the levers that may be searched."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, PrivateAttr, model_validator

from generators.levers import MOST, UNTUNED, Levers
from generators.solvers import STOCHASTIC, Solver, evaluations
from generators.watching import SHARE
from search.configs import ModelConfig
from search.ports import Many

LEVELS = 1000
"""Levels on which the networks were trained."""
SKIPS = 2
"""Resolutions of the networks with skip connections: 14 x 14 and 7 x 7."""
OFFERS = ("preview", "stochastic_step", "renoise", "neighbours", "log_weights", "trajectory", "draws_images")
LEVERS = ("timesteps", "skip_scales", "time_shift", "guidance_interval", "start")
"""Fields that a process with weights does not have."""

Precision = Literal["float32", "bfloat16"]
Level = Annotated[int, Field(ge=0, lt=LEVELS)]


class Sampler(ModelConfig):
    """How a diffusion network is sampled."""

    steps: int = Field(
        10, ge=1, le=1000, description="Noise levels; see `solver` for their evaluations. Guided ones cost double."
    )
    eta: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Noise of each step: 0 deterministic (DDIM), 1 ancestral. "
        "Left out: 1 for methods that need a stochastic step and for the solver `pc`, else 0.",
    )
    solver: Solver = Field(
        "ddim",
        description="`ddim` and `pc` (predictor-corrector) take eta; the others are deterministic. Evaluations: "
        "`heun` 2 * steps - 2, `pc` 2 * steps - 1, else one a level.",
    )
    dtype: Precision = Field("float32", description="Precision of the network's layers; latents stay float32.")
    watch: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the last evaluations whose x0-hat the verifier `trajectory_variance` reads. "
        f"Left out: {SHARE} where it is asked, else none is kept.",
    )

    @property
    def levels(self) -> int:
        """Noise levels that a row goes through."""
        return self.steps

    @property
    def evaluations(self) -> int:
        """One at each level; `heun` and `pc` take nearly two."""
        return evaluations(self.solver, self.levels)

    @property
    def noise(self) -> float:
        """Eta; where it is left open, 1 for `pc` and else 0."""
        return float(self.solver == "pc") if self.eta is None else self.eta

    @property
    def lacks(self) -> Mapping[str, str]:
        """A stochastic step, unless something is drawn between two evaluations; weights, unless by ancestral steps."""
        lacks = dict[str, str]()
        if self.solver != "ddim" or self.noise != 1:
            lacks["log_weights"] = "leave solver out and set eta to 1"
        if self.solver not in STOCHASTIC:
            lacks["stochastic_step"] = f"set solver to one of {', '.join(sorted(STOCHASTIC))}, not {self.solver}"
        elif self.levels == 1:
            lacks["stochastic_step"] = "set steps above 1: noise is drawn between two levels"
        elif self.eta == 0:
            lacks["stochastic_step"] = "set eta above 0"
        if evaluations(self.solver, self.levels) < 2:
            lacks["trajectory"] = "set steps above 1: one evaluation does not vary"
        return lacks

    def suited(self, needs: Collection[str]) -> Self:
        """With eta 1 where a method needs a stochastic step or weights and eta was left open; watched where needed."""
        drawn = self.solver in STOCHASTIC and not {"stochastic_step", "log_weights"}.isdisjoint(needs)
        chosen: dict[str, float] = {} if self.eta is not None else {"eta": 1.0 if drawn else self.noise}
        if self.watch is None and "trajectory" in needs:
            chosen["watch"] = SHARE
        return self.model_copy(update=chosen) if chosen else self

    @model_validator(mode="after")
    def _deterministic(self) -> Self:
        if self.eta and self.solver not in STOCHASTIC:
            raise ValueError(f"eta must be 0 or left out with solver {self.solver!r}, not {self.eta}")
        return self


class Guided(Sampler):
    """A sampler of a network that is told a condition."""

    guidance: float = Field(1.0, ge=0, le=20, description="Classifier-free guidance; 1 is none and costs half.")
    _factors: int = PrivateAttr(1)  # most laws whose product a method may sample: it sets no field, so it is none

    @property
    def evaluations(self) -> int:
        """Those of the solver, each of which is two when guided or for a method with targets of two factors."""
        return super().evaluations * (self._factors if self.guidance == 1 else 2)

    def suited(self, needs: Collection[str]) -> Self:
        """Ready for two factors, with and without the class, where a method needs weights."""
        suited = super().suited(needs).model_copy()
        suited._factors = 2 if "log_weights" in needs else 1
        return suited


class Levered(Sampler):
    """A sampler with the levers that may be searched, of a network of the digits' kind."""

    timesteps: Many[Level] | None = Field(
        None,
        min_length=1,
        max_length=MOST,
        description="The levels themselves, falling from 999 (noise) towards 0; `steps` is then their number. "
        "Left out: evenly spaced (`trailing`).",
    )
    skip_scales: Many[float] | None = Field(
        None,
        min_length=SKIPS,
        max_length=SKIPS,
        description="Skip-Tuning: coefficients of the network's skip connections at 14 x 14 and at 7 x 7; 1 is none.",
    )
    time_shift: int = Field(
        0,
        ge=0,
        le=LEVELS,
        description="Time-Shift, with ddim or euler: the network is asked at the level, of a window so wide around the "
        "row's own, whose noise has the row's variance; 0 is none.",
    )
    time_shift_above: int = Field(0, ge=0, lt=LEVELS, description="Time-Shift: it ends at this level.")
    dc_ratios: Many[float] | None = Field(
        None,
        max_length=MOST,
        description="DC-Solver, with unipc: a ratio for each output from the third on but the last; 1 is none.",
    )
    start: int | None = Field(
        None, ge=0, lt=2**32, description="Number of a start noise that all answers of all items share."
    )

    @property
    def lacks(self) -> Mapping[str, str]:
        """Weights too, where a lever is used."""
        used = [n for n in LEVERS if (f := type(self).model_fields.get(n)) and getattr(self, n) != f.default]
        weights = {"log_weights": f"leave {', '.join(used)} out"} if used else {}
        return {**weights, **super().lacks}

    def levers(self, guided: tuple[int, ...] | None = None) -> Levers:
        """As configured. guided: the ends of the interval with guidance."""
        return Levers(
            timesteps=self.timesteps or (),
            skip=self.skip_scales or (),
            shift=self.time_shift,
            above=self.time_shift_above,
            ratios=self.dc_ratios or (),
            guided=None if guided is None else (guided[0], guided[1]),
            start=self.start,
        )

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        """With as many steps as levels are listed."""
        if not isinstance(given, dict) or "steps" in given:
            return cast(Any, given)
        listed = cast(dict[str, Any], given).get("timesteps")
        return {**given, "steps": len(listed)} if isinstance(listed, list | tuple) and listed else given

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if (listed := self.timesteps) is None:
            return self
        if any(a <= b for a, b in pairwise(listed)):
            raise ValueError(f"timesteps must fall, each below the one before, not {list(listed)}")
        if self.steps != len(listed):
            raise ValueError(f"steps must be {len(listed)}, the number of timesteps, or left out, not {self.steps}")
        return self

    @model_validator(mode="after")
    def _levers(self) -> Self:
        """Each with the solver that has it."""
        if self.time_shift_above and not self.time_shift:
            raise ValueError("time_shift_above needs a time_shift above 0")
        if self.time_shift and self.solver not in ("ddim", "euler"):
            raise ValueError(f"time_shift takes solver ddim or euler, not {self.solver!r}")
        if (ratios := self.dc_ratios) is None:
            return self
        if self.solver != "unipc":
            raise ValueError(f"dc_ratios take solver unipc, not {self.solver!r}")
        if not 0 < len(ratios) == self.steps - UNTUNED:
            right = f"{self.steps - UNTUNED}, steps - {UNTUNED}" if self.steps > UNTUNED else "with 4 steps or more"
            raise ValueError(f"dc_ratios must be {right}, not {len(ratios)} with {self.steps} steps")
        return self
