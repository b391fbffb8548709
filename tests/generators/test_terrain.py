"""Terrain: the sampler on a consistency function in closed form, and the package's own model where it is installed."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import pytest

from generators import terrain
from generators.builtin import GENERATORS
from generators.conformance import examine
from generators.terrain import CLEANEST, KNEE, NOISIEST, SIDE, TALLEST, Landscape, Terrain, heights, images
from search import keys
from search.ports import Answer, Item, Rows
from verifiers.builtin import VERIFIERS
from verifiers.terrain import progress, slopes

ITEMS = [Item(prompt="100"), Item(prompt="7")]
PLUGIN = GENERATORS.find("terrain")


def named(n: int, seed: int = 0) -> keys.Words:
    return keys.rows(keys.problem(seed, "terrain"), 0, n)


def normal(x: Any, sigma: Any, difficulty: Any) -> Any:
    """The exact consistency function of data N(0, 1): its probability flow keeps x / sqrt(1 + sigma^2)."""
    return x * np.sqrt((1 + CLEANEST**2) / (1 + sigma[:, None, None] ** 2))


def level(x: Any, sigma: Any, difficulty: Any) -> Any:
    """A network that answers with the noise level it was told."""
    return np.broadcast_to(sigma[:, None, None], x.shape).astype(np.float32)


def landscape(network: Any = normal, steps: int = 3, lowest: float = 1.0, scale: float = 0.02) -> Landscape:
    return Landscape(network, steps, lowest, scale)


def begun(generator: Landscape, n: int = 4, seed: int = 0) -> Rows:
    return generator.start([ITEMS[0]] * n, named(n, seed))


def correlation(a: Any, b: Any) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_sampler_passes_the_exam(steps: int) -> None:
    offers = set(PLUGIN.facts.offers) - set(Terrain(steps=steps).lacks)
    company = landscape(steps=2, lowest=9.0, scale=0.1)
    examine(landscape(steps=steps), ITEMS, offers=offers, company=company, evaluations=steps, count=4)


def test_every_step_samples_the_data() -> None:
    """Var x0 stays that of the data. The sample variance of 8 x 128^2 normals has a standard error of .0039."""
    seen: list[Any] = []

    def watched(x: Any, sigma: Any, difficulty: Any) -> Any:
        seen.append(x)
        return normal(x, sigma, difficulty)

    generator = landscape(watched)
    rows = begun(generator, 8)
    for sigma in (80, 80**0.5, 1):
        rows = generator.advance(rows)
        assert rows.columns["x0"].var() == pytest.approx(1, abs=0.016)
        if len(seen) > 1:  # a start is noise alone
            assert seen[-1].var() == pytest.approx(1 + sigma**2, rel=0.016)


def test_a_step_forgets_as_much_as_its_noise() -> None:
    """(x0 + s z) / sqrt(1 + s^2) correlates with x0 at 1 / sqrt(1 + s^2): .7071 at the last level, 1.

    Standard error of a correlation near .7 from 4 x 128^2 pairs: (1 - .5) / 256 = .002.
    """
    generator = landscape(steps=2)
    first = generator.advance(begun(generator))
    last = generator.advance(first)
    assert last.done.all()
    assert correlation(first.columns["x0"], last.columns["x0"]) == pytest.approx(0.5**0.5, abs=0.008)
    # the answer does not remember the start's noise any better than through the first answer
    again = generator.advance(generator.renoise(last.fork(np.arange(4)), 1))
    assert correlation(last.columns["x0"], again.columns["x0"]) == pytest.approx(0.5**0.5, abs=0.008)


def test_levels_fall_geometrically_and_are_the_rows_own() -> None:
    long, short = landscape(level, 3, 20.0), landscape(level, 1)
    rows = Rows.join([begun(long, 2), begun(short, 1)])
    rows = long.advance(rows)
    assert rows.done.tolist() == [False, False, True]
    seen = [rows.columns["x0"][:, 0, 0].tolist()]
    rows = rows[:2]
    while not rows.done.all():
        rows = long.advance(rows)
        seen.append(rows.columns["x0"][:, 0, 0].tolist())
    assert seen == [[80, 80, 80], [40, 40], [20, 20]]


def test_children_part_at_their_next_step() -> None:
    generator = landscape(steps=3)
    for at in (1, 2):
        rows = begun(generator, 1)
        for _ in range(at):
            rows = generator.advance(rows)
        a, b = generator.advance(rows.fork(np.zeros(2, np.int64))).columns["x0"]
        assert np.abs(a - b).max() > 0.1


def test_renoised_rows_stand_where_they_are_put() -> None:
    generator = landscape(level, 3, 20.0)
    rows = begun(generator)
    for _ in range(3):
        rows = generator.advance(rows)
    back = generator.renoise(rows.fork(np.arange(4)), 1)
    assert not back.done.any()
    assert (back.step == 1).all()
    assert (back.columns["x0"] == 20).all()
    assert (generator.advance(back).columns["x0"] == 40).all()
    np.testing.assert_array_equal(generator.advance(back).columns["z"], back.columns["z"])
    assert np.abs(back.columns["z"] - rows.columns["z"]).max() > 1
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=rf"between 0 and the rows' own \[3\], not {wrong}"):
            generator.renoise(rows, wrong)


@pytest.mark.parametrize("cosine", [1.0, 0.95, 0.0, -0.5])
def test_neighbours_keep_the_length_and_have_the_cosine(cosine: float) -> None:
    generator = landscape()
    pivots = begun(generator)
    near = generator.neighbours(pivots, named(4, seed=1), cosine)
    p, x = (rows.columns["z"].reshape(4, -1).astype(np.float64) for rows in (pivots, near))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), np.linalg.norm(p, axis=1), rtol=1e-6)
    cosines = (x * p).sum(1) / np.square(p).sum(1)
    np.testing.assert_allclose(cosines, cosine, atol=1e-6)  # float32 rounding of 128^2 terms
    assert set(near.columns) == set(pivots.columns)
    assert not near.step.any()
    if cosine < 1:  # each takes its own direction
        assert abs(correlation(x[0] - cosine * p[0], x[1] - cosine * p[1])) < 0.04  # 5 standard errors, 1 / 128 each


def test_neighbours_are_of_starts() -> None:
    generator = landscape()
    with pytest.raises(ValueError, match="expected pivots at step 0"):
        generator.neighbours(generator.advance(begun(generator)), named(4), 0.9)
    with pytest.raises(ValueError, match="a cosine from -1 to 1"):
        generator.neighbours(begun(generator), named(4), 1.1)


def test_heights_undo_the_networks_scale() -> None:
    ramp = np.broadcast_to(np.linspace(0, TALLEST, SIDE), (1, SIDE, SIDE))
    x0 = 2 * np.arcsinh(ramp / KNEE) / np.arcsinh(TALLEST / KNEE) - 1
    np.testing.assert_allclose(heights(x0), ramp, atol=1e-12)
    (image,) = images(x0, np.array([0.05]))
    np.testing.assert_array_equal(image, np.minimum(np.rint(ramp[0] / 0.05), 255))
    assert heights(x0[:, :, 64:]).min() == 0  # above the lowest point


def test_open_steps_are_chosen_for_the_method() -> None:
    assert Terrain().evaluations == 1
    assert Terrain().suited({"preview"}).evaluations == 1
    assert Terrain().suited({"stochastic_step"}).evaluations == 4
    assert Terrain().suited({"renoise"}).evaluations == 4
    assert Terrain(steps=1).suited({"renoise"}).lacks == {
        "renoise": "set steps above 1",
        "stochastic_step": "set steps above 1",
    }
    assert not Terrain(steps=2).lacks


@pytest.mark.parametrize("prompt", ["", "0", "101", "07", "7.0", "٣", "hard"])
def test_refuses_prompts_that_are_no_difficulty(prompt: str) -> None:
    with pytest.raises(ValueError, match="a whole number 1 to 100"):
        Terrain().check(Item(prompt=prompt))
    Terrain().check(Item(prompt="7"))


def test_naming_the_model_imports_nothing_heavy() -> None:
    code = (
        "import sys; from generators.builtin import GENERATORS as g; p = g.find('terrain'); "
        "assert p.config().evaluations == 1 and p.card.startswith('# terrain'); "
        "assert not {'onnxruntime', 'torch', 'terrain_diffusion'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def unloaded() -> Any:
    terrain.network.cache_clear()
    yield
    terrain.network.cache_clear()


@pytest.mark.usefixtures("unloaded")
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(terrain, "distribution", missing)
        with pytest.raises(ImportError, match=r"pip install winnow-service\[terrain\]"):
            PLUGIN.factory(Terrain())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install winnow-service\[terrain\]"):
        PLUGIN.factory(Terrain())


# From here on: the model itself.


def installed() -> None:
    """Skips the test, loudly, without the package."""
    pytest.importorskip("onnxruntime", reason="NOT TESTED: the model 'terrain' needs onnxruntime (extra `terrain`).")
    try:
        distribution("adaptive-terrain-diffusion")
    except PackageNotFoundError:
        pytest.skip("NOT TESTED: the model 'terrain' needs adaptive-terrain-diffusion==0.4.2 (extra `terrain`).")


def build(**config: Any) -> Any:
    installed()
    return PLUGIN.factory(Terrain(**config))


@pytest.mark.usefixtures("unloaded")
def test_a_changed_file_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    installed()
    monkeypatch.setattr(terrain, "SHA256", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ImportError, match="has SHA-256 95be54b4"):
        PLUGIN.factory(Terrain())


def test_the_model_passes_the_exam() -> None:
    """A single step and no company, to save time: what these add is examined above, and below on the model."""
    offers = set(PLUGIN.facts.offers) - set(Terrain(steps=1).lacks)
    examine(build(steps=1), ITEMS, offers=offers, evaluations=1, count=4)


def test_the_models_steps_are_random_and_can_be_taken_again() -> None:
    """Two children of one row, and one renoised: different terrain, of like heights, as smooth as one step's."""
    generator = build(steps=2)
    first = generator.advance(generator.start(ITEMS[:1], named(1)))
    last = generator.advance(first.fork(np.zeros(2, np.int64)))
    again = generator.advance(generator.renoise(last[:1].fork(np.zeros(1, np.int64)), 1))
    fields = np.concatenate([first.columns["x0"], last.columns["x0"], again.columns["x0"]])
    for i in range(4):
        for j in range(i):
            assert np.abs(fields[i] - fields[j]).mean() > 0.01
    rough = np.abs(np.diff(fields, axis=2)).mean((1, 2))
    assert rough.max() < 3 * rough[0]


