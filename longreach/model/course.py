"""What happens around each step: is it applied, what is said about it, is it time to validate, save or stop.

All processes take the same decisions, since they go by numbers that were added up over all of them. Only the first one
writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState

from longreach.errors import UserError
from longreach.model.batches import called
from longreach.model.guard import Guard
from longreach.model.meter import Meter, step_line
from longreach.model.metrics import Metrics
from longreach.model.parallel.engine import Engine
from longreach.model.parts import part_figures
from longreach.model.processes import barrier, say, summed
from longreach.model.samples import Samples, sample_lines
from longreach.model.settings import BFLOAT16, TrainSettings
from longreach.model.signals import StopRequest
from longreach.model.stages import Leg
from longreach.model.validate import Validation, validation_line
from longreach.ranks import world

SKIPS_IN_A_ROW = 8  # then it is not the data


@dataclass(eq=False)
class Course(TrainerCallback):  # type: ignore[misc]
    """Follows the trainer through one leg. `metrics` is None in all processes but the first."""

    leg: Leg
    settings: TrainSettings
    guard: Guard
    meter: Meter
    stop: StopRequest
    validation: Validation
    samples: Samples | None
    engine: Engine
    metrics: Metrics | None
    step: int  # the last one that is over
    total: int  # steps of the run
    tokens: float  # trained on so far, in all stages
    losses: list[float] = field(default_factory=list)  # of the steps of this process' leg that were applied
    loss: float = 0.0
    gradient_norm: float = 0.0
    stopping: bool = False
    _learning_rate: float = 0.0
    _skipped: str = ""
    _skips: int = 0
    _step_tokens: float = 0.0
    _flops: float = 0.0
    _parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    # What the trainer tells

    def computed(self, loss: float, lengths: Sequence[int], device: torch.device, parts: Sequence[float]) -> None:
        """The backward passes of a step are over: add up what the processes know of it, `parts` as part_sums has it."""
        known = [loss, float(sum(lengths)), self.meter.flops(lengths), float(bool(self.stop.received)), *parts]
        self.loss, self._step_tokens, self._flops, asked, *of_parts = summed(known, device)
        self._parts = part_figures(self.leg.stage.batches.parts, of_parts)
        self.stopping = bool(asked)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Measure what the model can before the first step."""
        if not state.global_step:
            self.validate(parts["model"])
        self.meter.pause()

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """A bad step is left out: weights and moments stay as they were."""
        self._learning_rate = parts["optimizer"].param_groups[0]["lr"]
        self._skipped = self.guard.judge(self.loss, self.gradient_norm)
        self._skips = self._skips + 1 if self._skipped else 0
        if not self._skipped:
            return
        if not self.settings.skip_bad_batches:
            raise UserError(
                f"step {self.step + 1} was not applied: {self._skipped}. {self.where()}",
                "the last checkpoint is good; --skip-bad-batches leaves such steps out",
            )
        if self._skips > SKIPS_IN_A_ROW:
            raise UserError(
                f"{self._skips} steps in a row were bad, the last one {self.step + 1}: {self._skipped}",
                "this is not the data: lower the learning rate, or go on from an older checkpoint",
            )
        self.engine.leave_out()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Record the step, and tell the trainer what is due after it."""
        self.step = state.global_step
        self.tokens += self._step_tokens
        if not self._skipped:
            self.losses.append(self.loss)
        self._record()
        ended = self.step == self.leg.end
        control.should_evaluate = ended or _due(self.step, self.settings.validate_every)
        control.should_save = ended or self.stopping or _due(self.step, self.settings.save_every)
        control.should_training_stop = ended or self.stopping

    def validate(self, model: nn.Module) -> None:
        """Measure and record the held-out losses, and let the model answer."""
        found = self.validation.measure(model)
        if found and self.metrics:
            self.metrics.write({"step": self.step, "stage": self.leg.number, "validation": found})
            for name, figures in found.items():
                say(validation_line(self.step, name, figures))
        if self.samples:
            self._sample(model, self.samples)
        self.meter.pause()

    def _sample(self, model: nn.Module, samples: Samples) -> None:
        """The answers of the first process; the others wait, or help where the model is sharded."""
        if self.metrics or self.settings.mode.shards:
            half = self.settings.dtype == BFLOAT16
            with torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=half):
                found = samples.measure(model, together=self.settings.mode.shards)
        if self.metrics:
            self.metrics.write({"step": self.step, "stage": self.leg.number, **found})
            for line in sample_lines(self.step, found):
                say(line)
        barrier()

    # What it says

    def where(self) -> str:
        """Which data the step under way is made of."""
        step = self.step - self.leg.begin
        batches = self.leg.stage.batches
        items = [called(item) for item in batches.plan(step)]
        shown = ", ".join(items[:32]) + (f" and {len(items) - 32} more" if len(items) > 32 else "")
        return (
            f"Its batch begins at training position {batches.position(step)} of stage {self.leg.number}: rows {shown}"
        )

    def progress(self) -> dict[str, Any]:
        """What a checkpoint must know to go on, beside weights and optimizer."""
        return {
            "step": self.step,
            "stage": self.leg.number,
            "position": self.leg.stage.batches.position(self.step - self.leg.begin),
            "tokens": self.tokens,
            "losses": self.guard.losses,
            "processes": world(),
            "mode": self.settings.mode.name,
            "threads": torch.get_num_threads(),
        }

    def sync(self) -> None:
        """Put what was recorded onto the disk."""
        if self.metrics:
            self.metrics.sync()

    def _record(self) -> None:
        figures = self.meter.step(self._step_tokens, self._flops)
        line = {
            "step": self.step,
            "stage": self.leg.number,
            "loss": self.loss,
            **({"parts": self._parts} if self._parts else {}),
            "gradient_norm": self.gradient_norm,
            "learning_rate": self._learning_rate,
            "tokens": self.tokens,
            "position": self.leg.stage.batches.position(self.step - self.leg.begin),
            **({"skipped": self._skipped} if self._skipped else {}),
            "time": figures,
        }
        if self.metrics:
            self.metrics.write(line)
            say(step_line(line, self.total, self.meter.left(self.total - self.step)))


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
