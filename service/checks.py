"""What cannot work together: checks of a job's plug-ins against each other. Each gives entries for `Invalid`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from search.configs import MethodConfig, ModelConfig
from search.methods import METHODS
from search.plugins import Plugin, Unknown
from search.ports import Config, Generator
from search.scoring import reason_of
from search.tools import Weighted
from service.logs import hidden
from service.spec import JobSpec
from verifiers.features import FEATURES
from verifiers.parts import Composed


@dataclass(frozen=True)
class Choice:
    """A plug-in with a checked configuration."""

    plugin: Plugin
    config: Config

    @property
    def key(self) -> tuple[str, str]:
        """Equal for plug-ins that would give equal results."""
        return self.plugin.name, self.config.model_dump_json()


def reason(error: BaseException) -> str:
    """An exception as a record that any database keeps, without secrets."""
    return hidden(reason_of(error, 2000))


def listed(names: list[str]) -> str:
    """Names for a message."""
    return ", ".join(names) if names else "none"


def needs(method: Choice) -> frozenset[str]:
    """Capabilities that a method needs as it is configured."""
    assert isinstance(method.config, MethodConfig)
    return method.plugin.facts.needs | method.config.needs


def judging(judge: Choice) -> frozenset[str]:
    """Capabilities of the model that a verifier, or one of its parts, needs."""
    parts = judge.config.parts if isinstance(judge.config, Composed) else ()
    return judge.plugin.facts.needs.union(*(judging(Choice(*part.found)) for part in parts))


def unwatched(model: Choice, judge: Choice, role: str) -> list[dict[str, Any]]:
    """Capabilities that a verifier needs and the model lacks, or has not as it is configured."""
    assert isinstance(model.config, ModelConfig)
    wanted, names = judging(judge), (model.plugin.name, judge.plugin.name)
    if missing := wanted - model.plugin.facts.offers:
        return [{"loc": [role], "msg": f"{names[0]!r} lacks {listed(sorted(missing))}, which {names[1]!r} needs"}]
    return [
        {"loc": ["model"], "msg": f"{names[0]!r} has no {what} as configured, which {names[1]!r} needs: {remedy}"}
        for what, remedy in model.config.lacks.items()
        if what in wanted
    ]


def unmet(model: Choice, method: Choice) -> list[dict[str, Any]]:
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


def untargeted(method: Choice, model: Callable[[], Generator]) -> list[dict[str, Any]]:
    """Exponents that the model cannot take. model: makes it."""
    assert isinstance(method.config, MethodConfig)
    if method.config.exponents is None:
        return []
    try:
        cast(Weighted, model()).toward(method.config.exponents)
    except ValueError as error:
        return [{"loc": ["search", "target"], "msg": str(error)}]
    return []


def unspoken(spec: JobSpec, model: Choice) -> list[dict[str, Any]]:
    """Conversations for a model that takes none; the first ten."""
    if "chat" in model.plugin.facts.offers:
        return []
    message = f"{model.plugin.name!r} takes no conversation; give a `prompt`"
    spoken = [i for i, item in enumerate(spec.items) if item.messages]
    return [{"loc": ["items", i, "messages"], "msg": message} for i in spoken[:10]]


def unseen(spec: JobSpec, model: Choice) -> list[dict[str, Any]]:
    """Pictures for a model that takes none; the first ten."""
    if "image" in model.plugin.facts.offers:
        return []
    message = f"{model.plugin.name!r} takes no picture; leave `image` out"
    shown = [i for i, item in enumerate(spec.items) if item.image]
    return [{"loc": ["items", i, "image"], "msg": message} for i in shown[:10]]


def uncounted(spec: JobSpec, model: Choice) -> list[dict[str, Any]]:
    """A limit on tokens of a model that counts none."""
    assert isinstance(model.config, ModelConfig)
    if spec.budget.tokens is None or model.config.tokens:
        return []
    message = f"{model.plugin.name!r} counts no tokens; give a budget of evaluations"
    return [{"loc": ["budget", "tokens"], "msg": message}]


def unweighted(spec: JobSpec, method: Choice) -> list[dict[str, Any]]:
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


def unkept(spec: JobSpec, method: Choice) -> list[dict[str, Any]]:
    """Rules that may select an answer which `keep: top_k` has thrown away: that is decided shard by shard."""
    assert isinstance(method.config, MethodConfig)
    select = method.config.rule
    if spec.keep == "all" or select == "first_pass" or (select == "verifier" and len(spec.verifiers) == 1):
        return []
    why = "several verifiers" if select == "verifier" else select
    return [{"loc": ["keep"], "msg": f"'top_k' cannot tell which answers {why} will select; valid here: all"}]


def unopposed(spec: JobSpec, method: Choice) -> list[dict[str, Any]]:
    """`pareto` with a single verifier, whose front is its best answer."""
    assert isinstance(method.config, MethodConfig)
    if method.config.rule != "pareto" or len(spec.verifiers) > 1:
        return []
    return [{"loc": ["search", "select"], "msg": "'pareto' needs two verifiers or more; with one, use 'verifier'"}]


def unplaced(method: Choice) -> list[dict[str, Any]]:
    """A feature space that there is not, or that cannot be loaded."""
    assert isinstance(method.config, MethodConfig)
    if (variety := method.config.variety) is None:
        return []
    loc, name = ["search", "features"], variety.space
    try:
        FEATURES.find(name)
    except Unknown as unknown:
        return [{"loc": loc, "msg": str(unknown), "valid": unknown.valid}]
    except Exception as error:
        return [{"loc": loc, "msg": f"{name!r} cannot be loaded: {reason(error)}"}]
    return []


def is_together(judge: Choice) -> bool:
    """Whether a verifier's scores, or those of one of its parts, depend on the other answers of the call."""
    parts = judge.config.parts if isinstance(judge.config, Composed) else ()
    return judge.plugin.facts.together or any(is_together(Choice(*part.found)) for part in parts)


def unusable(spec: JobSpec, configs: Sequence[Config]) -> list[dict[str, Any]]:
    """Items that a plug-in of the job refuses; the first ten. configs: those of its model and judges."""
    errors: list[dict[str, Any]] = []
    for i, item in enumerate(spec.items):
        for config in configs:
            try:
                config.check(item)
            except Exception as error:
                message = str(error) if isinstance(error, ValueError) else reason(error)
                errors.append({"loc": ["items", i], "msg": message})
        if len(errors) >= 10:
            break
    return errors
