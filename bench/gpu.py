"""A pipeline's throughput on this machine's GPU, as ratios to its own denoiser at the same batch.

    python -m bench.gpu PATH [--rows 1 4 16 64] [--steps 8] [--dtype bfloat16] [--guidance 1] [--preview PATH]
    python -m bench.gpu --random sd            a network of the size of Stable Diffusion 1.5, with random weights
    python -m bench.gpu --tiny sd --cpu        a network that says nothing, to see that the bench works

For each number of rows: network evaluations a second (nfe), those of the bare denoiser on inputs that lie ready
(own_nfe) and their ratio, medians of turns taken one after the other; the shares of decoding and of a verifier (bytes
of a PNG) in a whole sample; peak memory. waits: calls of CUDA, and operators of torch, that wait for the device, in one
step, by the profiler. One is meant: the copy that hands the rows back. own_waits: those of the bare denoiser.
Prints one JSON object. Without a GPU, one sentence.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.printed import printed
from generators.diffusion import Diffusion
from generators.pictures import MODELS, Pictures, diffusers
from generators.pipelines import loading, tiny
from generators.pipelines.families import Condition
from search import keys
from search.batching import out_of_memory
from search.ports import Item, Rows

TURNS = 5
WAITING = frozenset(
    {
        "cudaStreamSynchronize",
        "cudaDeviceSynchronize",
        "cudaEventSynchronize",
        "cudaMemcpy",
        "aten::_local_scalar_dense",
        "aten::nonzero",
    }
)
"""Calls that wait for the device, and operators of which each makes one."""


class Bench(NamedTuple):
    """A generator, and the denoiser that it drives."""

    config: Pictures
    generator: Diffusion
    loaded: loading.Loaded
    family: Any

    @property
    def device(self) -> str:
        """Where it computes."""
        return self.config.source.device

    def settle(self) -> None:
        """Wait for what the device has been told to do."""
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        """What the work takes, the device's part included."""
        self.settle()
        begun = time.perf_counter()
        work()
        self.settle()
        return time.perf_counter() - begun


def ready(config: Pictures) -> Bench:
    """The pipeline, loaded."""
    generator: Any = diffusers(config)
    folder = loading.found(config.path, config.revision, config.variant)
    return Bench(config, generator, loading.loaded(config.source), folder.family)


def started(bench: Bench, n: int) -> Rows:
    """Rows of one prompt after their first evaluation, so that the next step moves them."""
    named = keys.rows(keys.problem(0, "gpu"), 0, n)
    return bench.generator.advance(bench.generator.start([Item(prompt="a red fox")] * n, named))


def bare(bench: Bench, n: int) -> Callable[[], Any]:
    """The denoiser alone on n rows (twice as many when guided), with everything that it takes on the device."""
    import torch

    pipe, prompts, _ = bench.loaded
    network, model = getattr(pipe, bench.family.denoiser), bench.generator.model
    many = n * bench.generator.price
    with torch.inference_mode():
        told = prompts.told([Condition("a red fox", strength=bench.config.distilled)] * many, size(bench))
        at = model.levels(np.array([bench.config.steps]), np.array([1])).trained
        level = torch.tensor(np.repeat(at, many), device=bench.device)
        x = torch.randn(many, *model.shape, device=bench.device, dtype=network.dtype)

    def call() -> Any:
        with torch.inference_mode():
            return bench.family.denoise(pipe, x, level, told)

    return call


def size(bench: Bench) -> tuple[int, int]:
    """Height and width of its pictures."""
    source = bench.config
    return source.size or loading.found(source.path, source.revision, source.variant).size


