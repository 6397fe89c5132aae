"""Texts to tokens, by the tokenizer of a folder, of a hub id, or the small one that ships with longreach.

The ids are those of Hugging Face's tokenizers, which come by a faster way (`fast.py`) wherever that gives the same; a
warning says where it does not. It pays only after some text, until when tokenizers itself is used.

A text is data. What looks like a special token in it, `</s>`, is the characters that it is, so that no document can end
itself or open a turn of a chat. To add special tokens is the caller's part.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers

from longreach.errors import UserError
from longreach.text.fast import FastEncoder, Ids, TokenizerMismatch, Unfit
from longreach.text.special import CONFIG, SpecialTokens, hub_config, kept_out, read_config, special_tokens

SHIPPED = Path(__file__).with_name("tokenizer.json")
SHIPPED_NAME = "longreach-8k"
PATIENCE_CHARS = 1 << 16  # loading the fast way takes about as long as this much text without it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokenizer:
    """Texts to ids; `sha256` identifies the vocabulary and merges."""

    name: str
    sha256: str
    vocab_size: int  # the largest id and one
    special: SpecialTokens
    encoder: "Encoder"

    @property
    def bos_id(self) -> int | None:
        """Begins a document."""
        return self.special.bos_id

    @property
    def eos_id(self) -> int | None:
        """Ends a document."""
        return self.special.eos_id

    @property
    def pad_id(self) -> int | None:
        """Fills up a row."""
        return self.special.pad_id

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer's models were trained on texts that begin with `bos_id`."""
        return self.special.adds_bos

    def ids(self, text: str) -> Ids:
        """The ids of a text on its own, without special tokens."""
        return self.ids_batch([text])[0]

    def ids_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text. `TokenizerMismatch` says that ids given before may be wrong: begin again, all that
        come after it are right."""
        return self.encoder.ids(texts)

    def count(self, text: str) -> int:
        """Tokens of a text on its own."""
        return self.counts([text])[0]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text. A count is no stored token: where the fast way fails, counting just goes on without."""
        try:
            return [len(ids) for ids in self.ids_batch(texts)]
        except TokenizerMismatch:
            return [len(ids) for ids in self.ids_batch(texts)]


class Encoder:
    """Ids by the fast way from when it pays, as long as it is right."""

    def __init__(self, exact: tokenizers.Tokenizer, name: str, *, fast: bool) -> None:
        self._exact = exact
        self._name = name
        self._fast: FastEncoder | None = None
        self._patience = float(PATIENCE_CHARS if fast else "inf")  # characters until then

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text: on one core the fast way, else on as many as TOKENIZERS_PARALLELISM allows."""
        try:
            fast = self._opened(sum(map(len, texts)))
            if fast:
                return [fast.ids(text) for text in texts]
        except Unfit as why:
            self._give_up(str(why))
        except TokenizerMismatch as why:
            self._give_up(str(why))
            raise
        encodings = self._exact.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def _opened(self, chars: int) -> FastEncoder | None:
        self._patience -= chars
        if self._patience < 0 and self._fast is None:
            self._fast = FastEncoder(self._exact)
        return self._fast

    def _give_up(self, why: str) -> None:
        self._fast, self._patience = None, float("inf")
        logger.warning("%s is encoded by tokenizers, some fifty times slower: %s", self._name, why)


def load_tokenizer(name: str, *, fast: bool = True) -> Tokenizer:
    """The tokenizer of a folder, a tokenizer.json or a hub id; the shipped one for an empty name.

    Without `fast` all ids come from tokenizers: for a second try after `TokenizerMismatch`.
    """
    path = SHIPPED if name in ("", SHIPPED_NAME) else Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.exists():
            raise UserError(
                f"{name} holds no tokenizer.json",
                "save it in that form: AutoTokenizer.from_pretrained(...).save_pretrained(...)",
            )
    local = path.is_file()
    backend = _from_file(path) if local else _from_hub(name)
    backend.no_truncation()
    backend.no_padding()
    config = read_config(path.with_name(CONFIG)) if local else hub_config(name)
    special = special_tokens(backend, config)
    name = name or SHIPPED_NAME
    return Tokenizer(
        name,
        sha256=hashlib.sha256(backend.to_str().encode()).hexdigest(),
        vocab_size=max(backend.get_vocab(with_added_tokens=True).values()) + 1,
        special=special,
        encoder=Encoder(kept_out(backend, special), name, fast=fast),
    )


def _from_file(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise UserError(f"cannot read the tokenizer {path}: {error}") from error


def _from_hub(name: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_pretrained(name)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"no tokenizer {name!r}: no such folder, and the hub says: {reason}",
            "give a folder that holds tokenizer.json, or leave --tokenizer out to use the small one that ships",
        ) from error
