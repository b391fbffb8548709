"""Log lines: JSON with listed fields only, or text for people. No secret that is known here appears in either.

`bind` says what the lines of the current task are about; a line may add fields of its own with `extra`.
"""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from service import tracing

FIELDS = ("request", "job", "shard", "worker", "method", "route", "status", "ms", "trace")
"""What a line may carry beside time, level, logger, message and error."""
SECRET = re.compile(r"wk_[\w.-]{6,}|(?<=://)[^\s/@]*(?=@)|(?i:(?<=bearer ))[^\s'\"]+")
"""API keys, the user and password of a URL, bearer tokens."""
VARIABLE = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD)$")
"""Environment variables whose values are never shown."""
SHORTEST = 6
"""Characters of a value that is hidden wherever it stands: a shorter one may be any word."""
HIDDEN = "***"
CONTEXT: ContextVar[Mapping[str, str | int]] = ContextVar("log context", default=MappingProxyType({}))


def bind(**fields: str | int) -> None:
    """Have the lines of this task, and of those it starts, carry these fields too."""
    CONTEXT.set({**CONTEXT.get(), **fields})


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Values that must not be shown: of variables named like secrets, and passwords of URLs."""
    found = {value for name, value in environment.items() if VARIABLE.search(name)}
    for value in environment.values():
        with suppress(ValueError):
            if "://" in value and (password := urlsplit(value).password):
                found |= {password, unquote(password)}
    return {value for value in found if len(value) >= SHORTEST}


def secrets_of_servers() -> set[str]:
    """Keys and secrets of the operator's endpoints, as far as they can be read."""
    from search import endpoints

    found: set[str] = set()
    with suppress(endpoints.Unreadable):
        servers = endpoints.servers()
        for one in servers.endpoints.values():
            with suppress(endpoints.Unreadable):
                found.add(one.secret)
        for one in servers.hooks.values():
            with suppress(endpoints.Unreadable):
                found.add(one.key().decode())
    return {value for value in found if len(value) >= SHORTEST}


def pattern(secrets: Iterable[str]) -> re.Pattern[str]:
    """Matches these, and whatever looks like a secret."""
    longest = sorted(map(re.escape, secrets), key=len, reverse=True)  # one may hold another
    return re.compile("|".join([*longest, SECRET.pattern]))


@cache
def here() -> re.Pattern[str]:
    """Matches the secrets of this process, as they were when this was first asked."""
    return pattern(secrets_of(os.environ) | secrets_of_servers())


def hidden(text: str) -> str:
    """The text without secrets of this process."""
    return here().sub(HIDDEN, text)


class Lines(logging.Formatter):
    """A line for each record. secret: what is hidden. fields: of every line of this process."""

    def __init__(self, secret: re.Pattern[str], **fields: str | int) -> None:
        super().__init__()
        self._secret, self._fields = secret, fields

    def parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """What is said, in order, without secrets."""
        known = {
            **self._fields,
            **CONTEXT.get(),
            **{name: value for name in FIELDS if (value := getattr(record, name, None))},
        }
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: known[name] for name in FIELDS if name in known},
        }
        if trace := tracing.trace_id():
            said["trace"] = trace
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return {
            name: self._secret.sub(HIDDEN, value) if isinstance(value, str) else value for name, value in said.items()
        }


class Json(Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.parts(record), default=str)


class Words(Lines):
    """A line to read: a message cannot start another one. Tracebacks stand below."""

    def format(self, record: logging.LogRecord) -> str:
        said = self.parts(record)
        first = f"{said.pop('time')} {said.pop('level').upper()} {said.pop('logger')}: {said.pop('message')}"
        error = said.pop("error", None)
        rest = "".join(f" {name}={value}" for name, value in said.items())
        return "\\n".join(f"{first}{rest}".splitlines()) + (f"\n{error}" if error else "")


def start(kind: Literal["json", "text"], level: int = logging.INFO, **fields: str | int) -> None:
    """Send every log line of this process to standard error, and what nobody has caught too.

    fields: on each of its lines.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((Json if kind == "json" else Words)(here(), **fields))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # a line a request, or a table, is too much
    log = logging.getLogger("winnow")

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("uncaught", exc_info=(kind, error, trace))

    sys.excepthook = uncaught
    threading.excepthook = lambda args: log.critical("uncaught in a thread", exc_info=args.exc_value)
