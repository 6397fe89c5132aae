"""xPos on top of ABF: what it computes, that only distance counts, and that nobody takes it for a plain Llama."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from longreach.errors import UserError
from longreach.model.attention import register
from longreach.model.checkpoint import save_model
from longreach.model.load import load_model, new_model
from longreach.model.rope import parse_rope
from longreach.model.rotary import check_rope
from longreach.model.xpos import LONGEST, XposLlamaForCausalLM, turned, zetas
from tinymodels import make_tiny, tokens

LENGTH = 200


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("llama", tmp_path_factory.mktemp("llama"))


def load(folder: Path, rope: str = "xpos-abf:500000", dtype: str = "float32", attention: str = "eager") -> Any:
    return load_model(str(folder), parse_rope(rope), LONGEST, dtype=dtype, attention=attention)[0].eval()


def logits(model: Any, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=tokens(LENGTH), use_cache=False, **options).logits
    return found


def scores(model: Any, query_at: int, key_at: int) -> torch.Tensor:
    """The product of a fixed query and a fixed key at two positions, pair by pair."""
    cosines, sines, growth = model.model.rotary_emb(torch.zeros(1), torch.tensor([[query_at, key_at]]))[:3]
    query, key = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    turned_query = turned(query, cosines[0, 0] * growth[0, 0], sines[0, 0] * growth[0, 0])
    turned_key = turned(key, cosines[0, 1] / growth[0, 1], sines[0, 1] / growth[0, 1])
    pairs: torch.Tensor = (turned_query * turned_key).view(2, 16).sum(0)
    return pairs


def test_each_pair_decays_by_its_zeta_with_the_distance(llama: Path) -> None:
    """Against complex numbers: q conj(k) e^(i theta d) zeta^(d/512)."""
    query, key = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)).double()
    theta = 500_000.0 ** (-2 * torch.arange(16).double() / 32)
    zeta = (2 * torch.arange(16).double() / 32 + 0.4) / 1.4
    product = torch.complex(query[:16], query[16:]) * torch.complex(key[:16], key[16:]).conj()
    model = load(llama)
    for distance in (0, 1, 37, 512, 3000):
        wanted = (product * torch.polar(zeta ** (distance / 512), theta * distance)).real
        found = scores(model, 5000 + distance, 5000).double()
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("distance", [0, 40, 1000, 16_000])
def test_only_the_distance_counts(distance: int, llama: Path) -> None:
    model = load(llama)
    first, *others = (scores(model, start + distance, start) for start in (0, 1, 999, LONGEST - distance - 1))
    for other in others:
        torch.testing.assert_close(other, first, rtol=5e-3, atol=5e-3)


def test_the_whole_model_sees_only_distances(llama: Path) -> None:
    model = load(llama)
    shifted = logits(model, position_ids=torch.arange(LENGTH)[None] + 2000)
    torch.testing.assert_close(shifted, logits(model), rtol=0, atol=5e-3)


def test_it_is_another_model_than_abf(llama: Path) -> None:
    assert (logits(load(llama)) - logits(load(llama, "abf:500000"))).abs().max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_overflows_at_the_greatest_length(dtype: str, llama: Path) -> None:
    model = load(llama, dtype=dtype)
    assert model.config.max_position_embeddings == LONGEST
    ends = torch.tensor([[0, 1, LONGEST - 2, LONGEST - 1]])
    growth = model.model.rotary_emb(torch.zeros(1), ends)[2]
    assert growth.dtype == torch.float32
    assert growth.min() > 1e-19 and growth.max() < 1e19
    ids = tokens(4)
    inner, outer = (
        model(input_ids=ids, position_ids=at, use_cache=False).logits for at in (ends[:, :1] + torch.arange(4), ends)
    )
    assert inner.isfinite().all() and outer.isfinite().all()


def test_a_cache_gives_what_the_whole_row_gives(llama: Path) -> None:
    model = load(llama, attention="sdpa")
    grown = model.generate(tokens(LENGTH), max_new_tokens=12, do_sample=False)
    again = model(input_ids=grown, use_cache=False).logits[0, LENGTH - 1 : -1].argmax(-1)
    assert torch.equal(again, grown[0, LENGTH:])


def test_documents_of_a_row_are_apart_under_our_attention(llama: Path) -> None:
    model = load(llama, attention=register())
    together = torch.cat((torch.arange(80), torch.arange(LENGTH - 80)))[None]
    second = model(input_ids=tokens(LENGTH)[:, 80:], use_cache=False).logits
    packed = logits(model, position_ids=together)[:, 80:]
    torch.testing.assert_close(packed, second, rtol=0, atol=1e-4)


def test_it_trains(llama: Path) -> None:
    model = load(llama)
    model.gradient_checkpointing_enable()
    model.train()
    model(input_ids=tokens(LENGTH), labels=tokens(LENGTH), use_cache=False).loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_a_saved_one_is_loaded_by_us(llama: Path, tmp_path: Path) -> None:
    model = load(llama)
    save_model(model, None, tmp_path / "xpos", {})
    again = load(tmp_path / "xpos", "none")
    assert isinstance(again, XposLlamaForCausalLM)
    assert torch.equal(logits(again), logits(model))
    with pytest.raises(UserError, match="this longreach_xpos_llama model already has xPos RoPE"):
        load(tmp_path / "xpos", "abf:1000000")


def test_a_plain_load_fails_by_name(llama: Path, tmp_path: Path) -> None:
    save_model(load(llama), None, tmp_path / "xpos", {})
    script = f"from transformers import AutoModelForCausalLM as A; A.from_pretrained({str(tmp_path / 'xpos')!r})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "model type `longreach_xpos_llama`" in ended.stderr


def test_a_new_model_has_it_too(llama: Path) -> None:
    model = new_model(str(llama / "config.json"), parse_rope("xpos-abf:500000"), 128, 0, "float32")
    assert isinstance(model, XposLlamaForCausalLM)
    assert model.config.model_type == "longreach_xpos_llama"


def test_its_base_is_checked(llama: Path) -> None:
    model = load(llama)
    model.model.rotary_emb.inv_freq *= 1.01
    with pytest.raises(UserError, match="is not the RoPE of the config"):
        check_rope(model)


@pytest.mark.parametrize(
    ("family", "seq_len", "complaint"), [("mistral", 256, "not for mistral"), ("llama", LONGEST + 1, "not 32769")]
)
def test_what_it_cannot_do_is_refused(family: str, seq_len: int, complaint: str, tmp_path: Path) -> None:
    folder = make_tiny(family, tmp_path)
    with pytest.raises(UserError, match=complaint):
        load_model(str(folder), parse_rope("xpos-abf:500000"), seq_len, dtype="float32", attention="sdpa")


def test_zeta_rises_from_the_fastest_pair_to_the_slowest() -> None:
    assert zetas(4).tolist() == pytest.approx([0.4 / 1.4, 0.65 / 1.4, 0.9 / 1.4, 1.15 / 1.4])
