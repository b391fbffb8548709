"""A measurement's result: on the screen, and in a file where one is wanted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def printed(result: Mapping[str, Any], out: Path | None) -> None:
    """Print a result as JSON, and write it to `out`."""
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n")


def pictured(result: Mapping[str, Any], out: Path | None, draw: Callable[[Path], object]) -> None:
    """Print a result as JSON; write it and its picture into the folder `out`, both under the bench's name."""
    print(json.dumps(result))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{result['bench']}.json").write_text(json.dumps(result, indent=1) + "\n")
        draw(out / f"{result['bench']}.png")
