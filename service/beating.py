"""`python -m service.beating`: whether the worker of this host is well. For health checks of containers."""

import socket
import sys

import redis

from service.queue import Broker
from service.settings import Settings


def well(url: str, host: str) -> bool:
    """Whether a worker of this host has said how it fares lately; also where Redis, and not the worker, is away."""
    try:
        return any(beat.worker.startswith(f"{host}-") for beat in Broker(url, timeout=2).beats())
    except redis.RedisError:
        return True


if __name__ == "__main__":
    sys.exit(not well(Settings().redis_url or "", socket.gethostname()))
