"""`select: pareto` and unscored molecules, for real."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from helping import done, refused

from search.fronts import fronts
from service.client import Client

VERIFIERS = [{"name": "dna/binding", "label": factor, "factor": factor} for factor in ("CRX", "EGR2")]
JOB: dict[str, Any] = {
    "model": "dna8",
    "items": [{"id": "free"}, {"id": "given", "prompt": "GG____CC"}],
    "verifiers": VERIFIERS,
    "search": {"method": "best_of_n", "n": 60, "select": "pareto"},
    "top_k": 60,
}


def test_fronts_come_in_order_and_the_best_mean_rank_first(client: Client) -> None:
    view = done(client, JOB)
    by_rank = done(client, JOB | {"search": {"method": "best_of_n", "n": 60}})
    for item, other in zip(client.items(view.id), client.items(by_rank.id), strict=True):
        values = np.array([[score.value for score in answer.scores] for answer in item.best], float).T
        front = fronts(values)
        assert len(item.best) == 60
        assert front.tolist() == sorted(front)
        assert front[-1] > 0
        assert item.best[0].sample == other.best[0].sample
    given = [answer.answer for answer in list(client.items(view.id))[1].best]
    assert all(text.startswith("GG") and text.endswith("CC") for text in given)


def test_what_cannot_be_asked_for(client: Client) -> None:
    def detail(**changes: Any) -> str:
        return refused(client.http.post("/v1/jobs", json=JOB | changes), 422)["detail"]

    assert "'pareto' needs two verifiers or more" in detail(verifiers=VERIFIERS[:1])
    assert "which answers pareto will select; valid here: all" in detail(keep="top_k", top_k=2)
    assert "the prompt must be empty or 8 of A, C, G, T and _ (free)" in detail(items=[{"prompt": "ACGU____"}])


@pytest.mark.skipif(not find_spec("rdkit"), reason="NOT EXAMINED: needs the extra `molecules`")
def test_what_is_no_molecule_is_unscored_and_counted(client: Client) -> None:
    """ "CCCCNNNN" would be one, but DNA has A, G and T, which are none."""
    view = done(client, JOB | {"items": [{"prompt": "CC_CCCCC"}], "verifiers": ["molecule/qed"],
                               "search": {"method": "best_of_n", "n": 40}})  # fmt: skip
    answers = list(client.candidates(view.id))
    read = [answer.scores[0].value is not None for answer in answers]
    assert [answer.answer == "CCCCCCCC" for answer in answers] == read
    assert 0 < view.counts.unscored == read.count(False)
    assert all("it is no SMILES" in (a.scores[0].reason or "") for a, ok in zip(answers, read, strict=True) if not ok)


@pytest.mark.skipif(not (find_spec("rdkit") and find_spec("torch")), reason="NOT EXAMINED: needs the extra `molecules`")
def test_molecules_are_steered_by_rdkit_in_processes(client: Client) -> None:
    """Several fills of every preview, a limit as a factor, a prompt that stays; the network is called in a worker."""
    limit = {"verifier": {"name": "molecule/sa", "limit": 6.0}, "passed": True}
    reward = {"name": "product", "factors": [{"verifier": "molecule/qed"}, limit]}
    spec = {
        "model": {"name": "molecules", "sampler": "ancestral", "steps": 6, "fills": 2},
        "items": [{"prompt": "[C][=C][C][=C][C][=C][Ring1][=Branch1]..."}],
        "verifiers": [{"name": "soft", "verifier": reward, "tilt": 20.0}],
        "graders": ["molecule/valid"],
        "search": {"method": "soft_value", "n": 2, "children": 3},
    }
    view = done(client, spec)
    answers = list(client.candidates(view.id))
    assert len(answers) == 2
    assert view.usage.evaluations == 2 * 3 * 6
    for answer in answers:
        assert answer.grades[0].passed is True
        assert isinstance(answer.answer, str)
        assert answer.answer.lower().count("c") >= 6
    refusal = client.http.post("/v1/jobs", json=spec | {"items": [{"prompt": "CCO"}]})
    assert "the prompt holds 'C'; valid" in refused(refusal, 422)["detail"]
