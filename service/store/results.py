"""Read models: an item's best answers, candidates, and the pools that curves are drawn from."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from search.diversity import Variety, diverse
from search.fronts import pareto
from search.ports import Floats, Ints
from search.ranking import standing
from service.catalog import Rule
from service.spec import JobSpec
from service.store.features import Places, along, places
from service.store.schema import candidates, events, items, judges, populations, scores, tallies
from service.store.votes import voters

Row = sa.Row[Any]


def judges_of(connection: sa.Connection, job: int) -> Sequence[Row]:
    """Verifiers and graders of a job, in the spec's order."""
    return connection.execute(sa.select(judges).where(judges.c.job == job).order_by(judges.c.place)).all()


def items_page(connection: sa.Connection, job: int, after: int, limit: int) -> Sequence[Row]:
    """Items with numbers above `after`."""
    query = sa.select(items).where(items.c.job == job, items.c.number > after).order_by(items.c.number).limit(limit)
    return connection.execute(query).all()


def events_after(connection: sa.Connection, job: int, after: int, limit: int = 1000) -> Sequence[Row]:
    """Events with ids above `after`."""
    query = sa.select(events).where(events.c.job == job, events.c.id > after).order_by(events.c.id).limit(limit)
    return connection.execute(query).all()


def candidates_page(
    connection: sa.Connection, job: int, after: tuple[int, int], limit: int, item: int | None = None
) -> list[dict[str, Any]]:
    """Candidates behind `after` = (item number, sample), with all their scores."""
    place = sa.tuple_(candidates.c.item, candidates.c.sample)
    query = sa.select(candidates).where(candidates.c.job == job, place > sa.tuple_(*map(sa.literal, after)))
    if item is not None:
        query = query.where(candidates.c.item == item)
    rows = connection.execute(query.order_by(candidates.c.item, candidates.c.sample).limit(limit)).all()
    if not rows:
        return []  # no ends to read scores between
    place = sa.tuple_(scores.c.item, scores.c.sample)
    low, high = (sa.tuple_(sa.literal(row.item), sa.literal(row.sample)) for row in (rows[0], rows[-1]))
    return with_scores(connection, judges_of(connection, job), rows, place.between(low, high))


def with_scores(
    connection: sa.Connection, judged: Sequence[Row], rows: Sequence[Row], wanted: sa.ColumnElement[bool]
) -> list[dict[str, Any]]:
    """Candidate rows as results show them. judged: the job's judges. wanted: which scores to read for these rows."""
    if not rows:
        return []
    out = {(row.item, row.sample): _candidate(row) for row in rows}
    for judge in judged:
        for score in connection.execute(sa.select(scores).where(scores.c.judge == judge.id, wanted)):
            if found := out.get((score.item, score.sample)):
                found["scores" if judge.role == "verifier" else "grades"].append(_score(judge, score))
    return list(out.values())


def _candidate(row: Row) -> dict[str, Any]:
    return {
        "item": row.item,
        "sample": row.sample,
        "seed": row.key,
        "answer": None if row.answer is None else json.loads(row.answer),
        "artifact": row.artifact,
        "evaluations": row.evaluations,
        "log_weight": row.log_weight,
        "tokens": row.tokens,
        "scores": [],
        "grades": [],
    }


def _score(judge: Row, row: Row) -> dict[str, Any]:
    return {
        "name": judge.label,
        "value": row.value,
        "passed": row.passed,
        "canonical": row.canonical,
        "reason": row.reason,
        "version": judge.version,
        "ms": row.ms,
    }


def best(
    connection: sa.Connection,
    spec: JobSpec,
    judged: Sequence[Row],
    job: int,
    item: int,
    rule: Rule,
) -> list[dict[str, Any]]:
    """The answers that the job's rule selects for an item, best first, at most `top_k`.

    verifier: by value, or by mean rank when there are several. A vote: the first answers of the canonical form with
    most votes. first_pass: the first that every verifier passed; none when none did. diverse: by value and by
    difference from those before, as its variety says. pareto: the best mean rank, then front by front.
    """
    verifiers = [judge.id for judge in judged if judge.role == "verifier"]
    if rule.ballot is not None:
        samples = voters(connection, verifiers, rule.ballot, item, spec.top_k)
    elif rule.variety is not None:
        samples = _diverse(connection, verifiers, places(connection, job, item), item, rule.variety, spec.top_k)
    elif rule.name == "pareto":
        samples = _pareto(connection, verifiers, item, spec.top_k)
    else:
        samples = _selected(connection, verifiers, item, rule.name, spec.top_k)
    wanted = sa.and_(scores.c.item == item, scores.c.sample.in_(samples))
    mine = sa.and_(candidates.c.job == job, candidates.c.item == item, candidates.c.sample.in_(samples))
    found = with_scores(connection, judged, connection.execute(sa.select(candidates).where(mine)).all(), wanted)
    return sorted(found, key=lambda candidate: samples.index(candidate["sample"]))


