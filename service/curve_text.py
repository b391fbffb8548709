"""A curve as a person reads it in a terminal: tables, a plot, the advice. Names of others are shown as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.terminal import Line, Plot
from service.views import CurveView, Estimate, Point


def plain(text: str) -> str:
    """Text that does nothing to a terminal: what cannot be printed (escapes, overrides of direction) as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def percent(estimate: Estimate) -> str:
    """Mean and interval, in per cent."""
    return f"{100 * estimate.mean:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"


def _gap(point: Point) -> str | None:
    return None if point.selected is None else f"{100 * (point.coverage.mean - point.selected.mean):z.1f}"


COLUMNS: dict[str, Callable[[Point], str | None]] = {
    "k": lambda p: str(p.k),
    "coverage, %": lambda p: percent(p.coverage),
    "selected, %": lambda p: p.selected and percent(p.selected),
    "gap, points": _gap,
    "majority, %": lambda p: p.majority and percent(p.majority),
    "voted, %": lambda p: p.voted and percent(p.voted),
    "right, %": lambda p: _share(p.right),
    "wrong, %": lambda p: _share(p.wrong),
    "abstain, %": lambda p: _share(p.abstain),
    "draws": lambda p: f"{p.draws:.4g}",
    "evaluations": lambda p: f"{p.evaluations:.6g}",
    "items": lambda p: str(p.items),
}
"""Columns by their heading. A column without a value in any row is left out."""


def curve_tables(curve: CurveView, width: int, title: str = "") -> list[RenderableType]:
    """Every budget's figures; columns that find no room in `width` characters stand in a further table."""
    cells = {name: [column(point) for point in curve.points] for name, column in COLUMNS.items()}
    cells = {name: [cell or "-" for cell in column] for name, column in cells.items() if any(column)}
    said = title or f"{curve.job}: passes by {curve.judge}, selected by {curve.verifier}"
    note = f"{curve.level:.0%} intervals for another set of items like these; unscored {curve.unscored:.1%}"
    tables = [_table(names, cells) for names in _packed(cells, width)]
    return [Text(plain(said), "bold"), *tables, Text(note)] if tables else []


def _packed(cells: Mapping[str, Sequence[str]], width: int) -> Iterator[list[str]]:
    """Headings for tables of at most `width` characters, each with k first."""
    size = {name: 3 + max(map(len, (name, *column))) for name, column in cells.items()}
    names, used = ["k"], 1 + size.get("k", 0)
    for name in list(cells)[1:]:
        if used + size[name] > width and len(names) > 1:
            yield names
            names, used = ["k"], 1 + size["k"]
        names.append(name)
        used += size[name]
    if cells:
        yield names


def _table(names: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Table:
    table = Table()
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in zip(*(cells[name] for name in names), strict=True):
        table.add_row(*map(Text, row))
    return table


def curve_plot(curve: CurveView) -> Plot | None:
    """Coverage and what is selected against k; None where there are no points."""
    lines: list[Line] = []
    for mark, name, colour, of in (
        ("C", f"coverage: some answer passes by {curve.judge}", "cyan", lambda p: p.coverage),
        ("S", f"selected by {curve.verifier}", "yellow", lambda p: p.selected),
        ("M", "majority of canonical answers", "magenta", lambda p: p.majority),
        ("V", "weighted vote for canonical answers", "green", lambda p: p.voted),
    ):
        means = {point.k: found.mean for point in curve.points if (found := of(point))}
        if means:
            lines.append(Line(mark, plain(name), colour, list(means), list(means.values())))
    return Plot(lines, "samples of an item (log axis)") if lines else None


def advice_lines(curve: CurveView) -> list[RenderableType]:
    """The advice, a paragraph each."""
    return [Text(f"- {plain(one.text)}") for one in curve.advice]
