"""What a person sees in a terminal: bars while jobs run. Plain lines where there is no terminal."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service.client import Client
from service.views import JobView


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
