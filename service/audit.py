"""Labels by people: which answers to label next, and keeping what was said of them."""

import time
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from pydantic import Field

from search.ports import Floats, Frozen, Ints, Many
from service.catalog import Invalid
from service.curve import Judgeless
from service.spec import JobSpec
from service.store import audits, jobs, results
from service.store.schema import candidates, scores
from service.views import AuditCounts, Audits, AuditView, NextAudits, ScoreView, ToLabel

By = Literal["answer", "verdict"]
MOST = 1000
"""Labels of one request, at most."""


class Label(Frozen):
    """What a person says of one answer. item: its number, as candidates have it."""

    item: int = Field(ge=0, lt=2**31)
    sample: int = Field(ge=0, lt=2**31)
    right: bool


class Labelled(Frozen):
    """Labels of one judge's answers. judge: its label; the first verifier when left out."""

    judge: str | None = Field(None, max_length=200)
    labels: Many[Label] = Field(min_length=1, max_length=MOST)


def judge_of(connection: sa.Connection, job: int, label: str | None) -> sa.Row[Any]:
    """A judge of a job by its label; the first verifier without one. Raises Judgeless listing the valid labels."""
    found = results.judges_of(connection, job)
    for judge in found:
        if label in (None, judge.label):
            return judge
    valid = ", ".join(judge.label for judge in found)
    raise Judgeless(f"unknown judge {str(label)[:100]!r}; valid: {valid}")


def ranks(item: Ints, sample: Ints, seed: int) -> Floats:
    """A number for each (item, sample) [n], as good as random: the lowest k of any set are a uniform sample of it.

    It depends on nothing but the three, so that the plan neither shifts with new answers nor repeats itself.
    Source: the finaliser of SplitMix64, Steele et al. 2014, 10.1145/2660193.2660195.
    """
    z = (item.astype(np.uint64) << np.uint64(32)) | sample.astype(np.uint64)
    step = np.uint64(0x9E3779B97F4A7C15 * (2 * seed + 1) % 2**64)  # in arrays, products wrap around
    for _ in range(2):
        z = z + step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return z.astype(np.float64)


def plan(found: audits.Verdicts, labelled: Ints, by: By, limit: int, seed: int) -> Ints:
    """Which rows of `found` to label next, at most `limit`, in random order; `labelled`: places to leave out.

    answer: a uniform sample of scored answers. verdict: as many accepted as rejected, each a uniform sample of its own,
    the rest from the other side where one runs short.
    """
    open_ = np.flatnonzero(~np.isnan(found.value) & ~np.isin(found.place, labelled))
    order = ranks(found.item[open_], found.sample[open_], seed)
    open_ = open_[np.argsort(order, kind="stable")]
    if by == "answer":
        return open_[:limit]
    yes, no = open_[found.verdict[open_] == 1], open_[found.verdict[open_] == 0]
    taken = min(len(yes), max(limit - limit // 2, limit - len(no)))
    both = np.concatenate([yes[:taken], no[: limit - taken]])
    return open_[np.isin(open_, both)]


def following(
    connection: sa.Connection, name: str, label: str | None, by: By, limit: int, seed: int, show: bool
) -> NextAudits:
    """Answers of a job to label next. Raises Missing, Judgeless, or Invalid where a sample of them would mislead."""
    job = jobs.find(connection, name)
    spec = JobSpec.model_validate_json(job.spec)
    judge = judge_of(connection, job.id, label)
    if spec.keep != "all":
        raise Invalid([_fault("the job kept only its best answers, whose labels would flatter; keep all of them")])
    found, labelled = audits.verdicts(connection, judge.id), audits.labels(connection, judge.id)
    if by == "verdict" and (found.verdict < 0).all() and len(found.item):
        raise Invalid([_fault(f"{judge.label} gives no passes; set its threshold, or ask with by=answer", "by")])
    rows = plan(found, labelled.place, by, limit, seed)
    places = [(int(found.item[row]), int(found.sample[row])) for row in rows]
    asked = (_to_label(connection, spec, job.id, judge, place, show) for place in places)
    data = [answer for answer in asked if answer is not None]
    scored = int((~np.isnan(found.value)).sum())
    return NextAudits(job=name, judge=judge.label, by=by, labelled=len(labelled.item), scored=scored, data=data)


def _to_label(
    connection: sa.Connection, spec: JobSpec, job: int, judge: sa.Row[Any], place: tuple[int, int], show: bool
) -> ToLabel | None:
    """The answer as a person sees it; None when it is not stored."""
    item, sample = place
    mine = sa.and_(candidates.c.job == job, candidates.c.item == item, candidates.c.sample == sample)
    rows = connection.execute(sa.select(candidates).where(mine)).all()
    wanted = sa.and_(scores.c.item == item, scores.c.sample == sample)
    found = next(iter(results.with_scores(connection, [judge] if show else [], rows, wanted)), None)
    if found is None:
        return None
    score = next(iter([*found["scores"], *found["grades"]]), None)
    return ToLabel(
        item=item,
        id=spec.items[item].id,
        prompt=spec.items[item].prompt,
        sample=sample,
        answer=found["answer"],
        artifact=found["artifact"],
        score=ScoreView(**score) if score else None,
    )


def keep(connection: sa.Connection, name: str, given: Labelled) -> Audits:
    """Write labels, all of them or none. Raises Missing, Judgeless, or Invalid naming the label that is at fault."""
    job = jobs.find(connection, name)
    judge = judge_of(connection, job.id, given.judge)
    said: dict[tuple[int, int], bool] = {}
    for i, label in enumerate(given.labels):
        if said.setdefault((label.item, label.sample), label.right) != label.right:
            text = f"item {label.item}, sample {label.sample} is labelled both right and wrong"
            raise Invalid([{"loc": ["labels", i], "msg": text}])
    places = [(label.item, label.sample) for label in given.labels]
    if (i := audits.unscored(connection, judge.id, places)) is not None:
        text = f"{judge.label} has no score for item {places[i][0]}, sample {places[i][1]}; label scored answers"
        raise Invalid([{"loc": ["labels", i], "msg": text}])
    audits.write(connection, judge.id, said, time.time())
    return listed(connection, name, judge.label, (-1, -1), MOST)


def listed(connection: sa.Connection, name: str, label: str | None, after: tuple[int, int], limit: int) -> Audits:
    """Labels of a judge behind (item, sample) `after`. Raises Missing or Judgeless."""
    job = jobs.find(connection, name)
    judge = judge_of(connection, job.id, label)
    found = audits.labels(connection, judge.id)
    columns = (found.item.tolist(), found.sample.tolist(), found.right.tolist(), found.at.tolist())
    rows = [row for row in zip(*columns, strict=True) if row[:2] > after][:limit]
    data = [AuditView(item=i, sample=s, right=r, at=at) for i, s, r, at in rows]
    counts = AuditCounts(**audits.counts(connection, judge.id)._asdict())
    last = f"{data[-1].item}:{data[-1].sample}" if len(data) == limit else None
    return Audits(job=name, judge=judge.label, counts=counts, data=data, next=last)


def _fault(text: str, *loc: str) -> dict[str, Any]:
    return {"loc": list(loc) or ["job"], "msg": text}