def _selected(connection: sa.Connection, judge_ids: list[int], item: int, select: str, limit: int) -> list[int]:
    mine = sa.and_(scores.c.judge == judge_ids[0], scores.c.item == item)
    if select == "first_pass":
        passed = sa.and_(scores.c.judge.in_(judge_ids), scores.c.item == item, scores.c.passed.is_(True))
        query = sa.select(scores.c.sample).where(passed).group_by(scores.c.sample)
        query = query.having(sa.func.count() == len(judge_ids)).order_by(scores.c.sample)
    elif len(judge_ids) == 1:
        scored = sa.and_(mine, scores.c.value.is_not(None))
        query = sa.select(scores.c.sample).where(scored).order_by(scores.c.value.desc(), scores.c.sample)
    else:
        return _by_mean_rank(connection, judge_ids, item)[:limit]
    return list(connection.execute(query.limit(limit)).scalars())


def _diverse(
    connection: sa.Connection, judge_ids: list[int], placed: Places, item: int, variety: Variety, limit: int
) -> list[int]:
    samples, standing = _standing(connection, judge_ids, item)
    chosen = diverse(standing, along(placed, samples), limit, variety.weight)
    return samples[chosen].tolist()


def _pareto(connection: sa.Connection, judge_ids: list[int], item: int, limit: int) -> list[int]:
    samples, values = _values(connection, judge_ids, item)
    return samples[pareto(values, standing(values), limit)].tolist()


def _by_mean_rank(connection: sa.Connection, judge_ids: list[int], item: int) -> list[int]:
    samples, standing = _standing(connection, judge_ids, item)
    return samples[np.argsort(-standing, kind="stable")].tolist()


def _standing(connection: sa.Connection, judge_ids: list[int], item: int) -> tuple[Ints, Floats]:
    """Samples that every verifier scored [n], ascending, and what ranks them [n], higher is better."""
    samples, values = _values(connection, judge_ids, item)
    return samples, standing(values)


def _values(connection: sa.Connection, judge_ids: list[int], item: int) -> tuple[Ints, Floats]:
    """Samples that every verifier scored [n], ascending, and their values [d, n]."""
    columns = (scores.c.judge, scores.c.sample, scores.c.value)
    query = sa.select(*columns).where(scores.c.judge.in_(judge_ids), scores.c.item == item, scores.c.value.is_not(None))
    by_judge: dict[int, dict[int, float]] = {judge: {} for judge in judge_ids}
    for judge, sample, value in connection.execute(query):
        by_judge[judge][sample] = value
    samples = sorted(set.intersection(*(set(values) for values in by_judge.values())))
    values = np.array([[by_judge[judge][sample] for sample in samples] for judge in judge_ids], np.float64)
    return np.array(samples, np.int64), values


def weighted(connection: sa.Connection, job: int, item: int) -> tuple[Sequence[Any], Sequence[Row]]:
    """An item's answers in order (answer, artifact, log_weight), and its populations."""
    mine = sa.and_(candidates.c.job == job, candidates.c.item == item)
    columns = (candidates.c.answer, candidates.c.artifact, candidates.c.log_weight)
    answers = connection.execute(sa.select(*columns).where(mine).order_by(candidates.c.sample)).all()
    return answers, populations_of(connection, job, item)


def populations_of(connection: sa.Connection, job: int, item: int) -> Sequence[Row]:
    """An item's populations, by their first sample."""
    mine = sa.and_(populations.c.job == job, populations.c.item == item)
    return connection.execute(sa.select(populations).where(mine).order_by(populations.c.first)).all()


def counts(connection: sa.Connection, judge: int) -> Sequence[Row]:
    """Running counts of one judge, by item."""
    return connection.execute(sa.select(tallies).where(tallies.c.judge == judge).order_by(tallies.c.item)).all()
