"""Mathematical answers as models write them: equal up to mathematics, and never fooled by how they are written."""

import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from search.ports import Answer, Item, Score

pytestmark = pytest.mark.skipif(not find_spec("math_verify"), reason="NOT TESTED: math-verify is not installed")

from verifiers.each import Unreadable  # noqa: E402
from verifiers.expressions import Unparsable, read  # noqa: E402
from verifiers.mathematics import Boxed, Math, boxed, math  # noqa: E402
from verifiers.patience import patience  # noqa: E402


def score(verifier, value, target) -> Score:
    return verifier([Answer(value, Item(id="i", target=target))])[0]


EQUAL = [
    ("1/2", r"\boxed{0.5}"), ("0.5", r"so \boxed{\frac12}"), (r"\frac{1}{2}", r"\boxed{.5}"),
    ("0.5", r"\boxed{50\%}"), (r"2\sqrt{2}", r"\boxed{\sqrt{8}}"), ("x^2+x", r"\boxed{x(x+1)}"),
    (r"\frac{\pi}{4}", r"\boxed{\pi/4}"), (r"\{1,2\}", r"\boxed{2, 1}"), ("(1,2)", r"\boxed{(1,2)}"),
    ("x>5", r"\boxed{5<x}"), ("5", r"\boxed{x=5}"), ("[0,1)", r"\boxed{[0, 1)}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}"),
    ("Paris", r"\boxed{\text{Paris}}"), ("Paris", r"\boxed{paris}"), ("3", r"\boxed{3\text{ cm}}"),
    ("1/3", r"\boxed{0.333333}"), ("12", r"\boxed{1{,}2}\boxed{12}"), ("1234", r"\boxed{1,234}"),
    (r"\boxed{7}", r"\boxed{7}"), (7, r"\boxed{7}"), (0.5, r"\boxed{1/2}"), ("3/2", r"\boxed{1\frac12}"),
    ("3/2", r"\boxed{1 1/2}"), (r"\sin x", r"\boxed{\sin(x)}"), ("12", "\\boxed{\uff11\uff12}"),
    ("-12", "\\boxed{\u221212}"), ("12", "\\boxed{1\u200b2}"), ("12", r"\boxed{**12**}"),
]  # fmt: skip
UNLIKE = [
    ("12", r"12"), ("12", ""), ("12", r"\boxed{}"), ("12", r"\boxed{"), ("12", r"\boxed{12} no, \boxed{13}"),
    ("12", r"\boxed{1,2}"), ("1.2", r"\boxed{1,2}"), ("25", r"\boxed{12 13}"), ("12", r"\boxed{12 or 13}"),
    ("12", "\\boxed{\u202e21}"), ("12", r"\boxed{12\,000}"), ("12", r"\boxed{12\%}"), ("1/3", r"\boxed{0.33}"),
    ("Paris", r"\boxed{Pairs}"), ("(1,2)", r"\boxed{(2,1)}"), ("x^2", r"\boxed{x^3}"), ("12", r"\boxed{not 12}"),
    ("12", r"\boxed{x = 13 = 12 + 1}"), ("12", r"\boxed{\text{The answer is } 12}"), ("1", r"\boxed{\text{True}}"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "said"), EQUAL)
def test_equal_up_to_mathematics(target, said):
    assert score(boxed(Boxed()), said, target)[:2] == (1.0, True)


@pytest.mark.parametrize(("target", "said"), UNLIKE)
def test_what_only_looks_alike_is_wrong(target, said):
    assert score(boxed(Boxed()), said, target)[:2] == (0.0, False)


