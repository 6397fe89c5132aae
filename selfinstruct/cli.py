"""selfinstruct: documents -> chunks -> prompts -> engine -> pairs -> checks -> records."""

from pathlib import Path
from typing import Any

import click

from longreach.cli import RETRYABLE, Command, Group
from longreach.config import options, resolve
from selfinstruct.config import TARGETS, CheckSettings, GenerateSettings
from selfinstruct.tasks import TASKS


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="longreach")
def main() -> None:
    """Turn documents into verified long-context training records.

    \b
    Try it on your own text, with no model:
      selfinstruct generate --docs notes/ --out runs/first
    """


@main.command(cls=Command, short_help="Write records from documents.")
@options(GenerateSettings)
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it would take; ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def generate(config: Path | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Write question/answer and summary records from documents, and check each.

    Killed or stopped, the same command goes on where it was and asks nothing twice.

    \b
    Examples:
      selfinstruct generate --docs corpus/ --out runs/first
      selfinstruct generate --docs 'books/**/*.epub' --model Qwen/Qwen3-32B --engine vllm
      selfinstruct generate --docs 's3://bucket/books/*.epub' --dry-run
      selfinstruct generate --docs corpus.jsonl.gz --base-url http://localhost:8000/v1 --dry-run
      selfinstruct generate --docs books/ --base-url http://gpu1:8000/v1 http://gpu2:8000/v1
      selfinstruct generate --docs books/ --shard $SLURM_ARRAY_TASK_ID/16 --out shards/$SLURM_ARRAY_TASK_ID
    """
    from selfinstruct.estimate import estimate
    from selfinstruct.generate import generate_records
    from selfinstruct.report import print_estimate, print_report

    settings = resolve(GenerateSettings, given, config)
    if dry_run:
        print_estimate(estimate(settings), as_json=as_json)
        return
    report = generate_records(settings)
    print_report(report, settings.folder, as_json=as_json)
    if report.failed:
        raise SystemExit(RETRYABLE)


@main.command(cls=Command, short_help="Check a run's pairs again, without generating.")
@click.argument("run", type=click.Path(path_type=Path))
@options(CheckSettings)
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def check(run: Path, config: Path | None, as_json: bool, **given: Any) -> None:
    """Check every pair of RUN again, with another judge, threshold or choice of checks, and rewrite its records.

    The pairs come from the run's journal; only a new judge is asked anything.

    \b
    Examples:
      selfinstruct check runs/first --min-score 8
      selfinstruct check runs/first --judge-url http://localhost:8001/v1 --judge-model big-judge
    """
    from selfinstruct.recheck import check_again
    from selfinstruct.report import print_report

    report = check_again(run, resolve(CheckSettings, given, config).changes())
    print_report(report, run, as_json=as_json)
    if report.failed:
        raise SystemExit(RETRYABLE)


@main.command(cls=Command, short_help="Join the shards of a run.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("shards", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="SHARD...")
@click.option("--json", "as_json", is_flag=True, help="Print the final table as JSON.")
def merge(out: Path, shards: tuple[Path, ...], as_json: bool) -> None:
    """Join every SHARD of a run in the folder OUT, to the same bytes that the run without --shard would have written.

    Reads the documents again and asks no model anything. Killed, the same command starts again.

    \b
    Examples:
      selfinstruct merge runs/books shards/*
    """
    from selfinstruct.merge import merge_shards
    from selfinstruct.report import print_report

    print_report(merge_shards(out, shards), out, as_json=as_json)


@main.command(cls=Command, short_help="Look at a run in the terminal.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--number", "-n", default=3, type=click.IntRange(min=0), show_default=True, help="Records to show.")
@click.option("--task", type=click.Choice(list(TASKS)), help="Only records of this task.")
def inspect(run: Path, number: int, task: str | None) -> None:
    """Show records of RUN with their evidence marked, rejected pairs by reason, and histograms.

    \b
    Examples:
      selfinstruct inspect runs/first
      selfinstruct inspect runs/first -n 10 --task short_answer | less -R
    """
    from selfinstruct.inspect import inspect_run

    inspect_run(run, number, task or "")


@main.command(cls=Command, short_help="Write a run's records in another tool's form.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Choice(TARGETS), help="The form.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: RUN/FORM.jsonl]")
def export(run: Path, target: str, out: Path | None) -> None:
    """Write the records of RUN as ShareGPT, Alpaca, prompt-completion or DPO rows.

    DPO sets kept answers against rejected ones to the same chunk.

    \b
    Examples:
      selfinstruct export runs/first --to sharegpt
      selfinstruct export runs/first --to dpo --out preferences.jsonl
    """
    from selfinstruct.export import export as write

    path = out or run / f"{target}.jsonl"
    click.echo(f"{write(run, target, path):,} rows -> {path}")


if __name__ == "__main__":
    main()
