"""Tiny networks that see, with random weights, and what they read with; saved as the real ones are."""

from pathlib import Path
from typing import Any

VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
LONGEST = 24
CHAT = (
    "<s>{% for m in messages %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} A: {% endif %}"
)


def tokenizer(*special: str) -> Any:
    """Bytes between a begin and an end; with special tokens, as chats have them, nothing around."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=512,
        additional_special_tokens=list(special),
    )  # fmt: skip
    ends = [("<s>", found.bos_token_id), ("</s>", found.eos_token_id)]
    if not special:
        found.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=ends
        )
    return found


def saved(folder: Path) -> dict[str, str]:
    """Directories by what is in them: clip, siglip, blip, classifier, seer; and heads, files of linear layers."""
    import torch
    from safetensors.torch import save_file
    from transformers import (
        BlipConfig,
        BlipForImageTextRetrieval,
        CLIPConfig,
        CLIPModel,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        SiglipConfig,
        SiglipModel,
        ViTConfig,
        ViTForImageClassification,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words, seen = tokenizer(), tokenizer("<image>")
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    body = {name: size for name, size in VISION.items() if name not in ("image_size", "patch_size")}
    text = {**body, "vocab_size": len(words), "max_position_embeddings": LONGEST, **ids}
    square = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    squeezed = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    llama = {**body, "vocab_size": len(seen), "num_key_value_heads": 2, "max_position_embeddings": 512}
    torch.manual_seed(0)
    nets = {
        "clip": CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)),
        "siglip": SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)),
        "blip": BlipForImageTextRetrieval(
            BlipConfig(text_config={**text, "encoder_hidden_size": 16}, vision_config=VISION, projection_dim=8)
        ),
        "classifier": ViTForImageClassification(ViTConfig(**VISION, id2label={0: "normal", 1: "nsfw"})),
        "seer": LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**llama, initializer_range=0.3),
                image_token_id=seen.convert_tokens_to_ids("<image>"), vision_feature_layer=-1,
            )
        ),
    }  # fmt: skip
    for name, net in nets.items():
        for weight in net.parameters():  # as they are made, nets of this size give all images the same number
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
        net.save_pretrained(folder / name)
        (seen if name == "seer" else words).save_pretrained(folder / name)
        (squeezed if name == "siglip" else square).save_pretrained(folder / name)
    LlavaProcessor(
        image_processor=square, tokenizer=seen, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT,
    ).save_pretrained(folder / "seer")  # fmt: skip
    layers = {"layers.0": (8, 4), "layers.2": (4, 2), "layers.10": (2, 1)}
    for name, width in (("over_clip", 8), ("over_blip", 16)):
        head = {}
        for layer, (inside, out) in layers.items():
            head[f"{layer}.weight"] = torch.randn(out, width if inside == 8 else inside)
            head[f"{layer}.bias"] = torch.randn(out)
        (folder / name).mkdir()
        save_file(head, folder / name / "model.safetensors")
    return {file.name: str(file) for file in folder.iterdir()}
