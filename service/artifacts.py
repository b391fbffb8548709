"""Content-addressed bytes through fsspec: named by their SHA-256, written once, never changed."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

import numpy as np

SMALL = 4096
"""JSON answers of at most so many characters stay in the database, in their rows."""
SMALL_BYTES = 16_384
"""Other answers of at most so many bytes stay in the database, in a table of their own; larger ones are artifacts."""

BLOCK = 2**20
MEDIA = {"png": "image/png", "json": "application/json", "jsonl": "application/jsonl"}
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Encoded:
    """An answer as it is stored: JSON in the database, or bytes with their kind."""

    text: str | None
    data: bytes | None = None
    suffix: str = "json"

    @cached_property
    def sha256(self) -> str | None:
        """Name of the bytes."""
        return None if self.data is None else hashlib.sha256(self.data).hexdigest()

    @property
    def small(self) -> bool:
        """Whether its bytes are written with its row: a file of its own would cost more than the picture."""
        return self.data is not None and len(self.data) <= SMALL_BYTES


def encode(value: Any) -> Encoded:
    """A JSON value, or an image (uint8 [h, w] or [h, w, 3]) as PNG.

    Raises TypeError for anything else, and ValueError for text that is no UTF-8. NUL is kept: JSON escapes it.
    """
    if isinstance(value, np.ndarray):
        from PIL import Image

        if value.dtype != np.uint8:
            raise TypeError(f"an image is uint8, not {value.dtype}")
        out = io.BytesIO()
        Image.fromarray(value).save(out, "PNG")
        return Encoded(None, out.getvalue(), "png")
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    data = text.encode()  # refuses lone surrogates, which would fail the whole commit
    return Encoded(text) if len(text) <= SMALL else Encoded(None, data, "json")


class Bytes(NamedTuple):
    """Bytes that were kept, and their media type."""

    data: bytes
    media: str


class Artifacts:
    """One folder of blobs, local or remote."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        self._fs: Any
        self._root: str
        self._fs, self._root = fsspec.url_to_fs(url)
        self._local = "file" in self._fs.protocol

    def _path(self, sha256: str, suffix: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}.{suffix}"

    def put(self, encoded: Encoded) -> None:
        """Store the bytes unless they are there. All or nothing: a full disk leaves no half file. Raises OSError."""
        sha256 = encoded.sha256
        if sha256 is None or encoded.data is None:
            return
        path = self._path(sha256, encoded.suffix)
        if self._local:
            if not os.path.exists(path):
                _write(path, encoded.data)
        elif not self._fs.exists(path):
            self._fs.pipe_file(path, encoded.data)  # object stores show an object only when it is whole

    def get(self, sha256: str) -> Bytes | None:
        """The bytes of that name; None when there are none, or when it is no name."""
        if not _NAME.fullmatch(sha256):
            return None
        for suffix, media in MEDIA.items():
            path = self._path(sha256, suffix)
            if self._fs.exists(path):
                return Bytes(self._fs.cat_file(path), media)
        return None

    def put_file(self, file: BinaryIO, suffix: str) -> tuple[str, int]:
        """Store a file of any size, from where it stands; its SHA-256 and its bytes. All or nothing. Raises OSError."""
        start, digest, size = file.tell(), hashlib.sha256(), 0
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
        file.seek(start)
        path = self._path(digest.hexdigest(), suffix)
        if not self._fs.exists(path):
            if self._local:
                _write(path, file)
            else:
                with self._fs.open(path, "wb") as out:
                    shutil.copyfileobj(file, out, BLOCK)
        return digest.hexdigest(), size

    def opened(self, sha256: str, suffix: str) -> BinaryIO:
        """A stored file. Raises FileNotFoundError."""
        return self._fs.open(self._path(sha256, suffix), "rb")

    def remove(self, sha256: str, suffix: str) -> None:
        """Forget a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(sha256, suffix))

    def forget(self, sha256: str) -> None:
        """Remove an answer's bytes, if they are there. Raises OSError."""
        for suffix in ("png", "json"):
            self.remove(sha256, suffix)

    def keep(self, name: str, data: bytes) -> None:
        """Store a checkpoint, in place of an older one of that name; all or nothing. Raises OSError."""
        path = f"{self._root}/checkpoints/{name}"
        _write(path, data) if self._local else self._fs.pipe_file(path, data)

    def kept(self, name: str) -> bytes | None:
        """The checkpoint of that name."""
        try:
            return self._fs.cat_file(f"{self._root}/checkpoints/{name}")
        except FileNotFoundError:
            return None

    def drop(self, name: str) -> None:
        """Forget a checkpoint, and what a killed worker left of one."""
        for path in self._fs.glob(f"{self._root}/checkpoints/{name}*"):
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(path)

    def sweep(self, older: float) -> None:
        """Forget checkpoints that have lain for `older` seconds: those of shards that failed or were cancelled."""
        for path in self._fs.glob(f"{self._root}/checkpoints/*"):
            with contextlib.suppress(FileNotFoundError, NotImplementedError):
                if self._fs.modified(path).timestamp() < time.time() - older:
                    self._fs.rm_file(path)


def _write(path: str, data: bytes | BinaryIO) -> None:
    """All of a file or none of it, on the disk before it has its name."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with open(part, "xb") as file:
            shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file, BLOCK)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise
