"""`winnow audit` and `winnow card`: say which answers are right, and see what that shows of a verifier."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli_input import HERE, Url, connected, stop

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Client
    from service.views import Card, ShareView, ToLabel

KEYS = "y right, n wrong, s skip, q quit"


def audit(
    job: str,
    judge: Annotated[str | None, typer.Option(help="Its label; the first verifier when left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Answers to label, at most.")] = 20,
    by: Annotated[str, typer.Option(help="answer: any. verdict: as many accepted as rejected.")] = "answer",
    seed: Annotated[int, typer.Option(min=0, help="Of the random sample.")] = 0,
    show: Annotated[bool, typer.Option("--show", help="Show the verdict; that would sway you.")] = False,
    url: Url = HERE,
) -> None:
    """Label a random sample of a job's answers as right or wrong: y, n, s to skip, q to quit. Each label is kept."""
    with connected(url) as client:
        plan = client.next_audits(job, judge, limit=limit, by=by, seed=seed, show=show)
        if not plan.data:
            stop(f"no answer of {plan.judge} is left to label: {plan.labelled} of {plan.scored} are labelled")
        for i, answer in enumerate(plan.data):
            _shown(answer, f"{i + 1} of {len(plan.data)}", url)
            said = _asked()
            if said == "q":
                break
            if said != "s":
                label = {"item": answer.item, "sample": answer.sample, "right": said == "y"}
                client.label(job, [label], plan.judge)
        _counted(client, job, plan.judge)


def _asked() -> str:
    """One of y, n, s and q."""
    while True:
        said = str(typer.prompt(f"right? ({KEYS})", prompt_suffix=" ")).strip().lower()[:1]
        if said in "ynsq":
            return said


def _shown(answer: "ToLabel", place: str, url: str) -> None:
    value = answer.answer if isinstance(answer.answer, str) else json.dumps(answer.answer, ensure_ascii=False)
    where = value if answer.artifact is None else f"{url}/v1/artifacts/{answer.artifact}"
    typer.echo(f"\n[{place}] {printable(answer.id)}, sample {answer.sample}")
    for name, text in (("prompt", answer.prompt), ("answer", where)):
        typer.echo(f"{name}: {printable(text)}")
    if answer.score is not None:
        verdict = {True: "accepted", False: "rejected", None: "no pass"}[answer.score.passed]
        typer.echo(f"{printable(answer.score.name)}: {answer.score.value} {verdict}")


def printable(text: str) -> str:
    """Text that moves no cursor and turns no direction: anything but lines and printable characters as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _counted(client: "Client", job: str, judge: str) -> None:
    n = client.audits(job, judge).counts
    said = f"accepted: {n.tp} right, {n.fp} wrong; rejected: {n.fn} right, {n.tn} wrong"
    typer.echo(f"\nLabels of {printable(judge)}: {said}.")


def card(
    name: str,
    version: Annotated[str | None, typer.Option(help="The newest when left out.")] = None,
    config: Annotated[str | None, typer.Option(help="Digest of its settings; the newest.")] = None,
    against: Annotated[str | None, typer.Option(help="`audits`, or the label of a grader.")] = None,
    level: float = 0.95,
    interval: Annotated[str, typer.Option(help="wilson or clopper_pearson.")] = "wilson",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    url: Url = HERE,
) -> None:
    """Print how far a verifier can be trusted: rates with intervals, calibration, agreement, drift."""
    from rich.console import Console

    asked: dict[str, Any] = {"version": version, "config": config, "against": against}
    with connected(url) as client:
        found = client.card(name, **asked, level=level, interval=interval)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    console = Console()
    if not found.verdicts:
        console.print(found.card, *found.notes, sep="\n\n", markup=False)
        return
    for part in _tables(found):
        console.print(part)
    for line in [*(test.text for test in found.drift.tests), *found.notes]:
        console.print(line, markup=False)
    if found.uncalibrated:
        console.print(f"Not calibrated: {found.uncalibrated}.", markup=False)


def _tables(found: "Card") -> "list[Table]":
    from rich.markup import escape
    from rich.table import Table

    title = f"{found.name} {found.version}, settings {found.config}: {found.verdicts} verdicts"
    rates = Table(title=escape(title), caption=escape(_caption(found)))
    for column in ("", "share, %", "interval, %", "answers"):
        rates.add_column(column, justify="right" if column else "left")
    names = {"passed": "accepted", "tpr": "TPR", "fpr": "FPR", "ppv": "PPV", "npv": "NPV"}
    for field, name in names.items():
        rates.add_row(name, *_cells(getattr(found, field)))
    if found.right is not None:
        rates.add_row("right (Rogan-Gladen)", f"{100 * found.right:.1f}", "-", "-")
    if found.unscored is not None:
        rates.add_row("unscored", f"{100 * found.unscored:.1f}", "-", "-")
    if (c := found.calibration) is not None:
        rates.add_row(
            "calibration error",
            f"{100 * c.ece:.1f}",
            f"{100 * c.ece_low:.1f} to {100 * c.ece_high:.1f}",
            f"{c.answers}",
        )
        rates.add_row("Brier, log-loss", f"{c.brier:.3g}, {c.log_loss:.3g}", "-", f"{c.answers}")
    others = Table(title="agreement on the same answers")
    for column in ("verifier", "agreed, %", "kappa", "interval", "answers"):
        others.add_column(column, justify="left" if column == "verifier" else "right")
    for a in found.agreement:
        kappa = ("-", "-") if a.kappa is None else (f"{a.kappa:.2f}", f"{a.low:.2f} to {a.high:.2f}")
        others.add_row(escape(f"{a.name} {a.version}"), f"{100 * a.share:.1f}", *kappa, f"{a.n}")
    return [rates, others] if found.agreement else [rates]


def _caption(found: "Card") -> str:
    who = {None: "nobody says what is right", "audits": "right by people's labels"}
    n, jobs = found.counts, len(found.jobs)
    counts = f"accepted {n.tp} right, {n.fp} wrong; rejected {n.fn} right, {n.tn} wrong"
    return f"{jobs} jobs, {found.level:.0%} intervals, {who.get(found.against, f'right by {found.against}')}: {counts}"


def _cells(share: "ShareView | None") -> tuple[str, str, str]:
    if share is None:
        return "-", "-", "-"
    return f"{100 * share.share:.1f}", f"{100 * share.low:.1f} to {100 * share.high:.1f}", f"{share.n}"
