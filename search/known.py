"""What judges have said before: an identical answer to the same item is scored once."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import numpy as np

from search.answers import numbers
from search.ports import Answer, Item, Score

Content = Hashable


def content(value: Any) -> Content:
    """What makes two answers identical: type and value, or their digest, so that pictures take no room.

    None: not comparable, never identical.
    """
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(cast(Any, value))
        return (array.shape, array.dtype.str, blake2b(array.data, digest_size=16).digest())
    if isinstance(value, list | dict):
        return ("json", short(repr(cast(Any, value))))
    if isinstance(value, str):
        return ("text", short(value))
    return (type(value), value) if isinstance(value, int | float) else None


def named(answer: Answer) -> Content:
    """The content of an answer, with what else verifiers see of it."""
    told = content(answer.value)
    return told if answer.trajectory_variance is None or told is None else (told, repr(answer.trajectory_variance))


def short(text: str) -> Content:
    """The text, or its digest where that is shorter."""
    return text if len(text) < 64 else blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def worth(answers: Sequence[Answer]) -> bool:
    """Whether to look: numbers with a fraction hardly ever repeat, and judging one costs less than remembering it."""
    return numbers(answers) is None


class Looked(NamedTuple):
    """Each answer's content and, where it is known, its score; the answers still to be asked, by content."""

    names: list[Content]
    scores: dict[Content, Score]
    missing: dict[Content, Answer]


@dataclass
class Known:
    """Scores by judge and item, of at most `most` answers; the items asked about longest ago are forgotten first."""

    most: int = 100_000
    held: int = 0
    items: OrderedDict[Hashable, dict[Content, Score]] = field(
        default_factory=OrderedDict[Hashable, dict[Content, Score]]
    )

    def look(self, judge: Hashable, answers: Sequence[Answer]) -> Looked:
        """What is known of some answers to one item."""
        names: list[Content] = [named(answer) or ("alone", i) for i, answer in enumerate(answers)]
        known = self.items.get(_place(judge, answers[0].item), {})
        scores = {name: known[name] for name in names if name in known} if known else {}
        missing = {name: answer for name, answer in zip(names, answers, strict=True) if name not in scores}
        return Looked(names, scores, missing)

    def learn(self, judge: Hashable, item: Item, new: dict[Content, Score]) -> None:
        """Keep scores. Unscored answers are asked again: a verifier may have been out of order."""
        place = _place(judge, item)
        mine = self.items.setdefault(place, {})
        self.items.move_to_end(place)
        before = len(mine)
        mine.update({name: score for name, score in new.items() if score.value is not None and name[0] != "alone"})  # type: ignore[index]
        self.held += len(mine) - before
        while self.held > self.most:
            self.held -= len(self.items.popitem(last=False)[1])


def _place(judge: Hashable, item: Item) -> Hashable:
    pictures = short(item.image), short(item.mask)
    return judge, item.id, item.prompt, item.messages, repr(item.target), pictures
