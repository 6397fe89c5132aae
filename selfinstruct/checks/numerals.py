"""Numbers as they are written: with separators, spelled out, scaled, in dates and times; each as its equivalent
forms.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SPELLED = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_POWERS = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_OTHER_LANGUAGES = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf "
    "dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig",
    "cero un dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "zéro une deux trois quatre cinq six sept huit neuf dix onze douze",
)
_FOREIGN = {word: value for line in _OTHER_LANGUAGES for value, word in enumerate(line.split())}
_OTHER = {"dozen": "12", "twice": "2", "double": "2", "thrice": "3", "fourpence": "4", "sixpence": "6", "decade": "10"}
_SHARES = {"half": "50", "hälfte": "50", "mitad": "50", "moitié": "50", "quarter": "25 15", "viertel": "25 15"}
_UNIT_NAMES = {  # (dimension, how many of its smallest unit here): spellings
    ("time", 1): "second seconds sec s",
    ("time", 60): "minute minutes min mins minuten minutos",
    ("time", 3_600): "hour hours h hr hrs stunde stunden hora horas heure heures",
    ("time", 86_400): "day days tag tage tagen día días jour jours",
    ("time", 604_800): "week weeks woche wochen semana semanas semaine semaines",
    ("months", 1): "month months monat monate monaten mes meses mois",
    ("months", 12): "year years jahr jahre jahren año años an ans année années",
    ("mass", 1): "g gram grams gramm gramos grammes",
    ("mass", 1_000): "kg kilogram kilograms kilo kilos",
    ("mass", 1_000_000): "t tonne tonnes ton tons",
    ("length", 1): "mm millimetre millimetres millimeter millimeters",
    ("length", 10): "cm centimetre centimetres centimeter centimeters",
    ("length", 1_000): "m metre metres meter meters metros mètres",
    ("length", 1_000_000): "km kilometre kilometres kilometer kilometers kilómetros kilomètres",
}
UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names.split()}
OTHER_UNITS = frozenset(
    "celsius fahrenheit degrees degree percent per cent pounds euros dollars litres liters litre l".split()
)
_MONTH_NAMES = (
    "january jan januar janvier enero",
    "february feb februar février febrero",
    "march mar märz mars marzo",
    "april apr avril abril",
    "may mai mayo",
    "june jun juni juin junio",
    "july jul juli juillet julio",
    "august aug août agosto",
    "september sep sept septembre septiembre",
    "october oct oktober okt octobre octubre",
    "november nov novembre noviembre",
    "december dec dezember dez décembre diciembre",
)
MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_DATE = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b|\b(\d{1,2})[./](\d{1,2})[./](\d{2,4})\b|\b(\d{1,2})/(\d{4})\b")
_TIME = re.compile(r"\b(\d{1,2})(?:[:.h](\d{2}))?\s*([ap])\.?m\b|\b(\d{1,2})(?::|\s?h\s?)(\d{2})\b", re.I)
_DIGITS = re.compile(r"\d{1,3}(?:[.,\u202f\u00a0' ]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)?")
_SCALE = re.compile(r"\s*(k|m|bn|b|thousand|million|billion|mio|mrd|millionen|millones|millions)\b", re.I)
_SCALES = {"k": 1e3, "thousand": 1e3, "bn": 1e9, "b": 1e9, "billion": 1e9, "mrd": 1e9}
_LIST_MARK = re.compile(r"^\s*\d{1,2}[.)](?=\s)", re.M)
_DIGIT = re.compile(r"\d")
_WORDS = re.compile(r"[^\W\d_]+")
_OF_OTHER_LANGUAGES = {word: str(value) for word, value in _FOREIGN.items()} | _OTHER | _SHARES
NUMBER_WORDS = frozenset({*SPELLED, *_POWERS, *_OF_OTHER_LANGUAGES})
_RUN_WORD = re.compile(rf"(?<![^\W\d_])(?:{'|'.join((*SPELLED, *_POWERS, 'and'))})(?![^\W\d_])", re.I)
SMALL = 12
_UNIT_CHARS = 24  # after a number, in which its unit is looked for
_ONE = frozenset({"1"})  # "a shilling": the article says it


@dataclass(frozen=True, slots=True)
class Mention:
    """A number at characters [start, end) of a text, as its equivalent forms."""

    start: int
    end: int
    forms: frozenset[str]


@lru_cache(maxsize=1024)
def numbers(text: str) -> frozenset[str]:
    """Every form of every number in a text that serves as a source."""
    words = set(_WORDS.findall(text.lower()))
    found = {f"month:{MONTHS[word]}" for word in words & MONTHS.keys()}
    for word in words & _OF_OTHER_LANGUAGES.keys():
        found.update(_OF_OTHER_LANGUAGES[word].split())
    return frozenset(found.union(*(mention.forms for mention in mentions(text))))


def claims(text: str, *, small_words: bool) -> list[frozenset[str]]:
    """The numbers that an answer states, each as its equivalent forms.

    Small numbers in words ("three reasons") are often the writer's own counting: they count only with `small_words`.
    """
    return [
        mention.forms
        for mention in mentions(text)
        if mention.forms != _ONE and (small_words or not _is_small_word(mention, text))
    ]


def _is_small_word(mention: Mention, text: str) -> bool:
    if _DIGIT.search(text, mention.start, mention.end):
        return False
    return min(float(form) for form in mention.forms if ":" not in form) <= SMALL


def mentions(text: str) -> list[Mention]:
    """Numbers in digits and, in English, in words; the numbering of a list is none."""
    text = _LIST_MARK.sub(_blanked, text)
    found = list(_in_words(text)) if NUMBER_WORDS & set(_WORDS.findall(text.lower())) else []
    return [*_in_digits(text), *found] if _DIGIT.search(text) else found


def canonical(digits: str) -> str:
    """Without thousands' separators, with a decimal point: "1.250,5" and "1,250.5" are both "1250.5"."""
    bare = re.sub(r"[\u202f\u00a0' ]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", bare):
        return _without_zeros(re.sub(r"[.,]", "", bare))
    head, mark, tail = bare.replace(",", ".").rpartition(".")
    decimals = tail.rstrip("0") if mark else ""
    whole = re.sub(r"\D", "", head if mark else bare)
    return _without_zeros(whole) + (f".{decimals}" if decimals else "")


