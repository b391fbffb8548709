"""The operator's servers, in a TOML file that WINNOW_ENDPOINTS names: a caller can only name one of them.

[[endpoint]]                     # a model, asked for answers or as a judge
name = "local"
url = "http://127.0.0.1:8001/v1"
model = "Qwen/Qwen3-8B"
key_env = "LOCAL_KEY"

[[hook]]                         # a verifier
name = "prices"
url = "https://verify.example/prices"
secret_env = "PRICES_SECRET"
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, JsonValue, SecretStr, ValidationError, field_validator, model_validator

from search.plugins import Unknown
from search.ports import Frozen

VARIABLE = "WINNOW_ENDPOINTS"


class Unreadable(ValueError):
    """The file, or an entry of it, cannot be used; one sentence says why, and holds no key."""


class Server(Frozen):
    """What every server has."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: str = Field(pattern=r"^[\w.-]{1,100}$", description="What jobs call it.")
    url: str = Field(max_length=2000, description="Where it answers; a model's up to and with its version.")
    concurrency: int = Field(32, ge=1, le=4096, description="Requests of a worker in flight, at most.")
    timeout: float = Field(120.0, gt=0, le=86_400, description="Seconds for one reply.")
    deadline: float = Field(600.0, gt=0, le=86_400, description="Seconds for an answer with all its tries.")

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise ValueError("a URL starts with http:// or https:// and a host")
        if parsed.username is not None or parsed.query or parsed.fragment:
            raise ValueError(
                "a URL ends with its path and holds no password: keys and secrets have fields of their own"
            )
        return url.rstrip("/")


class Endpoint(Server):
    """A model behind OpenAI's protocol."""

    key: SecretStr | None = Field(None, description="Sent as a bearer token.")
    key_env: str | None = Field(None, description="An environment variable of the worker that holds the key.")
    model: str | None = Field(None, description="The model that a job gets when it names none.")
    chat: bool = Field(True, description="Serves /chat/completions.")
    completions: bool = Field(False, description="Serves /completions: prompts go there as raw text.")
    continues: bool = Field(False, description="Can go on with a text: /completions, or `continue_final_message`.")
    stop_reason: bool = Field(False, description="Says which stop string ended a text, as vLLM and SGLang do.")
    n: int = Field(8, ge=1, le=128, description="Answers asked for in one request, at most; 1 for never more.")
    seed: bool = Field(True, description="Takes `seed`.")
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field("max_tokens", description="What it calls it.")
    body: dict[str, JsonValue] = Field(default_factory=dict, description="Fields that every request has too.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.chat and not self.completions:
            raise ValueError("one of `chat` and `completions` must be true")
        if self.key is not None and self.key_env is not None:
            raise ValueError("give `key` or `key_env`, not both")
        if taken := sorted(self.body.keys() & {"model", "messages", "prompt", "n", "seed", "stop", "stream"}):
            raise ValueError(f"`body` may not set {', '.join(taken)}: Winnow does")
        return self

    @property
    def secret(self) -> str:
        """The key; empty for none. Raises Unreadable when its environment variable is not set."""
        return secret(self.name, self.key, self.key_env)

    def headers(self) -> dict[str, str]:
        """What says who asks."""
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}


class Hook(Server):
    """A verifier behind HTTP. The secret signs requests and replies; both sides know it."""

    secret: SecretStr | None = Field(None, description="At least 16 characters.")
    secret_env: str | None = Field(None, description="An environment variable of the worker that holds the secret.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret is None) == (self.secret_env is None):
            raise ValueError("give `secret` or `secret_env`, and not both")
        return self

    def key(self) -> bytes:
        """The secret's bytes. Raises Unreadable when its environment variable is not set, or it is short."""
        if len(found := secret(self.name, self.secret, self.secret_env)) < 16:
            raise Unreadable(f"hook {self.name!r}: its secret has fewer than 16 characters")
        return found.encode()


def secret(name: str, given: SecretStr | None, variable: str | None) -> str:
    """What is secret of a server; empty for nothing. Raises Unreadable when its environment variable is not set."""
    if variable is None:
        return "" if given is None else given.get_secret_value()
    if not (found := os.environ.get(variable, "").strip()):
        raise Unreadable(f"{name!r}: the environment variable {variable} is not set here")
    return found


@dataclass(frozen=True)
class Servers:
    """Every server of a file, by kind and name."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    hooks: Mapping[str, Hook] = field(default_factory=dict[str, Hook])


def endpoints() -> Mapping[str, Endpoint]:
    """Every endpoint by name, as the file was when this process first read it. Raises Unreadable."""
    return servers().endpoints


def servers() -> Servers:
    """Every server, as the file was when this process first read it. Raises Unreadable."""
    path = os.environ.get(VARIABLE)
    return read(Path(path)) if path else Servers()


def endpoint(name: str) -> Endpoint:
    """The endpoint of that name. Raises Unknown, which lists the valid names, or Unreadable."""
    return _named("endpoint", servers().endpoints, name)


def hook(name: str) -> Hook:
    """The hook of that name. Raises Unknown, which lists the valid names, or Unreadable."""
    return _named("hook", servers().hooks, name)


S = TypeVar("S", bound=Server)


def _named(kind: str, known: Mapping[str, S], name: str) -> S:
    if name not in known:
        raise Unknown(kind, name, sorted(known) or [f"none; the operator names them in the file {VARIABLE}"])
    return known[name]


@cache
def read(path: Path) -> Servers:
    """The servers of a file. Raises Unreadable."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Unreadable(f"{VARIABLE}: {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:  # what is wrong and where, not the line itself
        place = str(error).partition("(at ")[2].rstrip(")")
        raise Unreadable(f"{VARIABLE}: {str(path)!r} is not TOML in UTF-8: {type(error).__name__} {place}") from None
    if strange := sorted(table.keys() - {"endpoint", "hook"}):
        raise Unreadable(f"{VARIABLE}: {str(path)!r} holds {strange[0]!r}; valid: [[endpoint]], [[hook]]")
    return Servers(_kind(path, table, "endpoint", Endpoint), _kind(path, table, "hook", Hook))


def _kind(path: Path, table: Mapping[str, Any], kind: str, shape: type[S]) -> Mapping[str, S]:
    entries = table.get(kind, [])
    if not isinstance(entries, list):
        raise Unreadable(f"{VARIABLE}: {str(path)!r}: `{kind}` is a list of tables; write [[{kind}]]")
    found: dict[str, S] = {}
    for number, entry in enumerate(entries):
        one = _checked(entry, shape, f"{VARIABLE}: {kind} {number + 1} of {str(path)!r}")
        if one.name in found:
            raise Unreadable(f"{VARIABLE}: two of {kind} in {str(path)!r} are called {one.name!r}")
        found[one.name] = one
    return found


def _checked(entry: Any, shape: type[S], where: str) -> S:
    try:
        return shape.model_validate(entry)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = fault["msg"]
        if fault["type"] == "extra_forbidden":
            message = f"unknown field; valid: {', '.join(sorted(shape.model_fields))}"
        raise Unreadable(f"{where}: {'.'.join(map(str, fault['loc'])) or 'entry'}: {message}") from None
