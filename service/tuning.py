"""Which trials a tune makes, and which of them wins: pure functions of its spec and of the trials so far.

A tune searches the settings of a model (its levers) by ordinary jobs, one a candidate, and ends as a preset.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from generators.builtin import GENERATORS
from search.configs import ModelConfig
from search.evolution import Genes, Tried, fittest, generation
from service import catalog, planner
from service.catalog import Invalid
from service.checks import listed
from service.spec import JobSpec, ModelRef
from service.tune_spec import Limit, Stage, Trial, TuneSpec

MOST_ANSWERS = 50_000
"""Answers of one trial, at most: their places are read at once."""


def model_of(spec: TuneSpec, trial: Trial) -> ModelRef:
    """The model with the trial's settings."""
    if trial.stage.endswith("reference"):
        assert spec.objective.reference is not None
        return spec.objective.reference
    return ModelRef.model_validate({"name": spec.model.name, **spec.model.config, **trial.genes})


def job_of(spec: TuneSpec, trial: Trial, labels: Mapping[str, str]) -> JobSpec:
    """A trial as an ordinary job: best of n, of which nothing is selected, within what it must cost."""
    n, price = samples_of(spec, trial), price_of(model_of(spec, trial))
    search: dict[str, Any] = {"method": "best_of_n", "n": n}
    if spec.objective.measure == "frechet":  # the rule whose jobs keep the places of their answers
        search |= {"select": "diverse", "features": spec.objective.features}
    return JobSpec.model_validate(
        {
            "model": model_of(spec, trial).model_dump(exclude_none=True),
            "items": spec.items,
            "search": search,
            "verifiers": spec.verifiers,
            "budget": {"evaluations": max(1, n * len(spec.items) * price)},
            "seed": spec.seed + trial.final,
            "priority": spec.priority,
            "metadata": dict(labels),
        }
    )


def samples_of(spec: TuneSpec, trial: Trial) -> int:
    """Answers to each item."""
    return spec.last_samples if trial.final else spec.samples


def price_of(model: ModelRef) -> int:
    """Evaluations of one answer, at most. Raises Invalid."""
    return config_of(model).evaluations


def config_of(model: ModelRef) -> ModelConfig:
    """The model's checked configuration. Raises Invalid."""
    found = catalog.chosen(GENERATORS, model.name, model.config, ("model",)).config
    assert isinstance(found, ModelConfig)
    return found


def cap(spec: TuneSpec) -> int:
    """Evaluations of one answer of a candidate, at most."""
    return spec.evaluations or price_of(spec.model)


def valid(spec: TuneSpec, genes: Genes) -> bool:
    """Whether the model takes these settings, at a price within the cap."""
    try:
        return price_of(model_of(spec, Trial("candidate", genes))) <= cap(spec)
    except Invalid:
        return False


def cost(spec: TuneSpec, trials: Sequence[Trial]) -> int:
    """Evaluations of trials, at most; a candidate is taken to cost as much as it may."""
    total = 0
    for trial in trials:
        priced = trial.stage.endswith(("reference", "baseline"))
        price = price_of(model_of(spec, trial)) if priced else cap(spec)
        total += len(spec.items) * samples_of(spec, trial) * price
    return total


def beside(spec: TuneSpec, final: bool) -> list[Trial]:
    """What candidates are measured by: the reference, if there is one, and the baseline."""
    stages: tuple[Stage, Stage] = ("final reference", "final baseline") if final else ("reference", "baseline")
    return [Trial(stage, {}) for stage in (stages if spec.objective.measure == "frechet" else stages[1:])]


def sign(spec: TuneSpec) -> int:
    """1 where more is better, -1 where less is."""
    return -1 if spec.objective.measure == "frechet" else 1


def searched(spec: TuneSpec, trials: Sequence[Trial]) -> list[Tried]:
    """The candidates so far with what they are worth, higher is better."""
    candidates = [trial for trial in trials if trial.stage == "candidate"]
    return [Tried(trial.genes, None if trial.value is None else sign(spec) * trial.value) for trial in candidates]


def following(spec: TuneSpec, trials: Sequence[Trial]) -> list[Trial]:
    """The next trials, when all so far have ended; none when the search is over.

    A generation is begun only if it and the last round fit into what is left of the budget.
    """
    if any(trial.final for trial in trials):
        return []
    number = 1 + max((trial.generation for trial in trials if trial.generation is not None), default=-1)
    done = searched(spec, trials)
    last = beside(spec, final=True) + [Trial("final", {}) for _ in range(spec.finalists)]
    limit, spent = spec.budget.evaluations, sum(trial.evaluations or 0 for trial in trials)
    if number < spec.generations:
        found = generation(spec.levers, spec.seed, done, spec.population, lambda genes: valid(spec, genes))
        wave = ([] if trials else beside(spec, final=False)) + [Trial("candidate", genes, number) for genes in found]
        if found and (limit is None or spent + cost(spec, wave) + cost(spec, last) <= limit):
            return wave
    return beside(spec, final=True) + [Trial("final", one.genes) for one in fittest(done, spec.finalists)]


