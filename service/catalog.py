"""Names become plug-ins: a JobSpec is checked against everything that it names, in one place, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import packages_distributions
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from generators.builtin import GENERATORS
from search.configs import MethodConfig, ModelConfig
from search.methods import METHODS
from search.plugins import Plugin, Registry, Unknown
from search.ports import Config, Generator, Verifier
from search.scoring import Judge, reason_of
from search.tools import Weighted
from service.processes import elsewhere
from service.spec import JobSpec
from verifiers.builtin import VERIFIERS

REGISTRIES: dict[str, Registry] = {"models": GENERATORS, "verifiers": VERIFIERS, "methods": METHODS}


class Invalid(ValueError):
    """A spec that cannot be honoured: one entry a fault, each with where, what, and what would have been right."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors))


@dataclass(frozen=True)
class Choice:
    """A plug-in with a checked configuration."""

    plugin: Plugin
    config: Config

    @property
    def key(self) -> tuple[str, str]:
        """Equal for plug-ins that would give equal results."""
        return self.plugin.name, self.config.model_dump_json()


@dataclass(frozen=True)
class JudgeChoice:
    """A verifier or grader of a job."""

    role: str
    label: str
    choice: Choice
    threshold: float | None

    @property
    def version(self) -> str:
        """Stored with every score."""
        return self.choice.plugin.facts.version


@dataclass(frozen=True)
class Prepared:
    """A spec whose every name is resolved."""

    spec: JobSpec
    model: Choice
    method: Choice
    judges: tuple[JudgeChoice, ...]

    @property
    def plan(self) -> MethodConfig:
        """The method's configuration."""
        assert isinstance(self.method.config, MethodConfig)
        return self.method.config

    @property
    def price(self) -> int:
        """Evaluations that one sample costs, at most."""
        assert isinstance(self.model.config, ModelConfig)
        return self.model.config.evaluations

    def of(self, role: str) -> list[JudgeChoice]:
        """Judges of one role."""
        return [judge for judge in self.judges if judge.role == role]


def reason(error: BaseException) -> str:
    """An exception as a record that any database keeps."""
    return reason_of(error, 2000)


def listed(names: list[str]) -> str:
    """Names for a message."""
    return ", ".join(names) if names else "none"


def faults(error: ValidationError, model: type[BaseModel], loc: tuple[int | str, ...] = ()) -> list[dict[str, Any]]:
    """Entries for Invalid; an unknown field lists the valid ones."""
    out: list[dict[str, Any]] = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        message = fault["msg"]
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            message = f"unknown field; valid: {listed(sorted(model.model_fields))}"
        out.append({"loc": [*loc, *fault["loc"]], "msg": message})
    return out


def _choose(registry: Registry, name: str, config: Mapping[str, Any], loc: tuple[int | str, ...]) -> Choice:
    try:
        plugin = registry.find(name)
    except Unknown as unknown:
        raise Invalid([{"loc": list(loc), "msg": str(unknown), "valid": unknown.valid}]) from None
    except Exception as error:
        raise Invalid([{"loc": list(loc), "msg": f"{name!r} cannot be loaded: {reason(error)}"}]) from error
    try:
        return Choice(plugin, plugin.config.model_validate(config))
    except ValidationError as error:
        raise Invalid(faults(error, plugin.config, loc)) from None
    except Exception as error:  # a check of the plug-in's own that overflows, say
        raise Invalid([{"loc": list(loc), "msg": f"{name!r} cannot use this: {reason(error)}"}]) from error


def prepare(spec: JobSpec) -> Prepared:
    """Resolve every name of a spec. Raises Invalid with all faults found."""
    errors: list[dict[str, Any]] = []

    def choose(registry: Registry, name: str, config: Mapping[str, Any], *loc: int | str) -> Choice | None:
        try:
            return _choose(registry, name, config, loc)
        except Invalid as invalid:
            errors.extend(invalid.errors)
            return None

    model = choose(GENERATORS, spec.model.name, spec.model.config, "model")
    method = choose(METHODS, spec.search.method, spec.search.config, "search")
    judges: list[JudgeChoice] = []
    for i, (role, ref) in enumerate(spec.judges):
        place = i if role == "verifier" else i - len(spec.verifiers)
        if choice := choose(VERIFIERS, ref.name, ref.config, f"{role}s", place):
            judges.append(JudgeChoice(role, ref.label or ref.name, choice, ref.threshold))
    labels = [judge.label for judge in judges]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    errors += [{"loc": ["verifiers"], "msg": f"two judges are called {t!r}; give one a `label`"} for t in twice]
    if model and method:
        model = suited(model, method)
        errors.extend(_unmet(model, method) or _untargeted(model, method))
    if model:
        errors.extend(_unusable(spec, model, judges))
    if method:
        errors.extend(_unkept(spec, method) + _unweighted(spec, method))
    if errors or not model or not method:
        raise Invalid(errors)
    return Prepared(spec, model, method, tuple(judges))


def needs(method: Choice) -> frozenset[str]:
    """Capabilities that a method needs as it is configured."""
    assert isinstance(method.config, MethodConfig)
    return method.plugin.facts.needs | method.config.needs


