"""Redis by URL: alone, behind Sentinels, or a Cluster; each with or without TLS, as the user that the URL names.

    redis://[USER:PASSWORD@]HOST:PORT/DB             rediss:// for TLS        unix:///PATH
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE[/DB]         rediss+sentinel:// for TLS
    redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT                       rediss+cluster:// for TLS

What stands behind `?` are redis-py's own options (ssl_ca_certs, ssl_certfile, ...), and for Sentinels that have users
of their own sentinel_username and sentinel_password.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel


@dataclass(frozen=True)
class Address:
    """What a URL of several hosts says. options: of every connection."""

    hosts: list[tuple[str, int]]
    path: list[str]
    options: dict[str, Any]
    sentinel: dict[str, Any]


def connected(url: str, **options: Any) -> Any:
    """A client for the URL; connects when it is first used. Raises ValueError for a URL that is none."""
    kind = url.partition("://")[0].partition("+")[2]
    if not kind:
        return redis.Redis.from_url(url, **options)
    address = parsed(url)
    options = address.options | options
    if kind == "cluster":
        if any(part != "0" for part in address.path):
            raise ValueError(f"a Cluster has one database: its URL ends with its hosts, not with /{address.path[0]}")
        return RedisCluster(startup_nodes=[ClusterNode(*host) for host in address.hosts], **options)
    if kind == "sentinel":
        if not 1 <= len(address.path) <= 2:
            raise ValueError("a URL of Sentinels ends with /SERVICE or /SERVICE/DB: the name that they watch")
        named = {"db": int(address.path[1])} if len(address.path) == 2 else {}
        tls = {name: value for name, value in options.items() if name.startswith("ssl")}
        # The next Sentinel is asked instead of the same one again.
        asking = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
        sentinels = Sentinel(address.hosts, sentinel_kwargs=asking | tls | address.sentinel, **options, **named)
        return sentinels.master_for(address.path[0])
    raise ValueError(
        f"unknown kind {kind!r} of Redis; valid: redis+sentinel://, redis+cluster://, the same with rediss"
    )


def durable(client: Any) -> bool | None:
    """Whether Redis writes its log before it forgets: without AOF a crash loses acknowledged writes.

    None where Redis does not let us ask. Of a Cluster: whether every primary does.
    """
    nodes: list[Any] = [client]
    if isinstance(client, RedisCluster):
        nodes = [client.get_redis_connection(node) for node in client.get_primaries()]
    try:
        return all(node.config_get("appendonly").get("appendonly") == "yes" for node in nodes)
    except redis.ResponseError:
        return None


def parsed(url: str) -> Address:
    """Hosts, path and options of a URL of several hosts. Raises ValueError."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    theirs = {name[9:]: query.pop(name) for name in list(query) if name.startswith("sentinel_")}
    names = [host for host in hosts.split(",") if host]
    if not names:
        raise ValueError("a URL of Sentinels or of a Cluster names hosts: HOST:PORT,HOST:PORT")
    base = parts.scheme.partition("+")[0]
    options: dict[str, Any] = {**parse_url(f"{base}://{user}{at}{names[0]}?{urlencode(query)}")}
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    del options["host"]
    options.pop("port", None)
    return Address([_host(name) for name in names], [part for part in parts.path.split("/") if part], options, theirs)


def _host(name: str) -> tuple[str, int]:
    found = urlsplit(f"//{name}")
    if found.hostname is None or found.port is None:
        raise ValueError(f"{name!r} is no HOST:PORT")
    return found.hostname, found.port
