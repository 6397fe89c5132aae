"""`python -m pretrain` is the command, also under torchrun."""

from pretrain.cli import main

main(prog_name="pretrain")
