"""Networks of transformers, from a directory or a hub: safetensors only, every weight there, code never run."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from search.allowing import allowed
from search.ports import Config

MODELS = "WINNOW_VERIFIER_MODELS"
Dtype = Literal["float32", "bfloat16", "float16"]
NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


Named = Annotated[str, Field(min_length=1, max_length=1000), allowed(MODELS)]
"""A directory, or a name on the hub, that jobs may have loaded."""


class Weights(Config):
    """A network that is loaded once in a process."""

    path: Named = Field(description=f"Directory of a model, or its name on the hub: one of those in {MODELS}.")
    revision: str | None = Field(None, max_length=100, description="Branch, tag or commit on the hub.")
    dtype: Dtype = Field("float32", description="Precision of the network.")
    device: str | None = Field(
        None, pattern=r"^(cpu|mps|cuda(:[0-9]{1,2})?)$", description="Left out: the first GPU if there is one."
    )
    batch: int = Field(16, ge=1, le=1024, description="Answers in one call of the network.")


class Unloadable(OSError):
    """A model that cannot be had; one sentence says which, why, and what would be right."""

    def __init__(self, path: str, error: Exception | str) -> None:
        where = Path(path)
        if not where.exists() and NAME.fullmatch(path) is None:
            super().__init__(f"model {path!r} is no directory here, and no name of a hub, owner/name")
            return
        if not where.exists():
            what = "is no directory here, and the hub does not give it"
        elif where.is_dir() and _pickled(where):
            what = "cannot be read: it holds pickles, which are never loaded; convert it to safetensors"
        else:
            what = "cannot be read"
        super().__init__(f"model {path!r} {what}: {' '.join(str(error).split())[:300]}")


def _pickled(folder: Path) -> bool:
    names = [file.name for file in folder.iterdir()]
    return any(name.endswith(PICKLES) for name in names) and not any(name.endswith(".safetensors") for name in names)


@cache
def network(
    kind: str, path: str, revision: str | None = None, dtype: str = "float32", device: str | None = None
) -> Any:
    """The network, by the name of transformers' class, in evaluation mode on its device.

    Raises Unloadable, also for a checkpoint that lacks some of the class's weights: they would be random numbers.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    place = placed(device)
    factory: Any = getattr(transformers, kind)
    try:
        net, told = factory.from_pretrained(
            path, revision=revision or "main", dtype=getattr(torch, dtype), use_safetensors=True,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Unloadable(path, error) from error
    odd = (key if isinstance(key, str) else key[0] for key in told["mismatched_keys"])
    if lacking := sorted({*told["missing_keys"], *odd}):
        what = f"it lacks {len(lacking)} weights of a {type(net).__name__}, or has them in another shape"
        raise Unloadable(path, f"{what}, such as {lacking[0]}")
    return net.eval().requires_grad_(False).to(place)


def placed(device: str | None) -> str:
    """The device, or the first GPU if there is one. Raises ValueError for one that is not here."""
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    here = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
    here += ["cuda"] if torch.cuda.is_available() else []
    here += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in here:
        raise ValueError(f"device {device!r} is not here; valid: {', '.join(here)}")
    return device


@cache
def reader(kind: str, path: str, revision: str | None = None) -> Any:
    """What turns texts or images into a network's numbers: a tokenizer, an image processor. Raises Unloadable."""
    import transformers

    try:
        return getattr(transformers, kind).from_pretrained(path, revision=revision or "main")
    except (OSError, ValueError) as error:
        raise Unloadable(path, error) from error


@cache
def tensors(path: str, file: str, revision: str | None = None) -> dict[str, Any]:
    """The tensors of a safetensors file: `path` itself, or `file` in a directory or on the hub. Raises Unloadable."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers.utils.hub import cached_file

    if path.endswith(PICKLES):
        raise Unloadable(path, "pickles are never loaded; convert it to safetensors")
    try:
        where: Any = path if Path(path).is_file() else cached_file(path, file, revision=revision or "main")
        return load_file(where)
    except (OSError, ValueError, SafetensorError) as error:
        raise Unloadable(path, error) from error
