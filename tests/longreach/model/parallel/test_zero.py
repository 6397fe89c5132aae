"""What a process holds of a model between reading it and sharing it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from longreach.model.parallel.zero import Zero

WIDE = 8_192


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell")
@pytest.mark.parametrize(("rank", "half", "share"), [(0, False, 1), (0, True, 1.5), (1, False, 0), (1, True, 0)])
def test_only_the_first_process_keeps_what_was_read(
    rank: int, half: bool, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of weights in float32; in half precision it has them in bfloat16 besides."""
    monkeypatch.setattr("longreach.model.parallel.zero.rank", lambda: rank)
    before, model = resident(), nn.Linear(WIDE, WIDE)
    engine = Zero({"stage": 3}, half=half, clip=0.0)
    engine.place(model, torch.device("cpu"))
    assert (resident() - before) / (4 * WIDE**2) == pytest.approx(share, abs=0.1)
    assert model.weight.dtype == (torch.bfloat16 if half else torch.float32)
    assert model.weight.shape == (WIDE, WIDE)
