"""What chat models really write, read as pairs, summaries, answers and scores."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from selfinstruct.parse import Pair, parse_answer, parse_pair, parse_score, parse_summary

PIER = Pair("How long is the pier?", "212 m", "The pier is 212 metres long.")
READINGS = {
    "tags": """<question>How long is the pier?</question>
<answer>212 m</answer>
<evidence>The pier is 212 metres long.</evidence>""",
    "tags in capitals, on lines of their own": """Sure! Here is the pair:
<Question>
How long is the pier?
</Question>

<ANSWER>
212 m
</ANSWER>
<evidence>
"The pier is 212 metres long."
</evidence>
Let me know if you need more.""",
    "no closing tags": """<question>How long is the pier?
<answer>212 m
<evidence>The pier is 212 metres long.""",
    "a blank in the closing tags": """<question>How long is the pier?</ question>
<answer>212 m</ answer >
<evidence>The pier is 212 metres long.</evidence >""",
    "tags in a fence": """```xml
<question>How long is the pier?</question>
<answer>212 m</answer>
<evidence>The pier is 212 metres long.</evidence>
```""",
    "tags around tags": """<pair><question>How long is the pier?</question><answer>212 m</answer>
<evidence>The pier is 212 metres long.</evidence></pair>""",
    "bold and quoted values": """<question>**How long is the pier?**</question>
<answer>"212 m"</answer>
<evidence>“The pier is 212 metres long.”</evidence>""",
    "another order": """<evidence>The pier is 212 metres long.</evidence>
<answer>212 m</answer><question>How long is the pier?</question>""",
    "after thinking": """<think>
Maybe <question>What is the pier?</question> <answer>wood</answer>? No.
</think>

<question>How long is the pier?</question>
<answer>212 m</answer>
<evidence>The pier is 212 metres long.</evidence>""",
    "json": '{"question": "How long is the pier?", "answer": "212 m", "evidence": "The pier is 212 metres long."}',
    "fenced json": """Here it is:
```json
{
  "question": "How long is the pier?",
  "answer": "212 m",
  "evidence": "The pier is 212 metres long."
}
```""",
    "json with a trailing comma": """{"question": "How long is the pier?", "answer": "212 m",
"evidence": "The pier is 212 metres long.",}""",
    "json with other keys": """{"id": 7, "Question": "How long is the pier?", "Answer": "212 m",
"evidence": "The pier is 212 metres long.", "difficulty": {"level": "easy"}}""",
    "json in a list": """[{"question": "How long is the pier?", "answer": "212 m",
"evidence": "The pier is 212 metres long."}]""",
    "json in an object": """{"pair": {"question": "How long is the pier?", "answer": "212 m",
"evidence": "The pier is 212 metres long."}}""",
    "json after braces": """The set {1, 2} aside: {"question": "How long is the pier?", "answer": "212 m",
"evidence": "The pier is 212 metres long."}""",
    "labels": """Question: How long is the pier?
Answer: 212 m
Evidence: The pier is 212 metres long.""",
    "bold labels": """**Question:** How long is the pier?

**Answer:** 212 m

**Evidence:** "The pier is 212 metres long.\"""",
    "bold labels, colon outside": """**Question**: How long is the pier?
**Answer**: 212 m
**Evidence**: The pier is 212 metres long.""",
    "labels of a list": """- Question: How long is the pier?
- Answer: 212 m
- Evidence: The pier is 212 metres long.""",
    "heading labels": """### Question: How long is the pier?
### Answer: 212 m
### Evidence: The pier is 212 metres long.""",
    "numbered labels": """Question 1: How long is the pier?
Answer 1: 212 m
Evidence 1: The pier is 212 metres long.""",
    "short labels": """Q: How long is the pier?
A: 212 m
Evidence: The pier is 212 metres long.""",
    "labels with another colon": """Question： How long is the pier?
Answer： 212 m
Evidence： The pier is 212 metres long.""",
    "labels on lines of their own": """Question:
How long is the pier?

Answer:
212 m

Evidence:
The pier is 212 metres long.""",
}


@pytest.mark.parametrize("name", READINGS)
def test_a_pair_is_read_however_it_is_written(name: str) -> None:
    assert parse_pair(READINGS[name], False) == PIER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I cannot write a question about this.",
        "<question>How long is the pier?</question>",
        "<answer>212 m</answer>",
        "Question: How long is the pier?",
        '{"question": "How long is the pier?"}',
        '{"question": "How long is the pier?", "answer": null}',
        "<think>A question... <question>q</question><answer>a</answer>",  # ran out of tokens while thinking
        "<summary>The pier is long.</summary>",
        "{}",
        "[]",
    ],
)
def test_what_holds_no_pair_gives_none(text: str) -> None:
    assert parse_pair(text, False) is None


