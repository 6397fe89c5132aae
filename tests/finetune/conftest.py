"""What training tests start from: a tiny base without a chat template, and records of generate."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from click.testing import CliRunner
from transformers import PreTrainedTokenizerFast

from longreach.text.tokenize import SHIPPED
from selfinstruct.cli import main as selfinstruct
from tinymodels import make_tiny

WINDOW, VOCABULARY = 512, 8_192


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(
        "llama", tmp_path_factory.mktemp("base") / "tiny", vocab_size=VOCABULARY, max_position_embeddings=WINDOW
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), **special).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of generate, whose contexts are longer than the window."""
    folder = tmp_path_factory.mktemp("records")
    docs = folder / "docs.jsonl"
    docs.write_text("".join(json.dumps({"text": text}) + "\n" for text in list(topics.values())[:30]))
    arguments = [
        "generate",
        "--docs",
        str(docs),
        "--context-tokens",
        "2000",
        "--chunk-tokens",
        "300",
        "--tasks",
        "short_answer",
        "--out",
        str(folder / "run"),
    ]
    done = CliRunner().invoke(selfinstruct, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return folder / "run"
