"""Pipelines of diffusers: found in a folder or the hub's cache, and one loaded copy of each in a process.

Only weights as safetensors are read, and no code of a model's repository is run.
"""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from generators.pipelines.folder import PICKLED, Folder
from generators.pipelines.prompts import Prompts
from search.batching import OutOfMemory, out_of_memory

ADVICE = "pip install 'winnow-service[images]'"
loading = Lock()


class Source(NamedTuple):
    """Everything that decides what is loaded; equal sources share one copy.

    loras: (path, scale) of each. offload: `none`, or what of the pipeline waits in the host's memory. attention: name
    of an attention backend of diffusers, empty for its own choice. sketch: path of a tiny autoencoder, or empty.
    """

    path: str
    revision: str | None
    variant: str | None
    dtype: str
    device: str
    loras: tuple[tuple[str, float], ...] = ()
    offload: str = "none"
    attention: str = ""
    compiled: bool = False
    sketch: str = ""


class Loaded(NamedTuple):
    """A pipeline in evaluation mode, the embeddings of its prompts, and its tiny autoencoder or None."""

    pipe: Any
    prompts: Prompts
    sketch: Any


def found(path: str, revision: str | None = None, variant: str | None = None) -> Folder:
    """The folder of a pipeline: `path` itself, or that of a hub's id in its cache, fetched when the hub is reachable.

    Raises ImportError without diffusers, ValueError for what is not there or cannot be used.
    """
    if looks_local(path):
        return Folder(Path(path), path).checked()
    try:
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    except ImportError as error:
        raise ImportError(f"model 'diffusers' needs diffusers and transformers: {ADVICE}") from error
    try:
        folder = DiffusionPipeline.download(path, revision=revision, variant=variant, use_safetensors=True)
    except Exception as error:  # of many kinds: httpx's, the hub's, diffusers'
        raise ValueError(f"{path!r} is no folder, and is not to be had as a hub's id: {sentence(error)}") from error
    return Folder(Path(folder), path).checked()


def looks_local(path: str) -> bool:
    """Whether a path is of this machine; a hub's id is `owner/name`."""
    file = Path(path).suffix in (*PICKLED, ".safetensors")
    return Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") != 1 or file


@cache
def present(device: str) -> str:
    """The device. Raises ValueError for one that this process does not have."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {sentence(error)}") from error
    return device


def sentence(error: BaseException) -> str:
    """An error's first line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def loaded(source: Source) -> Loaded:
    """The pipeline, once a process. Raises ImportError, ValueError for what cannot be used, OutOfMemory."""
    with loading:  # lanes ask side by side
        return _loaded(source)


@cache
def _loaded(source: Source) -> Loaded:
    try:
        import diffusers
        from diffusers.utils import logging as told
        from transformers.utils import logging as also_told
    except ImportError as error:
        raise ImportError(f"model 'diffusers' needs diffusers and transformers: {ADVICE}") from error
    told.set_verbosity_error()
    told.disable_progress_bar()
    also_told.set_verbosity_error()
    also_told.disable_progress_bar()
    folder = found(source.path, source.revision, source.variant)
    steps: tuple[Callable[[Any, Source], None], ...] = (_adapted, _placed, _attending)
    try:
        pipe = _read(diffusers, folder, source)
        for step in steps:
            step(pipe, source)
        return Loaded(pipe, Prompts(pipe, folder.family), _tiny(source))
    except Exception as error:
        if out_of_memory(error):
            raise OutOfMemory(f"{source.path!r} does not fit {source.device}: {sentence(error)}") from error
        raise


def _read(diffusers: Any, folder: Folder, source: Source) -> Any:
    import torch

    kind = getattr(diffusers, folder.index["_class_name"])
    without: dict[str, Any] = {part: None for part in folder.family.without if part in folder.index}
    if "safety_checker" in without:
        without["requires_safety_checker"] = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipe = kind.from_pretrained(
                str(folder.path),
                torch_dtype=getattr(torch, source.dtype),
                variant=source.variant,
                use_safetensors=True,
                local_files_only=True,
                **without,
            )
    except (OSError, ValueError, RuntimeError) as error:  # an OSError would be taken for an outage, and tried again
        if out_of_memory(error):
            raise
        raise ValueError(f"{source.path!r} cannot be loaded: {sentence(error)}") from error
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def _adapted(pipe: Any, source: Source) -> None:
    """LoRAs become part of the weights, so that they cost nothing at each evaluation."""
    for i, (path, scale) in enumerate(source.loras):
        folder, name = (path, None) if Path(path).is_dir() else (str(Path(path).parent), Path(path).name)
        if looks_local(path) and not Path(path).exists():
            raise ValueError(f"no LoRA at {path!r}: there is no such file or folder")
        if Path(path).suffix and Path(path).suffix != ".safetensors":
            raise ValueError(f"LoRA {path!r} is no .safetensors file")
        given = {"weight_name": name} if name and looks_local(path) else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pipe.load_lora_weights(
                    folder if looks_local(path) else path, adapter_name=f"lora{i}", use_safetensors=True, **given
                )
        except ImportError as error:
            raise ImportError(f"LoRAs need peft: {ADVICE}") from error
        except Exception as error:  # of many kinds: a size that differs, names that no module has, a file that is none
            if out_of_memory(error):
                raise
            raise ValueError(f"LoRA {path!r} does not fit {source.path!r}: {sentence(error)}") from error
        if not any(f"lora{i}" in names for names in pipe.get_list_adapters().values()):
            raise ValueError(f"LoRA {path!r} does not fit {source.path!r}: no layer has the names that it changes")
        pipe.set_adapters(f"lora{i}", scale)
        pipe.fuse_lora(adapter_names=[f"lora{i}"])
        pipe.unload_lora_weights()


def _placed(pipe: Any, source: Source) -> None:
    if source.offload == "none":
        pipe.to(source.device)
        return
    if source.device == "cpu":
        raise ValueError(f"offload {source.offload!r} needs a GPU to offload from; this process has none")
    if source.offload == "model":
        pipe.enable_model_cpu_offload(device=source.device)
    else:
        pipe.enable_sequential_cpu_offload(device=source.device)


def _attending(pipe: Any, source: Source) -> None:
    denoiser = getattr(pipe, "transformer", None) or pipe.unet
    if source.attention:
        try:
            denoiser.set_attention_backend(source.attention)
        except (ValueError, RuntimeError, ImportError) as error:
            raise ValueError(f"attention {source.attention!r} cannot be used: {sentence(error)}") from error
    if source.compiled:
        denoiser.compile()


def _tiny(source: Source) -> Any:
    """The autoencoder of previews."""
    if not source.sketch:
        return None
    import torch
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    try:
        tiny: Any = AutoencoderTiny.from_pretrained(
            source.sketch, torch_dtype=getattr(torch, source.dtype), use_safetensors=True
        )
    except Exception as error:  # of many kinds, as in `found`
        if out_of_memory(error):
            raise
        raise ValueError(f"no tiny autoencoder at {source.sketch!r}: {sentence(error)}") from error
    return tiny.to(source.device).eval().requires_grad_(False)
