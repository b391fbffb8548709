"""Text verifiers on the ways in which people and models write their answers."""

import json
import math
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search.ports import Answer, Item, Score, unscored
from verifiers import structured
from verifiers.answers import Exact, Numeric, Regex, exact, numeric, regex
from verifiers.each import LIMIT, Unreadable
from verifiers.reading import last_number, whole_number, written
from verifiers.structured import JsonSchema, json_schema


def score(verifier, value, target=None) -> Score:
    return verifier([Answer(value, Item(id="i", target=target))])[0]


# exact


@pytest.mark.parametrize(
    ("config", "value", "target", "passed"),
    [
        ({}, "Paris", "Paris", True),
        ({}, " Paris\n", "Paris", True),
        ({}, "Paris", "\tParis ", True),
        ({}, "paris", "Paris", False),
        ({}, "Paris.", "Paris", False),
        ({"casefold": True}, "STRASSE", "straße", True),
        ({"strip": False}, " Paris", "Paris", False),
        ({}, "cafe\u0301", "caf\u00e9", True),  # composed and decomposed accents are the same text
        ({}, "7", 7, True),
        ({}, 7, "7", True),
        ({}, 7.0, 7, True),
        ({}, "7.0", 7, False),  # exact compares text; numeric compares numbers
        ({}, "0.1", 0.1, True),
    ],
)
def test_exact(config, value, target, passed):
    assert score(exact(Exact(**config)), value, target)[:2] == (float(passed), passed)


def test_exact_votes_in_its_normal_form():
    verifier = exact(Exact(casefold=True))
    assert {score(verifier, v, "yes").canonical for v in ("Yes", " yes ", "YES")} == {"yes"}
    assert score(verifier, "No", "yes") == Score(0.0, False, "differs from the target", "no")
    assert score(verifier, "  ", "yes").canonical is None


@pytest.mark.parametrize("target", [None, True, [], {}, "", "  ", ["7"], "x" * (LIMIT + 1)])
def test_exact_refuses_items_without_a_text(target):
    with pytest.raises(ValueError, match="of item 'i': expected a text"):
        Exact().check(Item(id="i", target=target))
    assert score(exact(Exact()), "7", target).value is None


@pytest.mark.parametrize("value", [None, True, [], {}, b"7", math.nan, "\ud800", "x" * (LIMIT + 1), 10**500])
def test_what_is_no_text_is_unscored(value):
    verifiers = [exact(Exact()), numeric(Numeric()), regex(Regex(pattern=".")), json_schema(JsonSchema(schema={}))]
    for verifier in verifiers:
        value_, passed, reason, canonical = score(verifier, value, "7")
        assert (value_, passed, canonical) == (None, None, None)
        assert reason


# numeric


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("7", 7), ("7.0", 7), (" 7.00 ", 7), ("007", 7), ("+7", 7), ("-7", -7), ("\u22127", -7), ("0", 0), ("-0.0", 0),
        ("The answer is 7.", 7), ("The answer is **7**.", 7), ("**Answer:** $7$", 7), ("x=-7", -7), ("(-7)", -7),
        ("3 + 4 = 7", 7), ("10 - 3 = 7", 7), ("10-3", 3), ("between 5-7", 7), ("between 5\u20137", 7), ("...7", 7),
        ("#### 42", 42), ("So she pays $1,234.50 in total.", "1234.5"), ("US$5", 5), ("-$5", -5), ("\\$5", 5),
        ("€ 3", 3),
        ("1,234,567", 1234567), ("1{,}234", 1234), ("10\\,000", 10000), ("1\u202f234\u00a0567", 1234567), ("3, 14", 14),
        ("1,2345", 2345), (".5", "1/2"), ("0.5", "1/2"), ("3.14159", "3.14159"), ("1.2.3", "1.2"), ("42km", 42),
        ("3/4", "3/4"), ("3 / 4", "3/4"), ("-3/4", "-3/4"), ("1 1/2", "3/2"), ("3\u20444", "3/4"), ("6/8", "3/4"),
        ("50%", 50), ("12.5 %", "12.5"), ("50\\%", 50), ("1e3", 1000), ("1.5E-3", "0.0015"), ("7eggs", 7),
        ("1.5 \\times 10^{3}", 1500), ("1.5\u00d710^3", 1500), ("2 * 10**-2", "0.02"),
        ("\\boxed{7}", 7), ("\\boxed{7} I checked it 3 times.", 7), ("\\boxed{1} no: \\boxed{2}", 2),
        ("\\boxed{\\frac{1}{2}}", "1/2"), ("\\boxed{-\\dfrac{3}{4}}", "-3/4"), ("\\boxed{2\\frac{1}{3}}", "7/3"),
        ("\\frac12", "1/2"), ("\\boxed{\\text{about } 1{,}000}", 1000), ("$\\boxed{12", 12),
        ("\u7b54\u6848\u662f7\u3002", 7),
        ("Step 1: add.\nStep 2: so 9", 9), ("H2O", None), ("", None), ("none", None), ("1/0", None),
        ("\\boxed{x}", None),
        ("seven", None), ("-", None), ("1e99999", None), ("9" * 5000, None), ("\u0667", None),
    ],
)  # fmt: skip
def test_the_number_in_a_text(said, number):
    assert last_number(said, "drop") == (None if number is None else Fraction(number))


