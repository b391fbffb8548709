"""The three verifiers: what passes, partial credit, comparisons, suites, and what is refused."""

import pytest

from search.ports import Answer, Item
from verifiers.each import Unreadable
from verifiers.program import (
    ProgramAsserts,
    ProgramStdio,
    ProgramValues,
    asserts,
    stdio,
    values,
)
from verifiers.programs import tiers
from verifiers.programs.comparing import lines, same, tokens
from verifiers.programs.wire import Garbled, literal, parsed, value

pytestmark = pytest.mark.skipif(tiers.standing().tier == "refuse", reason=f"NOT TESTED: {tiers.standing().words}")
TIER = tiers.standing().tier
TIME = {"call_seconds": 100.0, "total_seconds": 150.0}
"""For programs that end: however busy the machine is."""


def verdicts(verifier, target, *programs):
    return verifier([Answer(text, Item(id="i", target=target)) for text in programs])


ABS = {
    "entry": "f",
    "cases": [{"args": [1], "expected": 1}, {"args": [-1], "expected": 1}, {"args": [0], "expected": 0}],
}
HALF = "def f(x):\n    if x < 0:\n        {}\n    return x"


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("return x", "wrong_answer: case 2 of 3: another value is right"),
        ("return {1}.__iter__()", "wrong_answer: case 2 of 3: the result is a value of type set_iterator"),
        ("return 1/0", "error: case 2 of 3: ZeroDivisionError at line 3: division by zero"),
        ("import os; os._exit(0)", "error: case 2 of 3: ended by itself"),
    ],
)
def test_partial_credit_is_the_share_of_right_calls(ending, reason):
    whole, part = values(ProgramValues(**TIME)), values(ProgramValues(partial=True, **TIME))
    program = HALF.format(ending)
    assert verdicts(whole, ABS, program) == [(0.0, False, f"{reason} [{TIER}]", None)]
    ((value, *rest),) = verdicts(part, ABS, program)
    assert (value, *rest) == (pytest.approx(2 / 3), False, f"{reason} [{TIER}]", None)
    assert verdicts(part, ABS, "def f(x): return abs(x)")[0][:3] == (1.0, True, f"pass: 3 calls [{TIER}]")


def test_a_program_may_go_on_behind_a_prefix_or_stand_in_a_fence():
    target = {**ABS, "prefix": 'def f(x):\n    """The size of x."""\n'}
    fenced = (
        "First a test:\n```\nassert g(1)\n```\nthen\n```python\ndef f(x):\n    return abs(x)\n```\nand\n```\nend\n```"
    )
    found = verdicts(
        values(ProgramValues(**TIME)), target, "    return abs(x)\n", "def f(x): return abs(x)", fenced, ""
    )
    assert [score.passed for score in found] == [True, True, True, False]


def test_suites_of_one_item():
    target = {
        "entry": "f",
        "suites": {"weak": {"tests": "assert f(2) == 2"}, "strong": {"tests": "assert f(2) == 2\nassert f(-2) == 2"}},
    }
    lazy, right = "def f(x): return x", "def f(x): return abs(x)"
    weak, strong = asserts(ProgramAsserts(suite="weak", **TIME)), asserts(ProgramAsserts(suite="strong", **TIME))
    assert [s.passed for s in verdicts(weak, target, lazy, right)] == [True, True]
    assert [s.passed for s in verdicts(strong, target, lazy, right)] == [False, True]
    with pytest.raises(Unreadable, match="no suite 'medium'; valid: strong, weak"):
        ProgramAsserts(suite="medium").check(Item(target=target))


@pytest.mark.parametrize(
    ("tests", "least", "passed", "reason"),
    [
        ("", 1, None, None),
        ("x = 1", 1, None, "sandbox_error: the suite called the program 0 times; 1 are needed"),
        ("assert f(1) == 1", 2, None, "sandbox_error: the suite called the program 1 times; 2 are needed"),
        ("assert f(1", 1, None, "sandbox_error: the suite ends before it calls the program: SyntaxError"),
        ("assert f(x=[1], y={'a': (1, 2)}) == 1", 1, False, "error: call 1: TypeError"),
        ("def check(f):\n    x = (1, 2.5, {3}, b'x', 1j, 1e999)\n    assert f(x) == x", 1, True, "pass: 1 calls"),
        ("assert f(3) == 4, 'off'", 1, False, "wrong_answer: call 1: AssertionError in the suite at line 1: off"),
    ],
)  # fmt: skip
def test_assertions(tests, least, passed, reason):
    verifier, target = asserts(ProgramAsserts(least_calls=least, **TIME)), {"entry": "f", "tests": tests}
    if reason is None:
        with pytest.raises(Unreadable, match="tests: String should have at least 1 character"):
            ProgramAsserts().check(Item(target=target))
        return
    (score,) = verdicts(verifier, target, "def f(x): return x")
    assert score.passed is passed
    assert score.reason.startswith(reason)


def test_what_the_program_raises_reaches_the_suite():
    tests = "try:\n    f(-1)\n    raise SystemError\nexcept ValueError as error:\n    assert 'size' in str(error)"
    own = "class Odd(ValueError): pass\ndef f(x):\n    raise Odd('no size')"
    found = verdicts(asserts(ProgramAsserts(**TIME)), {"entry": "f", "tests": tests}, own, "def f(x): return x")
    assert [score.passed for score in found] == [True, False]


RUNS = {"cases": [{"stdin": "1 2\n", "stdout": "3\n0.5"}, {"stdin": "2 2\n", "stdout": "4\n1"}]}
SUMS = "a, b = map(int, input().split())\nprint(a + b)\nprint(a / b)"