@pytest.mark.parametrize(
    ("said", "canonical"),
    [
        ("The answer is not 12. 12", "12"), ("The answer is 12.", "12"), ("The answer is: 3 cm", "3"), ("12", "12"),
        ("12.0", "12"), ("Thus $x$ is $3$.", "3"), (r"Hence \(x^2 + x\).", "x**2 + x"),
        (r"no \boxed{1}, yes \boxed{2}", "2"), ("1,2", "{1, 2}"), ("\uff11\uff12", "12"), ("\u221212", "-12"),
        ("12 13", "13"), ("", None), (" \u200b ", None), ("\u202e21", None), ("The answer is 12 or 13", "{12, 13}"),
        ("I do not know", None), ("The answer is Paris.", "text:paris"), ("**12**", "12"), ("`12`", "12"),
        ("= 12", "12"),
    ],
)  # fmt: skip
def test_what_a_text_says_last(said, canonical):
    assert score(math(Math()), said, "999").canonical == canonical


def test_pattern_says_where():
    verifier = math(Math(pattern=r"####\s*(.+)"))
    assert score(verifier, "2+2\n#### 4", "4").passed
    assert score(verifier, "4", "4") == Score(0.0, False, "no answer that is understood: the pattern does not match")


def test_equal_answers_vote_together_and_the_unparsable_never():
    verifier = boxed(Boxed())

    def votes(*said: str) -> set[str | None]:
        return {score(verifier, rf"\boxed{{{one}}}", "999").canonical for one in said}

    assert votes("1/2", "0.5", r"\frac{1}{2}", "50\\%", ".50", r"\frac{2}{4}") == {"0.5"}
    assert len(votes(r"\sqrt{8}", r"2\sqrt{2}", r"\frac{4}{\sqrt{2}}")) == 1
    assert len(votes("x(x+1)", "x^2+x", "x + x^2")) == 1
    assert len(votes(r"\{1,2\}", "2,1")) == 1
    assert votes("", "1 2", r"\frac{", "?!") == {None}
    assert len(votes("1", "2", "x", "y", "Paris", "(1,2)", "(2,1)")) == 7


@pytest.mark.parametrize("said", ["9^{9^{9^9}}", "10000000!", "2^{100000}", "x" * 1001, r"\binom{100000}{50000}"])
def test_what_is_too_large_is_unscored(said):
    value, passed, reason, canonical = score(boxed(Boxed()), rf"\boxed{{{said}}}", "9")
    assert (value, passed, canonical) == (None, None, None)
    assert reason


def test_text_is_never_run(tmp_path):
    """A plain expression must not reach sympy's parser, which evaluates Python."""
    mark = tmp_path / "mark"
    for said in (f"__import__('os').system('touch {mark}')", f"open('{mark}','w')", "().__class__"):
        for verifier in (math(Math()), boxed(Boxed())):
            score(verifier, said, "1")
            score(verifier, rf"\boxed{{{said}}}", "1")
    assert not mark.exists()


@pytest.mark.parametrize("target", ["", None, [], r"\frac{", "1 2"])
def test_a_target_that_cannot_be_compared(target):
    assert score(boxed(Boxed()), r"\boxed{1}", target).value is None
    if not target:
        with pytest.raises(ValueError, match="expected"):
            Boxed().check(Item(id="i", target=target))


def test_read_refuses_by_name():
    with pytest.raises(Unparsable, match="side by side"):
        read("1 2")
    with pytest.raises(Unreadable, match="a power is larger"):
        read("7^{1001}")


def test_a_library_that_catches_everything_is_stopped_all_the_same():
    def stubborn(rounds: int) -> int:
        for _ in range(rounds):
            try:
                sum(i for i in range(10**9))
            except Exception:
                continue
        return 1

    with pytest.raises(Unreadable, match=r"0\.1 s of processor time"), patience(0.1):
        stubborn(3)


def test_a_process_that_hears_no_signal_ends():
    """A long call into C hears no signal: the second timer ends the process, and nobody waits for ever."""
    code = "from verifiers.patience import patience\nwith patience(0.1): sum(range(10**12))"
    pool = "import multiprocessing as m\nm.parent_process = lambda: 1\n"  # as in a process of the pool
    done = subprocess.run([sys.executable, "-c", pool + code], capture_output=True, timeout=200)
    assert done.returncode == -signal.SIGPROF