def _without_zeros(digits: str) -> str:
    """ASCII digits without leading zeros; never through int(), which refuses digits by the thousand."""
    plain = digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)
    return plain.lstrip("0") or "0"


def _in_digits(text: str) -> Iterator[Mention]:
    """A date gives its parts, of which any may be the month; a time its hour of 24, and of 12."""
    for match in _DATE.finditer(text):
        for group, part in enumerate(match.groups(), 1):
            if part:
                yield Mention(*match.span(group), frozenset({canonical(part), f"month:{_without_zeros(part)}"}))
    text = _DATE.sub(_blanked, text)
    for match in _TIME.finditer(text):
        yield Mention(*match.span(), _clock(match))
    text = _TIME.sub(_blanked, text)
    for match in _DIGITS.finditer(text):
        number, following = canonical(match.group()), text[match.end() : match.end() + _UNIT_CHARS]
        yield Mention(*match.span(), _scaled(number, _SCALE.match(following)) | _measured(number, following))


def _blanked(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _clock(match: re.Match[str]) -> frozenset[str]:
    hour, minute = int(match[1] or match[4]), match[2] or match[5] or "00"
    shifted = hour % 12 + 12 if (match[3] or "").lower() == "p" else hour % 12 if match[3] else hour
    bare = {str(hour)} if minute == "00" else {canonical(f"{hour}.{minute}"), canonical(f"{shifted % 12}.{minute}")}
    return frozenset({f"{shifted}:{minute}", f"{shifted % 12}:{minute}"} | bare)


def _scaled(digits: str, scale: re.Match[str] | None) -> frozenset[str]:
    if not scale:
        return frozenset({digits})
    factor = _SCALES.get(scale[1].lower(), 1e6)
    return frozenset({digits, canonical(f"{float(digits) * factor:.3f}")})


def _measured(number: str, following: str) -> frozenset[str]:
    """The number in the smallest unit of its dimension, where a unit follows: "2 weeks" and "14 days" are one."""
    unit = re.match(r"[\s-]*([^\W\d_]+)", following)
    if not unit or unit[1].lower() not in UNITS:
        return frozenset()
    dimension, factor = UNITS[unit[1].lower()]
    return frozenset({f"{dimension}:{float(number) * factor:g}"})


def _in_words(text: str) -> Iterator[Mention]:
    """A run of English number words is one number: "two hundred and seventy-six"."""
    run: list[re.Match[str]] = []
    for match in [*_RUN_WORD.finditer(text), None]:
        word = match.group().lower() if match else ""
        if match and run and not text[run[-1].end() : match.start()].strip(" \n-"):
            run.append(match)
            continue
        if run:
            following = text[run[-1].end() : run[-1].end() + _UNIT_CHARS]
            yield Mention(run[0].start(), run[-1].end(), _run_forms([each.group().lower() for each in run], following))
        run = [match] if match and word in SPELLED else []


def _run_forms(run: list[str], following: str) -> frozenset[str]:
    number = str(_value(run))
    return frozenset({number}) | _measured(number, following)


def _value(words: list[str]) -> int:
    total = current = 0
    for word in words:
        if word == "hundred":
            current = max(1, current) * 100
        elif word in _POWERS:
            total, current = total + max(1, current) * _POWERS[word], 0
        else:
            current += SPELLED.get(word, 0)
    return total + current