SEVERAL = {
    "tags": "".join(f"<question>q{n}?</question><answer>a{n}</answer><evidence>e{n}</evidence>\n" for n in (1, 2, 3)),
    "json list": '[{"question": "q1?", "answer": "a1", "evidence": "e1"}, {"question": "q2?", "answer": "a2"}, '
    '{"question": "q3?", "answer": "a3"}]',
    "json objects": '{"question": "q1?", "answer": "a1", "evidence": "e1"}\n{"question": "q2?", "answer": "a2"}\n'
    '{"question": "q3?", "answer": "a3"}',
    "json object of a list": '{"pairs": [{"question": "q1?", "answer": "a1", "evidence": "e1"}, '
    '{"question": "q2?", "answer": "a2"}, {"question": "q3?", "answer": "a3"}]}',
    "numbered labels": "\n".join(f"{n}. Question: q{n}?\n   Answer: a{n}\n   Evidence: e{n}" for n in (1, 2, 3)),
    "labels": "\n\n".join(f"Q{n}: q{n}?\nA{n}: a{n}\nEvidence: e{n}" for n in (1, 2, 3)),
    "bold labels": "---\n".join(f"**Question {n}:** q{n}?\n**Answer {n}:** a{n}\nEvidence: e{n}\n" for n in (1, 2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_the_first_of_several_pairs_counts_and_the_rest_are_counted(name: str) -> None:
    found = parse_pair(SEVERAL[name], False)
    assert found is not None
    assert (found.question, found.answer) == ("q1?", "a1")
    assert found.evidence.startswith("e1")
    assert found.surplus == 2


def test_raw_line_ends_in_json_hide_no_pair() -> None:
    text = '{"pairs": [{"question": "q1?", "answer": "a\nb"}, {"question": "q2?", "answer": "c"}]}'
    assert parse_pair(text, False) == Pair("q1?", "a\nb", surplus=1)


def test_a_question_without_answer_is_passed_over() -> None:
    found = parse_pair("<question>q1?</question><question>q2?</question><answer>a2</answer>", False)
    assert found == Pair("q2?", "a2")


CUT_OFF = {
    "<question>q?</question><answer>It is long and": True,
    "<question>q?</question><answer>It is long.</answer><evidence>The pier": False,
    "<question>q?</question><answer>It is long.</answer>": False,
    "<question>q?</question><answer>It is long. <evidence>The pier": True,  # who knows what stood after "long."
    "Question: q?\nAnswer: It is long and": True,
    "Question: q?\nAnswer: It is long.\nEvidence: The pier": False,
    '{"question": "q?", "answer": "It is long and': True,
    '{"question": "q?", "answer": "It is long.", "evidence": "The pier': False,
}


@pytest.mark.parametrize("text", CUT_OFF)
def test_only_an_answer_that_broke_off_is_cut_off(text: str) -> None:
    found = parse_pair(text, True)
    assert found is not None
    assert found.cut_off is CUT_OFF[text]
    whole = parse_pair(text, False)  # the model stopped by itself
    assert whole is not None
    assert whole.cut_off is False
    assert whole.answer == found.answer


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("a\nQuestion: what?\nAnswer: b", "a\nQuestion: what?\nAnswer: b"),
        ('He said: {"answer": 5}.', 'He said: {"answer": 5}.'),
        ("It is <b>bold</b> & x < y > z", "It is <b>bold</b> & x < y > z"),
        ('"a" and "b"', '"a" and "b"'),
        ("**a** and **b**", "**a** and **b**"),
        ('He said "no"', 'He said "no"'),
        ("“one”", "one"),
        ("", ""),
    ],
)
def test_an_answer_in_tags_keeps_what_it_holds(written: str, answer: str) -> None:
    found = parse_pair(f"<question>q?</question>\n<answer>{written}</answer>", False)
    assert found == Pair("q?", answer)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (r'"two\nlines and \"quotes\""', 'two\nlines and "quotes"'),
        ('"two\nlines, raw\tones"', "two\nlines, raw\tones"),
        (r'"caf\u00e9 \ud83d\ude00"', "café 😀"),
        ("212", "212"),
        ("3.5", "3.5"),
        (r'"C:\\dir"', r"C:\dir"),
    ],
)
@pytest.mark.parametrize("end", ["}", ', "evidence": ""}'])
def test_json_values_are_read_as_text(written: str, answer: str, end: str) -> None:
    assert parse_pair(f'{{"question": "q?", "answer": {written}{end}', False) == Pair("q?", answer)


SUMMARIES = {
    "<summary>The pier is long.</summary>": "The pier is long.",
    "<summary>\nThe pier is long.": "The pier is long.",
    '{"summary": "The pier is long."}': "The pier is long.",
    '```json\n{"summary": "The pier is long."}\n```': "The pier is long.",
    "Summary: The pier is long.": "The pier is long.",
    "**Summary:** The pier is long.": "The pier is long.",
    "The pier is long.": "The pier is long.",
    "<think>Hm.</think>The pier is long.": "The pier is long.",
    "```\nThe pier is long.\n```": "The pier is long.",
}


@pytest.mark.parametrize("text", SUMMARIES)
def test_a_summary_is_read_however_it_is_written(text: str) -> None:
    assert parse_summary(text, False) == Pair("", SUMMARIES[text])


@pytest.mark.parametrize("text", ["", "<think>and so on", '{"text": "x"}', "<b>x</b>", "  \n"])
def test_what_holds_no_summary_gives_none(text: str) -> None:
    assert parse_summary(text, False) is None


