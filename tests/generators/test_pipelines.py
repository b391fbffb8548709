"""Every family of diffusers on a random pipeline: loaded as real ones are, sampled as its own pipeline samples."""

from typing import Any

import numpy as np
import pytest
from piping import ITEMS, KEYS, QUIET, Made, Make, configured, run

from generators.conformance import examine
from generators.pictures import diffusers
from generators.pipelines import tiny
from generators.pipelines.loading import loaded
from search.ports import Rows

pytestmark = QUIET


def packed(x: Any) -> Any:
    """FLUX's own line of patches."""
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(x, len(x), x.shape[1], *x.shape[2:])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("family", list(tiny.TINY))
def test_pictures_are_those_of_the_pipeline_itself(
    family: str, guidance: float, made: Made, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.parametrize("family", list(tiny.TINY))
def test_a_row_alone_is_the_row_in_company(family: str, make: Make) -> None:
    """Rows of four items at two levels and two settings in one call, and each alone: to rounding, 1e-3 of size 1."""
    slow: Any = make(family, steps=3, eta=1.0)
    quick: Any = make(family, steps=2, eta=0.0, negative="ugly")
    assert slow.batch_key == quick.batch_key
    late = slow.advance(slow.start(ITEMS, KEYS))
    together = slow.advance(Rows.join([late, quick.start(ITEMS, KEYS)]))
    one = [slow.advance(late[i : i + 1]) for i in range(4)]
    one += [quick.advance(quick.start([ITEMS[i]], KEYS[i : i + 1])) for i in range(4)]
    alone = Rows.join(one)
    for name in ("x", "x0"):
        size = np.abs(alone.columns[name]).max()
        np.testing.assert_allclose(together.columns[name] / size, alone.columns[name] / size, atol=1e-5)


@pytest.mark.parametrize(("family", "company"), [("sd-v", {"steps": 2}), ("sd3", {"steps": 2, "eta": 0.0})])
def test_passes_the_exam(family: str, company: dict[str, Any], make: Make) -> None:
    """One UNet and one flow. Of epsilon the random network makes an x0 of size 15, which no noise covers: hence v."""
    offers = {"preview", "stochastic_step", "renoise", "neighbours"} | ({"log_weights"} if family == "sd-v" else set())
    examine(
        make(family, steps=3, eta=1.0),
        ITEMS,
        offers=offers,
        company=make(family, **company),
        evaluations=3,
        tolerance=1e-3,
        count=4,
    )
