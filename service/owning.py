"""Whether the import names of Winnow are its own: a wheel of another project may bring a `search` or a `service`."""

import re
from importlib.metadata import distributions

from service.checks import listed

ROOT = re.compile(r"^(search|verifiers|generators|service)(?:/|\.py\b|$)", re.MULTILINE)
"""A line of a distribution's lists of names and files that is a root of ours."""


class Shadowed(RuntimeError):
    """An import name of ours belongs to another distribution too."""


def owned() -> None:
    """Refuse to start where another distribution's `verifiers` (or another root of ours) shadows Winnow's."""
    owners: dict[str, set[str]] = {}
    for one in distributions():
        files = "\n".join(filter(None, map(one.read_text, ("top_level.txt", "RECORD", "installed-files.txt"))))
        for root in set(ROOT.findall(files)):  # importlib.metadata's own table of all files takes a second
            owners.setdefault(root, set()).add(one.name)
    for root, names in sorted(owners.items()):
        if others := names - {"winnow-service"}:
            raise Shadowed(f"the import name {root!r} also belongs to {listed(sorted(others))}; uninstall it first")
