"""Replies are read with distrust: any JSON is a reply, or is Malformed, and what is not there is unknown."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.asking import seconds
from generators.replies import UNKNOWN, Choice, Malformed, reply, said

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["choices", "message", "content", "text", "logprobs", "usage", "tokens", "completion_tokens"])
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=12
)


@settings(deadline=None, max_examples=100)  # on a busy machine an example may take long
@given(ANYTHING, st.booleans())
def test_any_json_is_a_reply_or_malformed(value: Any, chat: bool) -> None:
    for body in (value, {"choices": [value], "usage": value}, {"choices": [{"message": value, "logprobs": value}]}):
        try:
            found = reply(json.dumps(body).encode(), chat)
        except Malformed:
            continue
        assert found.choices
        assert all(choice is None or isinstance(choice.text, str | None) for choice in found.choices)
        json.dumps([[c.text, c.logprobs] for c in found.choices if c], allow_nan=False).encode("ascii")
        assert found.tokens >= UNKNOWN
    assert isinstance(said(json.dumps(value).encode()), str)


@pytest.mark.parametrize("content", [b"", b"{", b'{"choices": []}', b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_reply(content: bytes) -> None:
    with pytest.raises(Malformed):
        reply(content, True)
    assert isinstance(said(content), str)


def test_choices_of_both_kinds() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1}, {"token": "b", "logprob": -2.5, "bytes": None}]}
    usage = {"completion_tokens": 2, "prompt_tokens": True}
    chat = {"message": {"content": "ab"}, "finish_reason": "stop", "stop_reason": "\n", "logprobs": logprobs}
    found = reply(json.dumps({"choices": [chat], "usage": usage}).encode(), True)
    assert found.choices == [Choice("ab", "stop", [["a", -1.0], ["b", -2.5]], "\n")]
    assert (found.tokens, found.prompt_tokens) == (2, UNKNOWN)
    assert reply(b'{"choices": [{"text": "a\\ud800"}]}', False).choices[0] == Choice("a?", None, None, None)
    text = {"text": "ab", "finish_reason": "length", "logprobs": {"tokens": ["a"], "token_logprobs": [None]}}
    found = reply(json.dumps({"choices": [text, {"index": 1}]}).encode(), False)
    assert found.choices == [Choice("ab", "length", None, None), None]
    assert found.each() is None


def test_retry_after() -> None:
    assert seconds("2.5") == 2.5
    assert seconds("-1") == seconds("") == seconds("soon") == seconds("nan") == 0
    assert seconds("1e99") == 86_400
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0  # it is over
    assert seconds("Wed, 21 Oct 2099 07:28:00 GMT") == 86_400
