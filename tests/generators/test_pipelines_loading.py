"""What is loaded, how often, and what is said of that which cannot be."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from piping import ITEMS, KEYS, QUIET, Made, Make, configured, run

from generators.pictures import diffusers
from generators.pipelines import loading, tiny
from generators.pipelines.folder import Folder, signal
from generators.pipelines.loading import loaded
from generators.pipelines.prompts import KEPT, Prompts
from search.batching import OutOfMemory
from search.ports import Item

pytestmark = QUIET


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A pipeline that a test may break."""
    return Path(shutil.copytree(made("sd"), tmp_path / "mine"))


def said(folder: Path, **changes: Any) -> None:
    """Change the folder's model_index.json."""
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def fails(path: Path | str, patch: pytest.MonkeyPatch, sentence: str, **settings: Any) -> None:
    """The factory refuses it, before anything is loaded."""
    patch.setattr(loading, "loaded", lambda source: pytest.fail("it was loaded"))
    patch.setenv("WINNOW_IMAGE_MODELS", str(path))
    from generators.pictures import Pictures

    with pytest.raises(ValueError, match=sentence) as caught:
        diffusers(Pictures.model_validate({"path": str(path), "size": (16, 16), "steps": 2} | settings))
    assert "\n" not in str(caught.value)


def test_a_pickle_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (safe,) = (copy / "unet").glob("*.safetensors")
    safe.rename(safe.with_suffix(".bin"))
    fails(copy, monkeypatch, r"'unet' as a pickle only \(diffusion_pytorch_model.bin\); convert it to safetensors")
    checkpoint = copy / "v1-5.ckpt"
    checkpoint.write_bytes(b"\x80\x04.")
    fails(checkpoint, monkeypatch, "is a pickle, which could run code; give a folder of diffusers")
    fails(checkpoint.with_suffix(".safetensors"), monkeypatch, "is a single file; give a folder of diffusers")


def test_what_is_not_there_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(copy / "nowhere", monkeypatch, "nowhere': there is no such folder")
    shutil.rmtree(copy / "text_encoder")
    fails(copy, monkeypatch, "has no folder 'text_encoder', which its model_index.json names")
    (copy / "model_index.json").write_text("{")
    fails(copy, monkeypatch, "model_index.json is no JSON")
    (copy / "model_index.json").unlink()
    fails(copy, monkeypatch, "no pipeline at .*: model_index.json cannot be read")


def test_weights_that_are_missing_are_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (copy / "unet").glob("*.safetensors"):
        file.unlink()
    generator = diffusers(configured(copy, monkeypatch))
    with pytest.raises(ValueError, match=r"cannot be loaded: .*unet"):
        generator.advance(generator.start(ITEMS, KEYS))


def test_classes_and_code_that_are_not_known_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(copy, unet=["mine", "UNet2DConditionModel"])
    fails(copy, monkeypatch, r"brings its own code for 'unet' \(mine\), which is not run")
    said(copy, _class_name="KandinskyPipeline")
    fails(copy, monkeypatch, "is of class 'KandinskyPipeline'; valid: StableDiffusionPipeline, .*WanPipeline")


def test_a_hub_id_that_is_not_cached_is_refused_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    fails("nobody/nothing-of-the-kind", monkeypatch, "is no folder, and is not to be had as a hub's id: ")


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("stabilityai/stable-diffusion-3.5-large", False),
        ("black-forest-labs/FLUX.1-dev", False),
        ("models/sd.ckpt", True),
        ("./sd", True),
        ("/models/sd", True),
        ("sd", True),
    ],
)
def test_hub_ids_are_told_from_paths(path: str, local: bool) -> None:
    assert loading.looks_local(path) == local


def test_networks_and_levels_that_are_others_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(part: str, **changes: Any) -> None:
        file = copy / part
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    changed("scheduler/scheduler_config.json", num_train_timesteps=10)
    fails(copy, monkeypatch, "has 10 levels; steps must be as many or fewer, not 11", steps=11)
    changed("scheduler/scheduler_config.json", beta_schedule=None, _class_name="EDMEulerScheduler")
    fails(copy, monkeypatch, r"beta schedule None \(of EDMEulerScheduler\); valid: linear")
    changed("scheduler/scheduler_config.json", prediction_type="score")
    fails(copy, monkeypatch, "predicts 'score'; valid: epsilon, v_prediction")
    changed("unet/config.json", in_channels=9)
    changed(
        "scheduler/scheduler_config.json", prediction_type="epsilon", beta_schedule="linear", num_train_timesteps=1000
    )
    fails(copy, monkeypatch, "takes 9 channels of latents, where a text-to-image one has 4")
    changed("unet/config.json", time_cond_proj_dim=256)
    fails(copy, monkeypatch, "is a latent consistency model")


