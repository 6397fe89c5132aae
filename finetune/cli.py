"""finetune: records + short chats -> token-exact mix -> packed rows -> model -> trainer."""

from pathlib import Path
from typing import Any

import click

from finetune.config import MergeSettings, MixSettings, PlanSettings, SftSettings
from longreach.cli import Command, Group
from longreach.config import options, resolve


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="longreach")
def main() -> None:
    """Teach a long base model to answer, from long records and short chats.

    \b
    Try it, on records of `selfinstruct generate` and a tiny model of `pretrain scratch`:
      finetune sft --base runs/tiny --long runs/first --seq-len 1024 --steps 20 --out runs/chat
    """


@main.command(cls=Command, short_help="Show what would be trained on.")
@options(MixSettings)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def mix(config: Path | None, as_json: bool, **given: Any) -> None:
    """Read all data and show the mix: examples, tokens, epochs and shares of each source, and a picture of lengths.

    Trains nothing. The examples are kept under --out for `finetune sft` with the same settings.

    \b
    Examples:
      finetune mix --base runs/long --long runs/first --short chats.jsonl --mix long:short=0.2:0.8
      finetune mix --base runs/long --long runs/first --short hh/*.jsonl.gz --mix long:short=1:9 --by examples --json
    """
    from finetune.show import show_mix

    show_mix(resolve(MixSettings, given, config), as_json=as_json)


@main.command(cls=Command, short_help="Train a model on a mix of long and short examples.")
@options(SftSettings)
@click.option("--dry-run", is_flag=True, help="Read the data and show mix and settings; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sft(config: Path | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Train on long inputs whole and on short chats' answers, mixed exactly.

    Killed or stopped, the same command goes on at the next step; on a CPU the weights come out the same to the bit.

    \b
    Examples:
      finetune sft --base runs/long --long runs/first --short chats.jsonl --mix long:short=0.2:0.8 --out runs/chat
      finetune sft --base llama2-7b --long runs/books --short hh.jsonl.gz --loss long=all:0.2,short=answer --lora 16
      torchrun --nproc-per-node 8 -m finetune sft --config recipes/table9/self-instruct.toml --base runs/long
    """
    from finetune.sft import train_chat_model

    train_chat_model(resolve(SftSettings, given, config), dry_run=dry_run, as_json=as_json)


@main.command(cls=Command, short_help="Make a model of an adapter and its base.")
@options(MergeSettings)
def merge(config: Path | None, **given: Any) -> None:
    """Write a model of its own that computes what the adapter on its base does.

    \b
    Example:
      finetune merge --adapter runs/chat-lora --out runs/chat
    """
    from finetune.merge import merge_adapter

    merge_adapter(resolve(MergeSettings, given, config))


@main.command(cls=Command, short_help="Say what a training run needs.")
@options(PlanSettings)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan(config: Path | None, as_json: bool, **given: Any) -> None:
    """Say what finetuning needs before a GPU is rented: memory piece by piece, operations, hours, cost, the least
    change that makes it fit, and the command to start it.

    \b
    Examples:
      finetune plan --base llama2-7b --tokens 500M --lora 16 --gpus 1 --gpu rtx4090
      finetune plan --base llama2-70b --seq-len 16384 --steps 400 --lora 16 --qlora --gpus 8 --gpu h200 --json
    """
    from finetune.plan import show_plan

    show_plan(resolve(PlanSettings, given, config), as_json=as_json)


if __name__ == "__main__":
    main()
