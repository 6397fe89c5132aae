"""One stage of training, on TRL's SFTTrainer: what a step computes, where it starts and what a checkpoint holds.

The trainer sees one batch per optimizer step, a StepBatch, and the micro-batches within it are run here. So the loss is
a sum over the weight of the whole step, over all processes and micro-batches, and its gradient is the same however the
step is cut. All random numbers of a step follow from seed, step and process: nothing of them needs saving.

What is overridden beyond the public methods of transformers 5.19: `_prepare_for_training`, `_move_model_to_device`,
`_clip_grad_norm` and `_get_grad_norm` (by the engine, not by accelerate), `_save_checkpoint` and
`_load_from_checkpoint` (whole or not at all), `_send_telemetry` (nothing is sent anywhere).
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase, PrinterCallback
from transformers.trainer import TRAINER_STATE_NAME
from trl import SFTConfig, SFTTrainer

from longreach.errors import UserError
from longreach.model.batches import EMPTY, StepBatch, collate, step_batch
from longreach.model.checkpoint import write_weights
from longreach.model.course import Course
from longreach.model.parallel.engine import Engine
from longreach.model.parallel.moments import Moments, write_moments
from longreach.model.parallel.proof import check_sharing
from longreach.model.parallel.sequence import sharing
from longreach.model.parallel.share import own_part
from longreach.model.parts import part_sums
from longreach.model.processes import most, summed, team
from longreach.model.rotation import Checkpoints
from longreach.model.schedule import Schedule
from longreach.model.settings import BFLOAT16, TrainSettings
from longreach.model.stages import Leg
from longreach.ranks import rank, world


class LongTrainer(SFTTrainer):  # type: ignore[misc] # TRL has no types
    """Trains a model through one leg, the step `done` + 1 first."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the weight of the whole step

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        leg: Leg,
        done: int,
        settings: TrainSettings,
        schedule: Schedule,
        engine: Engine,
        checkpoints: Checkpoints,
        provenance: Mapping[str, Any],
    ) -> None:
        self._engine, self._settings = engine, settings
        with kept_in_float32(model):
            super().__init__(
                model=model,
                args=trainer_arguments(model, leg, settings, checkpoints.folder),
                train_dataset=Dataset.from_dict({"input_ids": [[0]]}),  # TRL insists on one; get_train_dataloader feeds
                data_collator=list,
                processing_class=tokenizer,
            )
        self.remove_callback(PrinterCallback)
        self.processing_class = None  # the trainer would rewrite the base's special tokens by it
        self._tokenizer_to_save = tokenizer
        self._leg, self._done, self._schedule = leg, done, schedule
        self._checkpoints, self._provenance = checkpoints, provenance

    def follow(self, course: Course) -> None:
        """Let `course` judge and record every step, and say when to validate, save and stop."""
        self._course = course
        self.add_callback(course)

    # How the model lies over the processes

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        """An engine that shards it places the parts."""
        if not self._settings.mode.shards:
            super()._move_model_to_device(model, device)

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Iterator[StepBatch], resume_from_checkpoint: str | None
    ) -> tuple[nn.Module, Iterator[StepBatch]]:
        """By the engine, where transformers would ask accelerate."""
        if not self._settings.mode.shards:  # else the weights themselves are in half precision
            self.accelerator.prepare_model(self.model, device_placement=False, evaluation_mode=True)  # autocast
        self.model_wrapped, self.optimizer = self._engine.prepare(self.model, self.create_optimizer)
        self.create_scheduler(max_steps)
        check_sharing(self.model, self.args.device, half=self._settings.dtype == BFLOAT16)
        if resume_from_checkpoint is not None:
            self._engine.restore(Moments(Path(resume_from_checkpoint)))
        for name in ("model", "optimizer", "lr_scheduler"):
            setattr(self.callback_handler, name, getattr(self, name))
        return self.model_wrapped, train_dataloader

    # What is read

    def get_train_dataloader(self) -> Iterator[StepBatch]:
        """The steps that are left, this process' share of each; without a length, so that nobody skips through it."""
        batches, micro = self._leg.stage.batches, self._settings.micro_batch_tokens
        steps = range(self._done - self._leg.begin, self._leg.stage.steps)
        return (step_batch(batches, step, team().number, team().count, micro) for step in steps)

    def get_batch_samples(
        self, epoch_iterator: Iterator[StepBatch], num_batches: int, device: torch.device
    ) -> tuple[list[StepBatch], float]:
        """One step, and the weight of all its tokens in all processes."""
        batch = next(epoch_iterator)
        weight = summed([batch.weight], self.args.device)[0] / team().degree
        if self._settings.mode.shards:
            lacking = most(len(batch.micro), self.args.device) - len(batch.micro)
            batch.micro.extend(collate([EMPTY]) for _ in range(lacking))
        if not weight:
            raise UserError(f"step {self.state.global_step + 1} has no token to train on", self._course.where())
        return [batch], weight

    # What a step computes

    def training_step(
        self, model: nn.Module, inputs: StepBatch, num_items_in_batch: float | None = None
    ) -> torch.Tensor:
        """Accumulate the gradient of the whole step."""
        model.train()
        torch.manual_seed(step_seed(self._settings.seed, self.state.global_step, rank()))
        loss = torch.zeros((), dtype=torch.float64, device=self.args.device)
        self._part_sums = loss.new_zeros(2, len(self._leg.stage.batches.parts))
        for place, micro in enumerate(inputs.micro, 1):
            own, rows = own_part(self._prepare_inputs(micro))
            with self._engine.micro_batch(last=place == len(inputs.micro)), sharing(rows):
                found = self.compute_loss(model, own, num_items_in_batch=num_items_in_batch)
                self._engine.backward(found)
            loss += found.detach()
        own_loss, *parts = torch.cat([loss[None], self._part_sums.flatten()]).tolist()
        lengths = inputs.lengths if team().place == 0 else []
        self._course.computed(own_loss / world(), lengths, self.args.device, parts)
        return loss.float()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: float | None = None,
    ) -> torch.Tensor:
        """This micro-batch's part of the step's loss; times the processes, since their gradients are averaged."""
        given = {name: tensor for name, tensor in inputs.items() if name != "parts"}
        found = model(**given, use_cache=False)
        assert num_items_in_batch is not None  # get_batch_samples gives it
        if "parts" in inputs:
            count = len(self._leg.stage.batches.parts)
            self._part_sums += part_sums(found.token_losses, given["weights"], inputs["parts"], count)
        loss: torch.Tensor = found.loss * (world() / num_items_in_batch)
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> float:
        """The norm before clipping."""
        return self._engine.clip(self.args.max_grad_norm)

    def _get_grad_norm(self, model: nn.Module, grad_norm: float | None = None) -> float:
        """The same where nothing is clipped."""
        self._course.gradient_norm = self._engine.clip(float("inf")) if grad_norm is None else grad_norm
        return self._course.gradient_norm

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """One curve over all stages: `done` of its steps came before this leg, or this start of it."""
        self.lr_scheduler = LambdaLR(self._engine.stepped, lambda step: self._schedule.share(self._done + step + 1))
        return self.lr_scheduler

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure the held-out loss."""
        self._course.validate(self.model)
        self.control.should_evaluate = False
        return {}

    # What a checkpoint holds

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A whole checkpoint of this step, written by the first process; the others give it their parts."""
        if self.is_world_process_zero():
            self._course.sync()
            provenance = {**self._provenance, **self._rope(), "training": self._course.progress()}
            self._checkpoints.write(self.state.global_step, self._write, provenance)
        elif self._settings.mode.shards:
            for _ in chain(self._engine.weights(), self._engine.moments()):
                pass
        self.accelerator.wait_for_everyone()
        self._course.meter.pause()

    def _rope(self) -> dict[str, Any]:
        """What an adapter must find in its base."""
        stage = self._leg.stage
        config = self.model.config
        return {"rope": str(stage.rope), "seq_len": stage.batches.seq_len, "rope_parameters": config.rope_parameters}

    def _write(self, folder: Path) -> None:
        write_weights(self.model, folder, dict(self._engine.weights()))
        write_moments(self._engine.moments(), folder)
        self._tokenizer_to_save.save_pretrained(folder)
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """They are in the model already."""

    # What is not ours

    def floating_point_ops(self, inputs: Any) -> int:
        """Counted by the meter."""
        return 0

    def _send_telemetry(self) -> None:
        """TRL would report to its makers what is trained on what."""


