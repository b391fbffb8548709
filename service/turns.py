"""Names of streams, and whose turn it is: one a model, lane and share, so that every owner has a queue of its own."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
QUEUE = "winnow:q:"
LANES = ("interactive", "batch")
PATIENCE = 8
"""Looks after which one begins with what would else come last: nothing that never ends starves anything."""


def stream(model: str, lane: str, share: str = "") -> str:
    """Where the shards of a model wait. share: whose they are; every share has its turn."""
    return f"{QUEUE}{{{model}}}:{lane}{share and '@'}{share}"


def parts(name: str) -> tuple[str, str, str]:
    """Model, lane and share of a stream."""
    of, _, share = name.removeprefix(QUEUE).partition("@")
    model, _, lane = of.rpartition(":")
    return model.removeprefix("{").removesuffix("}"), lane, share


def queue(name: str) -> str:
    """A stream as people read it, its share left out: MODEL:LANE."""
    model, lane, _ = parts(name)
    return f"{model}:{lane}"


def rotated(values: Sequence[T], turn: int) -> list[T]:
    """The same, beginning at another one each turn."""
    start = turn % len(values) if values else 0
    return [*values[start:], *values[:start]]


def ordered(names: Iterable[str], models: Collection[str], held: Collection[str], turn: int) -> list[str]:
    """Streams in the order of a turn: interactive before batch, models already loaded first. No models: any.

    Models, and of each model the shares, take turns in being first. Every eighth turn the other lane comes first, and
    every eighth those models that are not loaded.
    """
    shares: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        model, lane, _ = parts(name)
        if not models or model in models:
            shares.setdefault((lane, model), []).append(name)
    order: list[str] = []
    for lane in LANES if turn % PATIENCE != PATIENCE - 1 else LANES[::-1]:
        mine = [model for where, model in shares if where == lane]
        loaded, others = ([model for model in mine if (model in held) is first] for first in (True, False))
        for group in (loaded, others) if turn % PATIENCE != PATIENCE // 2 else (others, loaded):
            for model in rotated(group, turn):
                order += rotated(shares[lane, model], turn // len(group))
    return order