@pytest.mark.parametrize(
    ("config", "target", "program", "value"),
    [
        ({"tolerance": 1e-6}, {}, SUMS, 1.0),
        ({}, {}, SUMS, 0.0),  # 1.0 is another word than 1
        ({"partial": True}, {}, SUMS, 0.5),
        ({"compare": "lines", "partial": True}, {}, SUMS, 0.5),
        ({}, {"checker": "def check(stdin, expected, output): return float(output.split()[1]) <= 1"}, SUMS, 1.0),
        ({}, {"checker": "def check(stdin, expected, output): return 1"}, SUMS, None),
        ({}, {}, "import sys\nfor n in range(10**5): print(n)", 0.0),
    ],
)
def test_output(config, target, program, value):
    (score,) = verdicts(stdio(ProgramStdio.model_validate(TIME | config)), RUNS | target, program)
    assert score.value == value, score


def test_an_output_of_a_megabyte_is_compared_whole():
    target = {"cases": [{"stdin": "x" * 300_000, "stdout": "x" * 600_000}]}
    found = verdicts(stdio(ProgramStdio(**TIME)), target, "print(input() * 2)", "print(input() * 2 + 'y')")
    assert [score.passed for score in found] == [True, False]


@pytest.mark.skipif(
    TIER != "strict", reason=f"NOT TESTED: other languages need tier 'strict': {tiers.standing().words}"
)
def test_another_language():
    target = {"cases": [{"stdin": "1 2", "stdout": "3"}, {"stdin": "20 3", "stdout": "23"}]}
    found = verdicts(
        stdio(ProgramStdio(language="perl", **TIME)),
        target,
        "my ($a, $b) = split ' ', <STDIN>; print $a + $b;",
        "print 3;",
        "my @a = (1) x 1e9;",
        "print fork() ? 3 : 3; exit(defined(fork()) ? 0 : 1)",
        "open(F, '>/x') || die 'held'",
    )
    said = [score.reason.split(":")[0] for score in found]
    assert said == ["pass", "wrong_answer", "error", "error", "error"]
    assert "held" not in found[0].reason


@pytest.mark.parametrize(
    ("found", "expected", "rules"),
    [
        (1, 1.0, "equal close unordered"),
        (True, 1, ""),
        (None, 0, ""),
        ((1, 2), [1, 2], "equal close unordered"),
        ([1, 2], [1, 2], "equal exact close unordered"),
        ([2, 1], [1, 2], "unordered"),
        ({2, 1}, [1, 2], "unordered"),
        ([1, 1, 2], [1, 2, 2], ""),
        ([1.0000001], [1], "close"),
        ({"a": 1}, {"a": 1}, "equal exact close unordered"),
        ({"a": 1}, {"a": 1, "b": 1}, ""),
        ("1", 1, ""),
        (float("nan"), 1.0, ""),
        (10**400, 1.5, ""),
    ],
)
def test_comparisons(found, expected, rules):
    assert {rule for rule in ("equal", "exact", "close", "unordered") if same(found, expected, rule)} == set(
        rules.split()
    )


def test_words_and_lines():
    assert tokens(" 1  2\n", "1\n2", None)
    assert not tokens("1.0", "1", None)
    assert tokens("1.0", "1", 1e-9)
    assert not tokens("nan", "1", 1e9)
    assert lines("a \nb\n\n", "a\nb")
    assert not lines("a b", "a\nb")


def test_values_survive_the_wire():
    from verifiers.programs import runner

    given = [None, True, 0, -(2**63), 2**200, 0.1, float("inf"), "é\ud800\0\"\\\n\u2028", b"\xff", (1, (2,)), {1, 2},
             {"a": [1]}, {(1, 2): 3}, 1 - 2j, range(1, 9, 2), [], {}, (), frozenset({"x"}), set(),
             bytearray(b"a")]  # fmt: skip
    back = value(parsed(f"[{runner.written(given)}]".encode("utf-8", "surrogatepass"))[0])
    assert (back, repr(back)) == (given, repr(given))
    again = eval(literal(given))
    assert (again, repr(again)) == (given, repr(given))


@pytest.mark.parametrize("reply", [b"", b"{}", b"[]", b"[1.5]", b"[NaN]", b"[" * 10**5, b"\xff", b'{"a": 1}'])
def test_a_reply_that_breaks_the_protocol(reply):
    with pytest.raises(Garbled):
        parsed(reply)


@pytest.mark.parametrize(
    "coded",
    [
        {"i": "x"},
        {"i": 7},
        {"f": "1e9x"},
        {"d": [[1]]},
        {"s": [[]]},
        {"q": 1},
        {"t": 1},
        {"c": ["1"]},
        {"i": "1", "f": ""},
    ],
)
def test_a_value_that_is_none(coded):
    with pytest.raises(Garbled):
        value(coded)


@pytest.mark.parametrize(
    ("config", "target", "said"),
    [
        (ProgramValues, None, "expected an object of entry, prefix, cases"),
        (ProgramValues, {"entry": "f", "cases": []}, "cases: Tuple should have at least 1 item"),
        (ProgramValues, {"entry": "f(", "cases": [{"expected": 1}]}, "expected a function's name"),
        (ProgramValues, {"entry": "f", "cases": [{"args": [1]}]}, "cases.0.expected: Field required"),
        (ProgramAsserts, {"entry": "f"}, "tests: Field required"),
        (ProgramStdio, {"cases": "x"}, "cases"),
    ],
)
def test_what_is_refused_at_submit(config, target, said):
    with pytest.raises(Unreadable, match="target") as refused:
        config().check(Item(id="i", target=target))
    assert said in str(refused.value)