def trainer_arguments(model: Any, leg: Leg, settings: TrainSettings, folder: Path) -> SFTConfig:
    """Ours, with what the trainer would do of its own accord turned off."""
    return SFTConfig(
        output_dir=str(folder),
        max_steps=leg.end,
        use_cpu=not torch.cuda.is_available(),  # else several processes without GPUs would not know of each other
        learning_rate=settings.learning_rate,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        optim="adamw_torch_fused",
        seed=settings.seed,
        bf16=settings.dtype == BFLOAT16,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        per_device_train_batch_size=1,  # a whole step
        gradient_accumulation_steps=1,
        ignore_data_skip=True,  # the stream starts where it should
        ddp_find_unused_parameters=False,
        use_cache=model.config.use_cache,  # as the base has it; no pass of ours uses one
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        disable_tqdm=True,
    )


@contextlib.contextmanager
def kept_in_float32(model: nn.Module) -> Iterator[None]:
    """TRL rounds what is trained beside weights of 4 bits to bfloat16, in which small steps are lost: undo it."""
    four_bit = getattr(model, "is_loaded_in_4bit", False)
    trained = [each for each in model.parameters() if each.requires_grad and four_bit]
    before = [each.data for each in trained]
    yield
    for each, data in zip(trained, before, strict=True):
        each.data = data


def step_seed(seed: int, step: int, rank: int) -> int:
    """Another one for every step and process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8]) >> 1


def load_weights(model: nn.Module, folder: Path) -> None:
    """Into a model of the same shape; UserError where one is missing or left over."""
    if is_peft_model(model):
        state = load_peft_weights(str(folder), device="cpu")
        missing, unknown = set(get_peft_model_state_dict(model)) - state.keys(), set()
        unknown.update(set_peft_model_state_dict(model, state).unexpected_keys)
    else:
        missing, unknown = set(model.state_dict()) - set(getattr(model, "all_tied_weights_keys", ())), set()
        for file in sorted(folder.glob("model*.safetensors")):
            state = load_file(file)
            unknown.update(model.load_state_dict(state, strict=False).unexpected_keys)
            missing -= state.keys()
    if missing or unknown:
        raise UserError(
            f"{folder} does not fit this model: missing {sorted(missing)[:3]}, unknown {sorted(unknown)[:3]}",
            "was it edited, or saved by another version of transformers?",
        )
