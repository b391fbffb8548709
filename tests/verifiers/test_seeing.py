"""Networks that judge images, with tiny random weights: each score against the formula over transformers itself."""

import base64
import io
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("transformers")), reason="NOT TESTED: transformers is not installed"
)

from search.ports import Answer, Item, Score  # noqa: E402
from search.verdicts import Verdicts  # noqa: E402
from verifiers.builtin import VERIFIERS  # noqa: E402

ITEM = Item(id="i", prompt="a cat")
RNG = np.random.default_rng(0)
IMAGES: list[Any] = [
    RNG.integers(0, 256, (32, 32, 3)).astype(np.uint8),
    RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8),
    RNG.integers(0, 256, (28, 28)).astype(np.uint8),
]


def made(name: str, **config: Any) -> Any:
    found = VERIFIERS.find(name)
    return found.factory(found.config(**config))


def scores(verifier: Any, item: Item = ITEM, images: Any = IMAGES) -> list[Score]:
    return verifier([Answer(image, item) for image in images])


def values(*arguments: Any) -> list[Any]:
    return [score.value for score in scores(*arguments)]


def pillow(image: Any) -> Any:
    from PIL import Image

    return Image.fromarray(image).convert("RGB")


def inputs(path: str, *prompts: str, images: Any = IMAGES) -> tuple[Any, Any]:
    """Pixels and tokens, as transformers makes them."""
    from transformers import AutoImageProcessor, AutoTokenizer

    pixels = AutoImageProcessor.from_pretrained(path)(images=[pillow(x) for x in images], return_tensors="pt")
    more = {"padding": "max_length", "max_length": 24} if "siglip" in path else {}
    return pixels["pixel_values"], AutoTokenizer.from_pretrained(path)(list(prompts), return_tensors="pt", **more)


def forward(kind: str, path: str, **tensors: Any) -> Any:
    import torch
    import transformers

    net = getattr(transformers, kind).from_pretrained(path).eval()
    with torch.inference_mode():
        return net, net(**tensors)


def test_clip_score_pick_score_and_hps_are_cosines(eyes):
    seen = []
    for prompt in ("a cat", "x y", "dog"):
        pixels, tokens = inputs(eyes["clip"], prompt)
        net, out = forward("CLIPModel", eyes["clip"], pixel_values=pixels, **tokens)
        logits = out.logits_per_image[:, 0].double().numpy()
        cosines = logits / net.logit_scale.exp().item()
        item = Item(prompt=prompt)
        assert values(made("pick_score", path=eyes["clip"]), item) == pytest.approx(logits, rel=1e-4)
        assert values(made("hps", path=eyes["clip"]), item) == pytest.approx(100 * cosines, rel=1e-4)
        found = values(made("clip_score", path=eyes["clip"]), item)
        assert found == pytest.approx(100 * np.maximum(cosines, 0), rel=1e-4)
        seen.extend(cosines)
    assert min(seen) < -0.05  # so that the cut at 0 was seen
    assert max(seen) > 0.05
    templated = made("hps", path=eyes["clip"], template="d{}", processor=eyes["clip"])
    assert values(templated, Item(prompt="og")) == pytest.approx(100 * np.array(seen[-3:]), rel=1e-4)
    long = values(made("hps", path=eyes["clip"]), Item(prompt="a cat " * 99))  # cut at the model's length
    assert np.isfinite(long).all()


def test_siglip_score_is_its_probability(eyes):
    pixels, tokens = inputs(eyes["siglip"], "a cat")
    _, out = forward("SiglipModel", eyes["siglip"], pixel_values=pixels, input_ids=tokens["input_ids"])
    by_hand = out.logits_per_image[:, 0].sigmoid().numpy()
    assert values(made("siglip_score", path=eyes["siglip"])) == pytest.approx(by_hand, rel=1e-4)


def layered(path: str, features: Any) -> Any:
    from safetensors.torch import load_file

    held = load_file(f"{path}/model.safetensors")
    for layer in ("layers.0", "layers.2", "layers.10"):
        features = features @ held[f"{layer}.weight"].T + held[f"{layer}.bias"]
    return features[:, 0].double().numpy()


