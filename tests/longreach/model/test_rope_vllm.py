"""vLLM computes what transformers computes from a checkpoint of ours, past the old window too, for each RoPE."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from longreach.model.checkpoint import save_model
from longreach.model.load import load_model
from longreach.model.rope import parse_rope
from tinyllama import make_tiny_llama

pytest.importorskip("vllm")
pytestmark = pytest.mark.vllm

WINDOW, LONG, NEW = 128, 1024, 16
PROMPT = torch.randint(6, 512, (LONG - NEW - 8,), generator=torch.Generator().manual_seed(0)).tolist()
ROPES = ("abf:500000", "pi:8", "yarn:8")
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
# Nothing of ours is imported there. One process for all models: its start takes longer than they do
SCRIPT = """
import json, sys
from vllm import LLM, SamplingParams
prompt, new, found = json.loads(sys.argv[1]), int(sys.argv[2]), {}
for folder in sys.argv[3:]:
    try:
        model = LLM(folder, dtype="float32", enforce_eager=True, kv_cache_memory_bytes=1 << 26)
    except Exception as error:
        found[folder] = {"error": str(error)}
        continue
    draw = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True, prompt_logprobs=0)
    (got,) = model.generate([{"prompt_token_ids": prompt}], draw)
    given = [entry[token].logprob for token, entry in zip(prompt[1:], got.prompt_logprobs[1:])]
    found[folder] = {
        "tokens": list(got.outputs[0].token_ids),
        "logprobs": given,
        "window": model.llm_engine.model_config.max_model_len,
    }
    del model
sys.stdout.write("FOUND " + json.dumps(found))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base and what becomes of it by each method."""
    root = tmp_path_factory.mktemp("models")
    made = {"base": make_tiny_llama(root / "base", window=WINDOW)}
    for rope in (*ROPES, "xpos-abf:500000"):
        model, tokenizer = load_model(str(made["base"]), parse_rope(rope), LONG, dtype="float32", attention="sdpa")
        made[rope] = root / rope.replace(":", "-")
        save_model(model, tokenizer, made[rope], {"rope": rope})
    return made


@pytest.fixture(scope="module")
def theirs(folders: dict[str, Path]) -> dict[str, Any]:
    """What vLLM finds in each."""
    names = [*ROPES, "xpos-abf:500000"]
    command = [sys.executable, "-c", SCRIPT, json.dumps(PROMPT), str(NEW), *(str(folders[name]) for name in names)]
    ended = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.partition("FOUND ")[2])
    return {name: found[str(folders[name])] for name in names}


def reference(folder: Path) -> tuple[torch.Tensor, list[int]]:
    """transformers alone: the prompt's log probabilities and the greedy answer."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        chances = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
        answer = model.generate(ids, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)
    return chances.gather(1, ids[0, 1:, None])[:, 0], answer[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("rope", ROPES)
def test_vllm_computes_the_same(rope: str, folders: dict[str, Path], theirs: dict[str, Any]) -> None:
    chances, answer = reference(folders[rope])
    assert len(PROMPT) > 7 * WINDOW
    torch.testing.assert_close(torch.tensor(theirs[rope]["logprobs"]), chances, rtol=0, atol=1e-4)
    assert theirs[rope]["tokens"] == answer


@pytest.mark.parametrize("rope", ROPES)
def test_the_old_base_would_be_noticed(rope: str, folders: dict[str, Path], theirs: dict[str, Any]) -> None:
    chances, answer = reference(folders["base"])
    assert (torch.tensor(theirs[rope]["logprobs"]) - chances).abs().max() > 0.1
    assert theirs[rope]["tokens"] != answer


@pytest.mark.parametrize(("rope", "window"), [("abf:500000", LONG), ("yarn:8", LONG), ("pi:8", 8 * LONG)])
def test_how_far_vllm_reads_by_itself(rope: str, window: int, theirs: dict[str, Any]) -> None:
    """It multiplies the length in the config by the factor of PI, so PI needs --max-model-len."""
    assert theirs[rope]["window"] == window


def test_vllm_refuses_xpos(theirs: dict[str, Any]) -> None:
    assert "longreach_xpos_llama" in theirs["xpos-abf:500000"]["error"]
