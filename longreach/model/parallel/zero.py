"""Every process holds a part of the moments (ZeRO 1), of gradients too (ZeRO 2), of weights too (ZeRO 3): DeepSpeed.

The engine is driven directly. What accelerate and transformers add is what is not exact: a loss that is averaged by
process, and checkpoints that go on with the same number of processes only. Under bfloat16 the weights are bfloat16
beside a float32 copy, which is what is trained and saved; gradients are added up in float32. ZeRO 1 sends them once a
step, as they were added up; ZeRO 2 and 3 with each micro-batch, in its precision.

DeepSpeed keeps some of this to itself. Whatever is reached for beyond its interface is a method of `_Shards`, was read
in 0.19.8, and is held by the tests of gradients and of going on.
"""

import contextlib
import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.utils import combine_grad_norm_groups, get_global_norm_of_tensors
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from deepspeed.runtime.zero.parameter_offload import FWD_MODULE_STACK
from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_grad,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from pydantic import ValidationError
from torch import distributed, nn
from torch.optim import AdamW

from longreach.errors import UserError
from longreach.model.parallel.engine import MOMENTS, STEP, Named, saved, trained
from longreach.model.processes import device
from longreach.ranks import rank, world

OLD_NAMES = r"`torch\.distributed\.\w+` is deprecated"  # that DeepSpeed 0.19 calls in every step
MOMENTS_ONLY, WEIGHTS = 1, 3  # the stage that shards nothing else, and the one that shards weights


class Zero:
    """`section` is the "zero_optimization" of a DeepSpeed configuration."""

    def __init__(self, section: Mapping[str, Any], *, half: bool, clip: float) -> None:
        _require_readable(section)
        warnings.filterwarnings("ignore", OLD_NAMES, FutureWarning)  # else they bury the lines of the steps
        self._half, self._weights_too = half, section["stage"] == WEIGHTS
        self._settings = {
            "zero_optimization": dict(section),
            "bf16": {"enabled": half},
            "data_types": {"grad_accum_dtype": "fp32"},
            "gradient_clipping": clip,
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,  # `micro_batch` says where a step ends
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": None,
        }
        if section["stage"] == MOMENTS_ONLY:  # its sums are whole: they take each gradient at once, and go as they are
            self._settings["bf16"] = {"enabled": half, "immediate_grad_update": True}
            self._settings["communication_data_type"] = "fp32"

    def place(self, model: Any, device: torch.device) -> None:
        """The first process keeps the weights, which DeepSpeed sends to the others: they need but the room for them."""
        self._exact = {name: each.detach() for name, each in trained(model)} if self._half and rank() == 0 else {}
        for each in model.parameters():  # not the frequencies of RoPE, which are buffers
            dtype = torch.bfloat16 if self._half else each.dtype
            each.data = each.data.to(dtype) if rank() == 0 else torch.empty_like(each.data, dtype=dtype)

    def prepare(self, model: Any, optimizer: Callable[[], Any]) -> tuple[nn.Module, Any]:
        with contextlib.redirect_stdout(io.StringIO()):  # ZeRO 1 prints what memory it takes, line by line
            self._begin(model, optimizer)
        self._shards = _Shards(self._engine.optimizer, self.stepped, sharded_weights=self._weights_too)
        self._shards.begin_moments()
        if self._half:
            self._take_exact()
        return self._engine, Stepper(self._engine, self.stepped)

    def _begin(self, model: Any, optimizer: Callable[[], Any]) -> None:
        """Have DeepSpeed shard it."""
        deepspeed.init_distributed("nccl" if device().type == "cuda" else "gloo", verbose=False)
        if self._weights_too:
            deepspeed.zero.Init(module=model, config_dict_or_path=self._settings, dtype=next(model.parameters()).dtype)
        self.model, self.stepped = model, Patient(optimizer())
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=self.stepped, config=self._settings)

    def _take_exact(self) -> None:
        """This process' part of each weight in float32, which the first one has, sent whole."""
        for name, parameter in trained(self.model):
            shape = getattr(parameter, "ds_shape", parameter.shape)
            whole = self._exact.pop(name).to(device()) if self._exact else torch.empty(shape, device=device())
            distributed.broadcast(whole, 0)
            self._shards.set(parameter, whole)

    @contextlib.contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        self._engine.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: torch.Tensor) -> None:
        self._engine.backward(loss, scale_wrt_gas=False)

    def clip(self, largest: float) -> float:
        """DeepSpeed clips as it steps, to what the settings say."""
        return self._shards.gradient_norm()

    def leave_out(self) -> None:
        self.stepped.waits = True

    def gradients(self) -> Named:
        return ((name, safe_get_full_grad(each).cpu()) for name, each in trained(self.model))

    def weights(self) -> Named:
        for name, each in saved(self.model):
            whole = safe_get_full_fp32_param(each) if each.requires_grad else None
            if whole is not None:
                yield name, whole.cpu()
                continue
            with deepspeed.zero.GatheredParameters([each], enabled=hasattr(each, "ds_id")):
                yield name, each.detach().cpu().clone()

    def moments(self) -> Named:
        for name, parameter in trained(self.model):
            for moment in MOMENTS:
                yield f"{moment}.{name}", safe_get_full_optimizer_state(parameter, moment).cpu()
        yield STEP, self._shards.steps()

    def restore(self, moments: Mapping[str, torch.Tensor]) -> None:
        self._shards.begin_moments(moments[STEP])
        for name, parameter in trained(self.model):
            for moment in MOMENTS:
                self._shards.set(parameter, moments[f"{moment}.{name}"], moment)

    def release(self) -> None:
        self._engine.destroy()
        _forget_modules()


