"""Lengths in tokens, by the tokenizer of a folder, of a hub id, or the small one that ships with longreach."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from longreach.errors import UserError

SHIPPED = Path(__file__).with_name("tokenizer.json")


@dataclass(frozen=True)
class Tokenizer:
    """Counts tokens; `sha256` identifies the vocabulary and merges."""

    name: str
    sha256: str
    _backend: tokenizers.Tokenizer

    def count(self, text: str) -> int:
        """Tokens of a text on its own, without special tokens."""
        return len(self._backend.encode(text, add_special_tokens=False).ids)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, on all cores."""
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encoded]


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a folder, a tokenizer.json or a hub id; the shipped one for an empty name."""
    path = Path(name) if name else SHIPPED
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.exists():
            raise UserError(
                f"{name} holds no tokenizer.json",
                "save it in that form: AutoTokenizer.from_pretrained(...).save_pretrained(...)",
            )
    backend = _from_file(path) if path.is_file() else _from_hub(name)
    backend.no_truncation()
    backend.no_padding()
    digest = hashlib.sha256(backend.to_str().encode()).hexdigest()
    return Tokenizer(name or "longreach-8k", digest, backend)


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
