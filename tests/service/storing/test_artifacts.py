"""Bytes named by their hash: written once, whole or not at all."""

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helping import done, items, job, refused
from PIL import Image

from service.artifacts import SMALL, SMALL_BYTES, Artifacts, encode
from service.client import Client


def test_small_json_stays_in_the_database() -> None:
    for value in (None, True, 1.5, "ü", [1, {"a": None}]):
        assert encode(value).data is None
        assert encode(value).sha256 is None
    assert encode("ü").text == '"ü"'
    assert encode("x" * (SMALL - 2)).data is None
    assert encode("x" * (SMALL - 1)).text is None


def test_small_bytes_come_with_their_row() -> None:
    assert not encode("ü").small  # in the row itself
    assert encode("x" * SMALL).small
    assert encode("x" * (SMALL_BYTES - 2)).small
    assert not encode("x" * (SMALL_BYTES - 1)).small
    assert encode(np.zeros((28, 28), np.uint8)).small


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", np.zeros((2, 2)), float("nan"), [float("inf")]])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(value)


@pytest.mark.parametrize("value", ["\ud800", ["a", {"\udfff": 1}], "x" * SMALL + "\ud800"])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode(value)


def test_nul_is_escaped() -> None:
    assert encode("a\0b").text == '"a\\u0000b"'


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    encoded = encode(image)
    artifacts = Artifacts(str(tmp_path))
    artifacts.put(encoded)
    assert encoded.sha256
    found = artifacts.get(encoded.sha256)
    assert found
    data, media = found
    assert media == "image/png"
    assert hashlib.sha256(data).hexdigest() == encoded.sha256
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


def test_put_twice_and_get_others(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    big = encode("x" * 5000)
    artifacts.put(big)
    (path,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    before = path.stat()
    artifacts.put(big)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert artifacts.get(big.sha256 or "") == (b'"' + b"x" * 5000 + b'"', "application/json")
    for name in ("", "0" * 64, "../" * 20, "A" * 64, "0" * 63, "0" * 64 + "\n"):
        assert artifacts.get(name) is None


def test_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Artifacts(str(tmp_path))
    big = encode("x" * 5000)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            artifacts.put(big)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    artifacts.put(big)
    assert artifacts.get(big.sha256 or "")


def test_another_file_system() -> None:
    artifacts = Artifacts("memory://winnow")
    big = encode("y" * 5000)
    artifacts.put(big)
    assert artifacts.get(big.sha256 or "") == (b'"' + b"y" * 5000 + b'"', "application/json")


def test_over_http(client: Client) -> None:
    spec = job(model="outside/by_prompt", items=items("image", "huge"), search={"n": 3})
    view = done(client, spec)
    rows = list(client.candidates(view.id))
    assert len(rows) == 6
    for row, media in zip(rows, ["image/png"] * 3 + ["application/json"] * 3, strict=True):
        assert row.answer is None
        response = client.http.get(f"/v1/artifacts/{row.artifact}").raise_for_status()
        assert response.headers["content-type"] == media
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert hashlib.sha256(response.content).hexdigest() == row.artifact
        assert client.artifact(row.artifact or "") == response.content
        again = client.http.get(f"/v1/artifacts/{row.artifact}", headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == response.headers["etag"]
    assert len({row.artifact for row in rows[3:]}) == 3
    refused(client.http.get("/v1/artifacts/" + "0" * 64), 404)
    refused(client.http.get("/v1/artifacts/..%2f..%2fwinnow.db"), 404)
