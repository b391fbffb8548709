"""Tiny language models with random weights and a tokenizer of bytes, made on the spot."""

from pathlib import Path

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def saved(folder: Path) -> dict[str, str]:
    """Directories by what is in them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        LlamaForTokenClassification,
        PreTrainedTokenizerFast,
    )

    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, pad_token_id=tokenizer.pad_token_id, num_labels=2,
        initializer_range=0.5,
    )  # fmt: skip
    out: dict[str, str] = {}
    kinds = {
        "classifier": LlamaForSequenceClassification,
        "steps": LlamaForTokenClassification,
        "language": LlamaForCausalLM,
    }
    for name, kind in kinds.items():
        torch.manual_seed(0)
        net = kind(config)
        net.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        out[name] = str(folder / name)
    return out
