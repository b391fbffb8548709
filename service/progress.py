"""What a person sees in a terminal: bars while jobs run, tables afterwards. Plain lines where there is no terminal."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.client import Client
from service.views import CurveView, Estimate, JobView


def watched(client: Client, names: Sequence[str], every: float = 0.2) -> list[JobView]:
    """Follow jobs to their end; returns them as they ended."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        views = [client.job(name) for name in names]
        bars = [progress.add_task(f"{v.model} {v.id[-8:]}", total=v.counts.items) for v in views]
        said = [""] * len(names)
        while True:
            views = [v if v.finished else client.job(v.id) for v in views]
            for i, (view, bar) in enumerate(zip(views, bars, strict=True)):
                progress.update(bar, completed=view.counts.done)
                line = f"{view.model} {view.id} {view.state} {view.counts.done}/{view.counts.items} items"
                if line != said[i] and not console.is_terminal:
                    print(line, file=sys.stderr, flush=True)
                said[i] = line
            if all(view.finished for view in views):
                return views
            time.sleep(every)


def percent(estimate: Estimate | None) -> str:
    """Mean and interval, in per cent."""
    if estimate is None:
        return "-"
    return f"{100 * estimate.mean:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def curve_table(curve: CurveView, title: str = "") -> Table:
    """Coverage and selected accuracy at each budget."""
    table = Table(title=title or f"{curve.job}: passes by {curve.judge}, selected by {curve.verifier}")
    for name in ("samples", "evaluations", "items", "coverage, %", "selected, %"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in curve.points:
        row = (
            str(point.k),
            f"{point.evaluations:g}",
            str(point.items),
            percent(point.coverage),
            percent(point.selected),
        )
        table.add_row(*row)
    table.caption = f"{curve.level:.0%} intervals for another set of items like these; unscored {curve.unscored:.1%}"
    return table
