"""The proof that a model keeps the documents of a row apart, whatever attention and layers it has."""

from typing import Any

import torch

from longreach.errors import UserError
from longreach.model.causal import language_model

FIRST, SECOND = 24, 40  # tokens of the two documents


def check_isolation(model: Any) -> None:
    """UserError where another first document changes what the model makes of the second one in its row.

    A model that stands on a GPU already, as one of 4 bits does, is proven with the kernels of half precision.
    """
    inside = language_model(model)
    words = inside.get_input_embeddings().weight
    tokens = torch.arange(FIRST + SECOND, device=words.device)[None] % len(words)
    positions = torch.cat([torch.arange(FIRST), torch.arange(SECOND)])[None].to(words.device)
    other = torch.cat([tokens[:, :FIRST].flip(1), tokens[:, FIRST:]], 1)
    was_training = inside.training
    inside.eval()
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=words.is_cuda):
        one, two = (
            inside.get_decoder()(input_ids=row, position_ids=positions, use_cache=False).last_hidden_state[:, FIRST:]
            for row in (tokens, other)
        )
    inside.train(was_training)
    tolerance = 1e-5 if one.dtype == torch.float32 and not words.is_cuda else 1e-2
    if bool((one - two).abs().max() > tolerance * one.abs().max()):
        raise UserError(
            f"{type(inside).__name__} lets the documents of a row see each other",
            "a layer is no attention, or not the chosen one; --attend-across-documents trains the model as it is",
        )