def measured(bench: Bench, n: int) -> dict[str, Any]:
    """What n rows at a time cost."""
    import torch

    generator, steps = bench.generator, bench.config.steps
    on_gpu = bench.device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    rows, call = started(bench, n), bare(bench, n)

    def stepped() -> None:
        ours = rows
        for _ in range(steps - 1):
            ours = generator.advance(ours)

    call()  # both once before the clock runs
    generator.advance(rows)
    ours, own = list[float](), list[float]()
    for _ in range(TURNS):
        own.append(bench.seconds(lambda: [call() for _ in range(steps - 1)]))
        ours.append(bench.seconds(stepped))
    pictures = list[Any]()
    decoding = bench.seconds(lambda: pictures.extend(generator.finish(rows)))
    sketching = bench.seconds(lambda: generator.preview(rows))
    judging = bench.seconds(lambda: [compressed(picture) for picture in pictures])
    whole = statistics.median(ours) * steps / (steps - 1) + decoding + judging
    each = n * generator.price * (steps - 1)
    return {
        "rows": n,
        "nfe": round(each / statistics.median(ours), 2),
        "own_nfe": round(each / statistics.median(own), 2),
        "ratio": round(statistics.median(own) / statistics.median(ours), 4),
        "decode_share": round(decoding / whole, 4),
        "verifier_share": round(judging / whole, 4),
        "preview_seconds": round(sketching, 4),
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None,
        "waits": waits(lambda: generator.advance(rows)),
        "own_waits": waits(call),
    }


def waits(work: Callable[[], object]) -> dict[str, int]:
    """How often each call of WAITING happens in the work."""
    from torch.profiler import profile

    with profile() as seen:
        work()
    names = Counter({event.key: event.count for event in seen.key_averages()})
    return {name: names[name] for name in sorted(WAITING) if names[name]}


def compressed(picture: Any) -> int:
    """A verifier that asks no network: bytes of a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.tell()


def real_size(folder: Path) -> Path:
    """Write a pipeline with the networks of Stable Diffusion 1.5 (860 million numbers), random."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from generators.pipelines import tiny_parts as parts

    of: Any = parts.of("diffusers")
    torch.manual_seed(0)
    _, tokenizer = parts.clip()
    blocks = (128, 256, 512, 512)
    made = of.StableDiffusionPipeline(
        vae=of.AutoencoderKL(
            block_out_channels=blocks,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=768, num_attention_heads=12)),
        tokenizer=tokenizer,
        unet=of.UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        scheduler=parts.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.to(torch.bfloat16).save_pretrained(str(folder), safe_serialization=True)
    return folder


def run(options: argparse.Namespace, path: str) -> dict[str, Any]:
    """All numbers of rows, until the memory is full."""
    import torch

    os.environ[MODELS] = ",".join(filter(None, [path, options.preview]))
    wanted = {name: getattr(options, name) for name in ("steps", "dtype", "guidance", "preview", "size")}
    where = {"path": path, "eta": 1.0, "device": "cpu" if options.cpu else "cuda"}
    bench = ready(Pictures.model_validate(wanted | where))
    result: dict[str, Any] = {"bench": "gpu", "path": path, "dtype": options.dtype, "guidance": options.guidance}
    result["device"] = "cpu" if options.cpu else torch.cuda.get_device_name()
    result["batches"] = []
    for n in options.rows:
        try:
            result["batches"].append(measured(bench, n))
        except Exception as error:
            if not out_of_memory(error):
                raise
            result["full_at"] = n
            break
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu")
    parser.add_argument("path", nargs="?", help="a folder of diffusers, or a hub's id")
    parser.add_argument("--random", choices=["sd"], help="random weights in networks of real size")
    parser.add_argument("--tiny", choices=sorted(tiny.TINY), help="random weights in the smallest networks")
    parser.add_argument("--cpu", action="store_true", help="where there is no GPU; its numbers say nothing of one")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--size", type=int, nargs=2, help="height and width in pixels")
    parser.add_argument("--preview", default="", help="a tiny autoencoder")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if not (options.path or options.random or options.tiny):
        parser.error("give PATH, --random or --tiny")
    if options.steps < 2:
        parser.error(f"--steps must be 2 or more, not {options.steps}")
    import torch

    if not options.cpu and not torch.cuda.is_available():
        print("This machine has no GPU that torch can use: nothing was measured (--cpu runs the bench without one).")
        return
    with nullcontext(options.path) if options.path else tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / (options.random or options.tiny or "")
        if options.random:
            real_size(made)
        elif options.tiny:
            tiny.save(options.tiny, made)
        printed(run(options, str(made) if not options.path else options.path), options.out)


if __name__ == "__main__":
    main()
