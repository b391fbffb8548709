"""A line plot for a terminal: braille lines, and a letter of its series at each point. The x axis is logarithmic."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille cell by column and row."""
MARGIN = 6
"""Columns left of the plot: "100 % "."""


class Line(NamedTuple):
    """One series. mark: a letter. x: positive, ascending. y: shares, 0 to 1."""

    mark: str
    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]


class Plot(NamedTuple):
    """Lines over a log axis, as wide as the terminal. The first line lies on top.

    rows: its height in characters, 1 more than a multiple of 3.
    """

    lines: Sequence[Line]
    label: str
    rows: int = 13

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The plot, then the ticks and the legend."""
        width = max(16, min(100, options.max_width) - MARGIN - 2)
        dots = np.zeros((self.rows, width), np.uint8)
        styles, marks = np.full(dots.shape, "", object), np.full(dots.shape, "", object)
        low, high = (np.log([end(line.x) for line in self.lines]) for end in (min, max))
        start, span = low.min(), max(float(high.max() - low.min()), 1e-9)
        for line in reversed(self.lines):
            across = (np.log(line.x) - start) / span * (2 * width - 1)
            down = (1 - np.clip(line.y, 0, 1)) * (4 * self.rows - 1)
            ends = np.rint(across).astype(int)
            for column in range(ends[0], ends[-1] + 1):
                row = round(float(np.interp(column, across, down)))
                dots[row // 4, column // 2] |= DOTS[column % 2][row % 4]
                styles[row // 4, column // 2] = line.colour
            marks[np.rint(down).astype(int) // 4, ends // 2] = line.mark
            styles[np.rint(down).astype(int) // 4, ends // 2] = line.colour
        for row in range(self.rows):
            share = 100 * (1 - row / (self.rows - 1))
            text = Text(f"{share:3.0f} % " if row % 3 == 0 else " " * MARGIN)
            text.append("|" if options.ascii_only else "│")
            for mark, cell, style in zip(marks[row], dots[row], styles[row], strict=True):
                drawn = " " if not cell else "." if options.ascii_only else chr(0x2800 + int(cell))
                text.append(mark or drawn, f"bold {style}" if mark else style)
            yield text
        yield Text(" " * MARGIN + ("+" + "-" * width if options.ascii_only else "└" + "─" * width))
        yield Text(" " * (MARGIN + 1) + ticks(sorted({x for line in self.lines for x in line.x}), width))
        yield Text(" " * (MARGIN + 1) + self.label)
        for line in self.lines:
            yield Text.assemble(" " * (MARGIN + 1), (line.mark, f"bold {line.colour}"), f" {line.name}")


def ticks(x: Sequence[float], width: int) -> str:
    """Values under their places on a log axis from the first to the last, those that find room; the ends first."""
    span = max(float(np.log(x[-1] / x[0])), 1e-9)
    out = [" "] * width
    for value in (x[0], x[-1], *x[1:-1]):
        word = f"{value:g}"
        place = min(width - len(word), max(0, round(float(np.log(value / x[0])) / span * (width - 1)) - len(word) // 2))
        if all(cell == " " for cell in out[max(0, place - 1) : place + len(word) + 1]):
            out[place : place + len(word)] = word
    return "".join(out).rstrip()
