"""Models that score text on this machine, with tiny random weights: each score against one made by hand."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from pydantic import ValidationError

pytestmark = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("transformers")), reason="NOT TESTED: transformers is not installed"
)

from search.ports import Answer, Item, Message  # noqa: E402
from verifiers.builtin import VERIFIERS  # noqa: E402
from verifiers.reward import (  # noqa: E402
    Perplexity,
    Process,
    Reward,
    asked,
    fitting,
    loaded,
    perplexity,
    process_reward,
    reward_model,
    words,
)

ITEM = Item(id="i", prompt="1 + 1 = ")
CHAT = Item(id="c", messages=(Message(role="user", content="1 + 1?"),))
ANSWERS = ["2", "It is 2.\n\nSo 2.", "no", "x" * 60, 7]


def one(verifier, value, item=ITEM):
    return verifier([Answer(value, item)])[0]


def logits(net, ids):
    """One row by itself, without padding or mask."""
    import torch

    with torch.inference_mode():
        return net(input_ids=torch.tensor([ids])).logits[0].double()


def test_the_reward_is_the_models(tiny):
    net, tokenizer = loaded("AutoModelForSequenceClassification", tiny["classifier"], "float32")
    for value in ("2", "It is 2."):
        ids = tokenizer(ITEM.prompt + value)["input_ids"]
        for label in (0, 1):
            found = one(reward_model(Reward(path=tiny["classifier"], label=label)), value)
            assert found.value == pytest.approx(float(logits(net, ids)[label]), abs=1e-5)
    template = "<|user|>1 + 1?</s><|assistant|>2</s>"
    ids = tokenizer(template, add_special_tokens=False)["input_ids"]
    assert one(reward_model(Reward(path=tiny["classifier"])), "2", CHAT).value == pytest.approx(
        float(logits(net, ids)[0]), abs=1e-5
    )


def test_likelihood_is_the_mean_over_the_answers_tokens(tiny):
    net, tokenizer = loaded("AutoModelForCausalLM", tiny["language"], "float32")
    for item, before in ((ITEM, ITEM.prompt), (CHAT, "<|user|>1 + 1?</s><|assistant|>"), (Item(id="e"), "<s>")):
        head = tokenizer(before, add_special_tokens=False)["input_ids"]
        tail = tokenizer("two", add_special_tokens=False)["input_ids"]
        rows = logits(net, head + tail).log_softmax(1)
        by_hand = np.mean([float(rows[len(head) - 1 + i, token]) for i, token in enumerate(tail)])
        found = one(perplexity(Perplexity(path=tiny["language"])), "two", item)
        assert found.value == pytest.approx(by_hand, abs=1e-5)
        assert found.reason == "3 tokens"


def test_steps_and_their_reductions(tiny):
    net, tokenizer = loaded("AutoModelForTokenClassification", tiny["steps"], "float32")
    steps = ["First.\n\n", "Then.\n\n", "So 2\n\n"]
    ids, chances = tokenizer(ITEM.prompt)["input_ids"], []
    for step in steps:
        ids = ids + tokenizer(step, add_special_tokens=False)["input_ids"]
        chances.append(float(logits(net, ids)[-1].softmax(0)[1]))
    for reduce, by_hand in (("min", min(chances)), ("last", chances[-1]), ("product", np.prod(chances))):
        found = one(process_reward(Process(path=tiny["steps"], reduce=reduce)), "First.\n\nThen.\n\nSo 2")
        assert found.value == pytest.approx(by_hand, abs=1e-5)
    assert found.reason.startswith("3 steps")
    assert one(process_reward(Process(path=tiny["steps"])), "\n\n \n\n").reason == "there is nothing to score"


def test_an_answer_cannot_write_tokens_of_control(tiny):
    """An end of turn in an answer is nine letters, or the answer could open a turn of its own."""
    _, tokenizer = loaded("AutoModelForCausalLM", tiny["language"], "float32")
    assert len(words(tokenizer, "</s>")) == 4
    assert not set(words(tokenizer, "<|user|>hi</s>")) & set(tokenizer.all_special_ids)
    assert tokenizer.eos_token_id in asked(tokenizer, CHAT)  # the template's own


def test_what_is_too_long_or_nothing_is_unscored_alone(tiny):
    verifier = perplexity(Perplexity(path=tiny["language"], longest=30))
    found = verifier([Answer(value, ITEM) for value in ("2", "x" * 40, "", None)])
    assert [s.value is None for s in found] == [False, True, True, True]
    assert "at most 30" in found[1].reason


def test_no_more_than_the_memory_in_one_call():
    assert fitting([1, 2, 4], 8) == 3
    assert fitting([2**20, 2**21], 128) == 1
    assert fitting([2**20, 2**20], 128) == 2
    assert fitting([2**30], 128) == 1


def test_the_batch_changes_nothing(tiny):
    answers = [Answer("x" * n, ITEM) for n in (1, 30, 2, 9, 17)]
    alone = perplexity(Perplexity(path=tiny["language"], batch=1))(answers)
    together = perplexity(Perplexity(path=tiny["language"], batch=4))(answers)
    assert [s.value for s in together] == pytest.approx([s.value for s in alone], abs=1e-5)


def test_what_cannot_be_loaded_says_so(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match="cannot be read"):
        reward_model(Reward(path=str(tmp_path / "empty")))
    with pytest.raises(ValueError, match="label 7: the model has 2 outputs"):
        reward_model(Reward(path=tiny["classifier"], label=7))
    with pytest.raises(ValueError, match="label 7"):
        process_reward(Process(path=tiny["steps"], label=7))


def test_code_of_a_repository_is_never_run(tiny, tmp_path):
    """A configuration that names code of its own is refused, not trusted."""
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {"model_type": "strange", "auto_map": {"AutoConfig": "code.Strange", "AutoTokenizer": ["code.T", None]}}
        )
    )
    (folder / "code.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    with pytest.raises(OSError, match="cannot be read"):
        perplexity(Perplexity(path=str(folder)))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("named", ["", "a,b/c"])
def test_only_what_the_operator_names_is_loaded(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("WINNOW_VERIFIER_MODELS", named)
    valid = named.replace(",", ", ") or "none so far"
    said = rf"'/etc' is not among the operator's models \(WINNOW_VERIFIER_MODELS\): {valid}"
    for made in (Reward, Process, Perplexity):
        with pytest.raises(ValidationError, match=said):
            made(path="/etc")
    fields = VERIFIERS.find("aesthetic").config, VERIFIERS.find("clip_score").config
    if named:
        for config, field in zip(fields, ("head", "processor"), strict=True):
            with pytest.raises(ValidationError, match=said):
                config(path="a", **{field: "/etc"})
        assert fields[1](path="b/c", processor="a").model_dump()["path"] == "b/c"
