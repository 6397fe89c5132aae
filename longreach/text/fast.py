"""The fast way from text to ids: gigatoken, where it gives the ids of Hugging Face's tokenizers, and nowhere else.

It is some fifty times as fast, on one core. Four things hold it to what tokenizers does:
- a tokenizer that it does not know, or whose options it would pass over, is refused (`Unfit`);
- whenever it is loaded, it has to agree on hard cases, some of which are made for this very tokenizer;
- a text on which the two may differ goes to tokenizers. Their Unicode tables are of different years: they part on
  characters that the older one does not know, and on text that is not in normal form C where the tokenizer asks for
  that form. Both are rare, and asking costs less than encoding;
- a sample of the texts, the first of them and later a thousandth, is encoded both ways: a difference raises
  `TokenizerMismatch`. This is about a percent of what reading, encoding and writing take together.

It remembers every word that it meets, so it is loaded again after half a billion characters.
"""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import orjson
import tokenizers
from numpy.typing import NDArray

FIRST_CHARS = 1 << 16  # of all texts together: these are encoded both ways
EVERY = 1_000  # and later one character in so many
SLICE_CHARS = 1 << 16  # of a longer text a slice is compared
RENEW_CHARS = 1 << 29
PROBE_WORDS = 2_000

Ids = NDArray[np.uint32]


class Unfit(Exception):
    """Why gigatoken cannot stand in for a tokenizer, or no longer."""


class TokenizerMismatch(Exception):
    """Gigatoken and tokenizers give different ids for a real text: those given before are not to be trusted either."""


def exact_ids(exact: tokenizers.Tokenizer, text: str) -> Ids:
    """The ids by tokenizers, on one core."""
    return np.array(exact.encode_batch_fast([text], add_special_tokens=False)[0].ids, np.uint32)


class FastEncoder:
    """The ids that `exact` gives; `Unfit` where there is no faster way to them."""

    def __init__(self, exact: tokenizers.Tokenizer) -> None:
        self._exact = exact
        self._json, self._wants_nfc = _for_gigatoken(exact)
        self._gigatoken = self._load()
        self._encoded = self._compared = self._renewed = 0  # characters

    def ids(self, text: str) -> Ids:
        """The ids of a text."""
        if not self._plain(text):
            return exact_ids(self._exact, text)
        if self._encoded - self._renewed > RENEW_CHARS:
            self._gigatoken, self._renewed = self._load(), self._encoded
        ids = _encode(self._gigatoken, text)
        self._encoded += len(text)
        if self._compared < FIRST_CHARS + self._encoded // EVERY:
            self._compare(text, ids)
        return ids

    def _load(self) -> Any:
        """Gigatoken without memories, after it passed on the hard cases."""
        try:
            import gigatoken
        except ModuleNotFoundError as error:
            raise Unfit("gigatoken is not installed: pip install 'longreach[prepare]'") from error
        with _failures("gigatoken says"):
            loaded = gigatoken.Tokenizer.from_json(self._json)
        for text in filter(self._plain, hard_cases(self._exact)):
            if not np.array_equal(_encode(loaded, text), exact_ids(self._exact, text)):
                raise Unfit(f"gigatoken gives other ids for {_shown(text)}")
        return loaded

    def _plain(self, text: str) -> bool:
        """Whether a text is the same to both."""
        if text.isascii():
            return True
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return bool(_known()[codes].all()) and not (self._wants_nfc and not unicodedata.is_normalized("NFC", text))

    def _compare(self, text: str, ids: Ids) -> None:
        """Encode a text both ways, or a slice of a long one: another each time."""
        if len(text) > SLICE_CHARS:
            begin = self._compared % (len(text) - SLICE_CHARS)
            text = text[begin : begin + SLICE_CHARS]
            ids = _encode(self._gigatoken, text)
        self._compared += len(text)
        exact = exact_ids(self._exact, text)
        if not np.array_equal(ids, exact):
            raise TokenizerMismatch(f"gigatoken and tokenizers part in {self._where(text, ids, exact)}")

    def _where(self, text: str, ids: Ids, exact: Ids) -> str:
        """The text about the first difference."""
        alike = min(len(ids), len(exact))
        first = int(np.argmin(np.append(ids[:alike] == exact[:alike], False)))
        offsets = self._exact.encode(text, add_special_tokens=False).offsets
        begin = offsets[first][0] if first < len(offsets) else len(text)
        return ascii(text[max(0, begin - 40) : begin + 40])


