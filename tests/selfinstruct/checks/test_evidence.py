"""Evidence: quotations found, facts near them, spans that are slices; in English, German and code."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longreach.record import Span
from selfinstruct.checks.evidence import Source, check_evidence
from selfinstruct.parse import Pair
from selfinstruct.tasks import TASKS, Task

SHORT, LONG, SUMMARY = TASKS["short_answer"], TASKS["long_answer"], TASKS["section_summary"]
BRIDGE = """The *Tarrowmere Bridge* was opened by the Duchess of Velmar on 3 September 1881. It has a main span of 212
metres and a total length of 1,250 metres. Its architect was Edwin Farraday, who had never built anything larger than a
railway bridge.

Tolls were ended in 1920 by the Orvane council. Before that, a cart paid fourpence and a herd of up to twenty cattle
paid a shilling. The keeper, Anna Holm, lived in the eastern tower for thirty-one years."""
BRUECKE = """Die Brücke wurde am 3. September 1881 von der Herzogin von Velmar eröffnet. Ihre Spannweite beträgt 212 Meter,
die Gesamtlänge 1.250 Meter. Gebaut wurde sie von Margarethe Lindqvist, die zuvor nur einen Steg entworfen hatte. Der
Bau kostete 4,5 Millionen Mark und dauerte zwölf Jahre."""
CODE = '''def retry(call, times=3, base_delay=0.25):
    """Try again with exponential back-off; give up after `times` failures."""
    for attempt in range(times):
        time.sleep(base_delay * 2 ** attempt)

MAX_WAIT = 30  # seconds, however many attempts there were
'''


def judged(text: str, question: str, answer: str, quote: str = "", task: Task = SHORT) -> tuple[str, list[str]]:
    """(the kind of the reason for rejection, the texts of the evidence)."""
    verdict, spans = check_evidence(Pair(question, answer, quote), task, Source(text))
    assert verdict.passed is (verdict.reason == "")
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert spans == sorted(set(spans), key=lambda span: (span.start, span.end))
    assert spans or not verdict.passed
    return verdict.reason.partition(":")[0], [span.of(text) for span in spans]


SPAN = "It has a main span of 212 metres"
SUPPORTED = [
    (BRIDGE, "How long is the bridge's main span?", "212 m", SPAN),
    (BRIDGE, "How long is the bridge's main span?", "It is 212 metres long.", "it has a MAIN SPAN of 212   metres"),
    (BRIDGE, "How long is the bridge with its approaches?", "1250 metres", "a total length of 1,250 metres"),
    (
        BRIDGE,
        "When was the Tarrowmere Bridge opened?",
        "September 3, 1881",
        "opened by the Duchess of Velmar on 3 September 1881",
    ),
    (BRIDGE, "Who was the architect of the bridge?", "Edwin Farraday", "Its architect was Edwin Farraday"),
    (BRIDGE, "Who was the architect of the bridge?", "Edwin Farraday", "“Its architect was Edwin Farraday …”"),
    (
        BRIDGE,
        "Who opened the Tarrowmere Bridge?",
        "the Duchess of Velmar",
        "was opened by the Duchess of Velmar",
    ),
    (BRIDGE, "Who lived in the eastern tower of the bridge?", "Anna Holm, the keeper", "Anna Holm"),
    (
        BRIDGE,
        "How long did the keeper live in the tower?",
        "31 years",
        "lived in the eastern tower for thirty-one years",
    ),
    (
        BRIDGE,
        "What did a cart pay on the bridge?",
        "fourpence",
        "Before that, a cart paid fourpence ... paid a shilling.",
    ),
    (BRIDGE, "Did the Orvane council end the tolls?", "Yes", "Tolls were ended in 1920 by the Orvane council."),
    (BRIDGE, "How long is the bridge's main span?", "212 m", ""),
    (BRIDGE, "Who was the architect of the bridge?", "Farraday", ""),
    (BRUECKE, "Wann wurde die Brücke eröffnet?", "Am 3. September 1881", "wurde am 3. September 1881 von der Herzogin"),
    (BRUECKE, "Wer baute die Brücke?", "Margarethe Lindqvist", "Gebaut wurde sie von Margarethe Lindqvist"),
    (BRUECKE, "Wie lang ist die Brücke?", "1250 Meter", "die Gesamtlänge 1.250 Meter"),
    (BRUECKE, "Was kostete der Bau der Brücke?", "4.500.000 Mark", "Der Bau kostete 4,5 Millionen Mark"),
    (BRUECKE, "Wie lange dauerte der Bau?", "12 Jahre", "und dauerte zwölf Jahre"),
    (BRUECKE, "How long did building the Brücke take?", "12 years", "dauerte zwölf Jahre"),
    (
        BRUECKE,
        "Was hatte Lindqvist vorher entworfen?",
        "einen Steg, keine Brücke",
        "die zuvor nur einen Steg entworfen hatte",
    ),
    (CODE, "What is the default base_delay of retry()?", "0.25", "base_delay=0.25"),
    (CODE, "Which constant bounds the wait?", "MAX_WAIT", "MAX_WAIT = 30  # seconds"),
    (CODE, "How often does retry try by default?", "3 times", "def retry(call, times=3, base_delay=0.25):"),
]


@pytest.mark.parametrize(("text", "question", "answer", "quote"), SUPPORTED)
def test_what_the_source_says_is_supported(text: str, question: str, answer: str, quote: str) -> None:
    assert judged(text, question, answer, quote)[0] == ""


UNSUPPORTED = [
    (BRIDGE, "How long is the bridge's main span?", "221 m", SPAN, "number without support"),
    (BRIDGE, "How long is the bridge's main span?", "1,250 metres", SPAN, "number without support"),  # stands elsewhere
    (BRIDGE, "How long is the bridge's main span?", "212 m", "It has a main span of 213 metres", "quotation not in the source"),
    (BRIDGE, "When was the Tarrowmere Bridge opened?", "In 1882", "on 3 September 1881", "number without support"),
    (BRIDGE, "Who was the architect of the bridge?", "Edwin Faraday", "Its architect was Edwin Farraday", "name without support"),
    (BRIDGE, "Who was the architect of the bridge?", "Anna Holm", "Its architect was Edwin Farraday, who had never built anything", "name without support"),
    (BRIDGE, "What did a cart pay on the bridge?", "a barrel of herring", "a cart paid fourpence and a herd of up to twenty", "words without support"),
    (BRIDGE, "Which vitamin prevents scurvy among sailors?", "railway", "anything larger than a railway bridge", "question about something else"),
    (BRIDGE, "How long is the bridge's main span?", "212 m", "It has seventy lamps of brass.", "quotation not in the source"),
    (BRUECKE, "Wer baute die Brücke?", "Margarethe Lundqvist", "Gebaut wurde sie von Margarethe Lindqvist", "name without support"),
    (BRUECKE, "Was kostete der Bau der Brücke?", "45 Millionen Mark", "kostete 4,5 Millionen Mark", "number without support"),
    (CODE, "What is the default base_delay of retry()?", "0.5", "base_delay=0.25", "number without support"),
    (CODE, "Which constant bounds the wait?", "MAX_DELAY", "MAX_WAIT = 30", "name without support"),
    ("", "How long is the bridge's main span?", "212 m", "", "nothing in the source supports the answer"),
    ("", "How long is the bridge's main span?", "212 m", SPAN, "quotation not in the source"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "question", "answer", "quote", "why"), UNSUPPORTED)
def test_what_the_source_does_not_say_is_rejected(text: str, question: str, answer: str, quote: str, why: str) -> None:
    assert judged(text, question, answer, quote)[0] == why


@pytest.mark.parametrize(
    ("quote", "places"),
    [
        (SPAN, ["It has a main span of 212\nmetres"]),
        ("The Tarrowmere Bridge was opened", ["The *Tarrowmere Bridge* was opened"]),
        ("Tolls were ended in 1920 ... lived in the eastern tower", ["Tolls were ended in 1920", "lived in the eastern tower"]),
        ("lived in the eastern tower ... Tolls were ended in 1920", ["Tolls were ended in 1920", "lived in the eastern tower"]),
    ],
)  # fmt: skip
def test_evidence_is_where_the_quotation_stands(quote: str, places: list[str]) -> None:
    assert judged(BRIDGE, "What is said of the bridge and its tower?", "eastern tower", quote)[1] == places


def test_without_quotation_the_evidence_is_the_sentence_that_answers() -> None:
    _, spans = judged(BRIDGE, "How long did the keeper live in the tower?", "thirty-one years")
    assert spans == ["The keeper, Anna Holm, lived in the eastern tower for thirty-one years."]
    _, spans = judged(BRIDGE, "How long is the main span?", "212 metres")
    assert len(spans) == 1
    assert spans[0].startswith("It has a main span of 212")


def test_a_longer_answer_may_draw_on_several_places() -> None:
    answer = "It was opened by the Duchess of Velmar in 1881. The tolls were ended in 1920 by the council."
    why, spans = judged(BRIDGE, "What do we know of the bridge's opening and tolls?", answer, "", LONG)
    assert why == ""
    assert [span.split()[0] for span in spans] == ["The", "Tolls"]
    wrong = answer.replace("1920", "1930")
    assert judged(BRIDGE, "What of the bridge's opening and tolls?", wrong, "", LONG)[0] == "number without support"
    wrong = answer.replace("Velmar", "Wessex")
    assert judged(BRIDGE, "What of the bridge's opening and tolls?", wrong, "", LONG)[0] == "name without support"


def test_a_summary_has_no_question_to_be_about() -> None:
    summary = "The Tarrowmere Bridge by Edwin Farraday was opened in 1881; its tolls were ended in 1920."
    assert judged(BRIDGE, "", summary, "", SUMMARY)[0] == ""
    assert judged(BRIDGE, "", summary.replace("1881", "1891"), "", SUMMARY)[0] == "number without support"
    assert judged(BRIDGE, "", "Whales sing across oceans and migrate every winter.", "", SUMMARY)[0] != ""


def test_three_reasons_are_the_writers_own_count() -> None:
    answer = "There are two things known: the tolls were ended in 1920, and the keeper lived in the eastern tower."
    assert judged(BRIDGE, "What is known of tolls and keeper?", answer, "", LONG)[0] == ""


def test_what_the_question_says_may_be_said_again() -> None:
    question = "What did the council of Orvane do for Professor Lindgren in 1920?"
    assert judged(BRIDGE, question, "In 1920 it ended the tolls, Professor Lindgren.", "", LONG)[0] == ""


QUESTION = "How long is the bridge?"
texts = st.text(st.sampled_from(list("aB1. \n,\"'*()é漢_-")), max_size=80) | st.text(max_size=60)


@given(text=texts, question=texts, answer=texts, quote=texts)
@example(text="It is 5 m long. The key is " + "7" * 5_000, question=QUESTION, answer="5 m", quote="")
def test_no_pair_raises_and_spans_lie_in_the_source(text: str, question: str, answer: str, quote: str) -> None:
    for task in TASKS.values():
        judged(text, question, answer, quote, task)


@given(text=texts, data=st.data())
def test_any_slice_of_a_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    words = Span(start, end).of(text).split()[1:-1]  # whole words
    if any(character.isalnum() for word in words for character in word):
        verdict, spans = check_evidence(Pair(QUESTION, "x", " ".join(words)), SHORT, Source(text))
        assert spans, verdict.reason


SLOW = ["a " * 20_000, "(" * 100_000, " " * 100_000, ". " * 50_000, "A. " * 33_000, "Aa " * 33_000, "a_" * 50_000,
        "a-" * 50_000, ".\"'" * 33_000]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", SLOW, ids=lambda text: repr(text[:10]))
def test_100_kb_of_source_are_read_at_once(text: str) -> None:
    for task in (SHORT, LONG):
        check_evidence(Pair(QUESTION, "It is 5 m long."), task, Source(text))
        check_evidence(Pair(QUESTION, "It is 5 m long.", text[:2_000]), task, Source(text))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", SLOW, ids=lambda text: repr(text[:10]))
def test_100_kb_of_reply_are_read_at_once(text: str) -> None:
    for task in (SHORT, LONG):
        check_evidence(Pair(text, "212 m", text), task, Source(BRIDGE))
        check_evidence(Pair(QUESTION, text), task, Source(BRIDGE))
