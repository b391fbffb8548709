"""Every built-in generator passes the exam, and the exam fails generators that deserve it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from generators.builtin import GENERATORS
from generators.conformance import Failed, examine
from generators.fake import Elsewhere, Fake, fake
from search.keys import START, Words, normals
from search.ports import Item, Rows

ITEMS = [Item(prompt="3"), Item(prompt="8")]
FILLED_IN = {
    "rna": [Item(), Item(prompt="GG__CC")],
    "dna8": [Item(), Item(prompt="AC____GT")],
    "molecules": [Item(), Item(prompt="[C][C]_[O]...")],
}
# (name, configuration, configuration of a job that shares its calls, or None)
CASES: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("toy/gaussian_mixture", {}, {}),
    ("toy/gaussian_mixture", {"weights": [1.0], "means": [0.3], "variances": [1.44], "steps": 1}, None),
    ("toy/bits", {}, {"sampler": "ancestral", "steps": 5}),
    ("toy/bits", {"length": 9, "q": 0.6, "sampler": "ancestral"}, None),
    ("dna8", {"stacking": 0.5}, {"stacking": 0.5, "order": "confidence", "block": 4, "fills": 2}),
    ("dna8", {"stacking": 0.5, "sampler": "ancestral", "steps": 3, "fills": 1}, {"stacking": 0.5}),
    ("toy/markov", {}, {}),
    ("toy/markov", {"stop": 2, "text": True}, None),
    ("toy/noop", {}, {}),
    ("rna", {"length": 6, "gc": 0.6}, {"length": 6, "gc": 0.6, "fills": 2}),
    ("molecules", {"sampler": "ancestral", "steps": 4}, {"sampler": "ancestral", "steps": 3, "fills": 2}),
    ("digits", {"steps": 3}, {"steps": 2, "eta": 1.0}),
    ("digits", {"steps": 2, "solver": "pc"}, {"steps": 3, "solver": "euler"}),
    ("digits", {"steps": 4, "solver": "dpm++"}, {"steps": 3, "solver": "unipc"}),
    ("digits", {"steps": 3, "solver": "heun", "guidance": 1.5}, {"steps": 4, "solver": "deis", "guidance": 2.0}),
    ("digits", {"steps": 2, "eta": 0.5, "guidance": 2.0}, {"steps": 3, "guidance": 3.0}),
    ("digits", {"timesteps": [999, 700, 200], "skip_scales": [1.0, 0.9], "time_shift": 60, "eta": 0.5}, {"steps": 2}),
    ("digits", {"steps": 5, "solver": "unipc", "dc_ratios": [0.9, 1.1]}, {"steps": 4, "solver": "heun"}),
    ("digits", {"steps": 3, "guidance": 2.0, "guidance_interval": [400, 999]}, {"steps": 2, "guidance": 3.0}),
    ("digits-early", {"steps": 2, "eta": 1.0}, None),
    ("digits-unconditional", {"steps": 3, "eta": 1.0}, {"steps": 2}),
]


def test_every_builtin_is_examined() -> None:
    """But for terrain, language models and pipelines, whose networks take their time, and endpoints: by their own."""
    others = {"terrain", "endpoint", "smollm2", "language", "diffusers"}
    assert others | {name for name, _, _ in CASES} == set(GENERATORS.builtins)


@pytest.mark.parametrize(("name", "config", "company"), CASES)
def test_passes(name: str, config: dict[str, Any], company: dict[str, Any] | None) -> None:
    found = GENERATORS.find(name)
    image = name.startswith("digits")

    def build(settings: dict[str, Any]) -> Any:
        return found.factory(found.config(**settings))

    offers = set(found.facts.offers) - ({"log_weights"} if config.get("steps") == 1 else set())  # one step is too few
    chosen = found.config(**config).suited({"stochastic_step"} if config.get("eta") or company is None else set())
    examine(
        found.factory(chosen),
        FILLED_IN.get(name, ITEMS),
        offers=offers - set(chosen.lacks),
        company=None if company is None else build(company),
        evaluations=chosen.evaluations,
        tolerance=1e-4
        if image or name == "molecules"
        else 0.0,  # matrix products round differently in batches of different size
        count=8 if name.startswith(("toy", "dna", "rna")) else 4,
    )


def test_fake_passes() -> None:
    examine(fake(), ITEMS, offers={"preview", "stochastic_step"}, company=fake(5))


def test_a_model_elsewhere_passes() -> None:
    """Rows of JSON values, answers that could not be had, tokens that nobody told, and a step that is awaited."""
    examine(Elsewhere(steps=3, lost=0.2, quiet=0.3), ITEMS, offers={"preview", "stochastic_step"})


@dataclass(frozen=True)
class Endless(Fake):
    def advance(self, rows: Rows) -> Rows:
        return replace(super().advance(rows), done=np.zeros(len(rows), bool))


class Mutating(Fake):
    def advance(self, rows: Rows) -> Rows:
        rows.columns["x"][:] += 1
        return super().advance(rows)


class Mingling(Fake):
    def advance(self, rows: Rows) -> Rows:
        moved = super().advance(rows)
        return replace(moved, columns={**moved.columns, "x": moved.columns["x"] + rows.columns["x"].mean()})


class Unnamed(Fake):
    def advance(self, rows: Rows) -> Rows:
        moved = super().advance(rows)
        return replace(moved, columns={**moved.columns, "x": np.random.default_rng().normal(size=len(rows))})


class Deterministic(Fake):
    def start(self, items: Any, keys: Any) -> Rows:
        rows = super().start(items, keys)
        return replace(rows, columns={**rows.columns, "x": keys[:, 0].astype(float)})

    def advance(self, rows: Rows) -> Rows:
        return rows.moved(rows.step + 1 >= rows.columns["steps"], {"x": rows.columns["x"] + 1})


class Short(Fake):
    def finish(self, rows: Rows) -> list[Any]:
        return super().finish(rows)[1:]


class Numpy(Fake):
    def finish(self, rows: Rows) -> list[Any]:
        return list(rows.columns["x"])


class Wandering(Fake):
    def preview(self, rows: Rows) -> list[Any]:
        return [x + 1 for x in rows.columns["x"].tolist()]


@dataclass(frozen=True)
class Counting(Elsewhere):
    """Says of a step's tokens what it is told to."""

    steps: int = 2
    told: tuple[int, int] = (1, 2)
    kind: type = np.int64

    async def advance(self, rows: Rows) -> Rows:
        moved = await super().advance(rows)
        tokens = np.array([self.told[step] for step in rows.step], self.kind)
        return replace(moved, columns={**moved.columns, "tokens": tokens})


