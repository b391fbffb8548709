"""A preset's settings take its place when a job is submitted, so that the stored job holds all that it needs."""

from typing import Any

import sqlalchemy as sa

from service.catalog import Invalid
from service.checks import listed
from service.spec import JobSpec, ModelRef
from service.store import presets
from service.store.access import Missing

LABELS = 16
"""Entries of a job's metadata, at most."""


def named(connection: sa.Connection, model: ModelRef, *loc: str) -> ModelRef:
    """The model with the settings of the preset that it names, beside its own. Raises Invalid."""
    if model.preset is None:
        return model
    try:
        row = presets.find(connection, model.preset)
    except Missing:
        row = None
    if row is None or row.model != model.name:
        valid = presets.names(connection, model.name)
        of = f"of {row.model!r}" if row is not None else "unknown"
        message = f"preset {model.preset!r} is {of}; valid for {model.name!r}: {listed(valid)}"
        raise Invalid([{"loc": [*loc, "preset"], "msg": message, "valid": valid}])
    config: dict[str, Any] = presets.config(row)
    if twice := sorted(config.keys() & model.config.keys()):
        message = f"preset {model.preset!r} sets {listed(twice)} already; leave them out"
        raise Invalid([{"loc": [*loc, twice[0]], "msg": message}])
    return ModelRef.model_validate({"name": model.name, **config, **model.config})


def resolved(connection: sa.Connection, spec: JobSpec) -> JobSpec:
    """The job with settings in place of its preset, whose name is kept in the metadata. Raises Invalid."""
    if spec.model.preset is None:
        return spec
    model, labels = named(connection, spec.model, "model"), dict(spec.metadata)
    if len(labels) < LABELS:
        labels.setdefault("preset", spec.model.preset)
    return spec.model_copy(update={"model": model, "metadata": labels})
