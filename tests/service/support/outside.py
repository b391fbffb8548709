"""Plug-ins of another distribution, as the service meets them: slow ones, broken ones, deadly ones."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from generators.fake import Elsewhere
from search.configs import ModelConfig
from search.keys import START, Words, normals, uniforms
from search.plugins import plugin
from search.ports import Answer, Config, Failed, Generator, Item, Many, Rows, Score, Verifier
from verifiers.each import each
from verifiers.patience import patience

ENTRY_POINTS = """
[winnow.generators]
outside/slow = outside:slow
outside/by_prompt = outside:by_prompt
outside/missing = no_such_module:thing
outside/unbased = outside:unbased
outside/leaky = outside:leaky_model
outside/words = outside:words
outside/elsewhere = outside:elsewhere
outside/near = outside:near

[winnow.verifiers]
outside/unloadable = outside:unloadable
outside/deadly = outside:deadly
outside/above = outside:above
outside/warm = outside:warm
outside/raising = outside:raising
outside/leaky = outside:leaky
outside/poisoned = outside:poisoned
outside/stubborn = outside:stubborn
outside/misjudging = outside:misjudging
"""


class Slow(ModelConfig):
    """A uniform number, after some sleep: a device that gains nothing from batches."""

    seconds: float = Field(default=0.0, ge=0, description="Sleep for each row and step.")
    steps: int = Field(default=1, ge=1)

    @property
    def evaluations(self) -> int:
        return self.steps


@dataclass(frozen=True)
class Near:
    """A normal number that two steps leave as it is, exact in any company; its neighbours are correlated with it."""

    steps = 2
    price = 1
    batch_key = "near"

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        return Rows.fresh(keys, {"x": normals(keys, START, 1)[:, 0]})

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        fresh = normals(keys, START, 1)[:, 0]
        return Rows.fresh(keys, {"x": cosine * pivots.columns["x"] + (1 - cosine**2) ** 0.5 * fresh})

    def advance(self, rows: Rows) -> Rows:
        return rows.moved(rows.step + 1 >= self.steps, {})

    def preview(self, rows: Rows) -> list[Any]:
        return rows.columns["x"].tolist()

    finish = preview


class NearConfig(ModelConfig):
    """No settings."""

    @property
    def evaluations(self) -> int:
        return Near.steps


@plugin(version="1", offers=("preview", "neighbours"))
def near(config: NearConfig) -> Near:
    """Normal numbers that have neighbours."""
    return Near()


class ByPrompt(ModelConfig):
    """What comes out depends on the prompt."""

    def check(self, item: Item) -> None:
        if item.prompt == "overflow":
            raise OverflowError("too much")


@dataclass(frozen=True)
class Numbers:
    """One uniform number a row."""

    config: Any
    steps: int
    price = 1

    @property
    def batch_key(self) -> tuple[str, str]:
        return (type(self).__name__, self.config.model_dump_json())

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        return Rows.fresh(keys, {"u": uniforms(keys, START, 1)[:, 0]})

    def advance(self, rows: Rows) -> Rows:
        time.sleep(len(rows) * getattr(self.config, "seconds", 0.0))
        return rows.moved(rows.step + 1 >= self.steps, {})

    def preview(self, rows: Rows) -> list[Any]:
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        return rows.columns["u"].tolist()


NOW = time.time
STRANGE: dict[str, Callable[[float], Any]] = {
    "number": lambda u: u,
    "die": lambda u: u,
    "huge": lambda u: "x" * 20_000 + str(u),
    "image": lambda u: np.full((4, 4), int(255 * u), np.uint8),
    "surrogate": lambda _: "\ud800",
    "nan": lambda _: float("nan"),
    "object": lambda _: object(),
    "exit": lambda u: u,
    "interrupt": lambda u: u,
    "hungry": lambda u: u,
    "starving": lambda u: u,
    "ahead": lambda u: u,
    "back": lambda u: u,
    "endless": lambda _: "def f():\n    while True: pass\n",
}


@dataclass(frozen=True)
class Strange(Numbers):
    """Answers by prompt. "boom" raises; some end their thread, want memory, or turn the process's clock by an hour."""

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        if any(item.prompt == "boom" for item in items):
            raise RuntimeError("boom \ud800\0 said the plug-in")
        kind = [list(STRANGE).index(item.prompt) for item in items]
        return Rows.fresh(keys, {"u": uniforms(keys, START, 1)[:, 0], "kind": np.array(kind)})

    def advance(self, rows: Rows) -> Rows:
        here = {list(STRANGE)[kind] for kind in rows.columns["kind"].tolist()}
        if "exit" in here:
            raise SystemExit("said the plug-in")
        if "interrupt" in here:
            raise KeyboardInterrupt
        if "starving" in here or ("hungry" in here and len(rows) > 4):
            raise MemoryError("out of memory")
        for turn, hours in (("ahead", 1), ("back", -1)):
            if turn in here:
                time.time = lambda hours=hours: NOW() + 3600 * hours
        return rows.moved(rows.step + 1 >= self.steps, {})

    def finish(self, rows: Rows) -> list[Any]:
        kinds = list(STRANGE.values())
        pairs = zip(rows.columns["kind"].tolist(), rows.columns["u"].tolist(), strict=True)
        return [kinds[kind](u) for kind, u in pairs]


