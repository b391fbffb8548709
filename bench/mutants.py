"""How often HumanEval's suites accept a wrong program: reference solutions, and the same with one line changed.

    python -m bench.mutants [--mutants 4] [--problems 164] [--out FILE]

A mutant has one operator, comparison or constant changed, or returns None; which, the problem's key decides. Some
mean the same as the solution: the survivors of the strong suite (HumanEval's own) are an upper bound of its false
positives. The weak suite ends behind its first assertion. Intervals are Wilson's, at 95 %. Prints one JSON object.
"""

import argparse
import ast
import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from bench.printed import printed
from search import keys
from search.ports import Answer, Item, Score
from verifiers.program import ProgramAsserts, asserts
from verifiers.programs.humaneval import Problem, problems

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes(node: ast.AST) -> list[tuple[str, Any]]:
    """Fields of a node and what to put there in a mutant."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPPED:
        return [("op", _SWAPPED[type(node.op)]())]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPPED:
        return [("ops", [_SWAPPED[type(node.ops[0])](), *node.ops[1:]])]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [("value", not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return [("value", node.value + 1)]
    if isinstance(node, ast.Return) and node.value is not None:
        return [("value", ast.Constant(None))]
    return []


def mutants(problem: Problem, most: int) -> list[str]:
    """At most so many programs with one line changed, behind the problem's own helpers."""
    tree = ast.parse(problem.prompt + problem.solution)
    place = max(i for i, node in enumerate(tree.body) if getattr(node, "name", None) == problem.entry)
    sites = [(i, change) for i, node in enumerate(ast.walk(tree.body[place])) for change in changes(node)]
    order = keys.uniforms(keys.rows(keys.problem(0, problem.id), 0, 1), 0, len(sites))[0].argsort()
    out: list[str] = []
    for index in order[:most]:
        number, (name, value) = sites[index]
        changed = copy.deepcopy(tree)
        setattr(list(ast.walk(changed.body[place]))[number], name, value)
        out.append(ast.unparse(ast.fix_missing_locations(changed)))
    return out


def accepted(programs: Sequence[tuple[Problem, str]], suite: str) -> list[Score]:
    """Verdicts of one suite."""
    verifier = asserts(ProgramAsserts.model_validate({"suite": suite, "call_seconds": 10.0, "total_seconds": 20.0}))
    found: Any = verifier([Answer(text, Item(id=one.id, target=one.target)) for one, text in programs])
    return list(found)


def share(scores: Sequence[Score]) -> dict[str, Any]:
    """How many passed, of how many that were judged."""
    judged = [score for score in scores if score.value is not None]
    passed = sum(bool(score.passed) for score in judged)
    low, high = binomtest(passed, len(judged)).proportion_ci(method="wilson")
    return {
        "passed": passed,
        "of": len(judged),
        "share": round(passed / len(judged), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=4)
    parser.add_argument("--problems", type=int, default=164)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    chosen = list(problems().values())[: options.problems]
    right = [(one, one.solution) for one in chosen]
    wrong = [(one, text) for one in chosen for text in mutants(one, options.mutants)]
    found: dict[str, Any] = {"bench": "mutants", "problems": len(chosen), "mutants_each": options.mutants}
    for suite in ("weak", "strong"):
        started = time.perf_counter()
        scores = accepted(right, suite)
        found[suite] = {"solutions": share(scores), "mutants": share(accepted(wrong, suite))}
        found[suite]["failed"] = [
            f"{one.id}: {s.reason}" for (one, _), s in zip(right, scores, strict=True) if not s.passed
        ]
        found[suite]["seconds"] = round(time.perf_counter() - started, 1)
    printed(found, options.out)


if __name__ == "__main__":
    main()
