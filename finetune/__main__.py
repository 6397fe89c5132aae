"""`python -m finetune` is the command, also under torchrun."""

from finetune.cli import main

main(prog_name="finetune")
