"""The operator's endpoints: a TOML file that WINNOW_ENDPOINTS names. A caller can only name one of them."""

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import httpx
from pydantic import ConfigDict, Field, JsonValue, SecretStr, ValidationError, field_validator, model_validator

from search.ports import Frozen

VARIABLE = "WINNOW_ENDPOINTS"


class Unreadable(ValueError):
    """The file, or an entry of it, cannot be used; one sentence says why, and holds no key."""


class Endpoint(Frozen):
    """A server that speaks OpenAI's protocol."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: str = Field(pattern=r"^[\w.-]{1,100}$", description="What jobs call it.")
    url: str = Field(description="What `/chat/completions` is put behind, such as http://host:8000/v1.")
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
    concurrency: int = Field(32, ge=1, le=4096, description="Requests of a worker in flight, at most.")
    timeout: float = Field(120.0, gt=0, le=86_400, description="Seconds for one reply.")
    deadline: float = Field(600.0, gt=0, le=86_400, description="Seconds for an answer with all its tries.")
    body: dict[str, JsonValue] = Field(default_factory=dict, description="Fields that every request has too.")

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"not a URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError("a URL starts with http:// or https:// and a host")
        if parsed.userinfo or parsed.query or parsed.fragment:
            raise ValueError("a URL ends with its path and holds no password: the key stands in `key` or `key_env`")
        return url.rstrip("/")

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
        if self.key_env is not None:
            if not (found := os.environ.get(self.key_env, "").strip()):
                raise Unreadable(f"endpoint {self.name!r}: the environment variable {self.key_env} is not set here")
            return found
        return "" if self.key is None else self.key.get_secret_value()


def endpoints() -> Mapping[str, Endpoint]:
    """Every endpoint by name, as the file was when this process first read it. Raises Unreadable."""
    path = os.environ.get(VARIABLE)
    return read(Path(path)) if path else {}


@cache
def read(path: Path) -> Mapping[str, Endpoint]:
    """The endpoints of a file. Raises Unreadable."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Unreadable(f"{VARIABLE}: {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:  # what is wrong and where, not the line itself
        raise Unreadable(f"{VARIABLE}: {str(path)!r} is not TOML in UTF-8: {_place(error)}") from None
    entries = table.pop("endpoint", [])
    if table or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Unreadable(f"{VARIABLE}: {str(path)!r} holds tables [[endpoint]] and nothing else")
    found: dict[str, Endpoint] = {}
    for number, entry in enumerate(entries):
        one = _checked(entry, f"{VARIABLE}: endpoint {number + 1} of {str(path)!r}")
        if one.name in found:
            raise Unreadable(f"{VARIABLE}: two endpoints of {str(path)!r} are called {one.name!r}")
        found[one.name] = one
    return found


def _place(error: ValueError) -> str:
    return f"{type(error).__name__} {str(error).partition('(at ')[2].rstrip(')')}".strip()


def _checked(entry: dict[str, Any], where: str) -> Endpoint:
    try:
        return Endpoint.model_validate(entry)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = fault["msg"]
        if fault["type"] == "extra_forbidden":
            message = f"unknown field; valid: {', '.join(sorted(Endpoint.model_fields))}"
        raise Unreadable(f"{where}: {'.'.join(map(str, fault['loc'])) or 'entry'}: {message}") from None
