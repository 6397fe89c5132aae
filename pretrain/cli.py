"""pretrain: corpus -> length-upsampled mix -> packed rows -> model with a new RoPE -> trainer."""

from pathlib import Path
from typing import Any

import click

from longreach.cli import Command, Group
from longreach.config import options, resolve
from pretrain.config import ContinueSettings, PlanSettings, PrepareSettings, ScratchSettings
from pretrain.rope.settings import RopeSettings


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="longreach")
def main() -> None:
    """Continue a base model on longer sequences, with an adjusted RoPE base.

    \b
    Try it, on your own text and a tiny model:
      pretrain prepare --source notes=notes/ --seq-len 1024 --out runs/rows
      pretrain scratch --data runs/rows --steps 20 --out runs/tiny
    """


@main.command(cls=Command, short_help="Turn documents into packed rows.")
@options(PrepareSettings)
@click.option("--dry-run", is_flag=True, help="Tokenize and show the planned mix; write no rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def prepare(config: Path | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Tokenize documents, mix sources and lengths as asked, and pack them into rows of --seq-len tokens.

    Killed or stopped, the same command goes on where it was; the rows come out the same to the byte.

    \b
    Examples:
      pretrain prepare --source books=books/ --seq-len 32768 --tokenizer meta-llama/Llama-2-7b-hf
      pretrain prepare --source 'code=src/**/*.py@0.3' --source web=web.jsonl.zst@0.7 --long-share 0.6 --tokens 2B
      pretrain prepare --source docs=s3://bucket/corpus --upsample-long 5 --dry-run
      pretrain prepare --source docs=corpus/ --shard $SLURM_ARRAY_TASK_ID/16 --out shards/$SLURM_ARRAY_TASK_ID
    """
    from pretrain.prepare import prepare_rows

    prepare_rows(resolve(PrepareSettings, given, config), dry_run=dry_run, as_json=as_json)


@main.command(cls=Command, short_help="Make the rows of a run's shards.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("shards", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="SHARD...")
@click.option("--dry-run", is_flag=True, help="Show the planned mix; write no rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def merge(out: Path, shards: tuple[Path, ...], dry_run: bool, as_json: bool) -> None:
    """Make the rows of every SHARD of a run in the folder OUT, the same bytes that the run without --shard would have
    written.

    Reads no documents; the tokens are taken from the shards. Killed, the same command goes on where it was.

    \b
    Examples:
      pretrain merge runs/rows shards/*
      pretrain merge runs/rows shards/* --dry-run
    """
    from pretrain.merge import merge_shards

    merge_shards(out, shards, dry_run=dry_run, as_json=as_json)


@main.command("continue", cls=Command, short_help="Go on training a base model on longer rows.")
@options(ContinueSettings)
@click.option("--dry-run", is_flag=True, help="Show every setting with its origin; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def continue_(config: Path | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Go on training a base model on longer rows, with its positions encoded for that length.

    Killed or stopped, the same command goes on at the next row; on a CPU the weights come out the same to the bit.

    \b
    Examples:
      pretrain continue --base llama2-7b --data runs/rows --dry-run
      pretrain continue --base runs/tiny --data runs/rows --rope abf:500000 --steps 200 --out runs/long
      torchrun --nproc-per-node 8 -m pretrain continue --base llama2-7b --data runs/rows --gradient-checkpointing
    """
    from pretrain.continual import continue_training

    continue_training(resolve(ContinueSettings, given, config), dry_run=dry_run, as_json=as_json)


@main.command(cls=Command, short_help="Train a new model.")
@options(ScratchSettings)
@click.option("--dry-run", is_flag=True, help="Show every setting with its origin; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def scratch(settings: Path | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Train a new model of random weights, also through a curriculum of lengths.

    \b
    Examples:
      pretrain scratch --config recipes/tiny-llama.json --data runs/rows --steps 500 --out runs/tiny
      pretrain scratch --config recipes/tiny-llama.json --data runs/rows --stages 512:0.8,4096:0.2
    """
    from pretrain.continual import train_from_scratch

    train_from_scratch(resolve(ScratchSettings, given, settings), dry_run=dry_run, as_json=as_json)


@main.command(cls=Command, short_help="Look at a model's position encoding.")
@options(RopeSettings)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def rope(config: Path | None, as_json: bool, **given: Any) -> None:
    """Show how far the positions of a base model reach, by each method, and which base to take for a length.

    \b
    Examples:
      pretrain rope --base llama2-7b --seq-len 32768
      pretrain rope --base runs/tiny --seq-len 4096 --out rope.png
    """
    from pretrain.rope.report import show_rope

    show_rope(resolve(RopeSettings, given, config), as_json=as_json)


@main.command(cls=Command, short_help="Say what a training run needs.")
@options(PlanSettings)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan(config: Path | None, as_json: bool, **given: Any) -> None:
    """Say what continued training needs before a GPU is rented: memory piece by piece, operations, hours, cost, the
    least change that makes it fit, and the command to start it.

    \b
    Examples:
      pretrain plan --base llama2-7b --seq-len 32768 --gpus 8 --gpu h100
      pretrain plan --base llama2-70b --gpus 256 --gpu p5.48xlarge --tokens 5B --price 2.5 --out runs/plan
      pretrain plan --base llama2-7b --stages 4096:0.8,32768:0.2 --gradient-checkpointing --json
    """
    from pretrain.plan import show_plan

    show_plan(resolve(PlanSettings, given, config), as_json=as_json)


if __name__ == "__main__":
    main()