def test_the_last_number_is_read_unless_a_pattern_says_where():
    said = "The answer is 7. I am 100% sure."
    assert score(numeric(Numeric()), said, 7).passed is False
    assert score(numeric(Numeric(pattern=r"answer is (.*?)\.")), said, 7) == Score(1.0, True, None, "7")
    assert score(numeric(Numeric(pattern=r"answer: (.*)")), said, 7) == Score(0.0, False, "no number found")
    assert score(numeric(Numeric(pattern=r"#\d")), "#1 #2 3", 2).passed


def test_percent_is_read_as_configured():
    assert score(numeric(Numeric()), "20%", 20).passed
    assert score(numeric(Numeric(percent="divide")), "20%", 0.2).passed
    assert score(numeric(Numeric(percent="divide")), "0.2", "20%").passed


def test_equal_numbers_vote_together():
    def votes(*said):
        return {score(numeric(Numeric()), s, 1).canonical for s in said}

    assert votes("7", "7.0", "7.00", "+7", "007", "14/2", "7e0", "It is 7.", 7, 7.0) == {"7"}
    assert votes("0.5", ".5", "1/2", "\\frac{1}{2}", "2/4") == {"0.5"}
    assert votes("1/3", "2/6") == {"1/3"}
    assert votes("-0", "0.0") == {"0"}
    assert votes("1,000,000", "1e6") == {"1000000"}
    assert votes("no idea") == {None}


def test_a_missing_number_is_wrong_not_unscored():
    assert score(numeric(Numeric()), "I do not know", 7) == Score(0.0, False, "no number found")


def test_tolerances_are_decimal():
    def passed(x, target, **config):
        return score(numeric(Numeric(**config)), x, target).passed

    assert not passed("0.333", "1/3")
    assert passed("0.333", "1/3", absolute=0.001)
    assert passed("7.3", 7, absolute=0.3)  # in binary floats 7.3 - 7 > 0.3
    assert not passed("7.31", 7, absolute=0.3)
    assert passed("-101", -100, relative=0.01)
    assert not passed("-101.1", -100, relative=0.01)
    assert not passed("9007199254740993", 9007199254740992)  # no rounding to float64
    assert passed("0.3", 0.1 + 0.2, absolute=1e-12)


@pytest.mark.parametrize("target", [None, True, [7], {}, "", "seven", "7 or 8", "1/0", "7 km", "1e9999", "7 " * LIMIT])
def test_numeric_refuses_items_without_a_number(target):
    with pytest.raises(ValueError, match="of item 'i': expected a number"):
        Numeric().check(Item(id="i", target=target))
    assert score(numeric(Numeric()), "7", target).value is None


@pytest.mark.parametrize("target", [7, 7.0, "7", " 7 ", "7.00", "+7", "14/2", "\\frac{14}{2}", "7e0", "$7", "7%"])
def test_numeric_takes_targets_that_are_just_a_number(target):
    Numeric().check(Item(target=target))
    assert score(numeric(Numeric()), "so it is 7", target).passed


@given(st.fractions(-(10**12), 10**12, max_denominator=10**6))
def test_what_is_written_is_read_again(x):
    assert whole_number(written(x), "drop") == x
    assert last_number(f"It is {written(x)}.", "drop") == x


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_exactly_as_printed(x):
    assert last_number(repr(x), "drop") == Fraction(repr(x))


@given(st.text(alphabet="0123456789.,+-/%e^{}\\boxdfrac $x*", max_size=200))
def test_any_text_gets_a_verdict(said):
    result = score(numeric(Numeric()), said, 1)
    assert result.value in (0.0, 1.0)
    assert (result.canonical is None) == (result.reason == "no number found")


@pytest.mark.parametrize(
    "piece", ["1", "1,", "1,234", "1 ", "1/", "-", "1.", "\\frac{", "\\boxed{", "{", "$", "1e", "\\frac12"]
)
def test_reading_takes_linear_time(piece):
    said = (piece * LIMIT)[:LIMIT]
    started = time.process_time()
    last_number(said, "drop")
    assert time.process_time() - started < 10  # measured below 0.2 s; a quadratic search would take minutes


# regex


