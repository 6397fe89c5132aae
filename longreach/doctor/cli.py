"""longreach: what the four commands have in common."""

import click

from longreach.cli import Command, Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="longreach")
def main() -> None:
    """Documents in, a long-context chat model out: by selfinstruct, pretrain, finetune and evaluate.

    \b
    Try it:
      longreach doctor
    """


@main.command(cls=Command, short_help="Say what runs on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def doctor(as_json: bool) -> None:
    """Say what runs on this machine, and what each missing part would need. Nothing is downloaded or changed.

    \b
    Examples:
      longreach doctor
      longreach doctor --json
    """
    from longreach.doctor.doctor import show

    show(as_json=as_json)
