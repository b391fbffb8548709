"""reasoning-gym's own scores, and that no answer and no item is ever run as code."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from search.ports import Answer, Item, Score

pytestmark = pytest.mark.skipif(not find_spec("reasoning_gym"), reason="NOT TESTED: reasoning-gym is not installed")

from service.catalog import Invalid  # noqa: E402
from service.drawing import drawn, entries, item  # noqa: E402
from service.spec import ItemsFrom, JobSpec  # noqa: E402
from verifiers.gym import ReasoningGym, harmless, literal, reasoning_gym  # noqa: E402


def items(task: str, count: int = 2, shots: int = 0, **more) -> list[Item]:
    asked = ItemsFrom(task=task, count=count, shots=shots, **more)
    found = entries(asked)
    return [item(asked, entry, found[count:]) for entry in found[:count]]


def score(value, one: Item, **config) -> Score:
    return reasoning_gym(ReasoningGym(**config))([Answer(value, one)])[0]


TASKS = [
    "lcm",
    "gcd",
    "letter_counting",
    "count_bits",
    "countdown",
    "puzzle24",
    "simple_integration",
    "bitwise_arithmetic",
    "polynomial_multiplication",
    "number_sorting",
    "spiral_matrix",
    "n_queens",
    "string_insertion",
]


@pytest.mark.parametrize("task", TASKS)
def test_the_oracle_passes_and_another_answer_does_not(task):
    for one in items(task):
        assert score(one.target["answer"], one)[:2] == (1.0, True)
        assert score("no idea", one).passed is False


def test_where_the_answer_stands():
    (one,) = items("lcm", 1)
    right = one.target["answer"]
    for said in (f"So <answer>{right}</answer> it is", rf"\boxed{{{right}}}", f"  {right}\n"):
        assert score(said, one) == Score(1.0, True, None, right)
    assert score(f"It is {right}", one).passed is False  # the task gives a part of a point, which is no pass
    assert score(f"It is {right}", one, pattern=r"\d+").passed
    assert score("none", one, pattern=r"\d+") == Score(0.0, False, "no answer found")


@pytest.mark.parametrize(
    "value",
    ["1 2", "12.0", "\uff11\uff12", "", "\u202e21", "12\u200b", "Not 12. 12", r"\boxed{1}\boxed{12}"],
)
def test_formatting_does_not_fool_it(value):
    """Only the answer itself passes, or the last \\boxed{} that holds it."""
    (one,) = items("lcm", 1)
    one = one.model_copy(update={"target": {**one.target, "answer": "12"}})
    assert bool(score(value, one).passed) == value.endswith(r"\boxed{12}")


def test_no_answer_and_no_item_is_run(tmp_path):
    mark = tmp_path / "mark"
    attack = f"__import__('pathlib').Path('{mark}').touch()"
    for task in [*TASKS, "binary_matrix", "intermediate_integration"]:
        (one,) = items(task, 1)
        score(attack, one)
        score(f"[{attack}]", one)
        for name in ("answer", "integrand", "problem"):
            target = {**one.target, "answer": attack} if name == "answer" else one.target
            target = {**target, "metadata": {**target["metadata"], name: attack}}
            score("[1, 2]", one.model_copy(update={"target": target}))
            score("x", one.model_copy(update={"target": target}))
    assert not mark.exists()


def test_what_is_harmless():
    assert all(map(harmless, ["x**2/3 + sin(x) + C", "(3 + 5)*2 - 1", "2*x", "exp(-x)", ""]))
    assert not any(
        map(harmless, ["__import__('os')", "x.subs(1)", "().__class__", "lambda: 1", "open('a')", "x[0]", "'a'*9"])
    )
    assert literal("(0xa + 0x1) << 3") == 88
    for text in ("0x1.__class__", "0x1**9", "open('a')", "0x1 << 9999", "0x1 << 0xffffffff", "0x1 << (0xff)"):
        with pytest.raises((ValueError, SyntaxError)):
            literal(text)


def test_items_are_drawn_by_seed_and_hold_all_that_the_verifier_needs():
    spec = JobSpec.model_validate(
        {"model": "toy/markov", "items_from": {"task": "lcm", "count": 2, "shots": 1}, "verifiers": ["reasoning_gym"]}
    )
    first = drawn(spec)
    assert first == drawn(spec)
    assert first.items_from is None
    assert JobSpec.model_validate_json(first.model_dump_json()) == first
    assert [one.id for one in first.items] == ["lcm-0-0", "lcm-0-1"]
    assert first.items[0].prompt.count("Q: ") == 2
    assert first.items[0].prompt.endswith("\nA:")
    other = drawn(spec.model_copy(update={"items_from": ItemsFrom(task="lcm", count=2, seed=1)}))
    assert {one.target["answer"] for one in other.items} != {one.target["answer"] for one in first.items}
    turns = items("lcm", 1, 1, chat=True)[0].messages
    assert [turn.role for turn in turns] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"task": "lmc"}, "valid: ab, acre"),
        ({"task": "lcm", "config": {"min_nmbers": 1}}, "does not take this"),
        ({"task": "lcm", "config": {"min_numbers": -1}}, "does not take this"),
        ({"task": "arc_agi", "count": 1}, "scored otherwise once they were written as JSON"),
        ({"task": "composite", "count": 1}, "does not take this"),
        ({"task": "rush_hour", "count": 1, "shots": 1}, "shows no answers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked, said):
    with pytest.raises(Invalid, match=said):
        drawn(JobSpec.model_validate({"model": "toy/markov", "items_from": asked, "verifiers": ["reasoning_gym"]}))


@pytest.mark.parametrize(
    "more", [{}, {"items": []}, {"items": [{}], "items_from": {"task": "lcm"}}, {"items_from": {}}]
)
def test_a_job_has_items_or_a_task(more):
    with pytest.raises(ValueError, match="items"):
        JobSpec.model_validate({"model": "toy/markov", "verifiers": ["reasoning_gym"], **more})


def test_an_item_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="expected an object of `task`"):
        ReasoningGym().check(Item(id="i", target="12"))
    assert score("12", Item(id="i", target="12")).value is None


def test_the_api_starts_without_the_library():
    code = "import sys, service.api, service.drawing; assert not {'reasoning_gym', 'sympy', 'torch'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
