"""A finished job as one JSON value, and as a folder."""

import json
from pathlib import Path
from typing import Any

from service.client import Client


def result(client: Client, job: str) -> dict[str, Any]:
    """The job, its items in order with their best answers, and its curve."""
    value = client.job(job).model_dump(mode="json")
    value["items"] = [item.model_dump(mode="json") for item in client.items(job)]
    value["curve"] = client.curve(job).model_dump(mode="json")
    return value


def saved(client: Client, value: dict[str, Any], out: Path) -> list[Path]:
    """Write result.json and every best answer's bytes, named by item and rank. Returns the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(value, indent=1))
    written: list[Path] = []
    for item in value["items"]:
        for rank, answer in enumerate(item["best"]):
            if sha256 := answer["artifact"]:
                data = client.artifact(sha256)
                suffix = "png" if data.startswith(b"\x89PNG") else "json"
                path = out / f"{item['number']:05}-{rank}.{suffix}"
                path.write_bytes(data)
                written.append(path)
    return written
