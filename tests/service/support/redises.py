"""Redis servers of every shape on loopback, started by the tests."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from helping import end, free_port, until

from service.connecting import connected
from service.redis_server import redis_program

HOST = "127.0.0.1"


def ports(n: int) -> list[int]:
    """Free ones, each another."""
    found: set[int] = set()
    while len(found) < n:
        found.add(free_port())
    return list(found)


def pings(url: str) -> bool:
    """Whether a server answers there."""
    try:
        client = connected(url, socket_timeout=2)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except redis.RedisError:
        return False


@contextlib.contextmanager
def program(folder: Path, *words: str | int | Path) -> Iterator["subprocess.Popen[bytes]"]:
    """redis-server with these words, its files in the folder."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([redis_program(), *map(str, words)], stdout=log, stderr=log, cwd=folder)
    try:
        yield child
    finally:
        end(child)


@contextlib.contextmanager
def server(
    folder: Path, port: int, *words: str | int, url: str = "", config: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server at a port, when it answers at `url`."""
    with program(folder, *([config] if config else []), "--port", port, "--bind", HOST, "--save", "", *words) as child:
        until(lambda: pings(url or f"redis://{HOST}:{port}") or child.poll() is not None)
        assert child.poll() is None, (folder / "log").read_text()
        yield child


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """URL of a primary with a replica and a Sentinel that notices after half a second, and the primary.

    The URL names a Sentinel first that does not answer.
    """
    main, other, watch, nobody = ports(4)
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {watch}\nbind {HOST}\nsentinel monitor jobs {HOST} {main} 1\n"
        "sentinel down-after-milliseconds jobs 500\nsentinel failover-timeout jobs 2000\n"
    )
    log = ("--appendonly", "yes", "--repl-diskless-sync-delay", 0)
    with (
        contextlib.ExitStack() as undo,
        server(folder / "a", main, *log) as primary,
        server(folder / "b", other, *log, "--replicaof", f"{HOST} {main}"),
    ):
        with redis.Redis(port=main, decode_responses=True) as first:  # a Sentinel asks it every ten seconds only
            until(lambda: first.info("replication").get("slave0", {}).get("state") == "online")
        undo.enter_context(program(folder / "s", config, "--sentinel"))
        sentinel = redis.Redis(port=watch, decode_responses=True)

        def known() -> bool:
            try:
                return sentinel.sentinel_master("jobs")["num-slaves"] == 1
            except redis.RedisError:
                return False

        until(known)
        sentinel.close()
        yield f"redis+sentinel://{HOST}:{nobody},{HOST}:{watch}/jobs", primary


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """URL of a Cluster of three primaries."""
    three = ports(3)
    with contextlib.ExitStack() as undo:
        for port in three:
            words = ("--cluster-enabled", "yes", "--appendonly", "yes", "--cluster-node-timeout", "2000")
            undo.enter_context(server(folder / str(port), port, *words))
        nodes = [redis.Redis(port=port, decode_responses=True) for port in three]
        for number, node in enumerate(nodes):
            first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number:
                node.execute_command("CLUSTER MEET", HOST, three[0])

        def formed() -> bool:
            """Each knows the others and who has which slots."""
            infos = [node.execute_command("CLUSTER INFO") for node in nodes]
            owners = [len(node.execute_command("CLUSTER SLOTS")) for node in nodes]
            return owners == [3] * 3 and all(
                i["cluster_state"] == "ok" and i["cluster_known_nodes"] == "3" for i in infos
            )

        until(formed)
        for node in nodes:
            node.close()
        yield f"redis+cluster://{','.join(f'{HOST}:{port}' for port in three[:2])}"


@contextlib.contextmanager
def encrypted(folder: Path) -> Iterator[tuple[str, Path]]:
    """URL of a server that speaks TLS alone, and the certificate, made now, that proves it."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("NOT TESTED, Redis over TLS: there is no openssl to make a certificate")
    key, proof = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-keyout", key, "-out", proof, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    (port,) = ports(1)
    without = [redis_program(), "--port", "0", "--tls-port", str(port), "--dir", str(folder)]  # ends: no certificate
    said = subprocess.run(without, capture_output=True, text=True, timeout=60)
    if any(fault in said.stdout + said.stderr for fault in ("Bad directive", "TLS support")):
        pytest.skip("NOT TESTED, Redis over TLS: this server was built without it")
    url = f"rediss://{HOST}:{port}/0?ssl_ca_certs={proof}"
    files = ("--tls-cert-file", key.with_name("cert.pem"), "--tls-key-file", key, "--tls-ca-cert-file", proof)
    words = ("--appendonly", "yes", "--tls-port", port, "--tls-auth-clients", "no", *map(str, files))
    with server(folder / "tls", 0, *words, url=url):
        yield url, proof
