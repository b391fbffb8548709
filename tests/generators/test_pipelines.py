"""Every family of diffusers on a random pipeline: loaded as real ones are, sampled as its own pipeline samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.conformance import examine
from generators.pictures import Pictures, diffusers
from generators.pipelines import tiny
from generators.pipelines.loading import loaded
from search import keys
from search.ports import Generator, Item, Rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

KEYS = keys.rows(keys.problem(0, "pipelines"), 0, 4)
ITEMS = [Item(prompt=prompt) for prompt in ("a red fox", "a blue cup", "a red fox", "7")]
Make = Callable[..., Generator]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a family's random pipeline, written when first asked for."""
    root = tmp_path_factory.mktemp("tiny")

    def of(family: str) -> Path:
        return root / family if (root / family).exists() else tiny.save(family, root / family)

    return of


@pytest.fixture
def make(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Make:
    """A family's generator."""

    def of(family: str, **settings: Any) -> Any:
        return diffusers(configured(made(family), monkeypatch, **settings))

    return of


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Pictures:
    monkeypatch.setenv("WINNOW_IMAGE_MODELS", str(folder))
    size = (32, 32) if folder.name in ("sana", "wan") else (16, 16)
    return Pictures.model_validate({"path": str(folder), "size": size, "steps": 3} | settings)


def run(generator: Any, rows: Rows) -> Rows:
    while not rows.done.all():
        live = np.flatnonzero(~rows.done)
        rows = rows.updated(live, generator.advance(rows[live]))
    return rows


def packed(x: Any) -> Any:
    """FLUX's own line of patches."""
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(x, len(x), x.shape[1], *x.shape[2:])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("family", list(tiny.TINY))
def test_pictures_are_those_of_the_pipeline_itself(
    family: str, guidance: float, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same start through the pipeline's own loop with its own DDIM or flow scheduler: the same pixels but one grey
    level. Flows take even times, which SD3, Sana and Wan must be told."""
    import torch

    settings = {"steps": 4, "guidance": guidance, "negative": "" if family == "sdxl" else "bad"}
    config = configured(made(family), monkeypatch, **settings)
    generator: Any = diffusers(config)
    rows = generator.start(ITEMS[:1], KEYS[:1])
    pipe = loaded(config.source).pipe
    told: dict[str, Any] = {"guidance_scale": guidance, "negative_prompt": None if family == "sdxl" else "bad"}
    latents = torch.tensor(rows.columns["x"])
    if family.startswith("flux"):
        told = {"guidance_scale": 3.5, "true_cfg_scale": guidance, "negative_prompt": "bad"}
        latents = packed(latents)
    elif family in ("sd3", "sana"):
        told["sigmas"] = np.linspace(1, 1 / 4, 4).tolist()
    elif family == "wan":
        told["num_frames"] = 1
        even, plain = np.linspace(1, 1 / 4, 4).tolist(), pipe.scheduler.set_timesteps
        monkeypatch.setattr(pipe.scheduler, "set_timesteps", lambda n, device: plain(sigmas=even, device=device))
    if family in ("pixart-sigma", "sana"):
        told["use_resolution_binning"] = False
    height, width = config.size or (0, 0)
    theirs = pipe(
        ITEMS[0].prompt,
        num_inference_steps=4,
        height=height,
        width=width,
        latents=latents,
        output_type="np",
        return_dict=False,
        **told,
    )[0]
    picture = theirs[0, 0] if family == "wan" else theirs[0]
    ours = generator.finish(run(generator, rows))[0]
    assert ours.shape == (height, width, 3)
    assert ours.std() > 5
    np.testing.assert_allclose(ours, picture * 255, atol=1.01)
