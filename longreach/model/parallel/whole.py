"""Every process holds the whole model: one alone, or several that average their gradients (PyTorch's DDP)."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from longreach.model.parallel.engine import MOMENTS, STEP, Named, begin_moments, saved, trained
from longreach.ranks import world


class Whole:
    """Gradients are averaged in the last micro-batch of a step."""

    def place(self, model: Any, device: torch.device) -> None:
        """The trainer moves it."""

    def prepare(self, model: Any, optimizer: Callable[[], Any]) -> tuple[nn.Module, Any]:
        self.model = self.called = model
        if world() > 1:  # gradients lie in the buckets that are sent: 4 bytes a parameter less
            self.called = DistributedDataParallel(model, gradient_as_bucket_view=True)
        self.stepped = optimizer()
        begin_moments(self.stepped)
        return self.called, self.stepped

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last or world() == 1 else self.called.no_sync()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def clip(self, largest: float) -> float:
        return float(clip_grad_norm_(self.model.parameters(), largest))

    def leave_out(self) -> None:
        self.model.zero_grad(set_to_none=True)  # the optimizer passes over what has no gradient

    def gradients(self) -> Named:
        return ((name, each.grad.cpu()) for name, each in trained(self.model))

    def weights(self) -> Named:
        return ((name, each.detach().cpu()) for name, each in saved(self.model))

    def moments(self) -> Named:
        state = self.stepped.state
        for name, parameter in trained(self.model):
            yield from ((f"{moment}.{name}", state[parameter][moment].cpu()) for moment in MOMENTS)
        yield STEP, torch.stack([each[STEP].cpu() for each in state.values()]).max()

    def restore(self, moments: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in trained(self.model):
            found = {moment: moments[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
            self.stepped.state[parameter] = {STEP: moments[STEP].to(parameter.device), **found}

    def release(self) -> None:
        """PyTorch keeps nothing."""
