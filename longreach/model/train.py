"""A whole training run: stage after stage, from the last whole checkpoint on, to the finished model.

Between two stages stands a checkpoint, and a stage begins by loading it, just as a run does that was killed: there is
one way to go on, whatever went before. The model is loaded anew with the RoPE of the stage and takes its weights, its
optimizer and its place on the learning-rate curve from the checkpoint.

Same folder, data, settings and number of processes and threads on a CPU: the same losses and weights to the last bit,
however often the run was killed. The number of processes may change in between; then sums differ by rounding.
"""

import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from longreach.errors import UserError
from longreach.model.causal import causal_loss
from longreach.model.checkpoint import is_whole, read_provenance, save_model
from longreach.model.course import Course
from longreach.model.guard import Guard
from longreach.model.meter import Meter
from longreach.model.metrics import METRICS, Metrics
from longreach.model.parallel.engine import Engine
from longreach.model.parallel.engines import engine_of
from longreach.model.parallel.mode import DDP
from longreach.model.preflight import check_batches, check_model, check_processes, check_room
from longreach.model.processes import barrier, device, in_turn, meet, said_of_others, say
from longreach.model.rope import Rope
from longreach.model.rotation import Checkpoints
from longreach.model.samples import Samples
from longreach.model.schedule import Schedule
from longreach.model.settings import BFLOAT16, TrainSettings
from longreach.model.signals import StopRequest
from longreach.model.stages import Leg, Stage, legs
from longreach.model.trainer import LongTrainer, load_weights
from longreach.model.validate import HeldOut, Validation
from longreach.ranks import rank, world


@dataclass(frozen=True)
class TrainReport:
    """How far a run came. `stopped_by` is the signal that ended it early (0: it is finished)."""

    folder: Path
    steps: int
    tokens: int
    losses: tuple[float, ...]  # of the steps that this call applied
    stopped_by: int = 0


def train(
    load: Callable[[Rope, int], Any],
    tokenizer: PreTrainedTokenizerBase,
    stages: Sequence[Stage],
    settings: TrainSettings,
    out: Path,
    provenance: Mapping[str, Any],
    validation: Mapping[str, HeldOut] | None = None,
    samples: Samples | None = None,
) -> TrainReport:
    """Train through all stages, from the last checkpoint in `out` on, and leave the finished model in `out`.

    `load(rope, seq_len)` gives the model as it is before the first step: float32 weights, on the CPU, attention
    "longreach", adapters added, its generation_config as the finished model shall have it. Weights of 4 bits are on
    the GPU already, where there is one. The model answers `samples` whenever it is validated. The caller holds the
    folder and has made sure that it belongs to these settings.
    """
    check_processes(settings.mode)
    meet(settings.mode.sequence)
    disable_progress_bar()  # of every file that transformers writes
    widest = max(stage.batches.seq_len for stage in stages)
    settings = replace(settings, micro_batch_tokens=settings.micro_batch_tokens or widest)
    checkpoints = Checkpoints(out, settings.keep_checkpoints)
    asked = samples if samples and samples.questions else None
    run = Run(load, tokenizer, legs(stages), settings, checkpoints, provenance, asked)
    if is_whole(out):
        say(f"{out} is finished already")
        return run.report(read_provenance(out)["training"])
    held_out = Validation(validation or {}, settings.validation_rows, settings.micro_batch_tokens, settings.mode.shards)
    for line in held_out.describe():
        say(f"validation on {line}")
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print and log: programs read the results on stdout
        return run.go(held_out)


@dataclass(frozen=True)
class Ended:
    """What is left of a stage when its model is gone."""

    progress: dict[str, Any]
    losses: list[float]
    early: bool  # it was asked to stop


