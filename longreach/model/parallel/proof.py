"""The proof that a model whose rows several processes share computes what it does with whole rows."""

from typing import Any

import numpy as np
import torch

from longreach.errors import UserError
from longreach.model.batches import TrainRow, collate
from longreach.model.parallel.sequence import sharing
from longreach.model.parallel.share import own_part
from longreach.model.processes import summed, team

LENGTHS = (45, 38)  # of two documents: no whole number of parts, and each lies in several


def check_sharing(model: Any, device: torch.device, *, half: bool) -> None:
    """UserError where the losses of the parts are not those of the row. All processes call it together."""
    if team().degree == 1:
        return
    batch = {name: tensor.to(device) for name, tensor in collate([_probe(model)]).items()}
    part, shared = own_part(batch)
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        whole = _summed_loss(model, batch)
        with sharing(shared):
            parts = _summed_loss(model, part)
    model.train(was_training)
    together = summed([parts], device)[0] / team().count
    if not abs(together - whole) <= (1e-2 if half else 1e-5) * abs(whole):
        raise UserError(
            f"{type(model).__name__} gives another loss where {team().degree} processes share a row: "
            f"{together:.6g}, not {whole:.6g}",
            "some layer other than attention looks at the whole row: leave out --sequence-parallel",
        )


def _probe(model: Any) -> TrainRow:
    ends = np.cumsum(LENGTHS)
    weights = np.linspace(0.5, 1.5, ends[-1], dtype=np.float32)  # a token in another's place shows
    weights[ends - LENGTHS] = 0
    tokens = np.arange(ends[-1]) * 7 % model.config.get_text_config().vocab_size
    return TrainRow(tokens, np.array(LENGTHS, np.int32), weights)


def _summed_loss(model: Any, batch: dict[str, torch.Tensor]) -> float:
    return float(model(**batch, use_cache=False).loss)
