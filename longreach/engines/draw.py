"""A temperature, a top_p and a seed for each row of a batch, where `transformers.generate` knows one for all of them.

The greedy choice is kept and its scores are changed: the largest of log-probabilities plus Gumbel noise is an exact
draw from them, and noise of the row's own generator makes a draw repeat whatever the other rows are. Costs a pass over
the vocabulary per row and token.
"""

from collections.abc import Sequence

import torch

from longreach.engines.base import Sampling


class Draw:
    """A logits processor: the largest of the scores it returns is the token drawn. Greedy rows stay as they are."""

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        self._rows = [(sampling, torch.Generator().manual_seed(sampling.seed)) for sampling in samplings]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._rows = [self._rows[row] for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = scores.clone()
        for row, (sampling, generator) in enumerate(self._rows):
            if not sampling.temperature:
                continue
            logprobs = torch.log_softmax(scores[row].float() / sampling.temperature, dim=-1)
            noise = torch.empty(logprobs.shape).exponential_(generator=generator).log().neg()
            drawn[row] = nucleus(logprobs, sampling.top_p) + noise.to(scores.device)
        return drawn


def nucleus(logprobs: torch.Tensor, top_p: float) -> torch.Tensor:
    """The log-probabilities with all but the likeliest tokens that make up `top_p` set to minus infinity."""
    if top_p >= 1:
        return logprobs
    ranked, order = logprobs.sort(descending=True)
    likelier = ranked.exp().cumsum(dim=-1) - ranked.exp()
    return logprobs.masked_fill((likelier >= top_p)[order.argsort()], -torch.inf)
