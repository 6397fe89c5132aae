"""The tokenizer of rows and of a model: the same, or training is noise."""

from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.rows.rows import Rows
from longreach.text.tokenize import SHIPPED, SHIPPED_NAME, load_tokenizer

try:
    from transformers import PreTrainedTokenizerFast

    from longreach.text.autotokenizer import auto_tokenizer
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    from longreach.errors import missing_extra

    raise missing_extra(error.name, "training", "train") from error

PROBE = "def f(x):\n    return x ** 2  # naïve — 12,345.67 Ωmega\t\r\n\n«Здравствуй, мир» 你好 🙂 ..."
SHIPPED_SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def tokenizer_of(rows: Rows) -> Any:
    """The tokenizer that made the rows, as transformers has it: to be saved beside a new model."""
    try:
        return named_tokenizer(rows.tokenizer, rows.seq_len)
    except UserError as error:
        raise UserError(
            f"the rows in {rows.folder} were made with a tokenizer that is gone: {error}",
            "put it where it was, or prepare the rows again",
        ) from error


def named_tokenizer(name: str, window: int | None = None) -> Any:
    """The tokenizer of a model's folder, a tokenizer.json or a hub id as transformers has it; "": the shipped one."""
    size = {} if window is None else {"model_max_length": window}
    if name in ("", SHIPPED_NAME):
        return PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), **size, **SHIPPED_SPECIAL)
    if Path(name).is_file():
        return PreTrainedTokenizerFast(tokenizer_file=name, **size)
    try:
        return auto_tokenizer(name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"no tokenizer {name}: {reason}", "a model's folder holds tokenizer.json and tokenizer_config.json"
        ) from error


def check_same_tokenizer(rows: Rows, base: str) -> None:
    """Refuse rows that were made with another tokenizer than the model's.

    A tokenizer that was saved again may differ in letters and still be the same: then both are tried on a text.
    """
    theirs = load_tokenizer(base)
    if theirs.sha256 == rows.tokenizer_sha256:
        return
    ours = load_tokenizer(rows.tokenizer)
    same = ours.vocab_size == theirs.vocab_size and list(ours.ids(PROBE)) == list(theirs.ids(PROBE))
    if ours.sha256 != rows.tokenizer_sha256 or not same:
        raise UserError(
            f"the rows in {rows.folder} were made with another tokenizer ({rows.tokenizer}) than that of {base}",
            f"prepare them again with --tokenizer {base}",
        )
