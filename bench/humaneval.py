"""A language model on HumanEval through the whole service: a weak suite selects, HumanEval's own grades.

    python -m bench.humaneval [--problems HumanEval/23,HumanEval/53] [--samples 16] [--model JSON] [--out FILE]

coverage: share of problems with a right program among k. selected: share whose best of k by the weak suite
(HumanEval's up to its first assertion) is right. wrong: share where drawing until the weak suite accepts, at most k
times, ends with a wrong program. advice: what follows, in words, where a wrong answer loses four times what a right
one is worth. Prints one JSON object.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.printed import printed
from service.client import Client
from service.embedded import Stack
from service.settings import Settings

EASY = ("HumanEval/23", "HumanEval/28", "HumanEval/35", "HumanEval/42", "HumanEval/45")
"""Problems that a model of 135 million parameters solves now and then."""
SMALL: dict[str, Any] = {"name": "smollm2", "temperature": 0.8, "max_tokens": 128, "context": 768, "stop": ["\n```"]}


def job(model: dict[str, Any], problems: Sequence[str], samples: int) -> dict[str, Any]:
    """The problems, answered `samples` times each."""
    return {
        "model": model,
        "items_from": {
            "task": "human_eval",
            "count": len(problems),
            "chat": True,
            "config": {"problems": list(problems)},
        },
        "search": {"method": "best_of_n", "n": samples},
        "verifiers": [{"name": "program/asserts", "label": "weak", "suite": "weak"}],
        "graders": [{"name": "program/asserts", "label": "strong", "suite": "strong"}],
    }


def measured(spec: dict[str, Any]) -> dict[str, Any]:
    """What the job's curve says."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data_dir=Path(name))
        with Stack(settings, log=Path(name) / "worker.log") as stack, Client(stack.url) as client:
            *_, last = client.watch(client.submit(spec).id)
            asked = {"value": 1, "loss": 4, "cost": 0.01}
            curve = client.http.get(f"/v1/jobs/{last.id}/curve", params=asked).raise_for_status().json()
            found = list(client.candidates(last.id))
    if last.state != "completed":
        raise RuntimeError(f"the job ended as {last.state}: {last.stop_reason}")
    pairs = Counter((one.scores[0].passed, one.grades[0].passed) for one in found)
    names = ("k", "coverage", "selected", "right", "wrong", "abstain")
    return {
        "tokens": last.usage.tokens,
        "candidates": len(found),
        "weak_and_strong": {f"{weak}/{strong}": n for (weak, strong), n in sorted(pairs.items(), key=str)},
        "reasons": Counter(str(one.grades[0].reason).split(":")[0] for one in found),
        "points": [{name: point[name] for name in names} for point in curve["points"]],
        "advice": curve["advice"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(EASY))
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--model", type=json.loads, default=SMALL)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    problems = options.problems.split(",")
    shape = {"model": options.model["name"], "problems": problems, "samples": options.samples}
    printed({"bench": "humaneval", **shape, **measured(job(options.model, problems, options.samples))}, options.out)


if __name__ == "__main__":
    main()
