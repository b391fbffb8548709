"""Servers that the operator allows, from one TOML file: a caller can only name them, and never sees their keys.

[[endpoint]]                     # a model that runs elsewhere
name = "local"
url = "http://127.0.0.1:8001/v1"
model = "Qwen/Qwen3-8B"
key_env = "LOCAL_KEY"

[[hook]]                         # a verifier that runs elsewhere
name = "prices"
url = "https://verify.example/prices"
secret_env = "PRICES_SECRET"
"""

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator

from search.plugins import Unknown
from search.ports import Frozen

VARIABLE = "WINNOW_ENDPOINTS"


class Server(Frozen):
    """What every server has. url: where it answers; nothing of it comes from a caller."""

    name: str = Field(min_length=1, max_length=200)
    url: str = Field(max_length=2000)
    timeout: float = Field(60.0, gt=0, description="Seconds for one try.")
    deadline: float = Field(300.0, gt=0, description="Seconds for all tries of one request.")
    concurrency: int = Field(32, ge=1, description="Requests in flight, at most.")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url[:100]!r} is no address; expected http:// or https://")
        return url.rstrip("/")


class Endpoint(Server):
    """A model behind an OpenAI-compatible API. url: up to and with its version, such as http://host:8000/v1."""

    model: str = Field("", max_length=500, description="Its name there; a job may give another.")
    key: SecretStr = Field(SecretStr(""), strict=False)
    key_env: str | None = Field(None, description="Environment variable that holds the key.")
    chat: bool = Field(True, description="It serves /chat/completions.")
    completions: bool = Field(True, description="It serves /completions.")
    continues: bool = Field(False, description="It can continue an answer that has begun.")

    def headers(self) -> dict[str, str]:
        """What proves who asks. Raises ValueError when the variable `key_env` is not set."""
        key = secret(self.key, self.key_env, self.name)
        return {"Authorization": f"Bearer {key}"} if key else {}


class Hook(Server):
    """A verifier behind HTTP. secret: at least 16 characters that both sides know."""

    secret: SecretStr = Field(SecretStr(""), strict=False)
    secret_env: str | None = Field(None, description="Environment variable that holds the secret.")

    def key(self) -> bytes:
        """What requests and replies are signed with. Raises ValueError when it is missing or short."""
        if len(found := secret(self.secret, self.secret_env, self.name)) < 16:
            raise ValueError(f"the hook {self.name!r} needs a secret of at least 16 characters")
        return found.encode()


class Unconfigured(ValueError):
    """The operator's file cannot be used; says where and why."""


S = TypeVar("S", Endpoint, Hook)


def secret(given: SecretStr, variable: str | None, name: str) -> str:
    """The secret itself. Raises ValueError when it should be in an environment variable that is not set."""
    if variable is None:
        return given.get_secret_value()
    if (found := os.environ.get(variable)) is None:
        raise ValueError(f"{name!r}: the environment variable {variable} is not set")
    return found


def endpoint(name: str) -> Endpoint:
    """The endpoint of that name. Raises Unknown, which lists the valid names, or Unconfigured."""
    return _named("endpoint", Endpoint, name)


def hook(name: str) -> Hook:
    """The hook of that name. Raises Unknown, which lists the valid names, or Unconfigured."""
    return _named("hook", Hook, name)


def _named(kind: str, shape: type[S], name: str) -> S:
    path = os.environ.get(VARIABLE)
    found = _read(path, Path(path).stat().st_mtime_ns, kind, shape) if path and Path(path).exists() else {}
    if path and not Path(path).exists():
        raise Unconfigured(f"{VARIABLE}: there is no file {path!r}")
    if name not in found:
        valid = sorted(found)
        raise Unknown(kind, name, valid or [f"none; the operator names them in the file {VARIABLE}"])
    return found[name]


@lru_cache(maxsize=8)
def _read(path: str, changed: int, kind: str, shape: type[S]) -> Mapping[str, S]:
    """All servers of one kind. changed: when the file was written, so that a newer one is read again."""
    try:
        tables: Any = tomllib.loads(Path(path).read_text("utf-8"))
        found = [shape.model_validate(table) for table in tables.get(kind, [])]
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise Unconfigured(f"{VARIABLE}: a [[{kind}]] in {path}: {where}: {fault['msg']}") from None
    except (OSError, ValueError) as error:
        raise Unconfigured(f"{VARIABLE}: {path}: {type(error).__name__}: {error!s:.200}") from None
    named = {server.name: server for server in found}
    if len(named) < len(found):
        raise Unconfigured(f"{VARIABLE}: two [[{kind}]] in {path} have the same name")
    return named
