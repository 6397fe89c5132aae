"""What begins a text in training begins it after saving, too."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from longreach.model.load import own_tokenizer
from longreach.text.autotokenizer import auto_tokenizer
from longreach.text.tokenize import load_tokenizer


def folder(path: Path, **config: object) -> Path:
    """A tokenizer that does nothing by itself, and what its configuration says."""
    path.mkdir()
    Tokenizer(models.BPE(vocab={"<s>": 0, "</s>": 1, "a": 2, "b": 3}, merges=[])).save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", **config}))
    return path


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizerFast"])
def test_the_begin_token_survives_saving(tmp_path: Path, name: str) -> None:
    first = folder(tmp_path / "first", tokenizer_class=name, add_bos_token=True)
    assert load_tokenizer(str(first)).special.adds_bos  # rows are made so
    tokenizer = own_tokenizer(str(first))
    assert tokenizer("ab").input_ids == [0, 2, 3]
    assert tokenizer("a", "b").input_ids == [0, 2, 0, 3]
    assert tokenizer("ab", add_special_tokens=False).input_ids == [2, 3]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert auto_tokenizer(str(tmp_path / "saved"))("ab").input_ids == [0, 2, 3]
    assert load_tokenizer(str(tmp_path / "saved")).special.adds_bos


@pytest.mark.parametrize("config", [{"add_bos_token": False}, {}, {"add_bos_token": True, "bos_token": None}])
def test_none_is_put_there_unasked(tmp_path: Path, config: dict[str, object]) -> None:
    tokenizer = auto_tokenizer(str(folder(tmp_path / "first", tokenizer_class="PreTrainedTokenizerFast", **config)))
    assert tokenizer("ab").input_ids == [2, 3]
