"""`winnow curve`: every figure of the curve at any width, a plot, and nobody's text drives the terminal."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from helping import done, job
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from service.cli import app
from service.client import Client
from service.curve_text import COLUMNS, curve_plot, curve_tables, plain
from service.terminal import Line, Plot, ticks
from service.views import CurveView, Point


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean / 2, "high": (1 + mean) / 2}


def curve(ks: Sequence[int] = (1, 2, 4, 8), **changes: Any) -> CurveView:
    points = [
        {
            "k": k,
            "items": 9,
            "evaluations": 10.0 * k,
            "coverage": estimate(1 - 0.8**k),
            "selected": estimate(0.2 + k / 40),
            "draws": 1.25 * k,
        }
        for k in ks
    ]
    value = {"job": "j", "judge": "near", "verifier": "far", "level": 0.9, "estimator": "pool", "samples": 8}
    value |= {"unscored": 0.125, "each": {}, "beyond": [], "advice": []}
    return CurveView.model_validate(
        value | {"unscored": 0.125, "each": {}, "points": points, "beyond": [], "advice": []} | changes
    )


def drawn(*things: Any, width: int = 200, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=out, width=width, highlight=False)
    for thing in things:
        console.print(thing)
    out.seek(0)
    return out.read()


def said(client: Client, *words: str, **env: str) -> str:
    result = CliRunner().invoke(app, ["curve", *words], env={"WINNOW_URL": str(client.http.base_url), **env})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("width", [200, 80, 50])
def test_every_figure_at_any_width(width: int) -> None:
    text = drawn(*curve_tables(curve(), width), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("coverage, %", "selected, %", "gap, points", "evaluations", "items", "far", "unscored 12.5%"):
        assert word in text
    assert "83.2 [41.6, 91.6]" in text  # coverage at 8
    assert " 43.2 " in text  # the gap to 40.0 selected
    tables = [each for each in curve_tables(curve(), width) if isinstance(each, Table)]
    assert all(table.columns[0].header == "k" for table in tables)
    assert (len(tables) == 1) is (width == 200)


def test_a_column_without_values_is_left_out() -> None:
    points = [point.model_dump() | {"selected": None} for point in curve().points]
    text = drawn(*curve_tables(curve(points=points), 200))
    assert "coverage" in text
    assert "selected, %" not in text
    assert "gap" not in text
    assert curve_tables(curve(points=[]), 80) == []


def test_optional_columns_show_what_there_is() -> None:
    point = curve().points[0]
    full = Point(**point.model_dump() | {"majority": estimate(0.5), "right": 0.25, "wrong": 0.0, "abstain": 0.75})
    cells = {name: column(full) for name, column in COLUMNS.items()}
    assert cells["majority, %"] == "50.0 [25.0, 75.0]"
    assert [cells[name] for name in ("right, %", "wrong, %", "abstain, %", "draws")] == ["25.0", "0.0", "75.0", "1.25"]
    assert [COLUMNS[name](point) for name in ("majority, %", "right, %", "wrong, %", "abstain, %")] == [None] * 4


def test_hostile_names_are_text() -> None:
    hostile = "[bold]a[/bold] \x1b[31m\u202e\ud800\n\x07 \\"
    shown = curve(judge=hostile, verifier=hostile, job=hostile)
    text = drawn(*curve_tables(shown, 200), curve_plot(shown))
    assert not set(text) & set("\x1b\u202e\x07\ud800")
    assert "[bold]a[/bold] \\x1b[31m\\u202e\\ud800\\n\\x07 \\" in text
    assert plain("Grüße 数") == "Grüße 数"


def letters(text: str, mark: str) -> list[tuple[int, int]]:
    """(row, column) of a mark inside the axes."""
    rows = [line for line in text.splitlines() if "│" in line or "|" in line]
    return [(i, j) for i, line in enumerate(rows) for j, c in enumerate(line) if c == mark]


def test_points_lie_where_they_belong() -> None:
    """On a log axis 1, 2, 4, 8 are equally far apart; 100 % is the first row and 0 % the last."""
    line = Line("C", "some", "cyan", [1, 2, 4, 8], [0.0, 0.5, 1.0, 1.0])
    text = drawn(Plot([line], "k"), width=68)
    places = letters(text, "C")
    assert sorted(places, key=lambda p: p[1]) == [(12, 7), (6, 27), (0, 46), (0, 66)]
    assert text.splitlines()[0].startswith("100 %")
    assert text.splitlines()[6].startswith(" 50 %")
    assert text.splitlines()[12].startswith("  0 %")
    assert text.splitlines()[14].split() == ["1", "2", "4", "8"]


def test_the_first_line_lies_on_top() -> None:
    lines = [Line(mark, mark, "cyan", [1, 2], [0.5, 0.5]) for mark in "CS"]
    text = drawn(Plot(lines, "k"))
    assert len(letters(text, "C")) == 2
    assert letters(text, "S") == []


@pytest.mark.parametrize("x", [[1], [5], [3, 4]])
def test_few_points(x: list[float]) -> None:
    assert len(letters(drawn(Plot([Line("C", "", "cyan", x, [1.0] * len(x))], "k")), "C")) == len(x)


def test_a_terminal_without_braille() -> None:
    text = drawn(Plot([Line("C", "some", "cyan", [1, 2, 4], [0.1, 0.2, 0.4])], "k"), encoding="ascii")
    assert text.isascii()
    assert len(letters(text, "C")) == 3


def test_ticks_find_room() -> None:
    assert ticks([1, 10, 100], 21) == "1        10       100"
    assert ticks([1, 2, 3, 1000], 12).split() == ["1", "3", "1000"]
    assert ticks([7], 10) == "7"


def test_the_command(client: Client) -> None:
    spec = job(6, 8, verifiers=[{"name": "toy/linear", "threshold": 1.0, "label": "[red]\x1b[31m"}])
    name = done(client, spec).id
    text = said(client, name, COLUMNS="80")
    assert "coverage, %" in text
    assert "selected, %" in text
    assert "\n      │" in text
    assert "C coverage: some answer passes by [red]\\x1b[31m" in text
    assert "\x1b" not in text
    wide = CurveView.model_validate_json(said(client, name, "--json", "--level", "0.5001"))
    narrow = json.loads(said(client, name, "--json", "--level", "0.99"))
    assert wide.level == 0.5001
    assert wide.points[0].coverage.high < narrow["points"][0]["coverage"]["high"]
    without = said(client, name, "--no-plot", COLUMNS="80")
    assert "coverage, %" in without
    assert "C coverage" not in without


def test_the_command_refuses(client: Client) -> None:
    name = done(client, job(1, 2)).id
    env = {"WINNOW_URL": str(client.http.base_url)}
    for words, why in ((["--level", "2"], "level"), (["--judge", "nobody"], "valid: toy/linear")):
        result = CliRunner().invoke(app, ["curve", name, *words], env=env)
        assert result.exit_code == 1
        assert result.stderr.startswith("winnow: 4")
        assert why in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_no_gap_is_no_negative_gap() -> None:
    """A difference of rounding has no sign."""
    shown = curve(
        points=[{**curve().points[0].model_dump(), "coverage": estimate(0.5), "selected": estimate(0.5 + 1e-12)}]
    )
    assert "-0.0" not in drawn(*curve_tables(shown, 200))
