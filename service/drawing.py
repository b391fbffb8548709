"""`items_from`: a job's items drawn from a task when it is submitted, so that the stored job holds all that it needs.

The library is heavy and some of its tasks are slow, so a process of their own draws them, and only when one is named.
"""

import json
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pydantic import JsonValue

from search.plugins import Unknown
from search.ports import Item, Message
from service.catalog import Invalid
from service.processes import Pool
from service.spec import ItemsFrom, JobSpec
from verifiers.each import Unreadable
from verifiers.gym import dataset
from verifiers.patience import patience
from verifiers.programs import humaneval

SECONDS = 60.0
"""Of processor time, to draw the items of one job."""
DRAWING = Pool(1)


def drawn(spec: JobSpec) -> JobSpec:
    """The same job with items in place of `items_from`. Raises Invalid, with the valid tasks for an unknown one."""
    if (asked := spec.items_from) is None:
        return spec
    pool = DRAWING.get()
    try:
        found = pool.submit(_entries, asked.model_dump_json()).result()
    except BrokenProcessPool:
        DRAWING.drop(pool)
        found = {"msg": f"the process that drew items of {asked.task!r} died"}
    if isinstance(found, dict):
        raise Invalid([{"loc": ["items_from", "task" if "valid" in found else "config"], **found}])
    items = tuple(item(asked, entry, found[asked.count :]) for entry in found[: asked.count])
    return JobSpec.model_validate({**dict(spec), "items_from": None, "items": items})


def item(asked: ItemsFrom, entry: dict[str, Any], examples: Sequence[dict[str, Any]]) -> Item:
    """One item: its question behind the examples. Its target is what the verifier `reasoning_gym` needs."""
    if "target" in entry:  # a source that makes its items whole
        said = (Message(role="user", content=entry["asked"]),) if asked.chat else ()
        return Item(
            id=entry["id"], prompt="" if asked.chat else entry["question"], messages=said, target=entry["target"]
        )
    number = entry["index"]
    target: JsonValue = {"task": asked.task, "seed": asked.seed, "config": asked.config, **entry}
    assert isinstance(target, dict)
    question = target.pop("question")
    name = f"{asked.task}-{asked.seed}-{number}"
    if asked.chat:
        turns: list[Message] = []
        for one in examples:
            turns.append(Message(role="user", content=str(one["question"])))
            turns.append(Message(role="assistant", content=str(one["answer"])))
        turns.append(Message(role="user", content=str(question)))
        return Item(id=name, messages=tuple(turns), target=target)
    if examples:
        shown = "".join(f"Q: {one['question']}\nA: {one['answer']}\n\n" for one in examples)
        return Item(id=name, prompt=f"{shown}Q: {question}\nA:", target=target)
    return Item(id=name, prompt=str(question), target=target)


def _entries(request: str) -> list[dict[str, Any]] | dict[str, Any]:
    """Items of a task and then its examples, in plain JSON; or what is wrong. Runs in a process of its own."""
    asked = ItemsFrom.model_validate_json(request)
    try:
        with patience(SECONDS):
            return entries(asked)
    except Unknown as unknown:
        return {"msg": str(unknown), "valid": unknown.valid}
    except Unreadable:
        return {"msg": f"{asked.count} items of {asked.task!r} take more than {SECONDS:g} s; ask for fewer"}
    except Exception as error:  # a task fails in its own way at settings that it does not bear
        return {"msg": str(error)[:500] if isinstance(error, ValueError | ImportError) else repr(error)[:500]}


def entries(asked: ItemsFrom) -> list[dict[str, Any]]:
    """`count` items and `shots` examples behind them. Raises Unknown, ImportError or ValueError."""
    if asked.task == humaneval.TASK:
        return humaneval.entries(asked.count, asked.seed, asked.shots, asked.config)
    try:
        source = dataset(asked.task, size=asked.count + asked.shots, seed=asked.seed, **asked.config)
    except Unknown as unknown:
        raise Unknown("task", asked.task, sorted([*unknown.valid, humaneval.TASK])) from None
    found: list[dict[str, Any]] = []
    for index in range(asked.count + asked.shots):
        entry = source[index]
        try:
            plain = json.loads(json.dumps(entry, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"items of {asked.task!r} cannot be written as JSON: {error}") from error
        if index == 0 and source.score_answer(entry["answer"], plain) != source.score_answer(entry["answer"], entry):
            raise ValueError(f"items of {asked.task!r} are scored otherwise once they were written as JSON")
        found.append({key: plain[key] for key in ("question", "answer", "metadata")} | {"index": index})
    if asked.shots and any(one["answer"] is None for one in found[asked.count :]):
        raise ValueError(f"the task {asked.task!r} shows no answers; valid here: 0 shots")
    return found
