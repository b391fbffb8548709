"""Votes weighed by a verifier's rates take them from its card, once, when the job is submitted."""

import sqlalchemy as sa

from service.cards import Asked, digest, known
from service.catalog import Invalid, Prepared
from service.curves.grouped import Share
from service.spec import JobSpec


def unrated(prepared: Prepared) -> bool:
    """Whether a job votes by rates that it does not give."""
    return prepared.plan.rule == "bayes" and prepared.plan.ballot is None


def rated(connection: sa.Connection, prepared: Prepared) -> JobSpec:
    """The spec with the rates by which it votes, so that later labels do not change what its votes mean.

    Rates are those of the last verifier, as it is configured. Raises Invalid where its card knows none.
    """
    if not unrated(prepared):
        return prepared.spec
    judge = prepared.of("verifier")[-1]
    found = known(connection, Asked(judge.choice.plugin.name, judge.version, digest(judge.stored)))
    if found.tpr is None or found.fpr is None:
        why = f"the card of {judge.label!r}, as it is configured here, has no rates"
        raise _refused(f"{why}; give `tpr` and `fpr`, or label answers of a job with it, or run one with a grader")
    tpr, fpr = _away(found.tpr), _away(found.fpr)
    if tpr <= fpr:
        why = f"{judge.label!r} passes right answers no more often ({tpr:.3g}) than wrong ones ({fpr:.3g})"
        raise _refused(f"{why}: its verdicts say nothing; valid here: majority")
    search = prepared.spec.search.model_copy(update={"tpr": tpr, "fpr": fpr})
    return prepared.spec.model_copy(update={"search": search})


def _away(share: Share) -> float:
    """A rate away from 0 and 1, where one verdict would decide for ever: half an answer on either side is added."""
    return (share.share * share.effective + 0.5) / (share.effective + 1)


def _refused(message: str) -> Invalid:
    return Invalid([{"loc": ["search", "tpr"], "msg": message}])
