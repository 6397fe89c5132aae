"""Two result folders -> a page for annotators -> their votes -> wins, ties and losses, a judge's beside them.

Examples to which both models gave the same answer are ties that nobody needs to look at: they are counted and not
shown. The page is a function of the two folders and the seed, so that votes of any number of people fit any later run.
"""

import sys
from collections import Counter
from pathlib import Path

from evaluation.asking import measured
from evaluation.config import SideBySideSettings
from evaluation.judge import open_judge
from evaluation.sidebyside.examples import Pairing, pair
from evaluation.sidebyside.judging import judge_examples
from evaluation.sidebyside.page import KEY, PAGE, Page, draw_page
from evaluation.sidebyside.report import Found, report
from evaluation.sidebyside.votes import read_votes
from longreach.errors import UserError
from longreach.tables import print_json, print_table


def side_by_side(a: Path, b: Path, settings: SideBySideSettings, *, as_json: bool) -> None:
    """Write the page; count the votes where there are any; ask the judge where there is one."""
    pairing = pair(a, b, settings.samples, settings.seed)
    page = draw_page(pairing, settings.seed)
    if not page.shown:
        raise UserError(f"{a} and {b} hold the same answers: there is nothing to choose between")
    ballot = read_votes(settings.votes, page) if settings.votes else None
    with measured(settings, {"page": page.id}) as folder:
        page.write(folder.path, pairing, (a, b))
        judge = open_judge(settings)
        judged = judge_examples(judge, [each.example for each in page.shown], folder.path) if judge else None
        if ballot is None and judged is None:
            _invite(pairing, page, folder.path, as_json=as_json)
        else:
            report(Found(pairing, page, ballot, judged, judge.model if judge else ""), settings, as_json=as_json)


def _invite(pairing: Pairing, page: Page, folder: Path, *, as_json: bool) -> None:
    """Say what there is to judge, and what is to be done with the page."""
    counts = Counter(each.example.task for each in page.shown)
    if as_json:
        invitation = {"page": str(folder / PAGE), "key": str(folder / KEY), "examples": counts}
        print_json({**invitation, "notes": pairing.notes()})
        return
    print_table(("task", "examples"), [*counts.items(), ("all", len(page.shown))])
    for note in pairing.notes():
        sys.stderr.write(note + "\n")
    sys.stderr.write(f"give {folder / PAGE} to the annotators, but not {KEY}; then give what they save as --votes\n")
