"""A measurement's result: on the screen, and in a file where one is wanted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def printed(result: Mapping[str, Any], out: Path | None) -> None:
    """Print a result as JSON, and write it to `out`."""
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n")