@pytest.mark.parametrize(
    ("config", "value", "expected"),
    [
        ({"pattern": r"\bcat\b"}, "a cat sat", Score(1.0, True, None, "cat")),
        ({"pattern": r"answer: (\w+)"}, "The answer: blue", Score(1.0, True, None, "blue")),
        ({"pattern": r"(a)|b"}, "b", Score(1.0, True, None, "b")),
        ({"pattern": r"\d+", "full": True}, "12", Score(1.0, True, None, "12")),
        ({"pattern": r"\d+", "full": True}, "12 ", Score(0.0, False, "the pattern does not match", None)),
        ({"pattern": r"(?i)YES"}, "yes", Score(1.0, True, None, "yes")),
        ({"pattern": r"\d+"}, 12, Score(1.0, True, None, "12")),
        ({"pattern": r"x*"}, "y", Score(1.0, True, None, None)),
    ],
)
def test_regex(config, value, expected):
    assert score(regex(Regex(**config)), value) == expected


@pytest.mark.parametrize("pattern", ["(", "[a", "*a", "(?P<n>a)(?P<n>b)", "a{99999999999}", "", "a" * 1001, 7])
def test_a_bad_pattern_is_refused_at_submit(pattern):
    for config in (Regex, Numeric):
        with pytest.raises(ValidationError, match="pattern"):
            config(pattern=pattern)


def test_a_catastrophic_pattern_is_unscored_in_bounded_time():
    started = time.process_time()
    result = score(regex(Regex(pattern=r"(a+)+$")), "a" * 40 + "b")
    assert result.value is None
    assert "processor time" in result.reason
    assert time.process_time() - started < 10


def test_a_thread_can_judge_too():
    got = []
    thread = threading.Thread(target=lambda: got.append(score(regex(Regex(pattern="a")), "a")))
    thread.start()
    thread.join()
    assert got == [Score(1.0, True, None, "a")]


# json_schema

POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        ('{"x": 1}', True), (' {"y": 2,\n "x": 1} ', True), ('{"y": 2}', False), ('{"x": "1"}', False), ("[1]", False),
        ('{"x": 1', False), ("", False), ("{'x': 1}", False), ('{"x": NaN}', False), ('```json\n{"x": 1}\n```', False),
    ],
)  # fmt: skip
def test_json_schema(said, passed):
    result = score(json_schema(JsonSchema(schema=POINT)), said)
    assert result[:2] == (float(passed), passed)
    assert passed or (result.reason and result.canonical is None)


@pytest.mark.parametrize("said", ['{"x": ' + "9" * 5000 + "}", '{"x": 1e999}'])
def test_json_whose_numbers_cannot_be_read_is_unscored(said):
    result = score(json_schema(JsonSchema(schema=POINT)), said)
    assert result[:2] == (None, None)
    assert "a number cannot be read" in result.reason


def test_json_that_takes_too_long_to_parse_is_unscored(monkeypatch):
    def slow(said):
        raise Unreadable("not decided within 1 s of processor time")

    monkeypatch.setattr(structured, "parsed", slow)
    result = score(json_schema(JsonSchema(schema=POINT)), "{}")
    assert result == unscored("not decided within 1 s of processor time")


def test_json_votes_without_regard_to_order_and_spaces():
    verifier = json_schema(JsonSchema(schema=POINT))
    assert (
        score(verifier, '{"y": 2, "x": 1}').canonical == score(verifier, '{"x":1,"y":2}').canonical == '{"x":1,"y":2}'
    )
    assert score(json_schema(JsonSchema(schema={})), '"\\ud800"').canonical == '"\\ud800"'


def test_the_reason_says_where():
    assert score(json_schema(JsonSchema(schema=POINT)), '{"x": "1"}').reason == "at $.x: fails 'type'"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "whole"}, {"required": "x"}, {"pattern": "("}, {"properties": {"a": {"minimum": "0"}}},
        {"$ref": "https://example.org/schema.json"}, {"properties": {"a": {"$ref": "other.json"}}},
        {"anyOf": [{"$dynamicRef": "file:///etc/passwd"}]},
    ],
)  # fmt: skip
def test_a_bad_schema_is_refused_at_submit(schema):
    with pytest.raises(ValidationError, match="schema"):
        JsonSchema(schema=schema)


@pytest.mark.parametrize("schema", [{"$ref": "#/nowhere"}, {"$ref": "#"}, {"pattern": "^(a+)+$"}])
def test_a_schema_that_fails_is_unscored(schema):
    result = score(json_schema(JsonSchema(schema=schema)), json.dumps("a" * 40 + "b"))
    assert result.value is None
    assert result.reason


def test_the_schema_config_survives_a_round_trip():
    config = JsonSchema(schema=POINT)
    assert json.loads(config.model_dump_json()) == {"schema": POINT}
    assert JsonSchema.model_validate_json(config.model_dump_json()) == config
    assert "schema" in JsonSchema.model_json_schema()["properties"]
