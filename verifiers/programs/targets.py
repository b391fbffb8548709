"""What an item says of a right program: its cases or its suite, of which it may have several by name."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from pydantic import Field, JsonValue, ValidationError, field_validator

from search.ports import Config, Frozen, Item, Many
from verifiers.each import Unreadable, shown
from verifiers.programs.limits import Limits

MOST = 1000
_SOURCE = 100_000


class Case(Frozen):
    """A call of the function, and what it gives."""

    args: Many[JsonValue] = ()
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    expected: JsonValue


class Function(Frozen):
    """Base of targets about one function of the program."""

    entry: str = Field(max_length=200, description="The function's name.")
    prefix: str = Field("", max_length=_SOURCE, description="Source text in front of the answer, such as its prompt.")

    @field_validator("entry")
    @classmethod
    def _name(cls, entry: str) -> str:
        if not entry.isidentifier():
            raise ValueError(f"expected a function's name, found {entry!r}")
        return entry


class ValuesTarget(Function):
    """Of `program/values`."""

    cases: Many[Case] = Field(min_length=1, max_length=MOST)


class AssertsTarget(Function):
    """Of `program/asserts`."""

    tests: str = Field(min_length=1, max_length=_SOURCE, description="Assertions, or a function `check(candidate)`.")


class Run(Frozen):
    """An input of the whole program, and the output expected."""

    stdin: str = Field("", max_length=2**20)
    stdout: str = Field("", max_length=2**20)


class StdioTarget(Frozen):
    """Of `program/stdio`."""

    prefix: str = Field("", max_length=_SOURCE)
    cases: Many[Run] = Field(min_length=1, max_length=MOST)
    checker: str | None = Field(
        None,
        max_length=_SOURCE,
        description="Python source of `check(stdin, expected, output)`, true for a right output.",
    )


T = TypeVar("T", bound=Frozen)


class Programs(Config):
    """Base of the verifiers' settings."""

    suite: str | None = Field(
        None, max_length=100, description="Which of the target's `suites` to use; None: the target's own fields."
    )
    call_seconds: float = Field(2.0, gt=0, le=600, description="Wall seconds of one call, from its start.")
    total_seconds: float = Field(10.0, gt=0, le=3600, description="Wall seconds of a whole program, loading included.")
    memory_mb: int = Field(768, ge=64, le=65536, description="MiB of address space.")

    @property
    def limits(self) -> Limits:
        """As one value."""
        return Limits(call_seconds=self.call_seconds, total_seconds=self.total_seconds, memory_mb=self.memory_mb)

    def target(self, item: Item) -> Frozen:
        """What the item expects. Raises Unreadable, a ValueError."""
        raise NotImplementedError

    def check(self, item: Item) -> None:
        self.target(item)

    def read(self, kind: type[T], item: Item) -> T:
        """The item's target, with the fields of the named suite over its own. Raises Unreadable."""
        where = f"target {shown(item.target)} of item {item.id!r}"
        if type(item.target) is not dict:
            raise Unreadable(f"{where}: expected an object of {', '.join(kind.model_fields)}")
        given: dict[str, Any] = dict(item.target)
        suites = given.pop("suites", {})
        if self.suite is not None:
            if type(suites) is not dict or type(suites.get(self.suite)) is not dict:
                valid: Sequence[str] = sorted(cast("dict[str, Any]", suites)) if type(suites) is dict else []
                raise Unreadable(f"{where}: no suite {self.suite!r}; valid: {', '.join(valid) or 'none'}")
            given |= suites[self.suite]
        try:
            return kind.model_validate({name: held for name, held in given.items() if name != "origin"})
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            at = ".".join(map(str, fault["loc"]))
            raise Unreadable(f"{where}: {at}: {fault['msg']}") from error
