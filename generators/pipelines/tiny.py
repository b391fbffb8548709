"""Pipelines of every family with random weights, as small as their classes allow: for tests, benches and smoke tests.

They draw nothing that looks like anything, but load, encode, denoise and decode as real ones do.
"""

import string
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LETTERS = string.ascii_lowercase + string.digits + " .,"


def save(family: str, folder: Path) -> Path:
    """Write a random pipeline of the family (a name in TINY) to `folder`. Needs no network. Raises KeyError."""
    import torch

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        pipe = TINY[family]()
        pipe.save_pretrained(str(folder), safe_serialization=True)
    return folder


def autoencoder(folder: Path, channels: int = 4) -> Path:
    """Write a random AutoencoderTiny for latents of so many channels, at a quarter of a picture's height and width."""
    import torch
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(1)
        tiny = AutoencoderTiny(
            latent_channels=channels,
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
        )
        tiny.save_pretrained(str(folder))
    return folder


def _clip(projected: bool = False, size: int = 16) -> tuple[Any, Any]:
    """A text encoder of CLIP and its tokenizer of letters."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    ends = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    vocab = ends | {piece: i + 2 for i, piece in enumerate([*LETTERS, *(f"{letter}</w>" for letter in LETTERS)])}
    config = CLIPTextConfig(
        hidden_size=size,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=len(vocab),
        projection_dim=size,
        hidden_act="gelu",
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    made = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
    return made, CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _t5(size: int = 16, kind: str = "T5") -> tuple[Any, Any]:
    """An encoder of T5 (or UMT5) and its tokenizer of letters."""
    import transformers

    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    config = getattr(transformers, f"{kind}Config")(
        d_model=size, d_kv=8, d_ff=16, num_layers=2, num_heads=2, vocab_size=len(vocab)
    )
    tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
    return getattr(transformers, f"{kind}EncoderModel")(config), tokenizer


def _gemma() -> tuple[Any, Any]:
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    vocab = {token: i for i, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *LETTERS])}
    config = Gemma2Config(
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        head_dim=8,
        vocab_size=len(vocab),
        sliding_window=2,
    )
    return Gemma2Model(config), GemmaTokenizer(vocab=vocab, merges=[])


def _autoencoder(channels: int = 4, shift: float | None = None) -> Any:
    """At half of a picture's height and width."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        scaling_factor=0.18215 if shift is None else 1.5305,
        shift_factor=shift,
    )


def _unet(**told: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,
        **{"cross_attention_dim": 16, **told},
    )


def _scheduler(prediction: str = "epsilon") -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",
    )


def _sd(prediction: str = "epsilon") -> Any:
    from diffusers import StableDiffusionPipeline

    encoder, tokenizer = _clip()
    return StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=_unet(),
        scheduler=_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    from diffusers import StableDiffusionXLPipeline

    (encoder, tokenizer), (encoder_2, tokenizer_2) = _clip(), _clip(projected=True)
    told = {
        "cross_attention_dim": 32,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 16 + 6 * 8,
    }
    return StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=encoder,
        text_encoder_2=encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=_unet(**told),
        scheduler=_scheduler(),
    )


def _sd3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    (encoder, tokenizer), (encoder_2, tokenizer_2) = _clip(projected=True), _clip(projected=True)
    encoder_3, tokenizer_3 = _t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(shift=0.0609),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=encoder_3,
        tokenizer_3=tokenizer_3,
    )


def _flux(distilled: bool = True) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    (encoder, tokenizer), (encoder_2, tokenizer_2) = _clip(), _t5()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=distilled,
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=distilled, shift=3.0 if distilled else 1.0),
        vae=_autoencoder(shift=0.1159),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=encoder_2,
        tokenizer_2=tokenizer_2,
    )


def _pixart() -> Any:
    from diffusers import PixArtSigmaPipeline, PixArtTransformer2DModel

    encoder, tokenizer = _t5()
    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=16,
        in_channels=4,
        cross_attention_dim=16,
        out_channels=8,
        use_additional_conditions=False,
    )
    return PixArtSigmaPipeline(
        transformer=transformer, text_encoder=encoder, tokenizer=tokenizer, vae=_autoencoder(), scheduler=_scheduler()
    )


def _sana() -> Any:
    from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaPipeline, SanaTransformer2DModel

    encoder, tokenizer = _gemma()
    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=8,
    )
    blocks: dict[str, Any] = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {
            "block_types": ("ResBlock", "EfficientViTBlock"),
            "block_out_channels": (8, 8),
            "qkv_multiscales": ((), (5,)),
            "layers_per_block": (1, 1),
        }.items()
    }
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
        **blocks,
    )
    return SanaPipeline(
        transformer=transformer,
        text_encoder=encoder,
        tokenizer=tokenizer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _wan() -> Any:
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    encoder, tokenizer = _t5(kind="UMT5")
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    return WanPipeline(
        transformer=transformer,
        text_encoder=encoder,
        tokenizer=tokenizer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


TINY: Mapping[str, Callable[[], Any]] = {
    "sd": _sd,
    "sd-v": lambda: _sd("v_prediction"),
    "sdxl": _sdxl,
    "sd3": _sd3,
    "flux-dev": _flux,
    "flux-schnell": lambda: _flux(distilled=False),
    "pixart-sigma": _pixart,
    "sana": _sana,
    "wan": _wan,
}
"""Pictures of 16 x 16 pixels, but for Wan's; `size` must be given where the configuration has none (FLUX, Wan)."""
