"""The page: plain ES modules and style sheets, served as they are. They talk to the API and to nothing else."""

import re
from importlib import resources
from pathlib import Path

FILES = Path(__file__).parent / "static"
"""index.html and what it loads; `charts.js` imports nothing and works in a report without a service too."""


def plotly_source() -> bytes:
    """plotly.min.js of the installed distribution, 5 MB."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def plotly_styled() -> str:
    """Empty elements under the ids of style elements that plotly.js would add when it loads, which a policy forbids.

    It adds none whose id is taken. They are for maps, of which there are none.
    """
    ids = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', plotly_source())
    return "".join(f'<div id="{name.decode()}" hidden></div>' for name in sorted(set(ids)))
