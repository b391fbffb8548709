"""The verifier that judges nothing: for jobs that only draw, or only vote."""

import json

from search.plugins import plugin
from search.ports import Answer, Config, Score, Verifier
from verifiers.each import LIMIT, Unreadable, each, right, text


class Anything(Config):
    """No fields."""


@plugin(version="1")
def anything(config: Anything) -> Verifier:
    """Every answer passes with value 1, and votes as its text without the white space around it."""

    def judge(answer: Answer) -> Score:
        try:
            said = text(answer.value).strip()
        except Unreadable:
            said = plain(answer.value)
        return right(said or None)

    return each(judge)


def plain(value: object) -> str:
    """JSON of what is no text; nothing for what is no JSON or too long to vote."""
    try:
        said = json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""
    return said if len(said) <= LIMIT and said.isascii() else ""
