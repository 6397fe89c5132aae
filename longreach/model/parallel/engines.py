"""The engine of a mode."""

from longreach.model.parallel.engine import Engine
from longreach.model.parallel.fsdp import FullyShard
from longreach.model.parallel.mode import FSDP, ZERO, Mode
from longreach.model.parallel.whole import Whole
from longreach.model.settings import BFLOAT16, TrainSettings


def engine_of(mode: Mode, settings: TrainSettings) -> Engine:
    """A new one, for one leg of a run."""
    half = settings.dtype == BFLOAT16
    if mode.kind == FSDP:
        return FullyShard(reshard=mode.reshard, half=half)
    if mode.kind == ZERO:
        from longreach.model.parallel.zero import Zero  # DeepSpeed is an extra

        return Zero(mode.zero, half=half, clip=settings.clip)
    return Whole()
