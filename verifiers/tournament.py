"""Answers of one item against each other, by a language model that sees every pair in both orders.

A judge prefers what it reads first, or last (Wang et al. 2023, arXiv 2305.17926): a preference that turns with the
order is none, and counts half for each.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal

import httpx
import numpy as np
from pydantic import Field

from search import endpoints
from search.plugins import plugin
from search.ports import Answer, Floats, Frozen, Score, Verifier, unscored
from verifiers.asking import Unanswered, client
from verifiers.each import Unreadable, text
from verifiers.judge import Asked, ask, material

TASK = "Two answers to one question follow. Say which is better."


class Pairwise(Asked):
    """A tournament."""

    opponents: int | None = Field(
        None, ge=1, le=1000, description="Others that each answer meets, at least (about half a round); None: all."
    )
    ranking: Literal["win_rate", "bradley_terry"] = Field(
        "win_rate", description="win_rate: mean result; bradley_terry: strength by the model of that name."
    )


class Preferred(Frozen):
    """The judge's reply."""

    reasoning: str = Field(max_length=100_000)
    better: Literal["first", "second", "tie"]


def pairs(n: int, opponents: int | None) -> list[tuple[int, int]]:
    """Who meets whom: all pairs, or a ring in which everybody meets the next few, so that all are connected."""
    reach = n // 2 if opponents is None else min(n // 2, -(-opponents // 2))
    return sorted(
        {(min(i, j), max(i, j)) for i in range(n) for d in range(1, reach + 1) for j in [(i + d) % n] if i != j}
    )


def win_rates(wins: Floats) -> Floats:
    """Mean result of each, float64 [n], from wins [n, n] (i over j; nan where they have not met); nan without any."""
    met = ~np.isnan(wins)
    return np.where(met.any(1), np.nansum(wins, 1) / np.maximum(met.sum(1), 1), np.nan)


def strengths(wins: Floats, rounds: int = 200) -> Floats:
    """Bradley-Terry: P(i beats j) = p_i / (p_i + p_j); the chance against strength 1, float64 [n], nan as above.

    By minorisation-maximisation (Hunter 2004, Annals of Statistics 32), with half a win and half a loss against
    strength 1 for everybody, so that who wins everything has a finite strength too.
    """
    met = ~np.isnan(wins)
    won = np.nansum(wins, 1) + 0.5
    p = np.ones(len(wins))
    for _ in range(rounds):
        against = np.where(met, 1 / (p[:, None] + p[None, :]), 0).sum(1) + 1 / (p + 1)
        p = won / against
    return np.where(met.any(1), p / (1 + p), np.nan)


@plugin(version="1", together=True)
def pairwise(config: Pairwise) -> Verifier:
    """Standing in a tournament of the item's answers, 0 to 1. Does not vote, and passes nothing by itself."""

    async def met(opened: httpx.AsyncClient, one: Answer, first: str, second: str) -> float:
        """1 where the first is better, 0 where the second is, 1/2 for a tie; nan without a reply."""
        try:
            found = await ask(opened, config, Preferred, TASK, material(config, one.item, first=first, second=second))
        except (Unanswered, Unreadable):
            return np.nan
        return {"first": 1.0, "second": 0.0, "tie": 0.5}[found.better]

    async def one_item(opened: httpx.AsyncClient, answers: Sequence[Answer]) -> list[Score]:
        said = [_text(answer) for answer in answers]
        texts = sorted({words for words in said if words is not None})  # equal answers stand as one
        wins = np.full((len(texts), len(texts)), np.nan)
        meetings = pairs(len(texts), config.opponents)
        orders = [(i, j) for a, b in meetings for i, j in ((a, b), (b, a))]
        results = await asyncio.gather(*(met(opened, answers[0], texts[i], texts[j]) for i, j in orders))
        for (a, b), there, back in zip(meetings, results[::2], results[1::2], strict=True):
            if not np.isnan(there + back):
                wins[a, b] = there if there == 1 - back else 0.5
                wins[b, a] = 1 - wins[a, b]
        rank = win_rates if config.ranking == "win_rate" else strengths
        value = dict(zip(texts, rank(wins).tolist(), strict=True))
        return [_scored(words, value, len(texts)) for words in said]

    async def verify(answers: Sequence[Answer]) -> Sequence[Score]:
        places: dict[str, list[int]] = {}
        for i, answer in enumerate(answers):
            places.setdefault(answer.item.model_dump_json(), []).append(i)
        async with client(endpoints.endpoint(config.endpoint)) as opened:
            groups = await asyncio.gather(*(one_item(opened, [answers[i] for i in mine]) for mine in places.values()))
        found = {
            i: score
            for mine, group in zip(places.values(), groups, strict=True)
            for i, score in zip(mine, group, strict=True)
        }
        return [found[i] for i in range(len(answers))]

    return verify


def _text(answer: Answer) -> str | None:
    try:
        return text(answer.value)
    except Unreadable:
        return None


def _scored(words: str | None, value: dict[str, float], n: int) -> Score:
    if words is None:
        return unscored("expected text or a number of bearable size")
    if n == 1:
        return unscored("there is no other answer to compare it with")
    if np.isnan(value[words]):
        return unscored("the judge gave no usable reply on any of its pairs")
    return Score(value[words])
