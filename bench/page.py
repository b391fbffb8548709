"""Server time of every request that the page of one job makes.

    python -m bench.page [--items 100] [--samples 1000] [--rounds 5]

A job of items x samples candidates with a verifier and a grader is written through the store's own commit, as a worker
does; then the requests of the job's page go through the API in this process, in turns. `per cent of a scan`: the curve
against reading the rows of scores that it is drawn from, in the same run. Prints one JSON object.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from search import keys
from search.ports import Score
from service import catalog
from service.api import errors, jobs
from service.spec import JobSpec
from service.store import Store, commits, creating, dispatch, shards
from service.store.commits import Results
from service.store.schema import scores
from service.writing import counted


def spec(items: int, samples: int) -> JobSpec:
    """A job that no worker will run."""
    return JobSpec.model_validate(
        {
            "model": "toy/noop",
            "items": [{"prompt": f"question {i}", "target": "1"} for i in range(items)],
            "search": {"method": "best_of_n", "n": samples},
            "verifiers": [{"name": "toy/linear", "threshold": 0.5}],
            "graders": [{"name": "toy/quadratic", "label": "grader", "threshold": 0.5}],
        }
    )


def fill(store: Store, items: int, samples: int) -> str:
    """Commit every shard: items differ in difficulty, and the verifier is wrong now and then. Returns the job."""
    job = store.write(creating.create, catalog.prepare(spec(items, samples)))
    rng = np.random.default_rng(0)
    hard = rng.beta(0.3, 2, items)
    while waiting := store.read(dispatch.waiting, ("toy/noop", "batch", ""), 1000):
        for ticket in waiting:
            claimed = store.write(shards.claim, "bench", [("0-1", ticket.shard)]).claims["0-1", ticket.shard]
            found = Results(evaluations=sum(span.count for span in claimed.spans))
            for span in claimed.spans:
                right = rng.random(span.count) < hard[span.item]
                value = np.where(right, 0.8, 0.2) + rng.normal(0, 0.2, span.count)
                rows = keys.rows(keys.problem(0, str(span.item)), span.first, span.count)
                names = [f"{a:08x}{b:08x}" for a, b in rows.tolist()]
                found.candidates += [
                    (job.id, span.item, span.first + i, name, json.dumps(int(r)), None, 1, None, None)
                    for i, (name, r) in enumerate(zip(names, right.tolist(), strict=True))
                ]
                accepted = [Score(v, v >= 0.5, None, str(round(5 * v))) for v in value.tolist()]
                grades = [Score(float(r), r) for r in right.tolist()]
                for label, verdicts in (("toy/linear", accepted), ("grader", grades)):
                    places = range(span.first, span.first + span.count)
                    found.scores.setdefault(label, []).extend(
                        (span.item, i, *score, 0.01) for i, score in zip(places, verdicts, strict=True)
                    )
                    counted(found, label, span, verdicts, range(span.count))
                found.items.append(
                    {"n": span.item, "drawn_": span.count, "evaluations_": span.count, "reason_": None, "error_": None}
                )
            if not store.write(commits.commit, claimed, found):
                raise RuntimeError(f"shard {ticket.shard} was not written")
    return job.name


def served(store: Store) -> TestClient:
    """The routes of jobs over this store."""
    app = FastAPI()
    errors.install(app)
    app.state.store = store
    app.include_router(jobs.router)
    return TestClient(app)


def scan(store: Store) -> int:
    """Read every score, as a curve without pools would."""
    with store.reading() as connection:
        query = sa.select(scores.c.item, scores.c.value, scores.c.passed).order_by(
            scores.c.judge, scores.c.item, scores.c.sample
        )
        return sum(len(part) for part in connection.execution_options(yield_per=10_000).execute(query).partitions())


def measure(items: int, samples: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each request: the first one, and the least of the others."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'page.db'}")
        store.migrate()
        job, http = fill(store, items, samples), served(store)
        paths = {
            "job": f"/v1/jobs/{job}",
            "curve": f"/v1/jobs/{job}/curve",
            "items": f"/v1/jobs/{job}/items?limit=24",
            "candidates": f"/v1/jobs/{job}/candidates?limit=100&item=0",
            "populations": f"/v1/jobs/{job}/items/0/populations",
            "jobs": "/v1/jobs",
        }
        taken: dict[str, list[float]] = {name: [] for name in (*paths, "scan")}
        for _ in range(rounds):
            for name, path in paths.items():
                started = time.perf_counter()
                http.get(path).raise_for_status()
                taken[name].append(1e3 * (time.perf_counter() - started))
            started = time.perf_counter()
            scan(store)
            taken["scan"].append(1e3 * (time.perf_counter() - started))
        store.close()
    scanned = taken.pop("scan")
    first = {name: round(times[0], 1) for name, times in taken.items()}
    again = {name: round(min(times[1:]), 1) for name, times in taken.items()}
    return {
        "candidates": items * samples,
        "first, ms": first | {"page": round(sum(first.values()), 1)},
        "again, ms": again | {"page": round(sum(again.values()), 1)},
        "curve of a scan": round(again["curve"] / min(scanned), 3),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps({"bench": "page", **measure(options.items, options.samples, options.rounds)}))


if __name__ == "__main__":
    main()
