"""A chat model of sft in vLLM: the same template, the same answers, and it stops where a turn ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune.cli import main
from tinyllama import make_tiny_llama

pytest.importorskip("vllm")
pytestmark = pytest.mark.vllm

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
TALK = [{"role": "user", "content": "kamiter?"}]
# Nothing of ours is imported there
SCRIPT = """
import json, sys
from vllm import LLM, SamplingParams
model = LLM(sys.argv[1], dtype="float32", enforce_eager=True, kv_cache_memory_bytes=1 << 26)
(got,) = model.chat([json.loads(sys.argv[2])], SamplingParams(max_tokens=24, temperature=0))
found = {"prompt": list(got.prompt_token_ids), "answer": list(got.outputs[0].token_ids), "why": got.outputs[0].finish_reason}
sys.stdout.write("FOUND " + json.dumps(found))
"""


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learnt one answer by heart."""
    folder = tmp_path_factory.mktemp("chat")
    base = make_tiny_llama(folder / "base", window=256)
    talk = {"messages": [*TALK, {"role": "assistant", "content": " lovon shu"}]}
    (folder / "chats.jsonl").write_text(json.dumps(talk) + "\n")
    arguments = ["sft", "--base", base, "--short", folder / "chats.jsonl", "--validation", 0, "--steps", 30]
    arguments += ["--batch-size", 1, "--learning-rate", 3e-3, "--out", folder / "out"]
    done = CliRunner().invoke(main, [str(word) for word in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_vllm_answers_as_transformers_does(chat: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(chat), json.dumps(TALK)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.partition("FOUND ")[2])
    tokenizer, model = AutoTokenizer.from_pretrained(chat), AutoModelForCausalLM.from_pretrained(chat)
    prompt = tokenizer.apply_chat_template(TALK, add_generation_prompt=True, return_dict=False)
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0, len(prompt) :].tolist()
    assert found == {"prompt": prompt, "answer": answer, "why": "stop"}
    assert tokenizer.decode(answer) == " lovon shu<|end|>"
