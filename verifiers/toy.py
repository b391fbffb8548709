"""Closed-form rewards for the toy generators: with them every search has an exact answer to be tested against."""

from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Score, Verifier
from verifiers.each import Unreadable, each, finite, number, numbers, symbols


class Linear(Config):
    """slope * x + intercept."""

    slope: float = Field(default=1.0, description="Reward per unit of the answer.")
    intercept: float = Field(default=0.0, description="Reward of the answer 0.")


class Quadratic(Config):
    """-(x - center)^2 / (2 scale^2)."""

    center: float = Field(default=0.0, description="The answer with the highest reward, 0.")
    scale: float = Field(default=1.0, gt=0, description="Distance from the center at which the reward is -1/2.")


class Ones(Config):
    """weight * number of ones."""

    weight: float = Field(default=1.0, description="Reward of each one.")


class Count(Config):
    """weight * occurrences of a symbol."""

    symbol: int | str = Field(description="What is counted; 1 and '1' are the same symbol.")
    weight: float = Field(default=1.0, description="Reward of each occurrence.")


@plugin(version="1")
def linear(config: Linear) -> Verifier:
    """r(x) = slope x + intercept of a number x."""
    return numbers(
        lambda x: config.slope * x + config.intercept,
        lambda answer: Score(finite(config.slope * number(answer.value) + config.intercept)),
    )


@plugin(version="1")
def quadratic(config: Quadratic) -> Verifier:
    """r(x) = -(x - center)^2 / (2 scale^2) of a number x."""

    def judge(answer: Answer) -> Score:
        z = (number(answer.value) - config.center) / config.scale
        return Score(finite(-z * z / 2))  # a product overflows to inf, where ** would raise

    return numbers(lambda x: -(((x - config.center) / config.scale) ** 2) / 2, judge)


@plugin(version="1")
def ones(config: Ones) -> Verifier:
    """r(x) = weight * (number of ones) of bits, as "0110" or [0, 1, 1, 0]. Votes as "0110"."""

    def judge(answer: Answer) -> Score:
        bits = symbols(answer.value)
        if strange := set(bits) - {"0", "1"}:
            raise Unreadable(f"expected only 0 and 1, found {min(strange)[:20]!r}")
        return Score(finite(config.weight * bits.count("1")), canonical="".join(bits) or None)

    return each(judge)


@plugin(version="1")
def count(config: Count) -> Verifier:
    """r(x) = weight * (occurrences of symbol) in a string or a list of symbols. Votes as the symbols, comma between."""

    def judge(answer: Answer) -> Score:
        found = symbols(answer.value)
        return Score(finite(config.weight * found.count(str(config.symbol))), canonical=",".join(found) or None)

    return each(judge)