@pytest.mark.parametrize(
    "text", ["The pier is", "<summary>The pier is", "Summary: The pier is", '{"summary": "The pier is']
)
def test_a_summary_that_broke_off_is_cut_off(text: str) -> None:
    assert parse_summary(text, True) == Pair("", "The pier is", cut_off=True)


def test_a_closed_summary_is_whole() -> None:
    assert parse_summary("<summary>The pier is long.</summary> And", True) == Pair("", "The pier is long.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("212 m", "212 m"),
        ('"212 m"', "212 m"),
        ("**212 m**", "212 m"),
        ("Answer: 212 m", "212 m"),
        ("**Answer:** 212 m", "212 m"),
        ("<answer>212 m</answer>", "212 m"),
        ('{"answer": "212 m"}', "212 m"),
        ("<think>Is it 211?</think>\n\n212 m", "212 m"),
        ("```\n212 m\n```", "212 m"),
        ("", ""),
        ("<think>and so on", ""),
    ],
)
def test_a_free_answer_is_read_bare(text: str, answer: str) -> None:
    assert parse_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<rationale>All right.</rationale>\n<score>8</score>", (8.0, "All right.")),
        ("<rationale>All right.</rationale>\n<score>8/10</score>", (8.0, "All right.")),
        ("<rationale>All right.\n<score>8", (8.0, "All right.")),
        ('{"rationale": "All right.", "score": 8}', (8.0, "All right.")),
        ('{"rationale": "All right.", "score": "8"}', (8.0, "All right.")),
        ('{"rationale": "All right.", "score": 8,}', (8.0, "All right.")),
        ("Rationale: All 3 are right.\nScore: 8.5", (8.5, "All 3 are right.")),
        ("**Score:** 10/10", (10.0, "")),
        ("Score: **9**", (9.0, "")),
        ("<think>Score: 2</think>Score: 9", (9.0, "")),
        ("<score>10</score>", (10.0, "")),
        ("<score>1</score>", (1.0, "")),
    ],
)
def test_a_score_is_read_however_it_is_written(text: str, score: tuple[float, str]) -> None:
    assert parse_score(text) == score


@pytest.mark.parametrize(
    "text",
    ["", "8", "<score>ten</score>", "<score></score>", "<score>0</score>", "<score>11</score>", "<score>100</score>",
     '{"score": null}', '{"score": 0}', "<rationale>All right.</rationale>", "It gets an 8."],
)  # fmt: skip
def test_what_holds_no_score_gives_none(text: str) -> None:
    assert parse_score(text) is None


fragments = st.sampled_from(
    """<question> </question> <answer> </answer> <evidence> </evidence> <summary> </summary> <score> <think> </think>
    ```json ``` { } [ ] " \\ \\u \\ud83d : , "question": "answer": "score": Question: **Answer:** Q: 1. - 7 null true
    """.split()
) | st.sampled_from(["\n", " ", "\t", "text", "é", "\x00", "“", "…"])
replies = st.lists(fragments | st.text(max_size=8), max_size=30).map("".join) | st.text()


@given(text=replies, cut_off=st.booleans())
@example(text='{"question": "q", "answer": ' + "9" * 400 + "}", cut_off=False)
@example(text='{"answer": ' + "[" * 1_500, cut_off=True)
@example(text='[{"question":' * 1_200, cut_off=True)
@example(text='{"score": ' + "9" * 5_000 + "}", cut_off=False)
def test_no_reply_raises(text: str, cut_off: bool) -> None:
    pair = parse_pair(text, cut_off)
    assert pair is None or (isinstance(pair.question, str) and isinstance(pair.answer, str) and pair.surplus >= 0)
    assert pair is None or cut_off or not pair.cut_off
    summary = parse_summary(text, cut_off)
    assert summary is None or summary.question == ""
    assert isinstance(parse_answer(text), str)
    score = parse_score(text)
    assert score is None or 1 <= score[0] <= 10


SLOW = ["a " * 50_000, "(" * 100_000, "{" * 50_000, '{"a":' * 2_000, "<question>" * 10_000, "<think>" * 15_000, "Q: " * 33_000, "\n" * 100_000,
        "*" * 100_000, '"' * 100_000, "`" * 100_000, '"answer": "' + "\\" * 100_000, "Answer: a\n" * 10_000,
        "<question>q</question><answer>a</answer>" * 2_500, ": " * 50_000, "1. " * 33_000]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", SLOW, ids=lambda text: repr(text[:12]))
def test_a_reply_of_100_kb_is_read_at_once(text: str) -> None:
    parse_pair(text, True)
    parse_summary(text, True)
    parse_score(text)


@pytest.mark.parametrize(
    "reply", ['{"question":' + "[" * 3_000, '{"score": ' + "1" * 5_000 + "}", '{"answer": "\\ud800"}']
)
def test_replies_made_to_break_a_parser_do_not(reply: str) -> None:
    for found in (parse_pair(reply, False), parse_summary(reply, False), parse_score(reply), parse_answer(reply)):
        repr(found).encode()
