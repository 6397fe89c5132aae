"""Every process holds a part of each weight, its gradient and its moments: PyTorch's `fully_shard` (FSDP2).

It is called here rather than through accelerate, which on a CPU trains by DDP instead and says nothing. Weights stay in
float32; under bfloat16 they are gathered and computed with in bfloat16, and gradients are reduced in float32. They are
reduced in every micro-batch: to keep them whole until the last one would take the memory that sharding saves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grad_norm_

from longreach.model.causal import language_model
from longreach.model.parallel.engine import MOMENTS, STEP, Named, begin_moments, saved, trained
from longreach.ranks import world


class FullyShard:
    """Blocks are gathered one by one; with `reshard` once more in the backward pass, else kept until then."""

    def __init__(self, *, reshard: bool, half: bool) -> None:
        self._reshard = reshard
        # weights of tokens are inputs, too: rounding them is not asked for
        self._precision = MixedPrecisionPolicy(
            torch.bfloat16 if half else None, torch.float32 if half else None, cast_forward_inputs=False
        )

    def place(self, model: Any, device: torch.device) -> None:
        mesh = init_device_mesh(device.type, (world(),))
        for part in (*_blocks(model), language_model(model)):  # of an adapter, too: generating calls it by itself
            fully_shard(part, mesh=mesh, reshard_after_forward=self._reshard, mp_policy=self._precision)

    def prepare(self, model: Any, optimizer: Callable[[], Any]) -> tuple[nn.Module, Any]:
        self.model, self.stepped = model, optimizer()
        begin_moments(self.stepped)
        return model, self.stepped

    def micro_batch(self, *, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def clip(self, largest: float) -> float:
        return float(_whole(clip_grad_norm_(self.model.parameters(), largest)))

    def leave_out(self) -> None:
        self.model.zero_grad(set_to_none=True)

    def gradients(self) -> Named:
        return ((name, _whole(each.grad)) for name, each in trained(self.model))

    def weights(self) -> Named:
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # what validation left whole has other parameters
        return ((name, _whole(each)) for name, each in saved(self.model))

    def moments(self) -> Named:
        state = self.stepped.state
        for name, parameter in trained(self.model):
            yield from ((f"{moment}.{name}", _whole(state[parameter][moment])) for moment in MOMENTS)
        yield STEP, torch.stack([_whole(each[STEP]) for each in state.values()]).max()

    def restore(self, moments: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in trained(self.model):
            whole = {moment: moments[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
            shards = {moment: _sharded_like(parameter, each) for moment, each in whole.items()}
            self.stepped.state[parameter] = {STEP: moments[STEP].to(parameter.device), **shards}

    def release(self) -> None:
        """PyTorch keeps nothing."""


def _blocks(model: Any) -> Iterator[nn.Module]:
    """The layers that the model's authors keep in one piece."""
    names = set(language_model(model)._no_split_modules or ())
    return (module for module in list(model.modules()) if type(module).__name__ in names)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()


def _sharded_like(parameter: Any, whole: torch.Tensor) -> torch.Tensor:
    """Every process has the whole: none needs to be sent its part."""
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