def test_only_what_the_operator_names_is_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_IMAGE_MODELS", "a,b/c")
    from generators.pictures import Pictures

    with pytest.raises(ValueError, match=r"'/.*' is not among the operator's models \(WINNOW_IMAGE_MODELS\): a, b/c"):
        Pictures(path=str(copy))
    for name in ({"preview": "x"}, {"loras": [{"path": "x"}]}):
        with pytest.raises(ValueError, match=r"'x' is not among the operator's"):
            Pictures.model_validate({"path": "a", **name})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"size": (17, 16)}, "multiples of 2, not \\[17, 16\\]"),
        ({"solver": "pc"}, None),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, Any], sentence: str | None, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sentence:
        fails(made("sd"), monkeypatch, sentence, **settings)
    fails(made("sd3"), monkeypatch, "is a flow, without solver 'pc'" if not sentence else "multiples of 4", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"offload": "model"}, "needs a GPU to offload from"),
        ({"attention": "nonsense"}, "'nonsense' cannot be used"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here: "),
    ],
)
def test_options_that_this_machine_has_not_are_named(settings: dict[str, Any], sentence: str, make: Make) -> None:
    generator = make("sd3", **{"device": "cpu", **settings})
    with pytest.raises(ValueError, match=sentence):
        generator.advance(generator.start(ITEMS, KEYS))


