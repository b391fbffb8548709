"""Ended jobs as replies in OpenAI's spelling."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.api.doors.requests import Asked, Chat
from service.views import CandidateView, ItemView, JobView
from service.views.doors import (
    ChatChoice,
    ChatCompletion,
    ChatLogprobs,
    Finish,
    Found,
    Searched,
    Spoken,
    TextChoice,
    TextCompletion,
    TextLogprobs,
    TokenLogprob,
    Tokens,
)


class Unanswered(Exception):
    """There is no answer to reply with. status: 422 when the search accepted none, 502 when none could be had."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        self.status, self.code = status, code
        super().__init__(reason)


def seed_of(name: str) -> int:
    """A seed that follows from a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


@dataclass(frozen=True)
class Ended:
    """A job that has ended, or those of its items that answer one request."""

    job: JobView
    items: Sequence[ItemView]
    part: str = ""  # of a job that answers many requests

    @property
    def name(self) -> str:
        """Of the reply."""
        return self.job.id + self.part

    def usage(self) -> Tokens | None:
        """Tokens of everything drawn; None where some were not reported, or none are counted."""
        read, said = (sum(getattr(i, name) for i in self.items) for name in ("prompt_tokens", "tokens"))
        if any(item.unreported for item in self.items) or not said:
            return None
        return Tokens(prompt_tokens=read, completion_tokens=said, total_tokens=read + said)

    def chosen(self) -> list[tuple[ItemView, CandidateView]]:
        """Every returned answer, item by item, best first. Raises Unanswered."""
        for item in self.items:
            if not item.best:
                raise unanswered(self.job, item)
        return [(item, best) for item in self.items for best in item.best]

    def searched(self) -> list[Searched]:
        """How each item's answers were found."""
        return [
            Searched(
                job=self.job.id,
                drawn=item.drawn,
                lost=item.lost,
                evaluations=item.evaluations,
                stop_reason=item.stop_reason,
                returned=[
                    Found(
                        sample=best.sample,
                        seed=best.seed,
                        scores={score.name: score.value for score in best.scores},
                        grades={score.name: score.value for score in best.grades},
                    )
                    for best in item.best
                ],
            )
            for item in self.items
        ]


def unanswered(job: JobView, item: ItemView) -> Unanswered:
    """Why an item has no answer."""
    if item.state == "cancelled" or job.state == "cancelled":
        return Unanswered(409, "cancelled", f"the job {job.id} was cancelled")
    if item.error is not None:
        return Unanswered(502, "failed", f"no answer could be had: {item.error}")
    drawn = f"{item.drawn} answers were drawn" + (f", {item.stop_reason} ended the search" if item.stop_reason else "")
    missing = f" ({job.counts.unscored} verdicts are missing: its candidates say why)" if job.counts.unscored else ""
    return Unanswered(422, "none_accepted", f"{drawn}, and the verifiers accept none; see job {job.id}{missing}")


def said(answer: CandidateView) -> str:
    """An answer as text: JSON where it is none, a picture's address."""
    value: Any = answer.answer
    if answer.artifact is not None:
        return f"/v1/artifacts/{answer.artifact}"
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return value["text"]
    return value if isinstance(value, str) else json.dumps(value)


def finish(asked: Asked, answer: CandidateView) -> Finish:
    """Whether the answer ended by itself."""
    value: Any = answer.answer
    if isinstance(value, dict) and value.get("finish_reason") in ("stop", "length"):
        return value["finish_reason"]
    most = asked.settings().get("max_tokens")
    return "length" if most is not None and answer.tokens is not None and answer.tokens >= most else "stop"


def logprobs(answer: CandidateView) -> list[tuple[str, float]] | None:
    """(token, log-probability) of an answer that has them."""
    value: Any = answer.answer
    found: Any = value.get("logprobs") if isinstance(value, dict) else None
    return None if found is None else [(str(token), float(number)) for token, number in found]


def created(ended: Ended) -> int:
    """Unix seconds."""
    return int(ended.job.created_at)


def chat(asked: Asked, ended: Ended) -> ChatCompletion:
    """Reply to a chat request. Raises Unanswered."""
    return ChatCompletion(
        id=f"chatcmpl-{ended.name}",
        created=created(ended),
        model=asked.model,
        choices=[
            ChatChoice(
                index=i,
                message=Spoken(content=said(best)),
                logprobs=_chat_logprobs(best),
                finish_reason=finish(asked, best),
            )
            for i, (_, best) in enumerate(ended.chosen())
        ],
        usage=ended.usage(),
        search=ended.searched()[0],
    )


def _chat_logprobs(answer: CandidateView) -> ChatLogprobs | None:
    if (found := logprobs(answer)) is None:
        return None
    told = [TokenLogprob(token=token, logprob=number, bytes=list(token.encode())) for token, number in found]
    return ChatLogprobs(content=told)


def text(asked: Asked, ended: Ended) -> TextCompletion:
    """Reply to a completion request: `n` choices for each prompt, in order. Raises Unanswered."""
    places = {item.number: place for place, item in enumerate(ended.items)}
    taken = [0] * len(places)
    choices: list[TextChoice] = []
    for item, best in ended.chosen():
        place = places[item.number]
        index = place * asked.n + taken[place]
        taken[place] += 1
        choices.append(
            TextChoice(index=index, text=said(best), logprobs=_text_logprobs(best), finish_reason=finish(asked, best))
        )
    return TextCompletion(
        id=f"cmpl-{ended.name}",
        created=created(ended),
        model=asked.model,
        choices=choices,
        usage=ended.usage(),
        search=ended.searched(),
    )


def _text_logprobs(answer: CandidateView) -> TextLogprobs | None:
    if (found := logprobs(answer)) is None:
        return None
    tokens, numbers = [token for token, _ in found], [number for _, number in found]
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    return TextLogprobs(tokens=tokens, token_logprobs=numbers, text_offset=offsets)


def reply(asked: Asked, ended: Ended) -> ChatCompletion | TextCompletion:
    """To either. Raises Unanswered."""
    return chat(asked, ended) if isinstance(asked, Chat) else text(asked, ended)


def chunks(asked: Asked, whole: ChatCompletion | TextCompletion) -> Iterator[dict[str, Any]]:
    """A reply as the pieces of a stream. A search knows its answer when it has ended: each comes whole."""
    value = whole.model_dump(mode="json")
    told = asked.stream_options is not None and asked.stream_options.include_usage
    head = {name: value[name] for name in ("id", "created", "model")} | ({"usage": None} if told else {})
    spoken = isinstance(whole, ChatCompletion)
    head["object"] = "chat.completion.chunk" if spoken else "text_completion"
    last = len(value["choices"]) - 1
    for i, choice in enumerate(value["choices"]):
        end = {"search": value["search"]} if i == last else {}
        if not spoken:
            yield head | {"choices": [choice]} | end
            continue
        at = {"index": choice["index"], "finish_reason": None}
        delta = {"role": "assistant", "content": choice["message"]["content"]}
        yield head | {"choices": [at | {"delta": delta, "logprobs": choice["logprobs"]}]}
        yield head | {"choices": [at | {"delta": {}, "finish_reason": choice["finish_reason"]}]} | end
    if told:
        yield head | {"choices": [], "usage": value["usage"]}
