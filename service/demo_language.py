"""`winnow demo --language`: repeated sampling of a small language model on tasks whose answers can be checked.

After "Large Language Monkeys" (Brown et al. 2024, arXiv 2407.21787): coverage grows with samples, a vote does not. With
few possible answers so does blind guessing; a chance baseline stands beside each curve.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from service.client import Client
from service.curve_text import percent
from service.embedded import Stack
from service.opening import Unusable
from service.progress import watched
from service.settings import Settings
from service.views import CandidateView, CurveView

TASKS: dict[str, dict[str, int]] = {  # questions that so small a model answers now and then, and seldom never
    "lcm": {"min_value": 1, "max_value": 7},
    "letter_counting": {"min_words": 5, "max_words": 9},
    "gcd": {"min_value": 1, "max_value": 12},
    "count_bits": {"min_n": 1, "max_n": 31},
}
ITEMS, SAMPLES, SHOTS = 30, 16, 3
MODEL: dict[str, Any] = {"name": "smollm2", "temperature": 0.8, "max_tokens": 16, "stop": ["\n"], "context": 512}


class Shown(NamedTuple):
    """One task: its curve, and what blind guesses cover, by k."""

    task: str
    curve: CurveView
    chance: dict[int, float]


def questions(task: str, count: int = ITEMS, shots: int = SHOTS, seed: int = 0) -> list[dict[str, Any]]:
    """Items of a task of reasoning-gym: `shots` other questions with their answers, then the question; its target."""
    import reasoning_gym

    drawn: list[Any] = list(reasoning_gym.create_dataset(task, size=shots + count, seed=seed, **TASKS[task]))
    before = "".join(f"Q: {one['question']}\nA: {one['answer']}\n\n" for one in drawn[:shots])
    return [
        {"id": f"{task}-{i}", "prompt": f"{before}Q: {one['question']}\nA:", "target": one["answer"]}
        for i, one in enumerate(drawn[shots:])
    ]


def job(task: str, samples: int, items: int = ITEMS) -> dict[str, Any]:
    """The task's questions, answered `samples` times each; a number that equals the target passes."""
    return {
        "model": MODEL,
        "items": questions(task, items),
        "search": {"method": "best_of_n", "n": samples},
        "verifiers": ["numeric"],
        "seed": 1,
        "metadata": {"experiment": f"language {task}"},
    }


def chance(
    answers: Iterable[tuple[int, str | None]], targets: Sequence[str], budgets: Iterable[int]
) -> dict[int, float]:
    """Coverage of guesses made without reading the question: answers that the model gave to the task's other items.

    answers: (item, canonical answer, None for one that cannot be read). A guess at item i is one of all answers to
    other items, drawn anew each time; where the share c_i of them is right, k guesses cover it by 1 - (1 - c_i)^k.
    """
    every = list(answers)
    said, own = Counter(answer for _, answer in every), Counter(every)
    total, mine = len(every), Counter(item for item, _ in every)
    right = [(said[t] - own[i, t]) / max(1, total - mine[i]) for i, t in enumerate(targets)]
    return {k: sum(1 - (1 - c) ** k for c in right) / len(right) for k in budgets}


def canonical(candidates: Iterable[CandidateView]) -> list[tuple[int, str | None]]:
    """Each candidate's item and the form in which its answer votes."""
    return [(one.item, one.scores[0].canonical) for one in candidates]


def demonstrate(
    settings: Settings, out: Path, host: str, port: int, samples: int, keep: Callable[[], None] | None = None
) -> list[Shown]:
    """Run the demo; writes OUT/language.png. keep: called at the end, while the API answers."""
    for package in ("torch", "matplotlib", "transformers", "reasoning_gym"):
        if find_spec(package) is None:
            raise Unusable(f"the demo needs {package}: pip install 'winnow-service[language,demo]'")
    console = Console()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    with Stack(settings, host, port, 1, settings.data_dir / "worker.log") as stack, Client(stack.url) as client:
        console.print(f"{len(TASKS)} tasks of {ITEMS} questions, {samples} answers each; API at {stack.url}")
        views = watched(client, [client.submit(job(task, samples)).id for task in TASKS])
        for view in views:
            if view.state != "completed":
                raise Unusable(f"job {view.id} has {view.state}: {view.error}; see {settings.data_dir / 'worker.log'}")
        shown = [seen(client, view.id, task) for view, task in zip(views, TASKS, strict=True)]
        console.print(table(shown))
        console.print("chance: answers to the task's other questions as guesses; 95 % intervals over questions")
        tokens = sum(view.usage.tokens for view in views)
        console.print(f"{tokens} tokens in {max(view.usage.seconds for view in views):.0f} s")
        console.print(f"Picture: {draw(shown, out / 'language.png')}")
        if keep is not None:
            console.print(f"Winnow answers at {stack.url}, its page; Ctrl-C ends it")
            keep()
    return shown


def seen(client: Client, name: str, task: str) -> Shown:
    """One task's results."""
    curve, targets = client.curve(name), [item["target"] for item in questions(task)]
    answers = canonical(client.candidates(name))
    return Shown(task, curve, chance(answers, targets, [point.k for point in curve.points]))


def table(shown: Sequence[Shown]) -> Table:
    """A row for each task and the first and last budget."""
    found = Table()
    for name in ("task", "samples", "coverage, %", "majority, %", "chance, %"):
        found.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
    for one in shown:
        for point in {point.k: point for point in (one.curve.points[0], one.curve.points[-1])}.values():
            vote = percent(point.majority) if point.majority else "-"
            found.add_row(one.task, str(point.k), percent(point.coverage), vote, f"{100 * one.chance[point.k]:.1f}")
    return found


def draw(shown: Sequence[Shown], path: Path) -> Path:
    """Coverage, majority and chance against samples, a panel for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure: Any
    axes: Any
    figure, axes = plt.subplots(1, len(shown), figsize=(3.4 * len(shown), 3.4), sharey=True, layout="constrained")
    for axis, one in zip(axes, shown, strict=True):
        k = [point.k for point in one.curve.points]
        lines = {
            "coverage (some answer is right)": [point.coverage for point in one.curve.points],
            "majority vote": [point.majority for point in one.curve.points],
        }
        for (label, estimates), colour in zip(lines.items(), ("#1f5fbf", "#c4501b"), strict=True):
            known = [(n, e) for n, e in zip(k, estimates, strict=True) if e is not None]
            places = [n for n, _ in known]
            low, high = [e.low for _, e in known], [e.high for _, e in known]
            axis.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(places, [e.mean for _, e in known], "o-", color=colour, label=label, markersize=4)
        axis.plot(k, [one.chance[n] for n in k], "--", color="#666666", label="answers to other questions")
        axis.set(ylim=(0, 1.02), title=one.task, xlabel="samples")
        axis.set_xscale("log", base=2)
        axis.set_xticks(k, [str(n) for n in k])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share of questions answered rightly")
    axes[0].legend(loc="upper left", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
