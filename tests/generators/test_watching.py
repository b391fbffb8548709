"""The variance of x0-hat that rows keep is that of the guesses that were made."""

from typing import Any

import numpy as np
import pytest

from generators.conformance import examine
from generators.denoising import Model, Preserving, always
from generators.diffusion import Diffusion
from generators.digits import Digits, squared_cosine
from search import keys
from search.ports import Item, Rows

KEYS = keys.rows(keys.problem(0, "watching"), 0, 6)
ITEMS = [Item()] * len(KEYS)


def network(x: Any, level: Any, label: Any) -> Any:
    """A smooth function of each row alone."""
    return (x * 0.3).sin() + 0.2 * (level.reshape(-1, 1, 1) / 100).cos() * x


def toy(**settings: Any) -> Diffusion:
    model = Model(
        "watched", network, "v", (2, 3), Preserving(squared_cosine()), always(9), decode=lambda x: list(x.tolist())
    )
    return Diffusion(model, lambda item: 4, **{"levels": 5, **settings})


def followed(generator: Diffusion, rows: Rows) -> tuple[Rows, np.ndarray]:
    """The rows at their end and every x0-hat on the way, [evaluations, n, 6]."""
    guesses = []
    while not rows.done.all():
        rows = generator.advance(rows)
        guesses.append(rows.columns["x0"].reshape(len(rows), -1).astype(np.float64))
    return rows, np.array(guesses)


@pytest.mark.parametrize(("share", "last"), [(1.0, 5), (0.8, 4), (0.5, 3), (0.01, 2)])
@pytest.mark.parametrize("more", [{}, {"eta": 1.0}, {"solver": "heun"}])
def test_it_is_the_variance_of_the_last_guesses(share: float, last: int, more: dict[str, Any]) -> None:
    generator = toy(watch=share, **more)
    rows, guesses = followed(generator, generator.start(ITEMS, KEYS))
    part = guesses[-(last if len(guesses) == 5 else {1.0: 8, 0.8: 7, 0.5: 4, 0.01: 2}[share]) :]
    np.testing.assert_allclose(rows.columns["trajectory_variance"], part.var(0).mean(1), rtol=1e-5)


def test_watching_changes_nothing_else() -> None:
    plain, watched = (toy(eta=1.0, watch=share) for share in (0.0, 0.8))
    assert plain.batch_key != watched.batch_key
    one, other = (followed(generator, generator.start(ITEMS, KEYS))[0] for generator in (plain, watched))
    assert set(other.columns) - set(one.columns) == {
        "watched",
        "watched_from",
        "watched_mean",
        "trajectory_variance",
    }
    np.testing.assert_array_equal(one.columns["x0"], other.columns["x0"])


def test_there_is_none_before_two_guesses_and_after_going_back() -> None:
    generator = toy(eta=1.0, watch=0.8)
    rows = generator.start(ITEMS, KEYS)
    for known in (False, False, True):  # the first guess is outside the part, the second has nothing to differ from
        rows = generator.advance(rows)
        assert ((rows.columns["trajectory_variance"] >= 0) == known).all()
    rows, guesses = followed(generator, generator.renoise(rows, 1))
    np.testing.assert_allclose(rows.columns["trajectory_variance"], guesses.var(0).mean(1), rtol=1e-5)


def test_rows_watched_over_other_parts_share_a_call() -> None:
    few, many = toy(watch=0.4), toy(watch=1.0, levels=7)
    assert few.batch_key == many.batch_key
    blocks = [generator.start(ITEMS, KEYS) for generator in (few, many)]
    rows = Rows.join(blocks)
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, few.advance(rows[live]))
    apart = np.concatenate(
        [followed(g, block)[0].columns["trajectory_variance"] for g, block in zip((few, many), blocks, strict=True)]
    )
    np.testing.assert_allclose(rows.columns["trajectory_variance"], apart, rtol=1e-4)


def test_the_exam() -> None:
    offers = {"preview", "stochastic_step", "renoise", "neighbours"}
    examine(toy(eta=1.0, watch=0.6), [Item()], offers=offers, tolerance=1e-5)


def test_a_job_that_asks_for_it_is_watched() -> None:
    assert Digits().suited(set()).watch is None
    assert Digits().suited({"trajectory"}).watch == 0.8
    assert Digits(watch=0.3).suited({"trajectory"}).watch == 0.3
    assert Digits(steps=1).lacks["trajectory"].startswith("set steps above 1")