def test_a_row_is_what_the_package_makes_of_the_same_noise() -> None:
    """The package draws its noise with numpy; given the same numbers, both give the same metres but for rounding."""
    generator = build()
    theirs = pytest.importorskip("terrain_diffusion").TerrainGenerator(device="cpu").generate(1, difficulty=7, seed=3)
    noise = np.random.default_rng(3).standard_normal((1, SIDE, SIDE), dtype=np.float32)
    rows = replace(rows := generator.start(ITEMS[1:], named(1)), columns={**rows.columns, "z": noise})
    np.testing.assert_allclose(heights(generator.advance(rows).columns["x0"]), theirs, atol=1e-4)


def test_the_network_leaves_clean_data_alone() -> None:
    """The boundary condition of a consistency model, f(x, least sigma) = x."""
    network = build().network
    x = np.clip(keys.normals(named(1), 0, SIDE * SIDE), -1, 1).reshape(1, SIDE, SIDE).astype(np.float32)
    np.testing.assert_allclose(network(x, np.array([CLEANEST], np.float32), np.ones(1, np.float32)), x, atol=1e-4)
    assert NOISIEST > CLEANEST


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Any], Any]:
    """Answers and exact heights of 8 rows of difficulty 100, no grey level cut."""
    generator = build(level=0.08)
    rows = generator.advance(generator.start([ITEMS[0]] * 8, named(8)))
    return generator.finish(rows), heights(rows.columns["x0"])


