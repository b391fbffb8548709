"""The HTTP API. Dependencies come in through `create_app`; nothing here imports a network."""

import logging
import socket
import threading
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.api import (
    cards,
    catalog,
    compare,
    dead,
    declared,
    depictions,
    errors,
    extending,
    fleet,
    health,
    jobs,
    keys,
    page,
    rescoring,
    tunes,
    webhooks,
)
from service.api.access import Access
from service.api.doors import files
from service.api.doors import routes as doors
from service.api.doors.aside import Aside
from service.api.following import Following
from service.api.guard import BodyLimit
from service.api.metrics import Fleet
from service.api.requested import Requested
from service.api.waiting import Endings
from service.artifacts import Artifacts
from service.feeder import Feeder
from service.queue import Broker
from service.settings import Settings
from service.store import Store
from service.tuner import Tuner
from service.webhooks import Deliverer
from verifiers.programs import tiers

log = logging.getLogger("winnow.api")


def create_app(store: Store, broker: Broker, artifacts: Artifacts, settings: Settings) -> FastAPI:
    """The app over a migrated database and a reachable queue. Its feeder runs while the app does."""
    feeder = Feeder(store, broker, f"{socket.gethostname()}-{uuid.uuid4().hex}", settings.window)

    beside = [feeder, Aside(store, artifacts, feeder, settings), Tuner(store, feeder), Deliverer(store, settings)]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        threads = [one.start() for one in beside]
        threading.Thread(target=tiers.standing, name="tiers", daemon=True).start()  # looked at once, before it is asked
        yield
        for one in beside:
            one.stop()
        for thread in threads:
            thread.join(5)

    app = FastAPI(
        title="Winnow",
        summary="Sample many, verify, keep the best, and know what it cost.",
        version=version("winnow-service"),
        lifespan=lifespan,
    )
    app.state.store, app.state.broker, app.state.artifacts, app.state.feeder = store, broker, artifacts, feeder
    app.state.data_dir = settings.data_dir
    app.state.endings, app.state.following = Endings(store), Following(store)
    app.state.registry = CollectorRegistry(auto_describe=False)
    app.state.watch = fleet.Watch(broker)
    app.state.registry.register(Fleet(store, app.state.watch))
    app.add_middleware(Access, store=store, broker=broker)
    app.add_middleware(BodyLimit, limit=settings.body_limit, files=settings.file_limit)
    app.add_middleware(Requested)
    errors.install(app)
    doors.install(app)
    app.include_router(jobs.router)
    app.include_router(extending.router)
    app.include_router(rescoring.router)
    app.include_router(catalog.router)
    app.include_router(health.router)
    app.include_router(depictions.router)
    app.include_router(compare.router)
    app.include_router(cards.router)
    app.include_router(doors.router)
    app.include_router(files.router)
    app.include_router(keys.router)
    app.include_router(fleet.router)
    app.include_router(dead.router)
    app.include_router(webhooks.router)
    app.include_router(tunes.router)
    page.install(app)
    declared.declare(app)
    return app