def test_aesthetic_is_the_head_over_unit_features(eyes):
    pixels, tokens = inputs(eyes["clip"], "a cat")
    _, out = forward("CLIPModel", eyes["clip"], pixel_values=pixels, **tokens)
    by_hand = layered(eyes["over_clip"], out.image_embeds)  # transformers has normalised them
    for head in (eyes["over_clip"], f"{eyes['over_clip']}/model.safetensors"):
        assert values(made("aesthetic", path=eyes["clip"], head=head)) == pytest.approx(by_hand, rel=1e-4)
    assert np.ptp(by_hand) > 0.01


def test_image_reward_reads_the_first_token_that_saw_the_image(eyes):
    import torch
    from transformers import AutoTokenizer

    pixels, _ = inputs(eyes["blip"], "a cat")
    net, _ = forward("BlipForImageTextRetrieval", eyes["blip"], pixel_values=pixels, input_ids=torch.tensor([[1]] * 3))
    tokens = AutoTokenizer.from_pretrained(eyes["blip"])(["a cat"] * 3, return_tensors="pt")  # no padding
    with torch.inference_mode():
        read = net.text_encoder(**tokens, encoder_hidden_states=net.vision_model(pixels)[0])[0][:, 0]
    by_hand = (layered(eyes["over_blip"], read) - 0.16717362830052426) / 1.0333394966054072
    assert values(made("image_reward", path=eyes["blip"], head=eyes["over_blip"])) == pytest.approx(by_hand, rel=1e-4)
    plain = made("image_reward", path=eyes["blip"], head=eyes["over_blip"], mean=0.0, deviation=1.0)
    assert values(plain) == pytest.approx(layered(eyes["over_blip"], read), rel=1e-4)
    assert np.ptp(by_hand) > 0.01


def test_nsfw_is_one_less_the_chance_of_the_class(eyes):
    pixels, _ = inputs(eyes["classifier"], "")
    _, out = forward("ViTForImageClassification", eyes["classifier"], pixel_values=pixels)
    chances = out.logits.double().softmax(1).numpy()
    found = scores(made("nsfw", path=eyes["classifier"]), Item())  # it needs no prompt
    assert [s.value for s in found] == pytest.approx(chances[:, 0], rel=1e-4)
    assert [s.passed for s in found] == (chances[:, 0] >= 0.5).tolist()
    assert values(made("nsfw", path=eyes["classifier"], label="normal")) == pytest.approx(chances[:, 1], rel=1e-4)
    with pytest.raises(ValueError, match=r"label 'porn': model .* knows normal, nsfw"):
        made("nsfw", path=eyes["classifier"], label="porn")


