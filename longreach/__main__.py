"""`python -m longreach`."""

from longreach.doctor.cli import main

main(prog_name="longreach")