def _encode(gigatoken: Any, text: str) -> Ids:
    with _failures(f"gigatoken fails on {_shown(text)}"):
        ids: Ids = gigatoken.encode(text)
    return ids


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Whatever is raised means `Unfit`: a panic of gigatoken's Rust code, which is no Exception, too."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise Unfit(f"{what}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error


def _for_gigatoken(exact: tokenizers.Tokenizer) -> tuple[bytes, bool]:
    """The tokenizer's JSON for gigatoken, and whether it wants text in normal form C.

    Special tokens are left out, so that their names in a text are text. So is the normal form: a text is brought here
    in it, or goes to tokenizers.
    """
    content = orjson.loads(exact.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["special"]]
    content["post_processor"] = None
    if any(token[flag] for token in content["added_tokens"] for flag in ("single_word", "lstrip", "rstrip")):
        raise Unfit("some of its added tokens depend on what stands beside them, which gigatoken sees in its own way")
    if content["model"].get("dropout"):
        raise Unfit("it leaves out merges at random")
    wants_nfc = content["normalizer"] == {"type": "NFC"}
    if wants_nfc:
        content["normalizer"] = None
    return orjson.dumps(content), wants_nfc


@cache
def _known() -> NDArray[np.bool_]:
    """For each code point whether it has a class in the regular expressions of tokenizers, by asking them once."""
    codes = np.concatenate((np.arange(0xD800), np.arange(0xE000, 0x40000), np.arange(0xE0000, 0xE1000)))
    everything = codes.astype(np.uint32).tobytes().decode("utf-32-le")
    assigned = tokenizers.normalizers.Replace(tokenizers.Regex(r"\p{Cn}+"), "").normalize_str(everything)
    known = np.zeros(0x110000, np.bool_)
    known[np.frombuffer(assigned.encode("utf-32-le"), np.uint32)] = True
    return known


def hard_cases(exact: tokenizers.Tokenizer) -> Iterator[str]:
    """Texts on which implementations come apart: each alone, then all in one."""
    tokens = [token.content for token in exact.get_added_tokens_decoder().values()]
    names = [f"{name}{name} a{name}b\n {name} .{name}" for name in tokens[:PROBE_WORDS]]
    size = exact.get_vocab_size()
    words = [exact.decode([word], skip_special_tokens=False) for word in range(0, size, max(1, size // PROBE_WORDS))]
    cases = [*CASES, *names, "".join(words), " ".join(reversed(words))]
    yield from cases
    yield " ".join(cases)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "...")


CASES = (
    *(
        "",
        " ",
        "  ",
        "\n",
        "\0",
        "a",
        " a",
        "a ",
        "\t\tif x:\n\t\t\treturn  \n",
        "one\r\ntwo\r\r\n\n\n three   \n   four",
    ),
    "I'm you'll WE'RE he'D it'S 'tis ''s 'sS don’t 'ſ 'K x're'll",
    "0 12 123 1234 12345678901234567890 3.14159 1,000,000 ½ Ⅷ ٣٤ १२ 1a2b",
    "f(x)==y!=z... /* -- */ <|x|> {{}} [[1]] ___ a_b __init__ $%^&* http://a.b/c?d=1&e=%20#f me@x.org ::->=>",
    "naïve Zürich İstanbul ǅ ß ﬁ Ångström ŉ ſ K ªº ¹²³ µ",
    "e\u0301 a\u0323\u0301 o\u0301\u0323 \u1100\u1161\u11a8 \u212b n\u0338 \u0344 >\u0338",
    "Привет, мир! Ελληνικά שלום עולם مرحبا بالعالم हिन्दी में ไทยภาษา မြန်မာ ქართული አማርኛ",
    "中文字符，没有空格。日本語のテキスト「カギ」ｶﾅ 한국어 텍스트 𠀀𪛖",
    "😀👩‍👩‍👧‍👦🏳️‍🌈🇫🇷 ☺️ 1️⃣ 𝔘𝔫𝔦 𝟘𝟙 ♻ → ∑∞ ₿",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u200bg\u200dh\ufeffi\u180ej\x85k\x0bl\x0cm\x1cn\x1fo\x7fp\xadq",
    "\ufffd\ue000\uf8ff\ufdd0\ufffe \U000e0001\U000e0100 \U0010ffff",
    "▁ ▁a a▁b ▁▁ Ġ Ċ Ġa <0x0A> <0xE2> <unk> <s> </s> <pad> [INST] <|endoftext|> <|im_start|> ##a </w>",
    "a" * 3_000
    + " " * 300
    + "\n" * 300
    + " \n" * 300
    + "ab" * 1_000
    + "." * 500
    + "中" * 500
    + "7" * 500
    + "\u0301" * 50,
)
