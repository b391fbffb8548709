"""A verifier behind HTTP: signed both ways, and unscored whenever anything is not as it should be."""

import asyncio
import base64
import hashlib
import hmac

import numpy as np
import pytest
from pydantic import ValidationError
from servers import SECRET, Servers

from search.endpoints import Hook, Unreadable, hook
from search.ports import Answer, Item, Score
from verifiers.hook import LARGEST, Http, http, packed, signature

pytestmark = pytest.mark.usefixtures("servers")


def scores(*values, name: str = "letters", **settings) -> list[Score]:
    verifier = http(Http(hook=name, settings=settings))
    return asyncio.run(verifier([Answer(value, Item(id="i", prompt="?", target="t")) for value in values]))


def test_scores_of_many_in_few_requests(servers: Servers):
    servers.requests.clear()
    found = scores(*("a" * (i % 5) for i in range(150)), mode="fast")
    assert [s.value for s in found] == [float(i % 5) for i in range(150)]
    assert found[3] == Score(3.0, True, None, "aaa")
    assert sorted(len(asked["answers"]) for asked in servers.requests) == [22, 64, 64]
    asked = servers.requests[0]
    assert asked["settings"] == {"mode": "fast"}
    assert {"id", "prompt", "messages", "image", "mask", "target", "value"} == set(asked["answers"][0])


def test_the_signature_is_that_of_standard_webhooks():
    """Its reference: base64(HMAC-SHA256(secret, id.timestamp.body)), computed here by hand."""
    digest = hmac.new(b"k" * 16, b"msg_1.1700000000.{}", hashlib.sha256).digest()
    assert signature(b"k" * 16, "msg_1", "1700000000", b"{}") == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("short", "gave 1 scores for 2 answers"), ("nan", "not JSON"), ("text", "not JSON"), ("forged", "wrong signature"),
     ("replayed", "not signed for this request"), ("old", "more than 300 s old")],
)  # fmt: skip
def test_a_reply_that_is_amiss_is_unscored(fault, reason):
    for score in scores("abc", "de", fault=fault):
        assert (score.value, score.passed, score.canonical) == (None, None, None)
        assert reason in score.reason


def test_a_wrong_secret_is_refused_by_the_hook_and_shown_nowhere():
    (score,) = scores("abc", name="stranger")
    assert score.reason == "'stranger' gave no answer: status 401"
    assert SECRET not in repr(hook("letters"))


def test_what_cannot_be_sent_is_unscored_alone():
    found = scores("abc", object(), float("nan"), "x" * (LARGEST + 1), np.zeros((2, 2), np.uint8))
    assert [s.value for s in found] == [3.0, None, None, None, None]
    assert "cannot be written as JSON" in found[1].reason
    assert "bytes with its item" in found[3].reason
    assert found[4].reason == "no text"  # arrays do travel


def test_only_hooks_of_the_operator(monkeypatch, tmp_path):
    with pytest.raises(ValidationError, match="unknown hook 'mine'; valid: letters, stranger"):
        Http(hook="mine")
    for number, (text, said) in enumerate(
        (
            ('[[hook]]\nname = "a"\nurl = "ftp://x"\nsecret = "s"', "url: .*starts with http"),
            ('[[hook]]\nname = "a"\nurl = "http://u:p@x"\nsecret = "s"', "holds no password"),
            ('[[hook]]\nname = "a"\nsecret = "s"', "hook 1 of .*: url: Field required"),
            ('[[hook]]\nname = "a"\nurl = "http://x"\nsecrets = "PLANTED"', "unknown field; valid: concurrency"),
            ('[[hook]]\nname = "a"\nurl = "http://x"', "`secret` or `secret_env`"),
            ("[[hook\nPLANTED", "is not TOML"),
            ('[hook]\nname = "a"', r"write \[\[hook\]\]"),
            ('[[webhook]]\nname = "a"', "holds 'webhook'"),
            ('[[hook]]\nname = "a"\nurl = "http://x"\nsecret = "s"\n' * 2, "are called 'a'"),
        )
    ):
        (tmp_path / f"{number}.toml").write_text(text)
        monkeypatch.setenv("WINNOW_ENDPOINTS", str(tmp_path / f"{number}.toml"))
        with pytest.raises(Unreadable, match=said) as caught:
            hook("a")
        assert "PLANTED" not in str(caught.value)
    monkeypatch.setenv("WINNOW_ENDPOINTS", str(tmp_path / "none.toml"))
    with pytest.raises(Unreadable, match="cannot be read: No such file"):
        hook("a")
    monkeypatch.delenv("WINNOW_ENDPOINTS")
    with pytest.raises(ValueError, match="none; the operator names them"):
        hook("a")
    short = Hook.model_validate({"name": "a", "url": "http://x", "secret": "short"})
    with pytest.raises(Unreadable, match="fewer than 16 characters"):
        short.key()
    with pytest.raises(Unreadable, match="UNSET_SECRET is not set"):
        Hook.model_validate({"name": "a", "url": "http://x", "secret_env": "UNSET_SECRET"}).key()


def test_blocks():
    assert [len(block) for block in packed([(i, "x" * (LARGEST // 3)) for i in range(7)])] == [3, 3, 1]
