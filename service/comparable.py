"""Which jobs may be compared: the same items, judged by the same judge."""

import json
from collections.abc import Mapping

from service.curve import Judgeless
from service.spec import JobSpec, JudgeRef


class Different(ValueError):
    """Jobs that cannot be compared, and the first thing in which they differ."""


def comparable(specs: Mapping[str, JobSpec], judge: str | None) -> str:
    """The judge's label (the first grader's, or else verifier's, when left out) of jobs that may be compared, by name.

    Raises Judgeless where a job does not have it, or Different naming the first difference.
    """
    (name, first), *others = specs.items()
    ref = (first.graders or first.verifiers)[0]
    label = judge or ref.label or ref.name
    ours = _labelled(name, first, label)
    for other, spec in others:
        _same_items((name, first), (other, spec))
        theirs = _labelled(other, spec, label)
        if (ours.name, ours.config, ours.threshold) != (theirs.name, theirs.config, theirs.threshold):
            raise Different(f"judge {label!r} is configured otherwise in job {name} than in job {other}")
    return label


def _same_items(one: tuple[str, JobSpec], other: tuple[str, JobSpec]) -> None:
    """Raise Different unless both ran the same items, in any order."""
    (here, first), (there, second) = one, other
    mine, theirs = ({item.id: item for item in spec.items} for spec in (first, second))
    for item in first.items:
        twin = theirs.get(item.id)
        if twin is None:
            raise Different(f"item {item.id!r} of job {here} is not in job {there}")
        if twin.prompt != item.prompt:
            raise Different(f"item {item.id!r} has another prompt in job {here} than in job {there}")
        if (twin.image, twin.mask) != (item.image, item.mask):
            raise Different(f"item {item.id!r} has another picture in job {here} than in job {there}")
        if json.dumps(twin.target, sort_keys=True) != json.dumps(item.target, sort_keys=True):  # 1 is not true here
            raise Different(f"item {item.id!r} has another target in job {here} than in job {there}")
    if more := next((item.id for item in second.items if item.id not in mine), None):
        raise Different(f"item {more!r} of job {there} is not in job {here}")


def _labelled(name: str, spec: JobSpec, label: str) -> JudgeRef:
    found = {ref.label or ref.name: ref for _, ref in spec.judges}
    if label not in found:
        raise Judgeless(f"no judge {label[:100]!r} in job {name}; valid there: {', '.join(found)}")
    return found[label]
