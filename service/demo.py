"""`winnow demo`: real jobs on an embedded service, searched by one judge and graded by another."""

import io
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from service.cli_compare import show
from service.client import Client
from service.curve_text import curve_tables
from service.embedded import Stack
from service.opening import Unusable
from service.progress import watched
from service.settings import Settings
from service.views import Comparison, CurveView

MODELS = ("digits-early", "digits-unconditional")
SAMPLES = 16
SCALE = 2
HARD = "digits-unconditional"
SEARCHES: dict[str, dict[str, Any]] = {  # at 8 trajectories of 10 evaluations; rollover stops early and spends less
    "best_of_n": {"n": 8},
    "feynman_kac": {"particles": 8, "tilt": 50.0, "begin": 2},
    "soft_value": {"n": 1, "children": 8},
    "rollover": {"n": 3, "width": 8},
}


class Shown(NamedTuple):
    """One job of the demo, for the pictures."""

    model: str
    curve: CurveView
    best: list[bytes]


def job(model: str, grader: str, prompts: int) -> dict[str, Any]:
    """Digits to draw, one after the other; `digit_classifier` searches, `grader` reports."""
    items = [{"id": f"{i}", "prompt": f"{i % 10}", "target": f"{i % 10}"} for i in range(prompts)]
    return {
        "model": model,
        "items": items,
        "search": {"method": "best_of_n", "n": SAMPLES},
        "verifiers": ["digit_classifier"],
        "graders": [grader],
        "seed": 1,
        "metadata": {"experiment": "demo"},
    }


def contest(method: str, grader: str, prompts: int) -> dict[str, Any]:
    """The hard job under another method, `digit_classifier_b` searching."""
    spec = job(HARD, grader, prompts)
    return {**spec, "search": {"method": method, **SEARCHES[method]}, "verifiers": ["digit_classifier_b"], "seed": 2}


def demonstrate(
    settings: Settings, out: Path, host: str, port: int, prompts: int, keep: Callable[[], None] | None = None
) -> list[CurveView]:
    """Run the demo; writes OUT/curve.png and OUT/best-MODEL.png. keep: called at the end, while the API answers."""
    if find_spec("torch") is None or find_spec("matplotlib") is None:
        raise Unusable("the demo needs torch and matplotlib: pip install 'winnow-service[torch,demo]'")
    console = Console()
    grader = "ccexam" if find_spec("ccexam") else "digit_classifier_b"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    with Stack(settings, host, port, 1, settings.data_dir / "worker.log") as stack, Client(stack.url) as client:
        console.print(f"{len(MODELS)} jobs of {prompts} prompts, n = {SAMPLES}, judged by {grader}; API at {stack.url}")
        views = watched(client, [client.submit(job(model, grader, prompts)).id for model in MODELS])
        for view in views:
            if view.state != "completed":
                raise Unusable(f"job {view.id} has {view.state}: {view.error}; see {settings.data_dir / 'worker.log'}")
        shown = [seen(client, view.id, view.model) for view in views]
        for one in shown:
            title = f"{one.model}: selected by {one.curve.verifier}, graded by {grader}"
            for table in curve_tables(one.curve, console.width, title):
                console.print(table)
        console.print(f"{HARD}: {', '.join(SEARCHES)} at equal evaluations, searched by digit_classifier_b")
        other = "ccexam" if grader == "ccexam" else "digit_classifier"
        runs = [client.submit(contest(method, other, prompts)) for method in SEARCHES]
        ended = watched(client, [run.id for run in runs])
        comparison = client.compare([view.id for view in ended])
        show(comparison)
        written = [draw_methods(comparison, out / "methods.png"), draw_curves(shown, out / "curve.png")]
        written += [draw_sheet(one, out / f"best-{one.model}.png") for one in shown]
        every = [*views, *ended]
        seconds = sum(view.usage.seconds for view in every)
        console.print(f"{sum(v.usage.evaluations for v in every)} evaluations in {seconds:.0f} s of jobs")
        console.print("Pictures: " + ", ".join(map(str, written)))
        if keep is None:
            console.print(f"Start it for yourself: {Path(sys.argv[0])} serve")
            console.print("Its page is then at http://127.0.0.1:8000, what the API takes at /openapi.json there")
        else:
            console.print(f"Winnow answers at {stack.url}, its page; Ctrl-C ends it")
            keep()
    return [one.curve for one in shown]


def seen(client: Client, name: str, model: str) -> Shown:
    """What the pictures need of a job."""
    items = list(client.items(name))
    best = [client.artifact(item.best[0].artifact or "") for item in items if item.best]
    return Shown(model, client.curve(name), best)


def draw_curves(shown: Sequence[Shown], path: Path) -> Path:
    """Coverage and selected accuracy against samples, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure: Any
    axes: Any
    figure, axes = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 3.6), sharey=True, layout="constrained")
    for axis, one in zip(axes, shown, strict=True):
        k = [point.k for point in one.curve.points]
        lines = {
            "coverage (some answer passes)": [point.coverage for point in one.curve.points],
            "selected by the verifier": [point.selected for point in one.curve.points],
        }
        for (label, estimates), colour in zip(lines.items(), ("#1f5fbf", "#c4501b"), strict=True):
            known = [e for e in estimates if e is not None]
            axis.fill_between(k, [e.low for e in known], [e.high for e in known], color=colour, alpha=0.15, linewidth=0)
            axis.plot(k, [e.mean for e in known], "o-", color=colour, label=label, markersize=4)
        axis.set_xscale("log", base=2)
        axis.set_xticks(k, [str(one) for one in k])
        axis.set_ylim(0, 1.02)
        axis.set_title(one.model)
        axis.set_xlabel(f"samples (x{one.curve.points[0].evaluations:g} denoiser evaluations)")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"share of prompts right by {shown[0].curve.judge}")
    axes[0].legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_methods(comparison: Comparison, path: Path) -> Path:
    """Share of prompts right by each method, with intervals, and what an item cost."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure: Any
    axis: Any
    figure, axis = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    for place, one in enumerate(reversed(comparison.jobs)):
        if one.passed is None:
            continue
        mean, method = one.passed.mean, one.search["method"]
        axis.barh(place, mean, color="#c4501b" if method == "best_of_n" else "#1f5fbf", alpha=0.85)
        axis.plot([one.passed.low, one.passed.high], [place, place], color="black", linewidth=1.2)
        cost = f"{one.cost['evaluations']:.0f} evaluations, {one.cost['verifier_calls']:.0f} verdicts"
        axis.text(0.01, place, f"{method}: {cost}", va="center", color="white", fontsize=9)
    axis.set(xlim=(0, 1.0), yticks=[], xlabel=f"share of prompts right by {comparison.judge}", title=HARD)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_sheet(one: Shown, path: Path, columns: int = 10) -> Path:
    """The best picture of each prompt, a row for each set of ten digits."""
    from PIL import Image

    edge = 28 * SCALE + 4
    rows = -(-len(one.best) // columns)
    sheet = Image.new("L", (columns * edge, rows * edge), 40)
    for place, data in enumerate(one.best):
        picture = Image.open(io.BytesIO(data)).resize((28 * SCALE, 28 * SCALE), Image.Resampling.BICUBIC)
        sheet.paste(picture, (place % columns * edge + 2, place // columns * edge + 2))
    sheet.save(path)
    return path
