"""Names become plug-ins: a JobSpec is checked against everything that it names, in one place, before anything runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from generators.builtin import GENERATORS
from generators.given import GIVEN, Given, Held
from search.configs import MethodConfig, ModelConfig
from search.diversity import Variety
from search.methods import METHODS
from search.plugins import Registry, Unknown
from search.ports import Generator, Verifier
from search.scoring import Judge
from search.voting import Ballot
from service.checks import (
    Choice,
    is_together,
    judging,
    listed,
    needs,
    reason,
    uncounted,
    unkept,
    unmet,
    unopposed,
    unplaced,
    unseen,
    unspoken,
    untargeted,
    unusable,
    unwatched,
    unweighted,
)
from service.faults import worded
from service.processes import elsewhere
from service.registries import REGISTRIES
from service.spec import JobSpec, Search
from verifiers.builtin import VERIFIERS
from verifiers.features import Space
from verifiers.parts import Composite


class Invalid(ValueError):
    """A spec that cannot be honoured: one entry a fault, each with where, what, and what would have been right."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors))


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

    @property
    def stored(self) -> str:
        """Its configuration with its threshold, as JSON."""
        return json.dumps({**self.choice.config.model_dump(mode="json"), "threshold": self.threshold})


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

    @property
    def tokens(self) -> int:
        """Tokens that one sample generates, at most."""
        assert isinstance(self.model.config, ModelConfig)
        return self.model.config.tokens

    @property
    def shard(self) -> int | None:
        """Samples in one shard, at most, where the model says so."""
        assert isinstance(self.model.config, ModelConfig)
        return self.model.config.shard

    @property
    def source(self) -> str | None:
        """Public id of the job whose answers it judges again."""
        return self.model.config.job if isinstance(self.model.config, Given) else None

    def of(self, role: str) -> list[JudgeChoice]:
        """Judges of one role."""
        return [judge for judge in self.judges if judge.role == role]


def faults(error: ValidationError, model: type[BaseModel], loc: tuple[int | str, ...] = ()) -> list[dict[str, Any]]:
    """Entries for Invalid; an unknown field lists the valid ones."""
    out: list[dict[str, Any]] = []
    for fault, message in worded(error.errors(include_url=False, include_context=False, include_input=False)):
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            message = f"unknown field; valid: {listed(sorted(model.model_fields))}"
        out.append({"loc": [*loc, *fault["loc"]], "msg": message})
    return out


def chosen(registry: Registry, name: str, config: Mapping[str, Any], loc: tuple[int | str, ...]) -> Choice:
    """The plug-in of that name with its configuration. Raises Invalid."""
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


def prepare(spec: JobSpec, models: Registry = GENERATORS) -> Prepared:
    """Resolve every name of a spec. Raises Invalid with all faults found."""
    errors: list[dict[str, Any]] = []
    if (preset := spec.model.preset) is not None:
        message = f"preset {preset!r} is known where jobs are submitted one by one, and not here; give its settings"
        errors.append({"loc": ["model", "preset"], "msg": message})

    def choose(registry: Registry, name: str, config: Mapping[str, Any], *loc: int | str) -> Choice | None:
        try:
            return chosen(registry, name, config, loc)
        except Invalid as invalid:
            errors.extend(invalid.errors)
            return None

    model = choose(models, spec.model.name, spec.model.config, "model")
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
        model = suited(model, method, judges)
        errors.extend(unmet(model, method) or untargeted(method, lambda: generator(model)))
    if model:
        errors.extend(fault for judge in judges for fault in unwatched(model, judge.choice, f"{judge.role}s"))
        errors.extend(unusable(spec, [model.config, *(judge.choice.config for judge in judges)]))
        errors.extend(uncounted(spec, model) + unspoken(spec, model) + unseen(spec, model))
    if method:
        errors.extend(unkept(spec, method) + unweighted(spec, method) + unplaced(method))
        errors.extend(unopposed(spec, method))
    if errors or not model or not method:
        raise Invalid(errors)
    return Prepared(spec, model, method, tuple(judges))


def suited(model: Choice, method: Choice, judges: Sequence[JudgeChoice]) -> Choice:
    """The model with its open choices made for the method and the judges."""
    assert isinstance(model.config, ModelConfig)
    wanted = needs(method).union(*(judging(judge.choice) for judge in judges))
    return replace(model, config=model.config.suited(wanted))


class Rule(NamedTuple):
    """How a job's answers are chosen: `verifier` when its method is no longer installed."""

    name: str = "verifier"
    variety: Variety | None = None
    ballot: Ballot | None = None


def rule_of(spec: JobSpec) -> Rule:
    """How a stored job's answers are chosen."""
    plan = plan_of(spec.search)
    return Rule(plan.rule, plan.variety, plan.ballot) if plan else Rule()


def plan_of(search: Search) -> MethodConfig | None:
    """The configuration of a stored job's method; None when the method is no longer installed."""
    try:
        config = METHODS.find(search.method).config.model_validate(search.config)
    except ValueError:
        return None
    return config if isinstance(config, MethodConfig) else None


@lru_cache(maxsize=256)
def _made(key: tuple[str, str, str]) -> Any:
    kind, name, config = key
    plugin = REGISTRIES[kind].find(name)
    return plugin.factory(plugin.config.model_validate_json(config))


def generator(choice: Choice) -> Generator:
    """The generator of a choice, made once a process; the one that holds no answers yet is made each time."""
    if choice.plugin.name == GIVEN:
        return Held()
    return _made(("models", *choice.key))


def space(name: str) -> Space:
    """The feature space of that name, made once a process. Raises Unknown, and whatever its plug-in raises."""
    return _made(("features", name, "{}"))


def judge(choice: JudgeChoice) -> Judge:
    """The judge of a choice, its threshold applied."""
    return _judge(choice.label, choice.choice, choice.threshold)


def _judge(label: str, choice: Choice, threshold: float | None) -> Judge:
    """A judge with its parts, each in its own place."""
    key, place, together = choice.key, choice.plugin.facts.place, is_together(choice)
    verifier: Verifier = elsewhere(*key) if place == "process" else _made(("verifiers", *key))
    if not isinstance(verifier, Composite):
        return Judge(label, key, verifier, place, threshold, together)
    parts = [_judge(part.name, Choice(*part.found), part.threshold) for part in verifier.parts]
    return Judge(label, key, verifier, place, threshold, together, parts, verifier.combine)


__all__ = ["Choice", "Invalid", "JudgeChoice", "Prepared", "generator", "judge", "prepare", "reason"]
