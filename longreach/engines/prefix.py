"""What a model keeps of the text it read last, so that a prompt that begins alike is only read from there on.

The keys and values of the shared beginning are the very same tensors, so nothing becomes less exact. That holds for
models whose cache can be cut back without a trace: not for those that keep a sliding window or a state, nor for a RoPE
that depends on how long the text becomes. Costs the memory of one prompt beside the batch.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from longreach.engines.base import RequestFailed

CHUNK = 2048  # tokens that are read at once: an attention mask is this wide times the prompt
_ROPE_BY_LENGTH = ("dynamic", "longrope")


class Prefix:
    """The tokens that a model read last, and its cache of them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.forget()

    def forget(self) -> None:
        """Begin again with nothing."""
        self._tokens: list[int] = []
        self._cache = DynamicCache(config=self._model.config)

    def rewind(self) -> None:
        """Take out what was put in behind the tokens."""
        self._cache.crop(len(self._tokens) - self._cache.get_seq_length())

    def caches(self, prompts: Sequence[list[int]], closing: threading.Event) -> tuple[DynamicCache, list[int]]:
        """One cache of all prompts but for their last tokens, padded on the left; how much of each was there already.

        Prompts share most where they are sorted. That of a single prompt is this cache itself: `rewind` it.
        """
        if len(prompts) == 1:
            return self._cache, [self._read(prompts[0][:-1], closing)]
        width = max(map(len, prompts)) - 1
        known: list[int] = []
        padded: list[tuple[torch.Tensor, ...]] = []
        for row, prompt in enumerate(prompts):
            known.append(self._read(prompt[:-1], closing))
            if len(prompt) == 1:
                continue
            layers = [(layer.keys, layer.values) for layer in self._cache.layers]
            padded = padded or [tuple(_zeros(part, len(prompts), width) for part in layer) for layer in layers]
            for target, source in zip(sum(padded, ()), sum(layers, ()), strict=True):
                target[row, :, width + 1 - len(prompt) :] = source[0]
        return DynamicCache(padded, config=self._model.config), known

    def _read(self, tokens: list[int], closing: threading.Event) -> int:
        """Make the cache that of these tokens; returns how many of them it held."""
        known = common(self._tokens, tokens)
        self._tokens = self._tokens[:known]
        self.rewind()
        for start in range(known, len(tokens), CHUNK):
            if closing.is_set():
                raise RequestFailed("closed")
            chunk = torch.tensor([tokens[start : start + CHUNK]], device=self._model.device)
            with torch.no_grad():
                self._model.base_model(chunk, past_key_values=self._cache, use_cache=True)
            self._tokens += tokens[start : start + CHUNK]
        return known


def shareable(model: Any) -> bool:
    """Whether what the model keeps of a text can be cut back to any beginning of it."""
    config = model.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        model._supports_default_dynamic_cache()
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
        and rope.get("rope_type") not in _ROPE_BY_LENGTH
    )


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common from their beginnings on."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _zeros(part: torch.Tensor, rows: int, width: int) -> torch.Tensor:
    return part.new_zeros(rows, part.shape[1], width, part.shape[3])
