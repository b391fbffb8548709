"""`winnow compare`: one job under several searches, best of n among them as the control at equal evaluations."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from search.configs import MethodConfig
    from service.client import Client
    from service.views import Compared, Comparison, Estimate, Spread


def compare(
    files: Annotated[list[Path], typer.Argument(help="Jobs as JSON; `search` may be a list; - is standard input.")],
    search: Annotated[list[str] | None, typer.Option(help="A search as JSON; several may be given.")] = None,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts count; the first grader when left out.")] = None,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    url: Annotated[str | None, typer.Option(help="Where a service answers; one of its own when left out.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the service of its own.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run one job under several searches and compare them, always with best of n at equal evaluations."""
    from service.cli_input import stop
    from service.progress import watched

    if not 0.5 < level < 1:
        stop(f"--level {level} must lie between 0.5 and 1, such as 0.95")
    specs = planned(files, search or [])
    alike(specs, judge, url is None)
    with serving(url, data_dir, workers) as client:
        # One after the other: side by side, the seconds of each would be those of all.
        views = [watched(client, [client.submit(spec).id])[0] for spec in specs]
        comparison = client.compare([view.id for view in views], judge, level)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=1))
    else:
        show(comparison)
    for view in views:
        if view.state != "completed":
            stop(f"job {view.id} has {view.state}{': ' + view.error if view.error else ''}")


def planned(files: Sequence[Path], given: Sequence[str]) -> list[dict[str, Any]]:
    """Every file's job once for each of its searches, and once for each control that is missing. Stops at nonsense."""
    from service.cli_input import read_spec, stop

    if given and len(files) > 1:
        stop(f"--search goes with one file, not with {len(files)}")
    specs: list[dict[str, Any]] = []
    for path in files:
        spec = read_spec(path)
        searches = [read_search(text) for text in given] or spec.get("search", {})
        searches = searches if isinstance(searches, list) else [searches]
        if not searches:
            stop(f"{path}: `search` is an empty list; give at least one search")
        specs += [{**spec, "search": one} for one in searches]
    plans = [plan_of(spec["search"]) for spec in specs]
    # In front: what has no control at equal evaluations is compared with the first.
    specs = [{**specs[0], "search": {"method": "best_of_n", "n": n}} for n in controls(plans)] + specs
    if len(specs) < 2:
        stop("one best_of_n search is nothing to compare; give at least two searches")
    return specs


def alike(specs: Sequence[dict[str, Any]], judge: str | None, own: bool) -> None:
    """Stop before jobs run that could not be compared afterwards, or of which a service of one's own refuses one."""
    from pydantic import ValidationError

    from service.catalog import Invalid, prepare
    from service.cli_input import stop
    from service.comparable import Different, comparable
    from service.curve import Judgeless
    from service.drawing import drawn
    from service.spec import JobSpec

    try:
        jobs = {f"{i + 1}": JobSpec.model_validate_json(json.dumps(spec)) for i, spec in enumerate(specs)}
    except ValidationError:
        return  # the service will refuse the first, and says why
    try:
        comparable(jobs, judge)
        for job in jobs.values() if own else ():
            prepare(drawn(job))
    except (Different, Judgeless, Invalid) as error:
        stop(error)


def read_search(text: str) -> Any:
    """A --search option."""
    from starlette.exceptions import HTTPException

    from service.api.guard import loads
    from service.cli_input import stop

    try:
        return loads(text.encode())
    except HTTPException as error:
        stop(f"--search {text[:100]!r}: {error.detail}")