@dataclass(frozen=True)
class Run:
    """What stays the same through all stages."""

    load: Callable[[Rope, int], Any]
    tokenizer: PreTrainedTokenizerBase
    legs: list[Leg]
    settings: TrainSettings
    checkpoints: Checkpoints
    provenance: Mapping[str, Any]
    samples: Samples | None

    @property
    def steps(self) -> int:
        """Of all stages."""
        return self.legs[-1].end

    def go(self, validation: Validation) -> TrainReport:
        """Train what is left."""
        progress = self._last_progress()
        losses: list[float] = []
        with StopRequest() as stop:
            for leg in self.legs:
                if progress.get("step", 0) >= leg.end:
                    continue
                ended = self._train(leg, progress, stop, validation)
                gc.collect()  # the model of this stage: there is no room for two
                progress, losses = ended.progress, losses + ended.losses
                if ended.early and progress["step"] < self.steps:
                    say(f"saved after step {progress['step']} of {self.steps}: the same command goes on from there")
                    return self.report(progress, losses, stop.received or signal.SIGTERM)
            self._finish()
        return self.report(progress, losses)

    def report(self, progress: Mapping[str, Any], losses: Sequence[float] = (), stopped_by: int = 0) -> TrainReport:
        """How far it is."""
        return TrainReport(
            self.checkpoints.folder, progress["step"], int(progress["tokens"]), tuple(losses), stopped_by
        )

    def _last_progress(self) -> dict[str, Any]:
        """What the last whole checkpoint knows; what is half written goes."""
        folder = self.checkpoints.folder
        if rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / METRICS).exists():
                self.checkpoints.refuse_foreign()
            for name in self.checkpoints.clean():
                say(f"{folder / name} was half written: removed")
        barrier()
        steps = self.checkpoints.steps()
        if not steps:
            return {}
        if steps[-1] > self.steps:
            raise UserError(f"{folder} has trained {steps[-1]} steps already, more than the {self.steps} asked for")
        progress: dict[str, Any] = read_provenance(self.checkpoints.path(steps[-1]))["training"]
        say(f"going on from {self.checkpoints.path(steps[-1])}: step {steps[-1]} of {self.steps} is done")
        for what, now in (("processes", world()), ("threads", torch.get_num_threads())):
            if progress[what] != now:
                say(f"it was trained by {progress[what]} {what}, now there are {now}: sums will differ by rounding")
        before, now = progress.get("mode", DDP), self.settings.mode.name  # which it was before there were others
        if before != now:
            say(f"it was trained by {before}, now by {now}: sums will differ by rounding")
        return progress

    def _train(self, leg: Leg, progress: Mapping[str, Any], stop: StopRequest, validation: Validation) -> Ended:
        """One stage, or what is left of it. Nothing of its model is left behind."""
        done = progress.get("step", 0)
        engine = engine_of(self.settings.mode, self.settings)
        model = in_turn(lambda: self._placed(leg, done, engine), one_by_one=self.settings.mode.shards)
        schedule = Schedule(
            self.settings.schedule, self.steps, self.settings.warmup_steps, self.settings.final_lr_share
        )
        trainer = LongTrainer(
            model, self.tokenizer, leg, done, self.settings, schedule, engine, self.checkpoints, self.provenance
        )
        recorded = Metrics(self.checkpoints.folder, done) if rank() == 0 else contextlib.nullcontext()
        with recorded as metrics:
            course = Course(
                leg=leg,
                settings=self.settings,
                guard=Guard(self.settings.spike_factor, progress["losses"] if done > leg.begin else ()),
                meter=Meter(model, trainer.args.device),
                stop=stop,
                validation=validation,
                samples=self.samples,
                engine=engine,
                metrics=metrics,
                step=done,
                total=self.steps,
                tokens=progress.get("tokens", 0.0),
            )
            trainer.follow(course)
            with said_of_others():
                trainer.train(resume_from_checkpoint=str(self.checkpoints.path(done)) if done else None)
        engine.release()
        return Ended(course.progress(), course.losses, course.stopping)

    def _placed(self, leg: Leg, done: int, engine: Engine) -> Any:
        """The model as it is after step `done`, checked, this process' part of it."""
        model = self._model(leg)
        check_batches(self.legs[leg.number - 1 :], model.config.get_text_config().vocab_size)
        check_model(model, leg)
        check_room(model, self.checkpoints.folder)
        if self.samples:
            self.samples.check(model.config.get_text_config().max_position_embeddings)
        if done:
            load_weights(model, self.checkpoints.path(done))
        engine.place(model, device())
        return model

    def _model(self, leg: Leg) -> Any:
        """The model as it is before the first step, with the RoPE of this stage and our loss."""
        torch.manual_seed(self.settings.seed)
        return causal_loss(self.load(leg.stage.rope, leg.stage.batches.seq_len))

    def _finish(self) -> None:
        """The finished model, from the last checkpoint."""
        if rank() == 0:
            last = self.checkpoints.path(self.steps)
            model = self._model(self.legs[-1])
            load_weights(model, last)
            if self.settings.dtype == BFLOAT16 and not is_peft_model(model):
                model = model.to(torch.bfloat16)
            provenance = read_provenance(last)
            del provenance["training"]["losses"]  # of use to a checkpoint alone
            save_model(model, self.tokenizer, self.checkpoints.folder, provenance)
            say(f"the model is in {self.checkpoints.folder}")
