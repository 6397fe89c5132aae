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

CHUNK = 2048
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

    def caches(
        self, prompts: Sequence[list[int]], room: int, closing: threading.Event
    ) -> tuple[DynamicCache, list[int]]:
        """One cache of all prompts but for their last tokens, padded on the left, with room for so many tokens more.

        And how much of each prompt was there already: prompts share most where they are sorted.
        """
        width = max(map(len, prompts)) - 1
        known: list[int] = []
        batch = DynamicCache(config=self._model.config)
        for row, prompt in enumerate(prompts):
            known.append(self._read(prompt[:-1], closing))
            if len(prompt) == 1:
                continue
            if not isinstance(batch.layers[0], Rows):
                batch.layers = [Rows(layer, len(prompts), width, room) for layer in self._cache.layers]
            for rows, layer in zip(batch.layers, self._cache.layers, strict=True):
                rows.keys[row, :, width + 1 - len(prompt) :] = layer.keys[0]
                rows.values[row, :, width + 1 - len(prompt) :] = layer.values[0]
        return batch, known

    def _read(self, tokens: list[int], closing: threading.Event) -> int:
        """Make the cache that of these tokens; returns how many of them it held."""
        known = common(self._tokens, tokens)
        self._cache.crop(known - len(self._tokens))
        self._tokens = self._tokens[:known]
        for start in range(known, len(tokens), CHUNK):
            if closing.is_set():
                raise RequestFailed("closed")
            chunk = torch.tensor([tokens[start : start + CHUNK]], device=self._model.device)
            with torch.no_grad():
                self._model.base_model(chunk, past_key_values=self._cache, use_cache=True)
            self._tokens += tokens[start : start + CHUNK]
        return known


class Rows(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """A layer's keys and values of padded rows. What comes is written into the room: a stock layer copies all of it."""

    def __init__(self, like: DynamicLayer, rows: int, width: int, room: int) -> None:
        super().__init__()
        self.lazy_initialization(like.keys, like.values)
        self._whole = [
            part.new_zeros(rows, part.shape[1], width + room, part.shape[3]) for part in (like.keys, like.values)
        ]
        self._show(width)

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Put them behind what is there; all of it."""
        start, end = self.keys.shape[-2], self.keys.shape[-2] + keys.shape[-2]
        for whole, part in zip(self._whole, (keys, values), strict=True):
            whole[:, :, start:end] = part
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self._whole = [whole[indices] for whole in self._whole]
        self._show(self.keys.shape[-2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (whole[:, :, :length] for whole in self._whole)


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