def suited(model: Choice, method: Choice) -> Choice:
    """The model with its open choices made for the method."""
    assert isinstance(model.config, ModelConfig)
    return replace(model, config=model.config.suited(needs(method)))


def _unmet(model: Choice, method: Choice) -> list[dict[str, Any]]:
    """Capabilities that the method needs and the model lacks, or has not as it is configured."""
    assert isinstance(model.config, ModelConfig)
    wanted, name = needs(method), model.plugin.name
    if missing := wanted - model.plugin.facts.offers:
        would = [m for m in METHODS.names() if METHODS.find(m).facts.needs <= model.plugin.facts.offers]
        would = [m for m in would if m != method.plugin.name]
        message = f"{name!r} lacks {listed(sorted(missing))}, which {method.plugin.name!r} needs"
        return [{"loc": ["search", "method"], "msg": f"{message}; methods that would work: {listed(would)}"}]
    return [
        {"loc": ["model"], "msg": f"{name!r} has no {what} as configured, which {method.plugin.name!r} needs: {remedy}"}
        for what, remedy in model.config.lacks.items()
        if what in wanted
    ]


def _untargeted(model: Choice, method: Choice) -> list[dict[str, Any]]:
    """Exponents that the model cannot take."""
    assert isinstance(method.config, MethodConfig)
    if method.config.exponents is None:
        return []
    try:
        cast(Weighted, generator(model)).toward(method.config.exponents)
    except ValueError as error:
        return [{"loc": ["search", "target"], "msg": str(error)}]
    return []


def _unweighted(spec: JobSpec, method: Choice) -> list[dict[str, Any]]:
    """`sample` of a method that keeps no weights, or of a job that throws answers away."""
    if spec.mode != "sample":
        return []
    if spec.keep != "all":
        return [{"loc": ["keep"], "msg": f"{spec.keep!r} drops answers, which 'sample' returns; valid here: all"}]
    if "weights" in method.plugin.facts.offers:
        return []
    would = [name for name in METHODS.names() if "weights" in METHODS.find(name).facts.offers]
    message = f"{method.plugin.name!r} keeps no weights, which 'sample' needs"
    return [{"loc": ["mode"], "msg": f"{message}; methods that would work: {listed(would)}"}]


def _unkept(spec: JobSpec, method: Choice) -> list[dict[str, Any]]:
    """Rules that may select an answer which `keep: top_k` has thrown away: that is decided shard by shard."""
    assert isinstance(method.config, MethodConfig)
    select = method.config.rule
    if spec.keep == "all" or select == "first_pass" or (select == "verifier" and len(spec.verifiers) == 1):
        return []
    why = "majority" if select == "majority" else "several verifiers"
    return [{"loc": ["keep"], "msg": f"'top_k' cannot tell which answers {why} will select; valid here: all"}]


def _unusable(spec: JobSpec, model: Choice, judges: list[JudgeChoice]) -> list[dict[str, Any]]:
    """Items that the model or a judge refuses; the first ten."""
    errors: list[dict[str, Any]] = []
    for i, item in enumerate(spec.items):
        for config in (model.config, *(judge.choice.config for judge in judges)):
            try:
                config.check(item)
            except Exception as error:
                message = str(error) if isinstance(error, ValueError) else reason(error)
                errors.append({"loc": ["items", i], "msg": message})
        if len(errors) >= 10:
            break
    return errors


def rule_of(spec: JobSpec) -> str:
    """How a job's answers are chosen; `verifier` when its method is no longer installed."""
    try:
        config = METHODS.find(spec.search.method).config.model_validate(spec.search.config)
    except ValueError:
        return "verifier"
    return config.rule if isinstance(config, MethodConfig) else "verifier"


@lru_cache(maxsize=256)
def _made(key: tuple[str, str, str]) -> Any:
    kind, name, config = key
    plugin = REGISTRIES[kind].find(name)
    return plugin.factory(plugin.config.model_validate_json(config))


def generator(choice: Choice) -> Generator:
    """The generator of a choice, made once a process."""
    return _made(("models", *choice.key))


def judge(choice: JudgeChoice) -> Judge:
    """The judge of a choice, its threshold applied."""
    key, place = choice.choice.key, choice.choice.plugin.facts.place
    verifier: Verifier = elsewhere(*key) if place == "process" else _made(("verifiers", *key))
    return Judge(choice.label, key, verifier, place, choice.threshold)


class Shadowed(RuntimeError):
    """An import name of ours belongs to another distribution too."""


def owned() -> None:
    """Refuse to start where another distribution's `verifiers` (or another root of ours) shadows Winnow's."""
    for root in ("search", "verifiers", "generators", "service"):
        owners = set(packages_distributions().get(root, ())) - {"winnow-service"}
        if owners:
            raise Shadowed(f"the import name {root!r} also belongs to {listed(sorted(owners))}; uninstall it first")


__all__ = ["Choice", "Invalid", "JudgeChoice", "Prepared", "generator", "judge", "owned", "prepare"]
