"""Jobs whose items are drawn from a task, and judges that run elsewhere, through the whole service."""

import asyncio
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "verifiers" / "support"))

from helping import GAUSS, done, job, service
from servers import KEY, SECRET, started

from search.ports import Answer, Item
from service.client import Client, Refused
from service.processes import elsewhere

LCM = {"task": "lcm", "count": 3, "seed": 0, "shots": 2}


@pytest.fixture(scope="module")
def client(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service whose operator named a judge and a hook."""
    with started(tmp_path_factory.mktemp("endpoints")) as told, pytest.MonkeyPatch.context() as patch:
        for name, value in told.environment.items():
            patch.setenv(name, value)
        with service(tmp_path_factory.mktemp("data")) as (_, found):
            yield found


@pytest.mark.skipif(not find_spec("reasoning_gym"), reason="NOT TESTED: reasoning-gym is not installed")
def test_items_from_a_task(client: Client):
    spec = {"model": GAUSS, "items_from": LCM, "search": {"n": 2}, "verifiers": ["reasoning_gym"], "graders": ["http"]}
    spec["graders"] = [{"name": "http", "hook": "letters"}]
    view = done(client, spec, 200)  # the first item and answer wait for a library of seconds
    assert (view.counts.items, view.counts.candidates, view.counts.unscored) == (3, 6, 0)
    kept = view.spec
    assert kept is not None
    assert kept["items_from"] is None
    assert kept["items"][0]["target"]["answer"] == "2646"
    assert client.submit(spec | {"seed": 1}).spec["items"] == kept["items"]  # the items' seed is their own
    assert client.submit({**kept, "seed": 2}).spec["items"] == kept["items"]  # what is stored can be sent again
    with pytest.raises(Refused, match="unknown task 'lmc'; valid: ab, ") as refused:
        client.submit(spec | {"items_from": {"task": "lmc"}})
    assert refused.value.status == 422
    for wrong in ({"count": 0}, {"task": "lcm", "shots": -1}, {"task": "lcm", "configs": {}}, {"task": 7}):
        with pytest.raises(Refused, match="items_from") as refused:
            client.submit(spec | {"items_from": wrong})
        assert refused.value.status == 422


def test_judges_elsewhere_and_in_parts(client: Client):
    """A judge steers; a cascade, a tournament and a calibrated judge report. Secrets are in no answer of the API."""
    cascade = {"name": "cascade", "stages": [
        {"verifier": {"name": "toy/linear"}, "below": 0.0}, {"verifier": {"name": "judge", "endpoint": "judge"}},
    ]}  # fmt: skip
    chance = {
        "name": "calibrated",
        "verifier": {"name": "judge", "endpoint": "judge"},
        "pairs": [[0, False], [1, True]],
    }
    graders = [cascade, chance, {"name": "judge/pairwise", "endpoint": "judge"}]
    view = done(client, job(2, 4, verifiers=[{"name": "judge", "endpoint": "judge"}], graders=graders), 200)
    assert (view.counts.candidates, view.counts.unscored) == (8, 0)
    found = list(client.candidates(view.id))
    for one in found:
        (score,) = one.scores
        grades = {grade.name: grade for grade in one.grades}
        assert 0 <= score.value <= 1
        decided = "stage 0, toy/linear" if float(one.answer) < 0 else "stage 1, judge"
        assert grades["cascade"].reason.startswith(f"decided by {decided}")
        assert 0 < grades["calibrated"].value < 1
        assert 0 <= grades["judge/pairwise"].value <= 1
    said = view.model_dump_json() + "".join(one.model_dump_json() for one in found)
    said += client.http.get("/v1/verifiers").text
    assert KEY not in said
    assert SECRET not in said


def test_an_answer_that_hears_no_signal_takes_no_other_with_it(plugins: None):
    """The second timer of `patience` ends the process; the others are asked again, elsewhere."""
    values = ["a", "hang", "b"]
    found = asyncio.run(elsewhere("outside/stubborn", "{}")([Answer(value, Item()) for value in values]))
    assert [score.value for score in found] == [1.0, None, 1.0]
    assert found[1].reason == "the process of verifier 'outside/stubborn' died"


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ({"name": "judge", "endpoint": "jury"}, "unknown endpoint 'jury'; valid: judge, nobody"),
        ({"name": "http", "hook": "mine"}, "unknown hook 'mine'; valid: letters, stranger"),
        (
            {"name": "ensemble", "verifiers": ["exakt", "exact"]},
            "unknown verifier 'exakt'; valid: aesthetic, any",
        ),
        ({"name": "judge/pairwise", "endpoint": "judge"}, "must see all of them at once"),
    ],
)
def test_what_is_refused_at_submit(client: Client, verifier, said):
    with pytest.raises(Refused, match=said) as refused:
        client.submit(job(1, 65, verifiers=[verifier]))
    assert refused.value.status == 422