def slow(config: Slow) -> Generator:
    """Sleeps."""
    return Numbers(config, config.steps)


def by_prompt(config: ByPrompt) -> Generator:
    """Strange answers."""
    return Strange(config, 1)


class Nothing(Config):
    """No settings."""


def warm(config: Nothing) -> Verifier:
    """How much more red than blue a picture has, -1 to 1."""
    return each(lambda a: Score(float(a.value[..., 0].mean() - a.value[..., 2].mean()) / 255))


class Above(Config):
    """Pass if above; unscored below `least`."""

    pass_at: float = 0.5
    least: float = 0.0


def unloadable(config: Nothing) -> Verifier:
    """Needs what is not there."""
    raise ImportError("this verifier needs the package moonshine")


class Deadly(Config):
    """Until when it kills."""

    mended: str = Field("", description="A file: once it is there, nobody dies.")


def deadly(config: Deadly) -> Verifier:
    """Kills the worker on the prompt "die"."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        sick = not (config.mended and os.path.exists(config.mended))
        if sick and any(answer.item.prompt == "die" for answer in answers):
            os._exit(13)
        return [Score(0.0, True) for _ in answers]

    return verify


@plugin(version="1", place="process")
def stubborn(config: Nothing) -> Verifier:
    """The answer "hang" is a long call into C, which hears no signal."""

    def judge(answer: Answer) -> Score:
        with patience(0.2):
            return Score(float(sum(range(10**12)) if answer.value == "hang" else 1))

    return each(judge)


@plugin(version="1", place="process")
def poisoned(config: Nothing) -> Verifier:
    """The answer "die" kills its process."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        if any(answer.value == "die" for answer in answers):
            os._exit(13)
        return [Score(1.0, True) for _ in answers]

    return verify


class Misjudging(Config):
    """What is wrong."""

    kind: str


@plugin(version="1", place="process")
def misjudging(config: Misjudging) -> Verifier:
    """Every bad kind of verifier."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        match config.kind:
            case "raises":
                raise RuntimeError("cannot judge this")
            case "short":
                return []
            case "huge":
                return [Score(1.0, True, canonical="x" * 2**20) for _ in answers]
            case "slow":
                time.sleep(2)
            case "hangs":
                hanging = ["hang" if answer.value < 0.05 else "go" for answer in answers]
                judge: Any = stubborn(Nothing())
                return judge([Answer(value, answers[0].item) for value in hanging])
            case "dies":
                os._exit(13)
            case _:
                pass
        return [Score(float("nan") if config.kind == "nan" else 1.0, True) for _ in answers]

    return verify


def unbased(config: Nothing) -> Generator:
    """A model whose configuration does not say what it costs."""
    return Numbers(config, 1)


def raising(config: Nothing) -> Verifier:
    """Raises for one answer in two."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        if any(answer.value < 0.5 for answer in answers):
            raise RuntimeError("cannot read this")
        return [Score(1.0, True) for _ in answers]

    return verify


@dataclass(frozen=True)
class Telling(Numbers):
    """Says what it should not."""

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        raise RuntimeError(f"it read {os.environ.get('MODEL_TOKEN', 'nothing')}")