def _require_readable(section: Mapping[str, Any]) -> None:
    """UserError where DeepSpeed could not take a value as it is."""
    try:
        DeepSpeedZeroConfig(**section)
    except ValidationError as error:
        problems = [
            f"zero_optimization.{'.'.join(map(str, each['loc']))} is {each['input']!r}: {each['msg']}"
            for each in error.errors()
        ]
        raise UserError("\n".join(problems), "this is what DeepSpeed says of the file of --deepspeed") from error


class Patient(AdamW):  # type: ignore[misc]
    """AdamW that can be told to let one step go by: DeepSpeed then clears up as it always does."""

    def __init__(self, like: Any) -> None:
        super().__init__(like.param_groups, **{name: like.defaults[name] for name in ("lr", "betas", "eps", "fused")})
        self.waits = False

    def step(self, closure: Any = None) -> None:
        if not self.waits:
            super().step(closure)


class Stepper:
    """What the trainer takes for the optimizer: its step is the engine's."""

    def __init__(self, engine: Any, inner: Patient) -> None:
        self._engine, self._inner = engine, inner
        self.param_groups = inner.param_groups

    def step(self) -> None:
        """Apply the gradients, clipped, or clear them away."""
        self._engine.step()
        self._inner.waits = False


def _forget_modules() -> None:
    """DeepSpeed 0.19.8 keeps those of every model that it ever sharded: in a list, and in the cache of a method."""
    FWD_MODULE_STACK.clear()
    cached = vars(PartitionedParameterCoordinator)["_PartitionedParameterCoordinator__params_to_release"]
    inspect.getclosurevars(cached).nonlocals["func"].cache_clear()


class _Shards:
    """The flat parts of this process that DeepSpeed's optimizer keeps, which `inner` steps."""

    def __init__(self, optimizer: Any, inner: Patient, *, sharded_weights: bool) -> None:
        self._optimizer, self._inner, self._sharded_weights = optimizer, inner, sharded_weights
        self._sums_whole = isinstance(optimizer, BF16_Optimizer)  # of ZeRO 1 in bfloat16

    @property
    def _flat(self) -> list[torch.Tensor]:
        if self._sharded_weights:
            return list(self._optimizer.fp32_partitioned_groups_flat)
        if self._sums_whole:
            return list(self._optimizer.fp32_groups_flat_partition)
        return list(self._optimizer.single_partition_of_fp32_groups)

    def begin_moments(self, step: torch.Tensor | None = None) -> None:
        """Make them before the first step does, so that they can be set and a first step be left out."""
        for part in self._flat:
            count = torch.zeros((), device=part.device) if step is None else step.to(part.device, copy=True)
            self._inner.state[part] = {STEP: count, **{name: torch.zeros_like(part) for name in MOMENTS}}
        if not self._sharded_weights:
            self._optimizer._hp_optimizer_states_linked = False
            self._optimizer._lazy_init_hp_params_optimizer_state()

    def steps(self) -> torch.Tensor:
        """That the moments are of."""
        return torch.stack([self._inner.state[part][STEP].cpu() for part in self._flat]).max()

    def gradient_norm(self) -> float:
        """Before clipping; nan where it is none, for which DeepSpeed says -1."""
        if self._sharded_weights:
            norm = float(combine_grad_norm_groups(self._optimizer._get_norm_groups()))
        elif self._sums_whole:
            self._count_all()
            norm = float(get_global_norm_of_tensors(self._optimizer.get_grads_for_norm()[0]))
        else:
            norm = float(self._optimizer.scaled_global_norm())
        return norm if norm >= 0 else float("nan")

    def _count_all(self) -> None:
        """Sums that are sent have what others had of a weight, also where this process had nothing of it."""
        self._optimizer.fp32_groups_has_gradients = [[True] * len(each) for each in self._optimizer.bf16_groups]

    def set(self, parameter: Any, whole: torch.Tensor, moment: str | None = None) -> None:
        """This process' part of a weight, or of one of its moments."""
        whole = whole.to(parameter.device, torch.float32)
        if not self._sharded_weights:
            whole = whole.view(parameter.shape)
            if moment:
                safe_set_full_optimizer_state(parameter, whole, moment)
            else:
                safe_set_full_fp32_param(parameter, whole)
            return
        part = parameter.ds_tensor.ds_numel  # the last process' is filled up with zeros
        filled = nn.functional.pad(whole.flatten(), (0, part * world() - whole.numel()))
        mine = filled[part * rank() : part * (rank() + 1)]
        if moment:
            safe_set_local_optimizer_state(parameter, mine, moment)
        else:
            safe_set_local_fp32_param(parameter, mine)
