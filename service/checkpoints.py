"""States of a shard's searches in the artifact store, so that a search goes on where its worker died."""

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from hashlib import sha256

from search.checkpoint import Unreadable, pack, unpack
from search.metering import Spent
from search.population import Population
from service.artifacts import Artifacts
from service.catalog import Prepared
from service.spec import Span
from service.store.shards import Claim

log = logging.getLogger("winnow.worker")
State = tuple[Population, Spent]


@dataclass
class Checkpoints:
    """One shard's. seconds: least time between two savings; the last states are saved when the shard is handed back.

    Any state of a search leads to the same end, so it does no harm when a worker that was given up for dead saves an
    older one. A state that other versions of the plug-ins wrote is not taken.
    """

    artifacts: Artifacts
    claim: Claim
    prepared: Prepared
    seconds: float = 10.0
    latest: dict[int, State] = field(default_factory=dict[int, State])
    due: float = field(default_factory=time.monotonic)
    stored: bool = False
    saving: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.due += self.seconds
        self.stored = self.claim.attempt > 1

    def name(self, span: Span) -> str:
        """Unlike that of any other search, or of this one under other versions."""
        plugins = [self.prepared.model.plugin, self.prepared.method.plugin]
        versions = [(plugin.name, plugin.facts.version) for plugin in plugins]
        versions += [(judge.label, judge.version) for judge in self.prepared.of("verifier")]
        told = f"1 {self.claim.job} {self.claim.shard} {span.model_dump_json()} {versions}"
        return sha256(told.encode()).hexdigest()

    def load(self, span: Span) -> State | None:
        """Where an earlier attempt at the span was, if it was saved."""
        data = self.artifacts.kept(self.name(span)) if self.claim.attempt > 1 else None
        if data is None:
            return None
        try:
            state: State = unpack(data)
        except Unreadable as error:
            log.warning("shard %d: %s; starting again", self.claim.shard, error)
            return None
        log.info("shard %d: item %d goes on from step %d", self.claim.shard, span.item, state[0].step)
        return state

    def see(self, index: int, state: Population, spent: Spent) -> None:
        """A state of the `index`-th span; saved, with those of the others, when it is time."""
        self.latest[index] = (state, replace(spent))
        if time.monotonic() >= self.due and (self.saving is None or self.saving.done()):
            self.due = time.monotonic() + self.seconds
            self.saving = asyncio.get_running_loop().run_in_executor(None, self.save)

    def save(self) -> None:
        """Store the last states. A full disk costs the checkpoint, not the search."""
        for index, state in list(self.latest.items()):
            self.stored = True
            try:
                self.artifacts.keep(self.name(self.claim.spans[index]), pack(state))
            except OSError as error:
                log.warning("shard %d: no checkpoint: %s", self.claim.shard, error)

    def drop(self) -> None:
        """The shard is done."""
        if self.stored:
            for span in self.claim.spans:
                self.artifacts.drop(self.name(span))