def plan_of(search: Any) -> "MethodConfig":
    """A search's configuration. Stops at an unknown method or a wrong field."""
    from pydantic import ValidationError

    from search.configs import MethodConfig
    from search.methods import METHODS
    from search.plugins import Unknown
    from service.catalog import faults
    from service.cli_input import stop
    from service.spec import Search

    here: Any = Search
    try:
        chosen = Search.model_validate(search)
        here = METHODS.find(chosen.method).config
        config = here.model_validate(chosen.config)
    except Unknown as error:
        stop(f"search: {error}")
    except ValidationError as error:
        fault = faults(error, here, ("search",))[0]
        stop(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
    assert isinstance(config, MethodConfig)
    return config


def controls(plans: Sequence["MethodConfig"]) -> list[int]:
    """n of each best_of_n that is missing: one within 5 % of every other method's evaluations, as far as n is whole.

    A best_of_n that may stop early is no control: what it spends is not known before.
    """
    from search.methods.best_of_n import BestOfN
    from service.compare import equal

    there = [plan.n for plan in plans if isinstance(plan, BestOfN) and not plan.stops]
    added: list[int] = []
    for plan in plans:
        if isinstance(plan, BestOfN) and not plan.stops:
            continue
        n = max(1, round(plan.trajectories))
        if n not in there + added and not any(equal(plan.trajectories, other) for other in there + added):
            added.append(n)
    return added


def serving(url: str | None, data_dir: Path | None, workers: int) -> AbstractContextManager["Client"]:
    """A client of a running service, or of one that lives as long as this."""
    from service.cli_input import connected, own

    return own(data_dir, workers) if url is None else connected(url)


def show(comparison: "Comparison") -> None:
    """What each search found, and what it cost, as two tables of a search a line."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    name = {job.job: f"{i + 1}" for i, job in enumerate(comparison.jobs)}
    passes = any(job.passed for job in comparison.jobs)
    found = Table(title=f"{comparison.items} items, judged by {escape(comparison.judge)}")
    found.caption = f"{comparison.level:.0%} intervals; differences to the control (vs), paired by item"
    found.caption += _lost(comparison, name)
    costs = Table(title="mean cost of an item", caption="ratio of evaluations to the control's; ! more than 5 % apart")
    currencies = [name for name in comparison.jobs[0].cost if any(job.cost[name] for job in comparison.jobs)]
    own = ["passed, %", "difference, points", "only here : there"] if passes else ["value", "difference"]
    found.add_column("")
    found.add_column("search", min_width=9, overflow="fold")
    costs.add_column("")
    for table, columns in ((found, [*own, "vs"]), (costs, ["ratio", *currencies])):
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right", no_wrap=column in own[:2])
    for job in comparison.jobs:
        against = name[job.control] if job.difference else "-"
        found.add_row(name[job.job], escape(described(job.search)), *_cells(job, passes), against)
        ratio = "-" if job.evaluations_ratio is None else f"{job.evaluations_ratio:.3g}"
        spent = [amount(job.cost[currency]) for currency in currencies]
        costs.add_row(name[job.job], ratio if job.equal_budget else f"{ratio} !", *spent)
    console = Console()
    console.print(found)
    console.print(costs)


def _lost(comparison: "Comparison", name: dict[str, str]) -> str:
    """Which searches have items without an outcome."""
    said = [
        f"{name[job.job]}: {job.unscored} unscored, {job.unanswered} unanswered"
        for job in comparison.jobs
        if job.unscored or job.unanswered
    ]
    return f"\nitems counted as failures: {'; '.join(said)}" if said else ""


def _cells(job: "Compared", passes: bool) -> list[str]:
    difference = job.difference
    if not passes:
        return [interval(job.value), interval(difference and difference.value, 1, "+")]
    disagree = f"{difference.only_here} : {difference.only_control}" if difference else "-"
    return [interval(job.passed, 100), interval(difference and difference.passed, 100, "+"), disagree]


def amount(cost: float) -> str:
    """A cost in a few digits."""
    return f"{cost:,.0f}" if cost >= 1000 else f"{cost:.{4 if cost >= 1 else 2}g}"


def described(search: dict[str, Any]) -> str:
    """A search in a few words: its method and what was set."""
    own = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in search.items()]
    return " ".join([search["method"], *(word for word in own if not word.startswith("method="))])


def interval(spread: "Estimate | Spread | None", scale: float = 1, sign: str = "") -> str:
    """Mean and interval."""
    if spread is None:
        return "-"
    digits, places = (".1f", 1) if scale == 100 else (".4g", 12)
    mean, *ends = (
        None if x is None else format(round(scale * x, places) + 0.0, f"{sign}{digits}")  # + 0.0: no -0.0
        for x in (spread.mean, spread.low, spread.high)
    )
    return f"{mean} \\[{ends[0]}, {ends[1]}]" if None not in ends else f"{mean} \\[no spread]"
