"""Routes of tunes and presets."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from search.ports import Frozen
from service import catalog, tuning
from service.api.guard import StrictRoute
from service.api.state import Short, store
from service.presets import named
from service.spec import ModelField
from service.store import Store, presets, tunes
from service.tune_spec import NAME, TuneSpec
from service.tuner import trial_of
from service.views.tunes import Presets, PresetView, Trials, TrialView, Tunes, TuneView

router = APIRouter(prefix="/v1", tags=["tunes"], route_class=StrictRoute)
Limit = Annotated[int, Query(ge=1, le=1000)]
Name = Annotated[str, Path(max_length=200)]
Place = Annotated[int, Query(ge=-1, lt=2**31)]


class PresetBody(Frozen):
    """Body of POST /v1/presets."""

    name: str = Field(pattern=NAME)
    model: ModelField = Field(description="An object of `name` and the model's own fields, which the preset will set.")


@router.post("/tunes", status_code=202)
async def create(
    spec: TuneSpec,
    request: Request,
    response: Response,
    idempotency_key: Short = None,
) -> TuneView:
    """Search the settings of a model: each candidate is an ordinary job, the best becomes a preset."""
    row = await asyncio.to_thread(accepted, store(request), spec, idempotency_key)
    response.headers["Location"] = f"/v1/tunes/{row.name}"
    return await asyncio.to_thread(seen, store(request), row.name)


def accepted(database: Store, spec: TuneSpec, key: str | None) -> sa.Row[Any]:
    """Read its presets, check everything that it names, then write it."""
    ready = database.read(explicit, spec)
    tuning.checked(ready)
    return database.write(tunes.create, ready.model_dump_json(), ready.preset, key)


def explicit(connection: sa.Connection, spec: TuneSpec) -> TuneSpec:
    """With settings in place of presets. Raises Invalid."""
    reference = spec.objective.reference
    if reference is not None:
        reference = named(connection, reference, "objective", "reference")
    objective = spec.objective.model_copy(update={"reference": reference})
    return spec.model_copy(update={"model": named(connection, spec.model, "model"), "objective": objective})


def seen(database: Store, name: str) -> TuneView:
    """A tune by its name."""
    return database.read(lambda connection: tune_view(connection, tunes.find(connection, name)))


@router.get("/tunes")
def listing(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None) -> Tunes:
    """Tunes, newest first."""

    def work(connection: sa.Connection) -> Tunes:
        rows = tunes.page(connection, limit, after)
        data = [tune_view(connection, row, spec=False) for row in rows]
        return Tunes(data=data, next=rows[-1].name if len(rows) == limit else None)

    return store(request).read(work)


@router.get("/tunes/{tune}")
def read(tune: Name, request: Request) -> TuneView:
    """One tune."""
    return seen(store(request), tune)


@router.post("/tunes/{tune}/cancel")
def cancel(tune: Name, request: Request) -> TuneView:
    """Stop a tune and its jobs; it makes no preset. One that has ended stays as it is."""
    store(request).write(tunes.cancel, tune)
    return seen(store(request), tune)


@router.get("/tunes/{tune}/trials")
def trials(tune: Name, request: Request, limit: Limit = 100, after: Place = -1) -> Trials:
    """Its trials in order: reference, baseline, candidates, and the last round."""

    def work(connection: sa.Connection) -> Trials:
        rows = tunes.trials_of(connection, tunes.find(connection, tune).id, after, limit)
        return Trials(data=list(map(trial_view, rows)), next=str(rows[-1].number) if len(rows) == limit else None)

    return store(request).read(work)


@router.post("/presets", status_code=201)
def make(body: PresetBody, request: Request) -> PresetView:
    """Make a preset by hand."""

    def work(connection: sa.Connection) -> PresetView:
        model = named(connection, body.model, "model")
        if not model.config:
            raise catalog.Invalid([{"loc": ["model"], "msg": "a preset sets at least one of the model's own fields"}])
        tuning.config_of(model)
        tunes.unclaimed(connection, body.name)
        return preset_view(presets.create(connection, body.name, model.name, model.config))

    return store(request).write(work)


@router.get("/presets")
def every(request: Request, limit: Limit = 100, after: str | None = None) -> Presets:
    """Presets, newest first."""
    rows = store(request).read(presets.page, limit, after)
    return Presets(data=list(map(preset_view, rows)), next=rows[-1].name if len(rows) == limit else None)


@router.get("/presets/{preset}")
def one(preset: Name, request: Request) -> PresetView:
    """One preset."""
    return preset_view(store(request).read(presets.find, preset))


@router.delete("/presets/{preset}")
def forget(preset: Name, request: Request) -> PresetView:
    """Forget a preset, which is shown for the last time. Jobs that named it keep its settings."""
    return preset_view(store(request).write(presets.delete, preset))


def tune_view(connection: sa.Connection, row: sa.Row[Any], spec: bool = True) -> TuneView:
    """A tune; one of a list has no spec."""
    asked = TuneSpec.model_validate_json(row.spec)
    rows = tunes.trials_of(connection, row.id)
    best, baseline = standing(asked, rows)
    return TuneView(
        id=row.name,
        state=row.state,
        error=row.error,
        preset=row.preset,
        created_at=row.created,
        finished_at=row.finished,
        trials=len(rows),
        trials_done=sum(trial.evaluations is not None for trial in rows),
        evaluations=sum(trial.evaluations or 0 for trial in rows),
        planned=tuning.planned(asked),
        baseline=None if baseline is None else trial_view(baseline),
        best=None if best is None else trial_view(best),
        spec=asked.model_dump(mode="json", exclude_none=True) if spec else None,
    )


def standing(spec: TuneSpec, rows: Sequence[sa.Row[Any]]) -> tuple[sa.Row[Any] | None, sa.Row[Any] | None]:
    """The best trial and the baseline, of the last round once it has ended."""
    measured = [row for row in rows if row.value is not None]
    whole = all(row.evaluations is not None for row in rows)
    final = whole and any(trial_of(row).final for row in rows)
    round_ = [row for row in measured if trial_of(row).final == final]
    return (
        max(round_, key=lambda row: tuning.sign(spec) * row.value, default=None),
        next((row for row in round_ if row.stage.endswith("baseline")), None),
    )


def trial_view(row: sa.Row[Any]) -> TrialView:
    """A trial."""
    kept = ("number", "stage", "generation", "job", "value", "reason", "evaluations")
    return TrialView(genes=tunes.genes(row), **{name: getattr(row, name) for name in kept})


def preset_view(row: sa.Row[Any]) -> PresetView:
    """A preset."""
    config = presets.config(row)
    return PresetView(name=row.name, model=row.model, config=config, tune=row.tune, created_at=row.created)
