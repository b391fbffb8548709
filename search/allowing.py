"""What jobs may have loaded is named by the operator, in the environment."""

import os

from pydantic import AfterValidator


def allowed(variable: str) -> AfterValidator:
    """A check of one path: ValueError unless `variable`, a list with commas between, names it, or any (`*`)."""

    def check(path: str) -> str:
        named = [one for one in os.environ.get(variable, "").split(",") if one]
        if path and path not in named and "*" not in named:
            valid = ", ".join(named) or "none so far"
            raise ValueError(f"{path!r} is not among the operator's models ({variable}): {valid}")
        return path

    return AfterValidator(check)
