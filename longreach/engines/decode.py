"""A batch decoded token by token, in rounds: once half of its rows have ended, the others go on without them.

Rows end at lengths of their own, and those that have ended would cost as much as the others until the last one does.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig

from longreach.engines.base import Sampling
from longreach.engines.draw import Draw
from longreach.engines.ends import Ends


def decode(
    model: Any,
    tokenizer: Any,
    stops: frozenset[int],
    prompts: Sequence[list[int]],
    samplings: Sequence[Sampling],
    budgets: Sequence[int],
    cache: DynamicCache | None,
    closing: threading.Event,
) -> list[list[int]]:
    """The new tokens of each row, with the stop token that ended it; `cache` holds all but the last of each prompt.

    Without a cache there is one round: nothing would be left of it for a next one.
    """
    tokens, real = _padded(prompts, min(stops), model.device)
    width, draw, rows = tokens.shape[1], Draw(samplings), list(range(len(prompts)))
    answers: list[list[int]] = [[] for _ in prompts]
    while rows:
        limits, strings = [budgets[row] for row in rows], [samplings[row].stop for row in rows]
        enough = len(rows) if cache is None else (len(rows) + 1) // 2
        ends = Ends(tokenizer, stops, width, limits, strings, closing, enough=enough)
        settings = GenerationConfig(do_sample=False, max_length=width + max(limits), pad_token_id=min(stops))
        tokens = model.generate(
            tokens,
            attention_mask=real,
            past_key_values=cache,
            generation_config=settings,
            logits_processor=[draw],
            stopping_criteria=[ends],
        )
        for place, row in enumerate(rows):
            answers[row] = tokens[place, width : width + ends.lengths[place]].tolist()
        going = [] if closing.is_set() else [place for place, length in enumerate(ends.lengths) if length > ends.new]
        rows = [rows[place] for place in going]
        tokens = tokens[going]
        real = torch.cat([real[going], real.new_ones(len(rows), tokens.shape[1] - real.shape[1])], dim=1)
        draw.keep(going)
        if cache is not None and rows:
            cache.batch_select_indices(torch.tensor(going, device=model.device))
    return answers


def _padded(prompts: Sequence[list[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [rows, width], and 1 where they are a prompt's."""
    width = max(map(len, prompts))
    tokens = [[padding] * (width - len(prompt)) + prompt for prompt in prompts]
    real = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens, device=device), torch.tensor(real, device=device)
