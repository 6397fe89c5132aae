"""longreach: what the four commands have in common."""

from pathlib import Path

import click

from longreach.cli import Command, Group
from longreach.errors import UserError

PASSING = ("memory://",)  # stores of this process alone


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


@main.command(cls=Command, short_help="Copy a finished folder to a store.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("url")
def upload(folder: Path, url: str) -> None:
    """Copy a finished FOLDER, of rows, records, a shard or a model, to URL: s3://, gs://, hf:// and others.

    Killed, the same command goes on where it was. upload.json, written last, tells that all is there.

    \b
    Examples:
      longreach upload runs/rows s3://bucket/rows
      longreach upload shards/3 gs://bucket/shards/3
    """
    from longreach.transfer import upload as send

    if url.startswith(PASSING):
        raise UserError(f"{url} would be gone when this command ends", "give a store that lasts")
    moved = send(folder, url)
    click.echo(f"{moved.files:,} files, {moved.bytes:,} bytes -> {url}; {moved.already:,} were there")


@main.command(cls=Command, short_help="Copy an upload to a folder.")
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path))
def download(url: str, folder: Path) -> None:
    """Copy what `longreach upload` brought to URL to FOLDER, and check every file by its sha256.

    Killed, the same command goes on where it was.

    \b
    Examples:
      longreach download s3://bucket/rows runs/rows
    """
    from longreach.transfer import download as fetch

    moved = fetch(url, folder)
    click.echo(f"{moved.files:,} files, {moved.bytes:,} bytes -> {folder}; {moved.already:,} were there")
