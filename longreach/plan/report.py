"""A plan for people and for programs: tables, one JSON object, or files in a folder."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from longreach.jsonl import write_json
from longreach.model.flops import attention_threshold
from longreach.plan.gpus import USABLE
from longreach.plan.launch import DATA, DEEPSPEED, command, recipe, script, shard_settings
from longreach.plan.layout import RUN_BY, RUN_OFFLOADS, Layout
from longreach.plan.plan import Laid, Plan
from longreach.tables import print_json, print_table, share

LAUNCH = "launch.sh"
PIECES = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "total")


@dataclass(frozen=True)
class Report:
    """A plan, and the stages as the user wrote them."""

    plan: Plan
    stages: str = ""

    def show(self, folder: str, *, as_json: bool) -> None:
        """On stdout, and in a folder where one is given."""
        if folder:
            self.write(Path(folder))
        if as_json:
            print_json(self.as_object(folder))
            return
        self._print_run()
        self._print_memory()
        for sentence in self._advice(folder):
            click.echo(sentence)
        for note in self.plan.notes:
            click.echo(f"note: {note}", err=True)
        if folder:
            click.echo(f"written to {folder}")

    def write(self, folder: Path) -> None:
        """plan.json, and for what is recommended launch.sh and the settings of what shards it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "plan.json", self.as_object(str(folder)))
        for name in (LAUNCH, DEEPSPEED):  # of an earlier plan
            (folder / name).unlink(missing_ok=True)
        layout = self.plan.chosen
        if layout is None:
            return
        (folder / LAUNCH).write_text("\n".join(script(self.plan, layout, self.stages)) + "\n", encoding="utf-8")
        settings = shard_settings(self.plan, layout)
        if settings:
            write_json(folder / settings[0], settings[1])

    def as_object(self, folder: str) -> dict[str, Any]:
        """For JSON: what `pretrain plan --json` gives."""
        plan, run, effort = self.plan, self.plan.run, self.plan.effort
        return {
            "model": run.name,
            "parameters": plan.parameters,
            "seq_len": run.seq_len,
            "stages": [{"seq_len": length, "tokens": tokens} for length, tokens in run.stages],
            "tokens": run.tokens,
            "steps": run.steps,
            "batch_tokens": run.batch_tokens,
            "flops_total": float(effort.flops.total),  # integers of JSON end at 64 bits
            "flops_dense": float(effort.flops.dense),
            "flops_attention": float(effort.flops.attention),
            "flops_paper": float(plan.paper.total),
            "attention_threshold": attention_threshold(plan.shape),
            "gpus": plan.gpus,
            "gpu": plan.node.gpu.name,
            "room_gb": plan.node.gpu.room_gb,
            "mfu": effort.mfu,
            "hours": effort.hours,
            "hours_range": [effort.shortest, effort.longest],
            "gpu_hours": effort.gpu_hours,
            "cost": effort.cost,
            "memory_gb": {name: laid.memory.as_object() for name, laid in plan.laid.items()},
            "node_gb": {name: asdict(laid.host) for name, laid in plan.laid.items()},
            "fits": {name: laid.fits for name, laid in plan.laid.items()},
            "longest": {name: laid.longest for name, laid in plan.laid.items()},
            "runs_today": {name: laid.layout.runs_in(run.program) for name, laid in plan.laid.items()},
            "recommended": plan.recommended,
            "changes": [{"change": each.name, "trouble": each.trouble} for each in plan.changes],
            "fewest_gpus": plan.fewest_gpus,
            "adapter": plan.adapter and plan.adapter.name,
            "command": self._command(folder),
            "recipe": recipe(plan),
            "notes": plan.notes,
        }

    def _command(self, folder: str) -> str | None:
        plan = self.plan
        return command(plan.run, plan.chosen, plan.node.gpus, self.stages, folder) if plan.chosen else None

    def _print_run(self) -> None:
        plan, run, effort = self.plan, self.plan.run, self.plan.effort
        lengths = ", ".join(f"{tokens / 1e9:,.3g}B of {length:,}" for length, tokens in run.stages)
        click.echo(f"{run.name}: {plan.parameters:,} parameters; tokens in rows: {lengths}; {run.steps:,} steps")
        click.echo(
            f"{effort.flops.total:.3e} FLOPs, {share(effort.flops.attention, effort.flops.total)} of them attention; "
            f"{plan.paper.total:.3e} as the paper counts (Sec. 4.4: a block of 12 h^2, no head)"
        )
        click.echo(
            f"attention costs more than the blocks' matrices from {attention_threshold(plan.shape):,.0f} tokens on "
            f"({6 * plan.shape.hidden:,} by the paper's 6h)"
        )
        cost = f", which cost {effort.cost:,.0f}" if effort.cost is not None else ""
        click.echo(
            f"{effort.hours:,.1f} hours ({effort.shortest:,.1f} to {effort.longest:,.1f}) of {plan.gpus} "
            f"{plan.node.gpu.name} at an MFU of {effort.mfu:.0%}: {effort.gpu_hours:,.0f} GPU hours{cost}\n"
        )

    def _print_memory(self) -> None:
        room = self.plan.node.gpu.room_gb
        click.echo(f"GB on each GPU where it holds most; {room:.1f} may be used ({USABLE:.0%} of it)")
        print_table(
            ("layout", *PIECES, "fits", "longest rows", "on the host", ""),
            [self._line(name, laid) for name, laid in self.plan.laid.items()],
        )

    def _line(self, name: str, laid: Laid) -> tuple[Any, ...]:
        pieces = laid.memory.as_object()
        return (
            name,
            *(f"{pieces[piece]:,.1f}" for piece in PIECES),
            "yes" if laid.fits else "no",
            laid.longest,
            f"{laid.memory.host:,.1f}" if laid.memory.host else "",
            "" if laid.layout.runs_in(self.plan.run.program) else "plan only",
        )

    def _advice(self, folder: str) -> Iterator[str]:
        """What the tables come to."""
        plan, layout = self.plan, self.plan.chosen
        if layout is None:
            yield self._unfit()
            if plan.fewest_gpus:
                yield f"with {plan.fewest_gpus:,} of them it does: --gpus {plan.fewest_gpus}"
        else:
            yield f"\nrecommended: {plan.recommended}"
            yield from (f"  {change.name}: {change.trouble}" for change in plan.changes)
            yield from self._beside()
            yield from self._launch(layout, folder)
            if folder:
                yield f"or: bash {shlex.quote(str(Path(folder) / LAUNCH))} {DATA[plan.run.program][1]}"
        if plan.adapter:
            yield f"{plan.run.program} can train an adapter today: {plan.adapter.name}, --lora {plan.adapter.lora}"

    def _unfit(self) -> str:
        """That no change helps, and what of the table would do instead."""
        program = self.plan.run.program
        others = [each.layout for each in self.plan.laid.values() if each.fits and each.layout.runs_in(program)]
        if not others:
            return "\nnothing fits on so many GPUs"
        asked = "what was asked for does not fit on so many GPUs, whatever is changed"
        return f"\n{asked}; this would: {'; '.join(map(_asked_by, others))}"

    def _beside(self) -> Iterator[str]:
        """What the hosts have to hold."""
        plan = self.plan
        if plan.recommended:
            needs = plan.laid[plan.recommended].host
            node = (
                f"{plan.node.name} has {plan.node.host_gb:,.0f}"
                if plan.node.host_gb
                else f"nobody said what {plan.node.name} has"
            )
            yield (
                f"  each node needs {needs.fullest:,.0f} GB beside its GPUs ({node}): {needs.loading:,.0f} to load "
                f"the model, {needs.training:,.0f} in training, the first {needs.writing:,.0f} more for a checkpoint"
            )

    def _launch(self, layout: Layout, folder: str) -> Iterator[str]:
        program, word = self.plan.run.program, "start"
        if not layout.runs_in(program):
            modes, offloads = ", ".join(sorted(RUN_BY[program])), " and ".join(sorted(RUN_OFFLOADS))
            yield f"  a plan only: {program} trains with {modes}, and offloads {offloads} alone"
            word = "once it does"
        yield f"{word}: {self._command(folder)}"
        settings = shard_settings(self.plan, layout)
        if settings:
            yield f"{settings[0]}: {orjson.dumps(settings[1]).decode()}"
        yield f"the whole story: {recipe(self.plan)}"


def _asked_by(layout: Layout) -> str:
    """The options that ask for a layout."""
    words = [f"--mode {layout.mode}", f"--lora {layout.lora}" * layout.adapter]
    return " ".join(filter(None, [*words, "--gradient-checkpointing" * layout.checkpointing]))
