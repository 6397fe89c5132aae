"""evaluate: checkpoint -> loss by length, retrieval, tasks -> a table and a picture."""

from pathlib import Path
from typing import Any

import click

from evaluation.config import (
    CompareSettings,
    HarnessSettings,
    LossSettings,
    PanelSettings,
    QaSettings,
    RedTeamSettings,
    RetrievalSettings,
    SideBySideSettings,
)
from longreach.cli import Command, Group
from longreach.config import options, resolve

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="longreach")
def main() -> None:
    """Tell what context a model really uses, and what it lost on the way.

    \b
    Try it, on your own text and any checkpoint:
      evaluate loss --model runs/long --docs notes/ --out results/loss
      evaluate retrieval --model runs/long --docs notes/ --out results/retrieval
    """


@main.command(cls=Command, short_help="Measure the loss by length of context.")
@options(LossSettings)
@AS_JSON
def loss(config: Path | None, as_json: bool, **given: Any) -> None:
    """Loss on held-out documents by length of context and by position, and the power law that it follows.

    The same tokens are told with more and more of their document before them, so lengths can be compared.

    \b
    Examples:
      evaluate loss --model runs/long --docs books/ --out results/loss
      evaluate loss --model meta-llama/Llama-2-7b-hf --docs books.jsonl.gz --lengths 512,1024,2048,4096,8192 --out r
    """
    from evaluation.loss import measure_loss
    from evaluation.show import show

    show(measure_loss(resolve(LossSettings, given, config)), as_json=as_json)


@main.command(cls=Command, short_help="Measure what a model finds again in long text.")
@options(RetrievalSettings)
@AS_JSON
def retrieval(config: Path | None, as_json: bool, **given: Any) -> None:
    """First sentence, passkey and RULER's tasks in your own text, by length and depth, and the effective length.

    \b
    Tasks: first-sentence, passkey, niah-single, niah-multikey, niah-multivalue, niah-multiquery,
    variable-tracking, common-words, frequent-words.

    \b
    Examples:
      evaluate retrieval --model runs/long --docs books/ --lengths 4096,8192,16384,32768 --out results/retrieval
      evaluate retrieval --model runs/long --docs books/ --task first-sentence --samples 50 --out results/first
      evaluate retrieval --base-url http://localhost:8000/v1 --model m --tokenizer runs/chat --docs books/ --out r
    """
    from evaluation.retrieval import measure_retrieval
    from evaluation.show import show

    show(measure_retrieval(resolve(RetrievalSettings, given, config)), as_json=as_json)


@main.command(cls=Command, short_help="Measure answers to questions on held-out documents.")
@options(QaSettings)
@AS_JSON
def qa(config: Path | None, as_json: bool, **given: Any) -> None:
    """F1, exact match and ROUGE on records of `selfinstruct generate`, and the same without the documents.

    \b
    Example:
      evaluate qa --model runs/chat --records runs/held-out --out results/qa
    """
    from evaluation.qa import measure_qa
    from evaluation.show import show

    show(measure_qa(resolve(QaSettings, given, config)), as_json=as_json)


@main.command(cls=Command, short_help="Run published tasks by lm-evaluation-harness.")
@options(HarnessSettings)
@click.option("--list", "listing", is_flag=True, help="Show the suites and what data they need; run nothing.")
@AS_JSON
def harness(config: Path | None, listing: bool, as_json: bool, **given: Any) -> None:
    """ZeroSCROLLS, SCROLLS, L-Eval, LongBench, the paper's short panel and safety, on local copies of their data.

    What cannot run here, for want of data, of a judge or of leave to run code, is listed.

    \b
    Examples:
      evaluate harness --list
      evaluate harness --model runs/long --suite short --data-dir data/ --out results/short
      evaluate harness --model runs/chat --suite zeroscrolls,l-eval --data-dir data/ --style chat --out results/long
    """
    if listing:
        from evaluation.harness.suites import list_suites

        list_suites(as_json=as_json)
        return
    from evaluation.harness.run import measure_harness
    from evaluation.show import show

    show(measure_harness(resolve(HarnessSettings, given, config)), as_json=as_json)


@main.command(cls=Command, short_help="Do it all: loss, retrieval, questions, published tasks.")
@options(PanelSettings)
@AS_JSON
def panel(config: Path | None, as_json: bool, **given: Any) -> None:
    """The default panel: loss and retrieval, qa where there are records, a suite where there is data.

    Each measure has a folder under --out; `evaluate compare` takes them together.

    \b
    Examples:
      evaluate panel --model runs/long --docs notes/ --out results/long
      evaluate panel --model runs/chat --docs books/ --records runs/held-out --data-dir data/ --out results/chat
    """
    from evaluation.panel import measure_panel
    from evaluation.show import show_all

    show_all(measure_panel(resolve(PanelSettings, given, config)), as_json=as_json)


@main.command(cls=Command, short_help="Hold the results of two or more models against each other.")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(CompareSettings)
@AS_JSON
def compare(results: tuple[Path, ...], config: Path | None, as_json: bool, **given: Any) -> None:
    """One table, and with --out one page with pictures: long side and short side, differences with their intervals.

    RESULTS are the folders of any of the commands above; the first is what the others are compared with.

    \b
    Examples:
      evaluate compare results/base results/long
      evaluate compare results/base results/long --names base,ABF --out compared
      evaluate compare results/stage-1 results/stage-2 --gate && echo go on
    """
    from evaluation.compare.run import compare_results

    status = compare_results(results, resolve(CompareSettings, given, config), as_json=as_json)
    click.get_current_context().exit(status)


@main.command(cls=Command, short_help="Let people choose between the answers of two models.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@options(SideBySideSettings)
@AS_JSON
def side_by_side(a: Path, b: Path, config: Path | None, as_json: bool, **given: Any) -> None:
    """A page on which annotators compare answers, blind and offline; and with --votes what they found.

    A and B are result folders of one measure with the same questions. A judge, where given, votes beside the people.

    \b
    Examples:
      evaluate side-by-side results/a/qa results/b/qa --out judged
      evaluate side-by-side results/a/qa results/b/qa --out judged --votes votes-*.json
    """
    from evaluation.sidebyside.run import side_by_side as judge_side_by_side

    judge_side_by_side(a, b, resolve(SideBySideSettings, given, config), as_json=as_json)


@main.command(cls=Command, short_help="Put adversarial prompts behind, and instructions inside, long text.")
@options(RedTeamSettings)
@AS_JSON
def red_team(config: Path | None, as_json: bool, **given: Any) -> None:
    """Long contexts before adversarial prompts of yours, and with harmless instructions hidden in them.

    The answers are for people to look at. Refusals are counted by a judge, where one is given.

    \b
    Examples:
      evaluate red-team --model runs/chat --docs books/ --out results/red-team
      evaluate red-team --model runs/chat --docs books/ --prompts prompts.jsonl --judge-url http://localhost:8001/v1 \\
          --judge-model judge --out results/red-team
    """
    from evaluation.redteam import measure_red_team
    from evaluation.show import show

    show(measure_red_team(resolve(RedTeamSettings, given, config)), as_json=as_json)


if __name__ == "__main__":
    main()
