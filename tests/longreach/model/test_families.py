"""Every family goes through: config -> load -> save -> a plain load of transformers; or is refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from longreach.errors import UserError
from longreach.model.checkpoint import save_model
from longreach.model.load import load_model
from longreach.model.rope import parse_rope
from longreach.model.rotary import check_rope, emitted, rotaries
from tinymodels import FAMILIES, OTHERS, WINDOW, make_tiny, tokens

LONG = 4 * WINDOW
ROTATED = {"gpt_neox": 8}  # of each head; elsewhere all 32
Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """made(family) -> its checkpoint, made once."""
    known: dict[str, Path] = {}

    def make(family: str) -> Path:
        return known.setdefault(family, known.get(family) or make_tiny(family, tmp_path_factory.mktemp(family)))

    return make


def load(folder: Path, rope: str, seq_len: int = LONG, dtype: str = "float32") -> Any:
    return load_model(str(folder), parse_rope(rope), seq_len, dtype=dtype, attention="sdpa")[0].eval()


def logits(model: Any, length: int = LONG) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=tokens(length), use_cache=False).logits
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_computes_the_same_when_nothing_of_ours_loads_it(
    family: str, dtype: str, made: Made, tmp_path: Path
) -> None:
    model = load(made(family), "abf:500000", dtype=dtype)
    save_model(model, None, tmp_path / "long", {"rope": "abf:500000"})
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "long", attn_implementation="sdpa").eval()
    assert again.dtype == getattr(torch, dtype)
    assert torch.equal(logits(again), logits(model))
    check_rope(again)
    assert again.config.max_position_embeddings == LONG


@pytest.mark.parametrize("family", FAMILIES)
def test_the_new_base_is_in_effect_and_only_where_it_should_be(family: str, made: Made) -> None:
    dim = ROTATED.get(family, 32)
    for rotary in rotaries(load(made(family), "abf:500000")):
        local = rotary.layer_type == "sliding_attention"
        base = {"olmo3": 500_000.0}.get(family, 10_000.0) if local else 500_000.0
        wanted = torch.tensor([base ** (-2 * pair / dim) for pair in range(dim // 2)])
        torch.testing.assert_close(rotary.inverse, wanted, rtol=2e-6, atol=0)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"olmo3"}))  # its base is 500,000 from the start
def test_another_base_is_another_model(family: str, made: Made) -> None:
    changed, unchanged = (logits(load(made(family), rope)) for rope in ("abf:500000", "none"))
    assert (changed - unchanged).abs().max() > 1e-2


@pytest.mark.parametrize("rope", ["pi:4", "ntk:4", "yarn:4"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt_neox"])  # flat, nested by layer type, partly rotated
def test_the_other_methods_survive_a_plain_load_too(family: str, rope: str, made: Made, tmp_path: Path) -> None:
    model = load(made(family), rope)
    save_model(model, None, tmp_path / "long", {})
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "long", attn_implementation="sdpa").eval()
    assert torch.equal(logits(again), logits(model))
    assert (logits(again) - logits(load(made(family), "none"))).abs().max() > 1e-3


@pytest.mark.parametrize("rope", ["pi:4", "yarn:4"])
def test_phi3_is_refused_what_its_config_does_not_take(rope: str, made: Made) -> None:
    with pytest.raises(UserError, match="phi3 models take no"):
        load(made("phi3"), rope)


@pytest.mark.parametrize("rope", ["abf:500000", "none"])
@pytest.mark.parametrize("family", OTHERS)
def test_models_without_a_rope_are_refused_by_name(family: str, rope: str, made: Made) -> None:
    with pytest.raises(UserError, match=f"{family} models have no RoPE that a config can change"):
        load(made(family), rope)


@pytest.mark.parametrize("amp", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("family", FAMILIES)
def test_angles_are_exact_at_long_range_in_a_bfloat16_model(family: str, amp: bool, made: Made) -> None:
    """Against float64: what is left is the rounding of cosine and sine to bfloat16, and of the angle to float32."""
    model = load(made(family), "abf:500000", seq_len=1_000_000, dtype="bfloat16")
    positions = torch.tensor([[0, 1, 4_095, 32_767, 131_071, 999_999]])
    for rotary in rotaries(model):
        angles = positions[0, :, None].double() * rotary.inverse.double()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            cosines, sines = emitted(rotary, positions, torch.bfloat16)
        doubt = torch.cat((angles, angles), -1) * 2**-24 + 2**-9
        for given, wanted in ((cosines, angles.cos()), (sines, angles.sin())):
            assert ((given.double() - torch.cat((wanted, wanted), -1)).abs() <= doubt).all()
