"""The language demo's prompts and its chance baseline; the model itself is in tests/generators/test_language.py."""

from importlib.util import find_spec

import pytest

from service.demo_language import TASKS, chance, questions


def test_chance_is_what_answers_to_other_questions_cover() -> None:
    """Of the four answers to the other two items one is right for item 0, none for item 1, two for item 2."""
    answers = [(0, "7"), (0, "1"), (1, "7"), (1, "3"), (2, None), (2, "1")]
    targets = ["7", "9", "7"]
    shares = [1 / 4, 0, 2 / 4]
    expected = {k: sum(1 - (1 - c) ** k for c in shares) / 3 for k in (1, 4)}
    assert chance(answers, targets, (1, 4)) == pytest.approx(expected)


@pytest.mark.skipif(not find_spec("reasoning_gym"), reason="reasoning-gym is not installed")
def test_questions_follow_three_others_and_are_the_same_each_time() -> None:
    for task in TASKS:
        items = questions(task, 5)
        assert items == questions(task, 5)
        assert len({item["id"] for item in items}) == 5
        for item in items:
            assert item["prompt"].count("Q: ") == 4
            assert item["prompt"].count("\nA: ") == 3
            assert item["prompt"].endswith("\nA:")
            assert item["target"].isdigit()
