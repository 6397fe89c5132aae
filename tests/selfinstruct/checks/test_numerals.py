"""Numbers as they are written: what states the same is the same, what is near is not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from selfinstruct.checks.numerals import canonical, claims, mentions, numbers


def supported(answer: str, source: str, *, small_words: bool = True) -> bool:
    """Whether the source states every number of the answer, of which there is one at least."""
    stated = claims(answer, small_words=small_words)
    assert stated, "the answer states no number"
    return all(forms & numbers(source) for forms in stated)


SAME = [
    ("1250", "1,250"),
    ("1,250", "1.250 Meter"),
    ("1 250", "1,250"),
    ("1\u202f250", "1250"),
    ("1'250'000", "1.250.000"),
    ("1.234.567,89", "1,234,567.89"),
    ("3.50", "3,5"),
    ("007", "7"),
    ("seventeen", "17"),
    ("17", "seventeen"),
    ("two hundred and seventy-six", "276"),
    ("276", "two hundred and seventy-six"),
    ("two thousand and five", "2005"),
    ("five million", "5,000,000"),
    ("5,000,000", "five million"),
    ("1.5 million", "1,500,000"),
    ("1,500,000", "1.5 million"),
    ("3k", "3000"),
    ("4,5 Mrd.", "4.5 billion"),
    ("5 Millionen", "5 million"),
    ("$1.2bn", "1.2 billion"),
    ("2 weeks", "14 days"),
    ("14 days", "two weeks"),
    ("ninety minutes", "1.5 hours"),
    ("24 months", "two years"),
    ("2.5 kg", "2500 g"),
    ("1 m", "100 cm"),
    ("12 km", "12,000 m"),
    ("3 September 1881", "1881-09-03"),
    ("1881-09-03", "September 3, 1881"),
    ("11. März 2020", "March 11, 2020"),
    ("3/2020", "March 2020"),
    ("9 am", "9:00"),
    ("9:00", "9 a.m."),
    ("21:00", "9 p.m."),
    ("9:30 pm", "21:30"),
    ("4pm", "16:00"),
    ("50 %", "half"),
    ("25%", "a quarter"),
    ("12", "a dozen"),
    ("12", "zwölf"),
    ("20", "zwanzig"),
    ("3", "trois"),
    ("10–12", "between 10 and 12"),
    ("page-12", "p. 12"),
    ("Python 3.11", "version 3.11"),
    ("192.168.0.1", "at 192.168.0.1"),
    ("٣", "3"),
]


@pytest.mark.parametrize(("answer", "source"), SAME)
def test_the_same_number_is_found_however_it_is_written(answer: str, source: str) -> None:
    assert supported(answer, source)


OTHER = [
    ("1,250", "1,520"),
    ("1250", "125"),
    ("125", "1250"),
    ("17", "71"),
    ("seventeen", "seventy"),
    ("15", "1.5"),
    ("1.5", "15"),
    ("5", "5.1"),
    ("3.11", "3.1"),
    ("1.25", "1.250 metres"),
    ("1,000", "one"),
    ("20", "twenty-one"),
    ("21", "twenty"),
    ("2", "two hundred"),
    ("200", "two"),
    ("6", "sixteen"),
    ("3 September 1881", "3 September 1882"),
    ("3 September 1881", "4 September 1881"),
    ("2020-03-11", "2020-04-11"),
    ("9:30", "9:45"),
    ("50", "a quarter"),
    ("3 weeks", "14 days"),
    ("90 minutes", "2 hours"),
    ("2.5 kg", "250 g"),
    ("2 million", "1.5 million"),
    ("1984", "84"),
    ("7", ""),
]


@pytest.mark.parametrize(("answer", "source"), OTHER)
def test_a_near_miss_is_another_number(answer: str, source: str) -> None:
    assert not supported(answer, source)


def test_small_numbers_in_words_count_only_where_asked_for() -> None:
    assert claims("for three reasons", small_words=False) == []
    assert claims("for three reasons", small_words=True) == [frozenset({"3"})]
    assert claims("3 reasons, thirteen of them", small_words=False) == [frozenset({"3"}), frozenset({"13"})]


@pytest.mark.parametrize("text", ["one shilling", "a pier", "no number", "", "1", "often", "tend", "someone", "phone"])
def test_an_article_and_letters_within_words_are_no_numbers(text: str) -> None:
    assert claims(text, small_words=True) == []


def test_the_numbering_of_a_list_is_none() -> None:
    assert claims("1. It is long.\n2. It is old.\n 3) It has 7 piles.", small_words=True) == [frozenset({"7"})]


def test_words_of_two_numbers_are_two_numbers() -> None:
    assert {min(forms) for forms in claims("twenty, thirty; and forty. Fifty", small_words=True)} == {
        "20", "30", "40", "50",
    }  # fmt: skip
    assert numbers("twelve hundred and five thousand") >= {"1205000"} or numbers("twelve hundred") >= {"1200"}


@pytest.mark.parametrize(
    ("digits", "number"),
    [("1.250,5", "1250.5"), ("1,250.5", "1250.5"), ("1.250", "1250"), ("12.50", "12.5"), ("0.5", "0.5"), ("5", "5"),
     ("00", "0"), ("1\u00a0000\u00a0000", "1000000"), ("3,1415", "3.1415")],
)  # fmt: skip
def test_digits_are_written_one_way(digits: str, number: str) -> None:
    assert canonical(digits) == number


@given(st.integers(0, 10**15))
def test_separators_change_no_number(number: int) -> None:
    written = f"{number:,}"
    for mark in ",.'\u202f\u00a0":
        assert canonical(written.replace(",", mark)) == str(number)


@given(st.integers(2, 10**12))
def test_every_whole_number_supports_itself_and_not_the_next(number: int) -> None:
    assert supported(str(number), f"It is {number:,} tonnes.")
    assert not supported(str(number + 1), f"There are {number} of them.")


written = st.text(st.sampled_from("0123456789.,:/-' apmhkMb\u202f²½%٣\n")) | st.lists(
    st.sampled_from("two hundred and thousand million seventy dozen half May März 7 12 1,250 0.5 pm km weeks".split())
).map(" ".join)


@given(text=written | st.text(max_size=60))
@example(text="7" * 5_000)
@example(text="111," * 5_000)
@example(text="5." + "7" * 5_000 + " kg")
def test_no_text_raises_and_mentions_lie_in_it(text: str) -> None:
    for mention in mentions(text):
        assert 0 <= mention.start < mention.end <= len(text)
        assert mention.forms
    for forms in claims(text, small_words=True):
        assert forms <= numbers(text)  # a text supports itself


SLOW = ["a " * 50_000, "1 " * 50_000, "1," * 50_000, "1." * 50_000, "two and " * 12_500, "seven " * 16_000,
        "2020-01-01 " * 9_000, "10:10 " * 16_000, "1 k" * 33_000, " " * 100_000, "million " * 12_500, "-1" * 50_000]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", SLOW, ids=lambda text: repr(text[:10]))
def test_100_kb_are_read_at_once(text: str) -> None:
    numbers(text)
    claims(text, small_words=False)
