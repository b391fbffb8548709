"""Language models that score answers on this machine: reward models, process reward models, and likelihood.

Weights come from a directory or a hub name that the operator allows, as safetensors; code of a repository is never run.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from search.plugins import plugin
from search.ports import Answer, Config, Floats, Item, Score, Verifier, unscored
from verifiers.each import Unreadable, text
from verifiers.loading import MODELS, Dtype, Named, network, reader

ROOM = 2**28  # numbers of the logits of one call, at most: a gigabyte
_PLACE = "f3c1d6b0a94e"


class Model(Config):
    """A model of transformers."""

    path: Named = Field(description=f"Directory of a model, or its name on the hub: one of those in {MODELS}.")
    dtype: Dtype = Field("float32", description="Precision of the network.")
    batch: int = Field(16, ge=1, le=1024, description="Answers in one call of the network.")
    longest: int = Field(4096, ge=8, le=1_000_000, description="Tokens of question and answer; longer is unscored.")


class Reward(Model):
    """A model with one number for question and answer."""

    label: int = Field(0, ge=0, description="Which of the model's outputs is the reward.")


class Process(Model):
    """A model with a number for each token, read at the end of each step."""

    step: str = Field("\n\n", min_length=1, max_length=100, description="What separates the steps of an answer.")
    label: int = Field(-1, description="Which output says that a step is right; -1 is the last.")
    reduce: Literal["min", "last", "product"] = Field("min", description="How the steps' chances become one value.")


class Perplexity(Model):
    """A model that has not written the answers."""


class Tokens(NamedTuple):
    """One text for the network. ends: places after which something is read."""

    ids: list[int]
    ends: list[int]


def loaded(kind: str, path: str, dtype: str) -> tuple[Any, Any]:
    """Network, on the first GPU if there is one, and tokenizer. Raises OSError, with the remedy, without the model."""
    return network(kind, path, dtype=dtype), reader("AutoTokenizer", path)


def forward(net: Any, batch: Sequence[Sequence[int]]) -> list[Any]:
    """The network's logits of each row, tensors [its tokens or 1, outputs] in float32.

    Padded on the right behind a mask, so that no row sees another's length; a classifier finds a row's last
    token by that of padding. A classifier gives one row of logits.
    """
    import torch

    width = max(map(len, batch))
    ids = torch.full((len(batch), width), net.config.pad_token_id or 0, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    with torch.inference_mode():
        logits: Any = net(input_ids=ids.to(net.device), attention_mask=mask.to(net.device)).logits.float()
    return [rows[: len(row)] if rows.ndim == 2 else rows[None] for rows, row in zip(logits, batch, strict=True)]


def asked(tokenizer: Any, item: Item) -> list[int]:
    """Tokens of what was asked: the chat template for a conversation, the prompt as it is."""
    if not item.messages:
        return list(tokenizer(item.prompt)["input_ids"]) if item.prompt else []
    if tokenizer.chat_template is None:
        raise Unreadable("the model has no chat template for the item's conversation")
    turns = [turn.model_dump() for turn in item.messages]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False))


def words(tokenizer: Any, said: str) -> list[int]:
    """Tokens of an answer by itself. What looks like a token of control in it is plain text."""
    return list(tokenizer(said, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def closed(tokenizer: Any, item: Item) -> list[int]:
    """Tokens that end an answer: those that the chat template puts behind it; none behind a plain prompt."""
    if not item.messages:
        return []
    turns = [*(turn.model_dump() for turn in item.messages), {"role": "assistant", "content": _PLACE}]
    whole: str = tokenizer.apply_chat_template(turns, tokenize=False)
    return list(tokenizer(whole.rpartition(_PLACE)[2], add_special_tokens=False)["input_ids"])


def fitting(lengths: Sequence[int], outputs: int) -> int:
    """How many of the last of these rising lengths go into one call, at least one."""
    return max(1, min(len(lengths), ROOM // (lengths[-1] * outputs)))


def batched(config: Model, tokens: Any, read: Any, net: Any, read_all: bool = False) -> Verifier:
    """A verifier that reads off a network. tokens: Answer -> Tokens, or Unreadable. read: (logits, Tokens) -> Score.

    read_all: the network gives a number for every token of its vocabulary.
    """

    def one(answer: Answer) -> Tokens | Score:
        try:
            found: Tokens = tokens(answer)
        except Unreadable as error:
            return unscored(str(error))
        if not found.ids or not found.ends:
            return unscored("there is nothing to score")
        if len(found.ids) > config.longest:
            return unscored(f"question and answer have {len(found.ids)} tokens; at most {config.longest} are scored")
        return found

    outputs = max(net.config.num_labels, net.config.vocab_size if read_all else 0)

    def verify(answers: Sequence[Answer]) -> list[Score]:
        found = [one(answer) for answer in answers]
        out = {i: score for i, score in enumerate(found) if isinstance(score, Score)}
        texts = {i: text for i, text in enumerate(found) if isinstance(text, Tokens)}
        waiting = sorted(texts, key=lambda i: len(texts[i].ids))  # rows of like length share a call
        while waiting:
            size = fitting([len(texts[i].ids) for i in waiting[-config.batch :]], outputs)
            block, waiting = waiting[-size:], waiting[:-size]
            for i, logits in zip(block, forward(net, [texts[i].ids for i in block]), strict=True):
                score = read(logits, texts[i])
                out[i] = score if np.isfinite(score.value) else unscored(f"the network gave {score.value}")
        return [out[i] for i in range(len(answers))]

    return verify


@plugin(version="1", place="device")
def reward_model(config: Reward) -> Verifier:
    """The reward of a sequence classification model for question and answer."""
    net, tokenizer = loaded("AutoModelForSequenceClassification", config.path, config.dtype)
    if config.label >= net.config.num_labels:
        raise ValueError(f"label {config.label}: the model has {net.config.num_labels} outputs, from 0 on")
    if net.config.pad_token_id is None:
        net.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def tokens(answer: Answer) -> Tokens:
        said = words(tokenizer, text(answer.value))
        ids = [*asked(tokenizer, answer.item), *said, *closed(tokenizer, answer.item)]
        return Tokens(ids, [len(ids)])

    def read(logits: Any, _: Tokens) -> Score:
        return Score(float(logits[0, config.label]))

    return batched(config, tokens, read, net)


@plugin(version="1", place="device")
def process_reward(config: Process) -> Verifier:
    """One value from the chances that an answer's steps are right, token by token (Lightman et al. 2023)."""
    net, tokenizer = loaded("AutoModelForTokenClassification", config.path, config.dtype)
    if not -1 <= config.label < net.config.num_labels:
        raise ValueError(f"label {config.label}: the model has {net.config.num_labels} outputs, from 0 on")

    def tokens(answer: Answer) -> Tokens:
        ids, ends = asked(tokenizer, answer.item), list[int]()
        steps = [step for step in text(answer.value).split(config.step) if step.strip()]
        for step in steps:
            ids = ids + words(tokenizer, step + config.step)
            ends.append(len(ids))
        return Tokens(ids, ends)

    def read(logits: Any, found: Tokens) -> Score:
        rows = logits[[end - 1 for end in found.ends]]
        rows = rows.sigmoid() if rows.shape[1] == 1 else rows.softmax(1)
        chances: Floats = rows[:, config.label].double().cpu().numpy()
        value = {"min": chances.min(), "last": chances[-1], "product": chances.prod()}[config.reduce]
        return Score(float(value), None, f"{len(chances)} steps, the least is {chances.min():.3g}")

    return batched(config, tokens, read, net)


@plugin(version="1", place="device")
def perplexity(config: Perplexity) -> Verifier:
    """Mean log-probability of the answer's tokens given the question, in nats: minus the log of the perplexity."""
    net, tokenizer = loaded("AutoModelForCausalLM", config.path, config.dtype)

    def tokens(answer: Answer) -> Tokens:
        before = asked(tokenizer, answer.item)
        if not before:
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            before = [] if start is None else [start]
        ids = before + words(tokenizer, text(answer.value))
        return Tokens(ids, list(range(max(1, len(before)), len(ids))))

    def read(logits: Any, found: Tokens) -> Score:
        import torch

        ends = torch.tensor(found.ends, device=logits.device)
        next_ids = torch.tensor(found.ids, device=logits.device)[ends]
        chances = logits[ends - 1].log_softmax(1).gather(1, next_ids[:, None])
        return Score(float(chances.mean()), None, f"{len(found.ends)} tokens")

    return batched(config, tokens, read, net, read_all=True)
