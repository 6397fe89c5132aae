"""What a trainer asks of the engine that lays a model out over the processes of a run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from accelerate.utils import is_peft_model
from torch import nn

Named = Iterator[tuple[str, torch.Tensor]]
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
STEP = "step"  # how many steps they are the average of


class Engine(Protocol):
    """One for each leg of a run. All processes call its methods together.

    `backward` is given this process' part of the step's loss times the number of processes, since every engine averages
    the gradients of the processes. Moments are named "exp_avg.NAME", "exp_avg_sq.NAME" and "step".
    """

    stepped: torch.optim.Optimizer  # whose learning rates count

    def place(self, model: Any, device: torch.device) -> None:
        """Take this process' part of a model whose weights are all there, or what it needs to be given one.

        Where the mode shards, the processes of a machine do this one after the other, the first one last.
        """

    def prepare(self, model: Any, optimizer: Callable[[], Any]) -> tuple[nn.Module, Any]:
        """The placed model as training calls it, and what steps it, made of `optimizer()`."""

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around the passes of a micro-batch; `last` is the last one of the step."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a micro-batch."""

    def clip(self, largest: float) -> float:
        """The norm of the step's gradient; from here on it is no larger than `largest` (inf: as it is)."""

    def leave_out(self) -> None:
        """Let the step under way change neither weights nor moments."""

    def gradients(self) -> Named:
        """Of the step, whole, before it is applied."""

    def weights(self) -> Named:
        """Every weight that a checkpoint holds, whole; in float32 what is trained."""

    def moments(self) -> Named:
        """The state of the optimizer, whole."""

    def restore(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Take up what `moments` of any engine gave, with any number of processes."""

    def release(self) -> None:
        """Training is over: nothing but the caller holds the model any more."""


def saved(model: Any) -> Named:
    """What a checkpoint holds, where it lies: of an adapter all that is trained, by every name that it has."""
    if is_peft_model(model):
        named = model.named_parameters(remove_duplicate=False)
        yield from ((name, each) for name, each in named if each.requires_grad)
        return
    yield from model.named_parameters()
    persistent = model.state_dict().keys() - {name for name, _ in model.named_parameters(remove_duplicate=False)}
    yield from ((name, each) for name, each in model.named_buffers() if name in persistent)


def begin_moments(optimizer: torch.optim.Optimizer) -> None:
    """Make them before the first step does: it may be left out, and still there is a checkpoint after it."""
    for parameter in (each for group in optimizer.param_groups for each in group["params"]):
        moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
        optimizer.state[parameter] = {STEP: torch.zeros((), device=parameter.device), **moments}


def trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What the optimizer changes."""
    return ((name, each) for name, each in model.named_parameters() if each.requires_grad)
