"""Models behind an endpoint: whatever a server does, every answer that could be had is kept and every token counted."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from faking import ITEM, Bed, Synchronous, fresh, listed, lost, seen

from generators.asking import line
from generators.conformance import examine
from generators.misbehaving import Faults
from search.ports import TOGETHER, UNSAID, Item, Message, Rows


def counted(rows: Rows) -> int:
    """Tokens as a job counts them."""
    return int(np.maximum(rows.columns["tokens"], 0).sum() + rows.columns["tokens_together"].sum())


@pytest.mark.parametrize("server", [{}, {"completions": True, "n": 1}])
def test_every_answer_that_can_be_had_is_kept(bed: Bed, server: dict[str, Any]) -> None:
    faults = Faults(errors=0.15, limited=0.05, truncated=0.05, resets=0.03, odd=0.1, broken=0.05, retry_after=0.01)
    rows, answers, _ = bed.advanced(faults, 96, **server)
    assert lost(answers) == []
    assert all(answer.count("\n") == faults.length for answer in answers)
    assert (rows.columns["tokens"] != UNSAID).all()


def test_a_refused_prompt_fails_alone_with_the_servers_message(bed: Bed) -> None:
    rows, answers, fake = bed.advanced(Faults(refused=0.2), 64, n=4)
    reasons = lost(answers)
    assert set(reasons) == {"endpoint 'fake': 400 this prompt cannot be answered"}
    assert 1 <= len(reasons) <= 25  # 64 at 20 %, or fewer: those in a request for several are asked for again, alone
    assert counted(rows) == fake.stats.tokens == 12 * (64 - len(reasons))
    assert not (rows.columns["tokens"] == UNSAID).any()  # what is refused costs nothing


def test_a_server_that_ignores_n_is_asked_for_one_answer_at_a_time(bed: Bed) -> None:
    plain, answers, _ = bed.advanced(Faults(), 64, n=1)
    rows, same, fake = bed.advanced(Faults(ignores_n=True), 64, n=8)
    assert fake.stats.requests == 64
    assert fake.stats.samples == 64  # a sample paid for is a sample kept
    assert same == answers
    assert len(set(answers)) > 30  # each has a seed of its own
    np.testing.assert_array_equal(rows.columns["tokens"], plain.columns["tokens"])


def test_a_server_that_refuses_n_is_asked_for_one_answer_at_a_time(bed: Bed) -> None:
    async def main() -> list[int]:
        async with bed.fake(Faults(refuses_n=True)) as fake:
            model, refused = bed.model(fake.url, n=8), list[int]()
            for _ in range(2):
                rows = await model.advance(fresh(model, 32))
                assert lost(model.finish(rows)) == []
                refused.append(fake.stats.by_status[400])
            return refused

    assert asyncio.run(main()) == [4, 4]  # it is learnt from the first ones


def test_a_server_that_honours_n_is_asked_eight_times(bed: Bed) -> None:
    rows, answers, fake = bed.advanced(Faults(), 64, n=8)
    assert fake.stats.requests == 8
    assert len(set(answers)) > 30
    assert (rows.columns["tokens"] == TOGETHER).all()  # nobody told which answer has how many
    assert counted(rows) == fake.stats.tokens == 64 * 12
    assert (rows.columns["prompt_tokens"] > 0).sum() == 8


def test_logprobs_tell_the_tokens_of_each_answer(bed: Bed) -> None:
    rows, answers, fake = bed.advanced(Faults(length=3), 16, {"logprobs": True, "max_tokens": 5}, n=8)
    assert (rows.columns["tokens"] == 5).all()
    assert counted(rows) == fake.stats.tokens
    assert all(answer["text"] == "".join(token for token, _ in answer["logprobs"]) for answer in answers)
    assert {answer["finish_reason"] for answer in answers} == {"length"}


def test_logprobs_that_a_server_leaves_out_are_null(bed: Bed) -> None:
    _, answers, _ = bed.advanced(Faults(logprobs=False), 4, {"logprobs": True})
    assert [answer["logprobs"] for answer in answers] == [None] * 4
    assert all(answer["text"] for answer in answers)


def test_tokens_that_a_server_does_not_report_stay_unknown(bed: Bed) -> None:
    rows, _, fake = bed.advanced(Faults(unreported=0.5), 64, n=1)
    unknown = rows.columns["tokens"] == UNSAID
    assert 16 < unknown.sum() < 48
    np.testing.assert_array_equal(unknown, rows.columns["prompt_tokens"] == UNSAID)
    assert counted(rows) == 12 * (64 - unknown.sum()) < fake.stats.tokens


def test_a_hanging_request_is_asked_again(bed: Bed) -> None:
    _, answers, fake = bed.advanced(Faults(hangs=0.2), 16, n=1, timeout=0.5)
    assert lost(answers) == []
    assert 0 < fake.stats.closed <= fake.stats.requests - 16  # on a busy machine another request may be late


def test_an_endpoint_that_is_down_is_given_up_at_its_deadline(bed: Bed) -> None:
    async def main() -> tuple[list[Any], Rows]:
        async with bed.fake(Faults()) as fake:
            url = fake.url
        model = bed.model(url, deadline=1.0)  # nobody listens there any more
        rows = await model.advance(fresh(model, 16))
        return model.finish(rows), rows

    started = time.monotonic()
    answers, rows = asyncio.run(main())
    assert time.monotonic() - started < 200  # an endpoint that names no deadline is waited for ten minutes
    assert len(lost(answers)) == 16
    assert all("ConnectError" in reason and "tries: " in reason for reason in lost(answers))
    assert (rows.columns["tokens"] == UNSAID).all()
    assert rows.done.all()


def test_a_key_is_sent_and_never_told(bed: Bed) -> None:
    _, answers, _ = bed.advanced(Faults(key="sk-right"), 2, key="sk-right")
    assert lost(answers) == []
    _, answers, _ = bed.advanced(Faults(key="sk-right"), 2, key="sk-wrong")  # the server repeats what it was sent
    assert lost(answers) == ["endpoint 'fake': 401 no such key; you sent Bearer [key]"] * 2
    bed.patch.setenv("SOME_KEY", "sk-right")
    _, answers, _ = bed.advanced(Faults(key="sk-right"), 2, key_env="SOME_KEY")
    assert lost(answers) == []
    bed.patch.delenv("SOME_KEY")
    with pytest.raises(ValueError, match="the environment variable SOME_KEY is not set here"):
        bed.model("http://127.0.0.1:1/v1", key_env="SOME_KEY")


def test_redirects_are_not_followed(bed: Bed) -> None:
    async def main() -> tuple[list[Any], int]:
        async with bed.fake(Faults()) as other, bed.fake(Faults(redirect=f"{other.url}/chat/completions")) as fake:
            model = bed.model(fake.url, key="sk-mine", n=1)
            return model.finish(await model.advance(fresh(model, 2))), other.stats.requests

    answers, reached = asyncio.run(main())
    assert lost(answers) == ["endpoint 'fake': 307: it redirects, and redirects are not followed"] * 2
    assert reached == 0


def test_a_cancelled_step_closes_its_requests_and_keeps_what_came(bed: Bed) -> None:
    async def main() -> tuple[Rows, list[Any], int]:
        async with bed.fake(Faults(hangs=0.5)) as fake:
            model = bed.model(fake.url, n=1, timeout=60.0)
            work = asyncio.ensure_future(model.advance(fresh(model, 16)))
            await seen(lambda: fake.stats.by_status[200] + fake.stats.hanging == 16)
            hanging = fake.stats.hanging
            await seen(lambda: line(model.endpoint).gate.flying == hanging)  # all else is here
            work.cancel()
            rows = await work
            await seen(lambda: not fake.stats.hanging)
            assert fake.stats.closed == hanging
            return rows, model.finish(rows), hanging

    rows, answers, hanging = asyncio.run(main())
    assert 0 < hanging < 16
    assert lost(answers) == ["the job was stopped before the answer came"] * hanging
    assert (rows.columns["tokens"] == UNSAID).sum() == hanging


def test_a_cancelled_step_without_any_answer_is_cancelled(bed: Bed) -> None:
    async def main() -> int:
        async with bed.fake(Faults(hangs=1.0)) as fake:
            model = bed.model(fake.url, n=1, timeout=60.0)
            work = asyncio.ensure_future(model.advance(fresh(model, 8)))
            await seen(lambda: fake.stats.hanging == 8)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            await seen(lambda: not fake.stats.hanging)
            return fake.stats.closed

    assert asyncio.run(main()) == 8


def test_concurrency_is_bounded_and_shrinks_when_the_server_wants_less(bed: Bed) -> None:
    async def crowd() -> int:
        async with bed.fake(Faults(hangs=1.0)) as fake:
            model = bed.model(fake.url, n=1, timeout=60.0, concurrency=16)
            work = asyncio.ensure_future(model.advance(fresh(model, 40)))
            await seen(lambda: fake.stats.hanging >= 16)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return fake.stats.most

    assert asyncio.run(crowd()) == 16
    _, answers, fake = bed.advanced(Faults(latency=0.02), 40, n=1, concurrency=16)
    assert fake.stats.most <= 16
    assert lost(answers) == []
    _, answers, fake = bed.advanced(Faults(latency=0.01, capacity=4, retry_after=0), 80, n=1, concurrency=16)
    assert lost(answers) == []
    # Halved to about what it bears, then one more a round: of 80 requests few come too many.
    assert fake.stats.by_status[429] < 60


def test_conversations_prompts_and_what_is_sent(bed: Bed) -> None:
    job = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["q"], "model": "mine"}
    both = bed.model("http://127.0.0.1:1/v1", job, completions=True, limit_field="max_completion_tokens", seed=False)
    turns = Item(messages=(Message(role="system", content="s"), Message(role="user", content="u")))
    rows = both.start([ITEM, turns], fresh(both, 2).keys)
    from generators.bodies import request

    sent = {"model": "mine", "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 7, "stop": ["q"]}
    prompts = rows.columns["prompt"]
    assert request(both.config, both.endpoint, prompts[0], "", 3, 1) == (False, sent | {"prompt": ITEM.prompt})
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert request(both.config, both.endpoint, prompts[1], "", 3, 2) == (True, sent | {"messages": said, "n": 2})
    chat = bed.model("http://127.0.0.1:1/v1", job)
    body = request(chat.config, chat.endpoint, ITEM.prompt, "so", 3, 1)[1]
    assert body["messages"] == [
        {"role": "user", "content": ITEM.prompt},
        {"role": "assistant", "content": "so"},
    ]
    assert body["continue_final_message"] is True
    assert body["seed"] == 3


STEPS = {"unit": "line", "most": 3, "tokens": 8}


@pytest.mark.parametrize("job", [{}, {"step": STEPS}, {"step": {"unit": "regex", "pattern": r"\d\n", "most": 3}}])
@pytest.mark.parametrize("completions", [False, True])
def test_sits_the_exam(bed: Bed, job: dict[str, Any], completions: bool) -> None:
    server = {"n": 1, "continues": True, "completions": completions, "stop_reason": "step" in job}
    made = Synchronous(lambda url: bed.model(url, job, **server), Faults(stop_reason=True, length=3))
    try:
        offers = {"preview", "stochastic_step"} if job else set()
        items = [ITEM, Item(prompt="And now? A:")]
        examine(made, items, offers=offers, evaluations=made.model.config.evaluations, count=4)
    finally:
        made.close()


@pytest.mark.parametrize(
    ("step", "stop_reason"), [(STEPS, True), (STEPS, False), ({"unit": "regex", "pattern": r"[012]\n"}, False)]
)
def test_texts_in_steps_have_the_law_of_texts_in_one_go(bed: Bed, step: dict[str, Any], stop_reason: bool) -> None:
    """Cutting a longer draw is a shorter draw: the second symbol has its marginal of the chain."""
    from generators.scripted import INITIAL, TRANSITION

    n, server = 150, {"continues": True, "stop_reason": stop_reason, "concurrency": 64}
    job = {"step": {"tokens": 7} | step | {"most": 2}}
    rows, answers, _ = bed.advanced(Faults(stop_reason=stop_reason), n, job, **server)
    assert {len(answer) for answer in answers} == {4}
    assert (rows.step == 2).all()
    found = np.array([sum(answer[2] == str(i) for answer in answers) for i in range(3)])
    expected = n * np.array(INITIAL) @ np.array(TRANSITION)
    assert ((found - expected) ** 2 / expected).sum() < 13.8  # chi-square of 2 degrees of freedom, 0.1 %


def test_an_answer_ends_where_the_server_ends_it(bed: Bed) -> None:
    for stop_reason in (True, False):
        server = {"continues": True, "stop_reason": stop_reason}
        job = {"step": {"unit": "line", "most": 50, "tokens": 8}}
        rows, answers, _ = bed.advanced(Faults(length=4, stop_reason=stop_reason), 8, job, **server)
        assert {answer.count("\n") for answer in answers} == {4}
        assert rows.step.max() <= 5


FILES = [
    ("[[endpoint]]\nname = 'a'\nurl = 'http://h/v1'\nkey = 'sk-1'\nkeys = 2", "unknown field; valid: body, chat"),
    ("[[endpoint]]\nname = 'a'\nurl = 'ftp://h/v1'\nkey = 'sk-1'", "starts with http"),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://u:sk-1@h/v1'", "holds no password"),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://h'\nkey = 'sk-1'\nkey_env = 'K'", "not both"),
    (
        "[[endpoint]]\nname = 'a'\nurl = 'http://h'\nkey = 'sk-1'\ntimeout = 'x'",
        "timeout: Input should be a valid number",
    ),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://h'\nkey = 'sk-1'\nbody = {seed = 1}", "`body` may not set seed"),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://h'\nkey = 'sk-1'\nchat = false", "one of `chat` and `completions`"),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://h'\n" * 2, "two of endpoint in .* are called 'a'"),
    ("key = sk-1", "is not TOML in UTF-8: TOMLDecodeError line 1, column 7"),
    ("key = 'sk-1'", "holds .key.; valid"),
]


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_file_with_a_fault_says_which_and_no_key(bed: Bed, text: str, message: str) -> None:
    from search.endpoints import Unreadable, endpoints

    listed(bed.folder, bed.patch, text)
    with pytest.raises(Unreadable, match=message) as told:
        endpoints()
    assert "sk-1" not in str(told.value)


JOBS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"endpoint": "other"}, "unknown endpoint 'other'; valid: fake"),
    ({}, {"step": {}}, "endpoint 'fake' cannot continue a text: leave `step` out"),
    ({"continues": True}, {"step": {}, "logprobs": True}, "`logprobs` does not go with `step`"),
    ({"continues": True}, {"step": {}, "stop": ["\n"]}, "a line's end is what steps stop at"),
    ({"continues": True}, {"step": {"unit": "regex"}}, "`pattern` goes with unit 'regex'"),
    ({"continues": True}, {"step": {"unit": "regex", "pattern": "("}}, "not a regular expression"),
    ({}, {"stop": ["a", "b", "c", "d", "e"]}, "at most 4"),
]


@pytest.mark.parametrize(("server", "job", "message"), JOBS)
def test_a_job_that_an_endpoint_cannot_do_is_refused(
    bed: Bed, server: dict[str, Any], job: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bed.model("http://127.0.0.1:1/v1", job, **server)


def test_without_a_file_there_is_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    from generators.openai import OpenAI

    monkeypatch.delenv("WINNOW_ENDPOINTS", raising=False)
    with pytest.raises(ValueError, match="valid: none: the operator lists them in the file that WINNOW_ENDPOINTS"):
        OpenAI(endpoint="fake")


def test_items_that_cannot_be_asked(bed: Bed) -> None:
    config = bed.model("http://127.0.0.1:1/v1", chat=False, completions=True).config
    with pytest.raises(ValueError, match="needs a `prompt` or `messages`"):
        config.check(Item())
    with pytest.raises(ValueError, match="endpoint 'fake' takes no conversation"):
        config.check(Item(messages=(Message(role="user", content="u"),)))
    assert config.lacks["preview"].startswith("this endpoint serves best_of_n")


def test_where_a_step_ends() -> None:
    from generators.bodies import cut, stepped
    from generators.openai import Step
    from generators.replies import Choice

    line, point = Step(unit="line"), Step(unit="regex", pattern=r"\.")

    def of(step: Step, text: str, reason: str, stopped: str | None = None) -> tuple[str, bool]:
        return stepped(step, ["Q"], Choice(text, reason, None, stopped))

    assert of(line, "a", "stop", "\n") == ("a\n", False)
    assert of(line, "a\n", "stop", "\n") == ("a\n", False)  # a server that leaves the stop string in
    assert of(line, "a\nb", "stop") == ("a\n", False)
    assert of(line, "a\n", "length") == ("a\n", False)
    assert of(line, "a\n", "stop") == ("a\n", True)
    assert of(line, "a", "length") == ("a", False)
    assert of(line, "aQ", "stop") == ("a", True)
    assert of(line, "a\nbQ", "stop") == ("a\n", False)
    assert of(point, "a. b", "stop") == ("a.", False)
    assert of(point, "", "stop") == ("", True)
    assert cut("abcabd", ["bd", "ca"]) == "ab"
    assert cut("ab", ["c"]) is None