def winner(spec: TuneSpec, trials: Sequence[Trial]) -> Trial | None:
    """The best of the last round, the baseline before its equals; None when the baseline could not be measured."""
    last = [trial for trial in trials if trial.stage in ("final baseline", "final") and trial.value is not None]
    if not last or last[0].stage != "final baseline":
        return None
    return max(last, key=lambda trial: sign(spec) * (trial.value or 0.0))


def failure(trials: Sequence[Trial]) -> str | None:
    """Why no search can go on: what candidates are measured by is missing."""
    for trial in trials:
        if trial.stage.endswith(("reference", "baseline")) and trial.reason is not None:
            return f"the {trial.stage} has no value: {trial.reason}"
    return None


def checked(spec: TuneSpec) -> None:
    """Raise Invalid for a tune that could not be honoured, whatever it found."""
    fields = type(config_of(spec.model)).model_fields
    if unknown := [name for name in spec.levers if name not in fields]:
        message = f"{unknown[0]!r} is no field of {spec.model.name!r}; valid: {listed(sorted(fields))}"
        raise Invalid([{"loc": ["levers", unknown[0]], "msg": message}])
    for name, lever in spec.levers.items():
        if strange := [other for other in lever.when if other not in spec.levers or other == name]:
            message = f"{strange[0]!r} is no other lever; valid: {listed(sorted(spec.levers.keys() - {name}))}"
            raise Invalid([{"loc": ["levers", name, "when"], "msg": message}])
    given = spec.objective.features, spec.objective.reference
    if spec.objective.measure == "frechet" and None in given:
        raise Invalid([{"loc": ["objective"], "msg": "measure 'frechet' needs `features` and `reference`"}])
    if spec.objective.measure == "score" and given != (None, None):
        raise Invalid([{"loc": ["objective"], "msg": "`features` and `reference` go with measure 'frechet'"}])
    if price_of(spec.model) > cap(spec):
        message = f"an answer of the baseline costs {price_of(spec.model)}; give as many or more"
        raise Invalid([{"loc": ["evaluations"], "msg": message}])
    if (answers := len(spec.items) * max(spec.samples, spec.last_samples)) > MOST_ANSWERS:
        message = f"{answers} answers of one candidate, items times samples, are too many; valid: up to {MOST_ANSWERS}"
        raise Invalid([{"loc": ["samples"], "msg": message}])
    for trial in beside(spec, final=False) + beside(spec, final=True):
        planner.shards(catalog.prepare(job_of(spec, trial, {})))
    first = following(spec.model_copy(update={"budget": Limit.model_validate({})}), ())
    candidates = [trial for trial in first if trial.stage == "candidate"]
    if not candidates:
        raise Invalid([{"loc": ["levers"], "msg": f"no candidate is valid: {_why(spec)}"}])
    least = cost(spec, first) + cost(spec, beside(spec, final=True)) + spec.finalists * cost_of_finalist(spec)
    if spec.budget.evaluations is not None and spec.budget.evaluations < least:
        message = f"one generation and the last round may need {least}; give as many or more"
        raise Invalid([{"loc": ["budget", "evaluations"], "msg": message}])


def cost_of_finalist(spec: TuneSpec) -> int:
    """Evaluations of one, at most."""
    return cost(spec, [Trial("final", {})])


def planned(spec: TuneSpec) -> int:
    """Evaluations of the whole tune, at most."""
    per = cost(spec, [Trial("candidate", {})]) * spec.population * spec.generations
    whole = per + cost(spec, beside(spec, final=False) + beside(spec, final=True))
    whole += spec.finalists * cost_of_finalist(spec)
    return whole if spec.budget.evaluations is None else min(whole, spec.budget.evaluations)


def _why(spec: TuneSpec) -> str:
    """What the model says to a candidate that it refuses."""
    (genes,) = generation(spec.levers, spec.seed, (), 1)
    model = model_of(spec, Trial("candidate", genes))
    try:
        price = price_of(model)
    except Invalid as invalid:
        return str(invalid)
    return f"an answer may cost {cap(spec)} evaluations, and costs {price} with {dict(genes)}"
