"""A tiny random Llama on disk: what the engines, the trainer and the evaluation are tested against.

The weights are noise, so its text means nothing, yet everything around it is real: a byte-level BPE tokenizer, a chat
template, safetensors and a config that transformers and vLLM both load. Made in about a second, about 1 MB.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
SYLLABLES = ("ka", "lo", "mi", "ter", "von", "shu", "re", "bal", "din", "ough", "pra", "est")


def make_tiny_llama(
    folder: Path,
    *,
    window: int = 2048,
    layers: int = 2,
    vocabulary: int = 512,
    chat_template: str | None = CHAT_TEMPLATE,
) -> Path:
    """Write the checkpoint into `folder` and return it; equal arguments give equal weights."""
    tokenizer = tiny_tokenizer(vocabulary, window)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    tiny_model(tokenizer, window, layers).save_pretrained(folder)
    return folder


def tiny_tokenizer(vocabulary: int, window: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocabulary` entries, able to encode any text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(words(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        bos_token="<|begin|>",
        eos_token="<|end|>",
        model_max_length=window,
        clean_up_tokenization_spaces=False,
    )


def words() -> Iterator[str]:
    """Made-up words of one to three syllables, enough of them for a few hundred merges."""
    for first in SYLLABLES:
        yield f" {first}"
        for second in SYLLABLES:
            yield f" {first}{second}"
            yield from (f" {first}{second}{third}" for third in SYLLABLES)


def tiny_model(tokenizer: PreTrainedTokenizerFast, window: int, layers: int) -> LlamaForCausalLM:
    """A random model, its weights wide enough apart that greedy choices are never close."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=window,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config)