def leaky_model(config: Slow) -> Generator:
    """Raises with what it has read in the environment."""
    return Telling(config, 1)


def leaky(config: Nothing) -> Verifier:
    """The same of a verifier."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        raise RuntimeError(f"it read {os.environ.get('MODEL_TOKEN', 'nothing')}")

    return verify


def above(config: Above) -> Verifier:
    """The number itself."""

    def verify(answers: Sequence[Answer]) -> list[Score]:
        return [
            Score(None, None, "too small to be judged")
            if answer.value < config.least
            else Score(answer.value, answer.value >= config.pass_at, canonical=str(int(answer.value * 4)))
            for answer in answers
        ]

    return verify


class WordsConfig(ModelConfig):
    """Sentences of drawn words, with the settings of a language model."""

    temperature: float = Field(default=1.0, ge=0, le=2)
    max_tokens: int = Field(default=8, ge=1, le=64)
    stop: Many[str] = ()
    logprobs: bool = False

    @property
    def tokens(self) -> int:
        return self.max_tokens

    @property
    def shard(self) -> int:
        return 8


@dataclass(frozen=True)
class Speaker:
    """Repeats the last turn, then words until `max_tokens`; the prompt "down" cannot be answered, "slow" takes 30 s."""

    config: WordsConfig
    steps = 1
    price = 1
    limit = 8

    @property
    def batch_key(self) -> tuple[str, str]:
        return (type(self).__name__, self.config.model_dump_json())

    @property
    def tokens(self) -> int:
        return self.config.max_tokens

    def start(self, items: Sequence[Item], keys: Words) -> Rows:
        asked = np.array([item.asked for item in items], object)
        unknown = np.array(["quiet" in item.asked for item in items])
        read = np.where(np.arange(len(items)) == 0, [len(item.asked.split()) for item in items], 0)
        zero = np.zeros(len(items), np.int64)
        columns = {"asked": asked, "quiet": unknown, "tokens": zero, "prompt_tokens": read}
        return Rows.fresh(keys, {**columns, "u": uniforms(keys, START, self.config.max_tokens)})

    async def advance(self, rows: Rows) -> Rows:
        await asyncio.sleep(30 if "slow" in rows.columns["asked"].tolist() else 0)
        made = [len(words) for words in self._words(rows)]
        return rows.moved(np.ones(len(rows), bool), {"tokens": np.where(rows.columns["quiet"], -1, made)})

    def _words(self, rows: Rows) -> list[list[str]]:
        names = [*"abcdefgh"]
        spoken = [[names[int(u * len(names))] for u in us] for us in rows.columns["u"].tolist()]
        if self.config.temperature == 0:
            spoken = [["a"] * self.config.max_tokens for _ in spoken]
        ends = [next((i for i, word in enumerate(words) if word in self.config.stop), len(words)) for words in spoken]
        return [words[:end] for words, end in zip(spoken, ends, strict=True)]

    def preview(self, rows: Rows) -> list[Any]:
        return self.finish(rows)

    def finish(self, rows: Rows) -> list[Any]:
        out: list[Any] = []
        for asked, words in zip(rows.columns["asked"].tolist(), self._words(rows), strict=True):
            if asked == "down":
                out.append(Failed("503: the endpoint is down"))
            elif self.config.logprobs:
                out.append({"text": " ".join(words), "logprobs": [[word, -2.0794] for word in words]})
            else:
                out.append(" ".join(words))
        return out


@plugin(version="1", offers=("chat",))
def words(config: WordsConfig) -> Speaker:
    """A language model that knows eight words, as if it ran elsewhere."""
    return Speaker(config)


class Far(ModelConfig):
    """What goes wrong with a model elsewhere."""

    steps: int = 1
    seconds: float = 0.0
    lost: float = 0.0
    quiet: float = 0.0

    @property
    def evaluations(self) -> int:
        return self.steps

    @property
    def tokens(self) -> int:
        return 4 * self.steps

    @property
    def shard(self) -> int:
        return 16


@plugin(version="1", offers=("chat", "preview", "stochastic_step"))
def elsewhere(config: Far) -> Elsewhere:
    """The published fake."""
    return Elsewhere(steps=config.steps, seconds=config.seconds, lost=config.lost, quiet=config.quiet)
