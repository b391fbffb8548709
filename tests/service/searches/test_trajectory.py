"""A verifier that reads the trajectory: the model keeps what it asks for, steering and grading see the same."""

import pytest
from helping import done, job

from service import catalog
from service.catalog import Invalid
from service.client import Client
from service.spec import JobSpec

DIGITS = {"name": "digits-early", "steps": 3}


def test_a_search_and_its_graders_see_the_trajectory(client: Client) -> None:
    spec = job(
        1, 3, model=DIGITS, items=[{"prompt": "7"}], verifiers=["trajectory_variance"],
        graders=[{"name": "trajectory_variance", "label": "again"}, {"name": "ensemble", "label": "in a composite",
                 "verifiers": ["trajectory_variance", "digit_classifier"]}],
    )  # fmt: skip
    view = done(client, spec)
    found = list(client.candidates(view.id))
    values = [c.scores[0].value for c in found]
    assert all(value is not None and value < 0 for value in values)
    assert len(set(values)) == 3
    assert [c.grades[0].value for c in found] == values
    assert all(c.grades[1].value is not None for c in found)
    (item,) = client.items(view.id)
    assert item.best[0].scores[0].value == max(values)


def test_it_steers_once_there_are_two_guesses_to_compare(client: Client) -> None:
    search = {"method": "feynman_kac", "particles": 3, "begin": 4, "every": 1}
    spec = job(1, 1, model={**DIGITS, "steps": 6}, items=[{"prompt": "7"}], verifiers=["trajectory_variance"])
    view = done(client, {**spec, "search": search})
    assert view.counts.unscored == 0
    early = client.submit({**spec, "search": {**search, "begin": 1}}, wait=60)
    assert "fewer than two evaluations in the part that is watched" in str(early.error)


def prepared(model: object, *verifiers: object) -> catalog.Prepared:
    return catalog.prepare(JobSpec.model_validate({"model": model, "items": [{"prompt": "7"}], "verifiers": verifiers}))


def test_the_model_is_watched_where_somebody_looks() -> None:
    assert prepared("digits", "digit_classifier").model.config.watch is None  # type: ignore[attr-defined]
    inside = {"name": "weighted", "terms": [{"verifier": "trajectory_variance"}, {"verifier": "digit_classifier"}]}
    for verifier in ("trajectory_variance", inside):
        assert prepared("digits", verifier).model.config.watch == 0.8  # type: ignore[attr-defined]


def test_what_keeps_none_is_refused() -> None:
    with pytest.raises(Invalid, match="verifiers: 'toy/bits' lacks trajectory, which 'trajectory_variance' needs"):
        prepared("toy/bits", "trajectory_variance")
    with pytest.raises(Invalid, match=r"'digits' has no trajectory as configured.* set steps above 1"):
        prepared({"name": "digits", "steps": 1}, "trajectory_variance")
