"""Parts of the random pipelines of `tiny`: text encoders with tokenizers of letters, an autoencoder, a UNet, levels."""

import string
from importlib import import_module
from typing import Any

LETTERS = string.ascii_lowercase + string.digits + " .,"


def of(library: str) -> Any:
    """diffusers or transformers; what they export is typed in part."""
    return import_module(library)


def clip(projected: bool = False, size: int = 16) -> tuple[Any, Any]:
    """A text encoder of CLIP and its tokenizer of letters."""
    ends = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    vocab = ends | {piece: i + 2 for i, piece in enumerate([*LETTERS, *(f"{letter}</w>" for letter in LETTERS)])}
    config = of("transformers").CLIPTextConfig(
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
    tokenizer = of("transformers").CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)
    kind = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return getattr(of("transformers"), kind)(config), tokenizer


def t5(size: int = 16, kind: str = "T5") -> tuple[Any, Any]:
    """An encoder of T5 (or UMT5) and its tokenizer of letters."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    config = getattr(of("transformers"), f"{kind}Config")(
        d_model=size, d_kv=8, d_ff=16, num_layers=2, num_heads=2, vocab_size=len(vocab)
    )
    tokenizer = of("transformers").T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
    return getattr(of("transformers"), f"{kind}EncoderModel")(config), tokenizer


def gemma() -> tuple[Any, Any]:
    """A language model and its tokenizer of letters."""
    vocab = {token: i for i, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *LETTERS])}
    config = of("transformers").Gemma2Config(
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1,
        head_dim=8,
        vocab_size=len(vocab),
        sliding_window=2,
    )
    return of("transformers").Gemma2Model(config), of("transformers").GemmaTokenizer(vocab=vocab, merges=[])


def vae(channels: int = 4, shift: float | None = None) -> Any:
    """At half of a picture's height and width."""
    return of("diffusers").AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        scaling_factor=0.18215 if shift is None else 1.5305,
        shift_factor=shift,
    )


def unet(**told: Any) -> Any:
    """Two levels, the lower of which attends to the prompt."""
    return of("diffusers").UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,
        **{"cross_attention_dim": 16, **told},
    )


def scheduler(prediction: str = "epsilon") -> Any:
    """The levels of Stable Diffusion."""
    return of("diffusers").DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",
    )


def flow(**shift: Any) -> Any:
    """The levels of a linear flow."""
    return of("diffusers").FlowMatchEulerDiscreteScheduler(**shift)