@dataclass(frozen=True)
class Pickled(Elsewhere):
    def start(self, items: Any, keys: Any) -> Rows:
        rows = super().start(items, keys)
        return replace(rows, columns={**rows.columns, "asked": np.array([(1, 2)] * len(items) + [0], object)[:-1]})


@dataclass(frozen=True)
class Appending(Elsewhere):
    """Writes into the list that its rows hold."""

    def start(self, items: Any, keys: Any) -> Rows:
        rows = super().start(items, keys)
        lists = np.empty(len(items), object)
        lists[:] = [[] for _ in items]
        return replace(rows, columns={**rows.columns, "said": lists})

    async def advance(self, rows: Rows) -> Rows:
        for said in rows.columns["said"]:
            said.append("more")
        return await super().advance(rows)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Counting(told=(2, 1)), "should never fall"),
        (Counting(told=(-1, 1)), "should never fall"),
        (Counting(told=(1, -2)), "should never fall"),
        (Counting(told=(1, 9)), "a step made 8 tokens; `tokens` promises 4 at most"),
        (Counting(kind=np.int32), "should be int64, not int32"),
        (Pickled(), "numbers, or JSON values"),
        (Appending(), "advance changed the rows"),
    ],
)
def test_fails_elsewhere(wrong: Elsewhere, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        examine(wrong, ITEMS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Endless(), "not done after 3 steps"),
        (Mutating(), "advance changed the rows"),
        (Mingling(), "in two halves"),
        (Unnamed(), "the same keys gave other rows"),
        (Deterministic(), "no step is stochastic"),
        (Short(), "7 values for 8 rows"),
        (Numpy(), "expected a JSON value"),
        (Wandering(), "preview of a done row"),
    ],
)
def test_fails(wrong: Fake, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        examine(wrong, ITEMS, offers={"preview", "stochastic_step"})


def test_fails_when_the_configuration_announces_another_cost() -> None:
    with pytest.raises(Failed, match="announces 4 evaluations, but steps \\* price is 3"):
        examine(fake(), ITEMS, evaluations=4)


def test_refuses_company_of_another_key() -> None:
    noop = GENERATORS.find("toy/noop")
    with pytest.raises(Failed, match="differ; nothing to share"):
        examine(fake(), ITEMS, company=noop.factory(noop.config()))


@dataclass(frozen=True)
class Stationary(Fake):
    """x -> sqrt(.5) x + sqrt(.5) xi in four dimensions: standard normal at every step, forwards and backwards."""

    def start(self, items: Any, keys: Words) -> Rows:
        rows = super().start(items, keys)
        return replace(rows, columns={**rows.columns, "x": normals(keys, START, 4)})

    def advance(self, rows: Rows) -> Rows:
        x = np.sqrt(0.5) * (rows.columns["x"] + normals(rows.keys, rows.step, 4))
        return rows.moved(rows.step + 1 >= rows.columns["steps"], {"x": x})

    def renoise(self, rows: Rows, step: int) -> Rows:
        kept = 0.5 ** (rows.step - step)[:, None]
        x = np.sqrt(kept) * rows.columns["x"] + np.sqrt(1 - kept) * normals(rows.keys, START, 4)
        n = len(rows)
        return replace(rows, step=np.full(n, step), done=np.zeros(n, bool), columns={**rows.columns, "x": x})

    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        p, g = pivots.columns["x"], normals(keys, START, 4)
        length = np.linalg.norm(p, axis=1, keepdims=True)
        w = g - (g * p).sum(1, keepdims=True) * p / length**2
        x = cosine * p + np.sqrt(1 - cosine**2) * length * w / np.linalg.norm(w, axis=1, keepdims=True)
        return Rows.fresh(keys, {**pivots.columns, "x": x})


class Forgetful(Stationary):
    def renoise(self, rows: Rows, step: int) -> Rows:
        return replace(super().renoise(rows, step), done=rows.done)


class Renamed(Stationary):
    def renoise(self, rows: Rows, step: int) -> Rows:
        return super().renoise(rows.fork(np.arange(len(rows))), step)


class Overwriting(Stationary):
    def renoise(self, rows: Rows, step: int) -> Rows:
        back = super().renoise(rows, step)
        rows.columns["x"][:] = back.columns["x"]
        return back


class Loud(Stationary):
    def renoise(self, rows: Rows, step: int) -> Rows:
        back = super().renoise(rows, step)
        return replace(back, columns={**back.columns, "x": rows.columns["x"] + back.columns["x"]})


class Far(Stationary):
    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        return super().neighbours(pivots, keys, cosine - 0.01)


class Started(Stationary):
    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        return replace(super().neighbours(pivots, keys, cosine), step=np.ones(len(keys), np.int64))


class Repeated(Stationary):
    def neighbours(self, pivots: Rows, keys: Words, cosine: float) -> Rows:
        return replace(super().neighbours(pivots, np.zeros_like(keys), cosine), keys=keys)


@dataclass(frozen=True)
class Weighing(Fake):
    """Its own target in all but the batch key."""

    aim: tuple[float, ...] = ()

    @property
    def batch_key(self) -> Any:
        return ("weighing", self.aim)

    def toward(self, exponents: tuple[float, ...]) -> Any:
        return replace(self, aim=exponents)

    def log_weights(self, rows: Rows) -> Any:
        return np.zeros(len(rows))


class Sharing(Weighing):
    def toward(self, exponents: tuple[float, ...]) -> Any:
        return self


class Dear(Weighing):
    def toward(self, exponents: tuple[float, ...]) -> Any:
        return replace(self, aim=exponents, price=2)


class Vast(Weighing):
    def log_weights(self, rows: Rows) -> Any:
        return np.full(len(rows), np.inf)


class Ranking(Weighing):
    def log_weights(self, rows: Rows) -> Any:
        return np.arange(len(rows)) * 1.0


VERBS = {"renoise", "neighbours"}


def test_verbs_pass() -> None:
    examine(Stationary(), ITEMS, offers=VERBS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Forgetful(), "at step 1 and not done"),
        (Renamed(), "the same rows, keys and spent"),
        (Overwriting(), "renoise changed the rows"),
        (Loud(), "should be noise like a start: (mean|variance) of 'x'"),
        (Far(), "neighbours at cosine 0.8"),
        (Started(), "like those of start: at step 0"),
        (Repeated(), "other keys gave the same neighbours"),
    ],
)
def test_verbs_fail(wrong: Fake, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        examine(wrong, ITEMS, offers=VERBS)


def test_weights_pass() -> None:
    examine(Weighing(), ITEMS, offers={"log_weights"}, evaluations=3)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Sharing(), "it needs one of its own"),
        (Dear(), "announces 3 evaluations, but .* takes 6"),
        (Vast(), "at step 0 should be a finite float64 for each row"),
        (Ranking(), "depend on its company"),
    ],
)
def test_weights_fail(wrong: Fake, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        examine(wrong, ITEMS, offers={"log_weights"}, evaluations=3)
