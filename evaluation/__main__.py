"""`python -m evaluation` is `evaluate`."""

from evaluation.cli import main

main(prog_name="evaluate")
