"""Pipelines of every family with random weights, as small as their classes allow: for tests, benches and smoke tests.

They draw nothing that looks like anything, but load, encode, denoise and decode as real ones do.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from generators.pipelines import tiny_parts as parts
from generators.pipelines.tiny_parts import of


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
    """Write a random AutoencoderTiny for latents of so many channels, at half of a picture's height and width."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(1)
        tiny = of("diffusers").AutoencoderTiny(
            latent_channels=channels,
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
        tiny.save_pretrained(str(folder))
    return folder


def _sd(prediction: str = "epsilon") -> Any:
    encoder, tokenizer = parts.clip()
    return of("diffusers").StableDiffusionPipeline(
        vae=parts.vae(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=parts.unet(),
        scheduler=parts.scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    (encoder, tokenizer), (encoder_2, tokenizer_2) = parts.clip(), parts.clip(projected=True)
    told = {
        "cross_attention_dim": 32,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 16 + 6 * 8,
    }
    return of("diffusers").StableDiffusionXLPipeline(
        vae=parts.vae(),
        text_encoder=encoder,
        text_encoder_2=encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=parts.unet(**told),
        scheduler=parts.scheduler(),
    )


def _sd3() -> Any:
    (encoder, tokenizer), (encoder_2, tokenizer_2) = parts.clip(projected=True), parts.clip(projected=True)
    encoder_3, tokenizer_3 = parts.t5(32)
    transformer = of("diffusers").SD3Transformer2DModel(
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
    return of("diffusers").StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=parts.flow(shift=3.0),
        vae=parts.vae(shift=0.0609),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=encoder_3,
        tokenizer_3=tokenizer_3,
    )


def _flux(distilled: bool = True) -> Any:
    (encoder, tokenizer), (encoder_2, tokenizer_2) = parts.clip(), parts.t5()
    transformer = of("diffusers").FluxTransformer2DModel(
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
    return of("diffusers").FluxPipeline(
        transformer=transformer,
        scheduler=parts.flow(use_dynamic_shifting=distilled, shift=3.0 if distilled else 1.0),
        vae=parts.vae(shift=0.1159),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=encoder_2,
        tokenizer_2=tokenizer_2,
    )


def _pixart() -> Any:
    encoder, tokenizer = parts.t5()
    transformer = of("diffusers").PixArtTransformer2DModel(
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
    return of("diffusers").PixArtSigmaPipeline(
        transformer=transformer, text_encoder=encoder, tokenizer=tokenizer, vae=parts.vae(), scheduler=parts.scheduler()
    )


def _sana() -> Any:
    encoder, tokenizer = parts.gemma()
    transformer = of("diffusers").SanaTransformer2DModel(
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
    vae = of("diffusers").AutoencoderDC(
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
    return of("diffusers").SanaPipeline(
        transformer=transformer,
        text_encoder=encoder,
        tokenizer=tokenizer,
        vae=vae,
        scheduler=parts.flow(shift=3.0),
    )


def _wan() -> Any:
    encoder, tokenizer = parts.t5(kind="UMT5")
    transformer = of("diffusers").WanTransformer3DModel(
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
    vae = of("diffusers").AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    return of("diffusers").WanPipeline(
        transformer=transformer,
        text_encoder=encoder,
        tokenizer=tokenizer,
        vae=vae,
        scheduler=parts.flow(shift=3.0),
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
