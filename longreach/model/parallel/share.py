"""The part that this process has of the rows of its team."""

from collections.abc import Mapping

import torch

from longreach.model.parallel.sequence import SharedRows, part_of
from longreach.model.processes import team


def own_part(batch: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], SharedRows | None]:
    """Of a micro-batch that all of the team have; with None, it is all of it."""
    mine = team()
    if mine.degree == 1:
        return dict(batch), None
    part, positions = part_of(batch, mine.place, mine.degree)
    return part, SharedRows(mine.group, mine.degree, positions)
