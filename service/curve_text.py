"""A curve as a person reads it in a terminal: tables, a plot, the advice. Names of others are shown as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.terminal import Line, Plot
from service.views import CurveView

Row = Mapping[str, Any]


def plain(text: str) -> str:
    """Text that does nothing to a terminal: what cannot be printed (escapes, overrides of direction) as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def percent(estimate: Row) -> str:
    """Mean and interval, in per cent."""
    return f"{100 * estimate['mean']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"


def _gap(point: Row) -> str | None:
    selected = point["selected"]
    return selected and f"{100 * (point['coverage']['mean'] - selected['mean']):.1f}"


COLUMNS: dict[str, Callable[[Row], str | None]] = {
    "k": lambda p: str(p["k"]),
    "coverage, %": lambda p: percent(p["coverage"]),
    "selected, %": lambda p: p["selected"] and percent(p["selected"]),
    "gap, points": _gap,
    "majority, %": lambda p: p.get("majority") and percent(p["majority"]),
    "right, %": lambda p: _share(p.get("right")),
    "wrong, %": lambda p: _share(p.get("wrong")),
    "abstain, %": lambda p: _share(p.get("abstain")),
    "draws": lambda p: None if p.get("draws") is None else f"{p['draws']:.4g}",
    "evaluations": lambda p: f"{p['evaluations']:.6g}",
    "items": lambda p: str(p["items"]),
}
"""Columns by their heading. A column without a value in any row is left out."""


def curve_tables(curve: CurveView, width: int, title: str = "") -> list[RenderableType]:
    """Every budget's figures; columns that find no room in `width` characters stand in a further table."""
    points: list[Row] = [point.model_dump() for point in curve.points]
    cells = {name: [column(point) for point in points] for name, column in COLUMNS.items()}
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
    points: list[Row] = [point.model_dump() for point in curve.points]
    lines: list[Line] = []
    for mark, name, colour, key in (
        ("C", f"coverage: some answer passes by {curve.judge}", "cyan", "coverage"),
        ("S", f"selected by {curve.verifier}", "yellow", "selected"),
        ("M", "majority of canonical answers", "magenta", "majority"),
    ):
        if known := [point for point in points if point.get(key)]:
            x, y = [p["k"] for p in known], [p[key]["mean"] for p in known]
            lines.append(Line(mark, plain(name), colour, x, y))
    return Plot(lines, "samples of an item (log axis)") if lines else None


def advice_lines(curve: CurveView) -> list[RenderableType]:
    """The advice, a paragraph each."""
    advice: Sequence[Row] = curve.model_dump().get("advice", ())
    return [Text(f"- {plain(one['text'])}") for one in advice]
