"""What people and judge found: results.json, a line for each example in predictions.jsonl, the picture, the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.config import SideBySideSettings
from evaluation.results import PREDICTIONS, Results
from evaluation.sample import Prediction
from evaluation.show import show
from evaluation.sidebyside.examples import Pairing
from evaluation.sidebyside.judging import Judged
from evaluation.sidebyside.page import Page
from evaluation.sidebyside.tally import Opinion, agreement, opinion
from evaluation.sidebyside.view import draw
from evaluation.sidebyside.votes import Ballot, Vote
from longreach.config import written
from longreach.errors import UserError
from longreach.jsonl import LineWriter

PEOPLE, JUDGE = "people", "judge"
PICTURE = "sidebyside.png"


@dataclass(frozen=True)
class Found:
    """All that there is to be told."""

    pairing: Pairing
    page: Page
    ballot: Ballot | None
    judged: Judged | None
    judge: str  # its name

    def votes(self) -> dict[str, list[Vote]]:
        """People's, by id of the example."""
        by_id: dict[str, list[Vote]] = {}
        for vote in self.ballot.votes if self.ballot else ():
            by_id.setdefault(self.page.shown[vote.example].example.id, []).append(vote)
        return by_id

    def verdicts(self) -> dict[str, str]:
        """The judge's, by id of the example, those that can be read."""
        choices = self.judged.choices if self.judged else [None] * len(self.page.shown)
        return {each.example.id: choice for each, choice in zip(self.page.shown, choices, strict=True) if choice}

    def opinions(self, seed: int) -> list[Opinion]:
        """Of those who voted."""
        people = {example: [vote.choice for vote in votes] for example, votes in self.votes().items()}
        judge = {example: [choice] for example, choice in self.verdicts().items()}
        voters = ((PEOPLE, people), (JUDGE, judge))
        return [opinion(name, self.pairing.examples, choices, seed) for name, choices in voters if choices]


def report(found: Found, settings: SideBySideSettings, *, as_json: bool) -> None:
    """Write and print it."""
    pairing, opinions = found.pairing, found.opinions(settings.seed)
    if not opinions:
        raise UserError("nobody voted, and the judge, if there is one, gave no verdict that can be read")
    results = Results(
        measure="side-by-side",
        model=f"{pairing.a} against {pairing.b}",
        settings=written(settings),
        scores=[score for each in opinions for score in each.scores()],
        headline=[each.headline() for each in opinions],
        notes=_notes(found),
        further=_further(found),
    )
    _write_predictions(found, opinions, settings.folder / PREDICTIONS)
    draw(opinions, (pairing.a, pairing.b), settings.folder / PICTURE)
    results.write(settings.folder)
    show(results, as_json=as_json)


def _notes(found: Found) -> list[str]:
    notes = [f"A is {found.pairing.a}, B is {found.pairing.b}; wins and losses are A's", *found.pairing.notes()]
    if found.ballot:
        choices = [[vote.choice for vote in votes] for votes in found.votes().values()]
        notes += [*found.ballot.notes, agreement(choices).in_words()]
    if found.judged:
        notes += found.judged.notes()
    if found.ballot and found.judged:
        notes.append(_judge_beside_people(found.votes(), found.verdicts()))
    return notes


def _judge_beside_people(votes: Mapping[str, Sequence[Vote]], verdicts: Mapping[str, str]) -> str:
    """How often the judge said what a person said."""
    both = [(vote.choice, verdicts[example]) for example in votes if example in verdicts for vote in votes[example]]
    if not both:
        return "people and judge have no example in common"
    alike = sum(one == other for one, other in both)
    return f"the judge agrees with {100 * alike / len(both):.1f} % of people's votes on the examples that both judged"


def _further(found: Found) -> dict[str, Any]:
    further: dict[str, Any] = {"a": found.pairing.a, "b": found.pairing.b, "page": found.page.id}
    if found.ballot:
        each = agreement([[vote.choice for vote in votes] for votes in found.votes().values()])
        further["people"] = {
            "votes": found.ballot.by_annotator(),
            "agreement": each.raw,
            "fleiss_kappa": each.kappa,
            "examples_of_agreement": each.examples,
        }
    if found.judged:
        further["judge"] = {
            "model": found.judge,
            "places": dict(found.judged.places),
            "turned_by_order": found.judged.turned,
            "without_verdict": sum(choice is None for choice in found.judged.choices),
        }
    return further


def _write_predictions(found: Found, opinions: Sequence[Opinion], path: Path) -> None:
    """A line for each example: `scores` are the first voter's (people's, where there are any), all votes in `facts`."""
    votes, verdicts = found.votes(), found.verdicts()
    scores = {
        each.id: outcome for one in opinions[:1] for each, outcome in zip(one.examples, one.outcomes, strict=True)
    }
    with LineWriter(path) as lines:
        for each in found.pairing.examples:
            said = [
                {"annotator": vote.annotator, "choice": vote.choice, "comment": vote.comment}
                for vote in votes.get(each.id, ())
            ]
            facts = {"same": each.same, "votes": said, "judge": verdicts.get(each.id)}
            prediction = Prediction(
                each.id,
                each.task,
                output="",
                scores=scores.get(each.id, {}),
                length=each.length,
                prompt_sha256=each.prompt_sha256,
                failed="" if each.id in scores else "nobody voted",
                facts=facts,
            )
            lines.write(prediction.as_row())
        lines.publish()
