"""Configurations that say what things cost before anything heavy is loaded."""

from collections.abc import Collection, Mapping
from typing import Self

from pydantic import Field

from search.diversity import Variety
from search.ports import Config
from search.voting import Ballot


class ModelConfig(Config):
    """Base of a generator's configuration: known before the network is loaded."""

    @property
    def evaluations(self) -> int:
        """Network evaluations that one sample costs, at most."""
        return 1

    @property
    def tokens(self) -> int:
        """Tokens that one sample generates, at most; 0 for a model that counts none."""
        return 0

    @property
    def picture(self) -> tuple[int, int] | None:
        """Height and width of every answer that is an image, where they are known before it is drawn."""
        return None

    @property
    def shard(self) -> int | None:
        """Samples in one piece of work, at most, where evaluations do not tell how long they take."""
        return None

    @property
    def lacks(self) -> Mapping[str, str]:
        """Capabilities that the plug-in offers but this configuration has not, each with the remedy."""
        return {}

    def suited(self, needs: Collection[str]) -> Self:
        """This configuration with its open choices made for a method of these needs."""
        return self


class MethodConfig(Config):
    """Base of a search method's configuration: how much it draws for one item, and how that may be divided."""

    @property
    def samples(self) -> int:
        """Answers for each item, at most."""
        raise NotImplementedError

    @property
    def piece(self) -> int | None:
        """Samples that are one search and must stay together; None: any range of samples is a search of its own."""
        return self.samples

    @property
    def rule(self) -> str:
        """How an item's answer is chosen: `verifier`, `first_pass`, `diverse`, `pareto`, or a vote's name."""
        return "verifier"

    @property
    def ballot(self) -> Ballot | None:
        """How answers vote for their canonical form; None where the rule is no vote."""
        return None

    @property
    def stops(self) -> str | None:
        """Why a search may end before it has drawn all samples: `target_reached` or `converged`; None: it may not."""
        return None

    @property
    def extends(self) -> str | None:
        """The field that counts independent answers or searches, to which later ones can be added; None: none does."""
        return None

    @property
    def variety(self) -> Variety | None:
        """How the answers that `diverse` selects should differ; None for every other rule."""
        return None

    @property
    def trajectories(self) -> float:
        """Whole trajectories' worth of evaluations for one item, at most."""
        return float(self.samples)

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that this configuration needs beside those of its plug-in."""
        return frozenset()

    @property
    def exponents(self) -> tuple[float, ...] | None:
        """Powers of the models whose product is sampled; None: the model itself."""
        return None

    def verdicts(self, steps: int) -> int:
        """Answers and previews to be scored for one row of `steps` steps, at most."""
        return 1


class Independent(MethodConfig):
    """Base of methods that draw n answers, each a search of its own."""

    n: int = Field(4, ge=1, le=1_000_000, description="Answers for each item.")

    @property
    def samples(self) -> int:
        """Independent answers."""
        return self.n

    @property
    def piece(self) -> None:
        """Any range of answers is a search."""
        return None

    @property
    def extends(self) -> str:
        """More answers."""
        return "n"