def test_out_of_memory_says_what_does_not_fit(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(pipe: Any, source: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(loading, "_placed", full)
    config = configured(made("sd3"), monkeypatch, variant=None, revision="full")
    with pytest.raises(OutOfMemory, match=r"sd3' does not fit cpu: CUDA out of memory\. Tried to allocate 20 GiB\.$"):
        loaded(config.source)


def lora(pipe: Any, folder: Path) -> Path:
    """A LoRA on the attention of the pipeline's UNet, with random weights."""
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    torch.manual_seed(0)
    pipe.unet.add_adapter(config, "made")
    state = get_peft_model_state_dict(pipe.unet, adapter_name="made")
    pipe.save_lora_weights(str(folder), unet_lora_layers=state, safe_serialization=True)
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_changes_pictures_and_its_scale_how_much(
    made: Made, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As diffusers itself uses it, unfused: the same to one grey level. At scale 0 nothing changes."""
    import torch
    from diffusers import StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(str(made("sd-v")), safety_checker=None)
    theirs.set_progress_bar_config(disable=True)
    file = lora(theirs, tmp_path)
    plain, changed, none = (
        make("sd-v", steps=3, **({} if scale is None else {"loras": [{"path": str(file), "scale": scale}]}))
        for scale in (None, 0.7, 0.0)
    )
    start = plain.start(ITEMS[:1], KEYS[:1])
    ours = [generator.finish(run(generator, start))[0].astype(float) for generator in (plain, changed, none)]
    assert np.abs(ours[1] - ours[0]).max() > 3
    np.testing.assert_allclose(ours[2], ours[0], atol=1)
    theirs.unet.set_adapters(["made"], [0.7])
    picture = theirs(
        ITEMS[0].prompt,
        num_inference_steps=3,
        guidance_scale=1.0,
        latents=torch.tensor(start.columns["x"]),
        height=16,
        width=16,
        output_type="np",
    ).images[0]
    np.testing.assert_allclose(ours[1], picture * 255, atol=1.01)


def test_a_lora_of_another_network_is_refused(
    made: Made, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    pipe = StableDiffusionPipeline.from_pretrained(str(made("sd")), safety_checker=None)
    file = lora(pipe, tmp_path)
    strange, text = tmp_path / "strange.safetensors", tmp_path / "text.safetensors"
    save_file(
        {"unet.nothing.lora_A.weight": torch.zeros(2, 8), "unet.nothing.lora_B.weight": torch.zeros(8, 2)}, strange
    )
    text.write_text("no tensors")
    for family, path in (("sdxl", file), ("sd", strange), ("sd", text), ("sd3", file)):
        generator = make(family, loras=[{"path": str(path)}])
        with pytest.raises(ValueError, match=r"LoRA '.*' does not fit '.*'"):
            generator.advance(generator.start(ITEMS, KEYS))
    for path, sentence in (
        (tmp_path / "no.safetensors", "no LoRA at"),
        (tmp_path / "x.bin", "is no .safetensors file"),
    ):
        if path.suffix == ".bin":
            path.write_bytes(b"")
        generator = make("sd", loras=[{"path": str(path)}])
        with pytest.raises(ValueError, match=sentence):
            generator.advance(generator.start(ITEMS, KEYS))


def test_previews_are_those_of_the_tiny_autoencoder_and_answers_are_not(make: Make, tmp_path: Path) -> None:
    import torch
    from diffusers import AutoencoderTiny

    folder = tiny.autoencoder(tmp_path / "taesd")
    generator, plain = make("sd-v", steps=3, preview=str(folder)), make("sd-v", steps=3)
    rows = generator.advance(generator.start(ITEMS, KEYS))
    with torch.no_grad():
        out = AutoencoderTiny.from_pretrained(str(folder)).decode(torch.tensor(rows.columns["x0"])).sample
    theirs = (out / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    np.testing.assert_allclose(np.array(generator.preview(rows)), theirs, atol=1.01)
    ended = run(generator, rows)
    mixed = rows.updated(np.array([1, 3]), ended[np.array([1, 3])])
    seen = generator.preview(mixed)
    np.testing.assert_array_equal(seen[1], generator.finish(ended)[1])
    np.testing.assert_array_equal(generator.finish(ended), plain.finish(ended))
    assert np.abs(seen[0].astype(float) - plain.preview(rows)[0]).max() > 3
    np.testing.assert_allclose(seen[0].astype(float), generator.preview(rows)[0], atol=1)


def test_a_tiny_autoencoder_that_is_none_is_named(make: Make, tmp_path: Path) -> None:
    generator = make("sd-v", steps=3, preview=str(tmp_path))
    with pytest.raises(ValueError, match="no tiny autoencoder at"):
        generator.advance(generator.start(ITEMS, KEYS))


def test_every_prompt_is_encoded_once_and_few_are_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(made("sd-v"), monkeypatch, steps=4, guidance=3.0, negative="blurred")
    generator = diffusers(config)
    parts = loaded(config.source)
    before = parts.prompts.encoded
    items = [Item(prompt=f"prompt {i % 3}") for i in range(4)]
    run(generator, generator.start(items, KEYS))
    assert parts.prompts.encoded - before == 4  # three prompts and the negative one, for four rows and four steps
    prompts = Prompts(parts.pipe, Folder(made("sd-v"), "sd").family)
    from generators.pipelines.families import Condition

    for i in range(KEPT + 5):
        prompts.told([Condition(str(i))], (16, 16))
    assert len(prompts._known) == KEPT  # pyright: ignore[reportPrivateUsage]
    assert prompts.encoded == KEPT + 5
    prompts.told([Condition(str(KEPT)), Condition("0")], (16, 16))
    assert prompts.encoded == KEPT + 6  # the oldest had gone


def test_bfloat16_is_near_float32(make: Make) -> None:
    """8 bits of a mantissa: after one evaluation x0hat of size 1 differs by less than 0.1, and not by nothing."""
    exact, rough = (make("sd3", steps=3, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert exact.batch_key != rough.batch_key
    x0 = [generator.advance(generator.start(ITEMS, KEYS)).columns["x0"] for generator in (exact, rough)]
    assert 0 < np.abs(x0[0] - x0[1]).max() < 0.1


@pytest.mark.parametrize(
    "given",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2"},
    ],
)
def test_levels_are_those_of_diffusers(given: dict[str, Any]) -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(**given).alphas_cumprod.numpy()  # a float32 product of 1000 numbers
    np.testing.assert_allclose(signal(given, 1000, "x"), theirs, rtol=2e-3, atol=1e-6)


def test_the_shift_follows_the_size_of_the_picture(made: Made) -> None:
    """FLUX dev: mu from 0.5 at 256 patches to 1.15 at 4096, and s = e^mu t / (1 + (e^mu - 1) t)."""
    folder = Folder(made("flux-dev"), "flux")  # two pixels to a latent here, four to a patch
    for side, mu in ((64, 0.5), (256, 1.15)):
        assert folder.schedule((side, side)).shift == pytest.approx(np.exp(mu))  # type: ignore[union-attr]
    assert Folder(made("flux-schnell"), "flux").schedule((64, 64)).shift == 1  # type: ignore[union-attr]
    assert Folder(made("sd3"), "sd3").schedule((64, 64)).shift == 3  # type: ignore[union-attr]


def test_solvers_of_a_pipeline_end_near_each_other(make: Make) -> None:
    """A smooth random flow in 24 steps: what differs is the error of the solver."""
    ends = {}
    for solver in ("euler", "dpm++", "unipc"):
        generator = make("flux-dev", steps=24, solver=solver)
        ends[solver] = run(generator, generator.start(ITEMS, KEYS)).columns["x0"]
    for solver in ("dpm++", "unipc"):
        assert np.abs(ends[solver] - ends["euler"]).max() < 0.1 * ends["euler"].std()