def best(answers: list[Any], name: str, **config: Any) -> int:
    found = VERIFIERS.find(name)
    scores: Any = found.factory(found.config(level=0.08, **config))([Answer(a, ITEMS[0]) for a in answers])
    return int(np.argmax([score.value for score in scores]))


def test_answers_are_the_heights_in_grey(drawn: Any) -> None:
    for image, exact in zip(*drawn, strict=True):
        assert image.min() == 0
        assert image.max() < 255
        assert np.abs(image * 0.08 - exact).max() <= 0.04 + 1e-9
        assert 0.5 < np.ptp(exact) < TALLEST


@pytest.mark.parametrize("target", [0.0, 4.0])
def test_the_best_by_range_is_the_best_by_exact_heights(drawn: Any, target: float) -> None:
    answers, exact = drawn
    away = np.abs(np.ptp(exact, axis=(1, 2)) - target)
    assert (
        away[best(answers, "terrain/range", target=target)] <= away.min() + 0.08
    )  # grey levels round by .04 at each end
    assert away.min() + 0.08 < np.median(away)  # so that it means something


@pytest.mark.parametrize("quantile", [None, 0.9])
def test_the_best_by_slope_is_among_the_best_by_exact_heights(drawn: Any, quantile: float | None) -> None:
    answers, exact = drawn
    steep = [slopes(h, 0.1) for h in exact]
    exactly = np.array([s.mean() if quantile is None else np.quantile(s, quantile) for s in steep])
    chosen = best(answers, "terrain/slope", target=5.0, quantile=quantile)
    assert exactly[chosen] >= np.sort(exactly)[-2]  # steepest or next: grey levels are steps of slope .8
    assert exactly[chosen] > np.median(exactly)


def test_the_best_by_route_leads_further(drawn: Any) -> None:
    answers, exact = drawn
    reached = np.array([progress(h, 0.085) for h in exact])  # one grey level a step, and a little
    assert reached[best(answers, "terrain/route", max_slope=0.85)] >= np.median(reached)