def test_vqa_score_is_the_chance_of_yes(eyes):
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(eyes["seer"])
    net = AutoModelForImageTextToText.from_pretrained(eyes["seer"]).eval()
    asked = '<s><image>Does this figure show "a cat"? Please answer yes or no. A: '
    by_hand = []
    for image in IMAGES:
        tensors = processor(images=pillow(image), text=asked, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            row = net(**tensors).logits[0, -1].double().softmax(0)
        by_hand.append(row[processor.tokenizer("Y", add_special_tokens=False)["input_ids"][0]].item())
    assert values(made("vqa_score", path=eyes["seer"])) == pytest.approx(by_hand, rel=1e-4)
    assert np.ptp(by_hand) > 0


def url(image: Any, kind: str = "PNG") -> str:
    out = io.BytesIO()
    pillow(image).save(out, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def test_feature_similarity_is_the_cosine_to_the_reference(eyes):
    pixels, tokens = inputs(eyes["clip"], "a cat")
    _, out = forward("CLIPModel", eyes["clip"], pixel_values=pixels, **tokens)
    item = Item(target=url(IMAGES[1]))
    by_hand = (out.image_embeds @ out.image_embeds[1]).numpy()
    found = values(made("feature_similarity", path=eyes["clip"]), item)
    assert found == pytest.approx(by_hand, abs=1e-5)
    assert found[1] == pytest.approx(1)


KINDS = ["clip_score", "siglip_score", "pick_score", "hps", "aesthetic", "image_reward", "nsfw", "vqa_score"]
NETS = {"siglip_score": "siglip", "image_reward": "blip", "nsfw": "classifier", "vqa_score": "seer"}
HEADS = {"aesthetic": "over_clip", "image_reward": "over_blip"}


@pytest.mark.parametrize("name", KINDS)
def test_the_block_changes_nothing_and_what_is_no_image_is_unscored_alone(name, eyes):
    more = {"head": eyes[HEADS[name]]} if name in HEADS else {}
    path = eyes[NETS.get(name, "clip")]
    items = [Item(prompt="a"), Item(prompt="a longer prompt"), Item()]
    answers = [Answer(image, item) for image in IMAGES for item in items]
    answers += [Answer("text", ITEM), Answer(np.zeros((2, 2)), ITEM), Answer(None, ITEM)]
    one, many = (made(name, path=path, batch=batch, **more)(answers) for batch in (1, 16))
    assert [s.value is None for s in one] == [s.value is None for s in many]
    assert [s.value or 0 for s in one] == pytest.approx([s.value or 0 for s in many], rel=1e-4)
    assert [s.value is None for s in many[:3]] == [False, False, name not in ("aesthetic", "nsfw")]
    reasons = [s.reason for s in many[9:]]
    assert reasons[0] == "expected an image, uint8 [h, w] or [h, w, 3], found str"
    assert reasons[1].endswith("found float64 [2, 2]")


def test_what_cannot_be_loaded_says_so(eyes, tmp_path, monkeypatch):
    import torch

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text(Path(eyes["clip"], "config.json").read_text())
    torch.save({}, pickled / "pytorch_model.bin")
    torch.save({}, tmp_path / "head.pt")
    cut = Path(shutil.copytree(eyes["clip"], tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes(Path(eyes["clip"], "model.safetensors").read_bytes()[:2000])
    for path, why in (
        (tmp_path / "empty", "cannot be read"),
        (cut, "cannot be read: Error while deserializing header"),
        (pickled, "it holds pickles, which are never loaded; convert it to safetensors"),
        ("nobody/nothing", "is no directory here, and the hub does not give it"),
        (tmp_path / "none", "is no directory here, and no name of a hub"),
        (eyes["over_clip"], "cannot be read"),
    ):
        with pytest.raises(OSError, match=why) as told:
            made("clip_score", path=str(path))
        assert str(path) in str(told.value)
    with pytest.raises(ValueError, match="is a LlavaModel, without the logit_scale"):
        made("clip_score", path=eyes["seer"])
    with pytest.raises(ValueError, match="is a CLIPModel, without the logit_bias"):
        made("siglip_score", path=eyes["clip"])
    with pytest.raises(OSError, match="pickles are never loaded"):
        made("aesthetic", path=eyes["clip"], head=str(tmp_path / "head.pt"))
    with pytest.raises(ValueError, match=r"layers .* expected linear ones from 8 features to 1 number"):
        made("aesthetic", path=eyes["clip"], head=eyes["over_blip"])
    with pytest.raises(ValueError, match="device 'cuda:9' is not here; valid: cpu"):
        made("clip_score", path=eyes["clip"], device="cuda:9")
    with pytest.raises(ValueError, match=r"must hold \{\} once"):
        made("clip_score", path=eyes["clip"], template="a photo")


def test_weights_that_are_missing_are_not_made_up(eyes):
    """transformers would fill them with random numbers and warn."""
    with pytest.raises(OSError, match=r"it lacks .* weights of a BlipForImageTextRetrieval, .*, such as"):
        made("image_reward", path=eyes["clip"], head=eyes["over_blip"])


def test_several_verifiers_of_images_rank_by_mean_rank(eyes):
    """The ensemble of Ma et al. 2025: as a search ranks, and as the verifier `ensemble` does."""
    import asyncio

    parts = ["image_quality", "jpeg_size", {"name": "clip_score", "path": eyes["clip"]}]
    each = {str(i): scores(made(p) if isinstance(p, str) else made(**p)) for i, p in enumerate(parts)}
    ranks = np.array([np.argsort(np.argsort([-s.value for s in one])) for one in each.values()])
    assert Verdicts(IMAGES, each).standing == pytest.approx(-ranks.mean(0) - 0.5)
    found = asyncio.run(made("ensemble", verifiers=parts)([Answer(image, ITEM) for image in IMAGES]))
    assert [s.value for s in found] == pytest.approx((1 - ranks / 2).mean(0))
