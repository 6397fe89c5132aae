"""`pretrain rope` as a user sees it: tables, one JSON object, a picture, clear errors; no torch."""

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longreach.errors import UserError
from pretrain.rope.report import bars, show_rope
from pretrain.rope.settings import RopeSettings

ROOT = Path(__file__).parents[3]


def as_json(capsys: pytest.CaptureFixture[str], **given: Any) -> dict[str, Any]:
    show_rope(RopeSettings(**given), as_json=True)
    out = capsys.readouterr().out
    found: dict[str, Any] = json.loads(out)  # one object, nothing else
    return found


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys)
    assert (found["base"], found["rotary_dim"], found["window"], found["seq_len"]) == (10_000, 128, 4_096, 32_768)
    methods = {each["rope"]: each for each in found["methods"]}
    assert list(methods) == ["none", "pi:8", "ntk:8", "yarn:8", "abf:500000", "xpos-abf:500000"]
    assert [round(methods[rope]["granularity"], 4) for rope in ("none", "pi:8", "abf:500000")] == [
        0.1094,
        0.0146,
        0.0788,
    ]
    assert [methods[rope]["reach"] for rope in ("none", "abf:500000")] == [1_707, 18_438]
    assert found["recommended"]["rope"] == "abf:500000"
    assert found["command"] == "pretrain continue --base llama2-7b --data ROWS --seq-len 32768 --rope abf:500000"
    assert found["smallest_base"] == pytest.approx(6.3e5, rel=0.01)
    assert found["larger_base_that_reaches_less"]["base"] > found["smallest_base"]
    assert found["larger_base_that_reaches_less"]["reach"] < 32_768
    assert found["critical"]["dimension"] == 92
    assert {entry["base"]: entry["reach"] for entry in found["bases"]}[1e7] == 144_660
    assert found["picture"] is None


def test_json_curves(capsys: pytest.CaptureFixture[str]) -> None:
    decay = as_json(capsys, seq_len=8_192)["decay"]
    assert decay["distances"][0] == 0 and decay["distances"][-1] == 8_192
    assert len(decay["scores"]["none"]) == len(decay["distances"]) > 80
    assert decay["scores"]["none"][0] == 128
    assert min(decay["scores"]["none"]) < 0 < min(decay["scores"]["abf:500000"])


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show_rope(RopeSettings(seq_len=16_384), as_json=False)
    out = capsys.readouterr().out
    for words in (
        "0.1094",
        "pi:4",
        "0.0290",
        "abf:500000",
        "A larger base may reach less",
        "18,438",
        "recommended: --rope",
    ):
        assert words in out
    assert "go on: pretrain continue --base llama2-7b --data ROWS --seq-len 16384 --rope abf:500000" in out


def test_a_folder_of_a_tiny_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "tiny model"
    folder.mkdir()
    config = {"model_type": "mistral", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps(config))
    found = as_json(capsys, base=str(folder), seq_len=512)
    assert found["rotary_dim"] == 16 and found["base"] == 10_000
    assert [each["rope"] for each in found["methods"]][:4] == ["none", "pi:4", "ntk:4", "yarn:4"]
    assert not any(each["rope"].startswith("xpos") for each in found["methods"])  # Llama's alone
    assert f"--base '{folder}'" in found["command"]


def test_a_scaled_model_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama3.1-8b", seq_len=1_024)
    assert found["scaling"] == "llama3" and found["critical"] is None
    assert [each["rope"] for each in found["methods"]] == ["none"]


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "rope.png"
    found = as_json(capsys, seq_len=8_192, out=str(path))
    assert found["picture"] == str(path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") and int.from_bytes(data[16:20], "big") >= 1_000


def test_a_picture_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name, name="matplotlib")
        return original(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "pretrain.rope.picture", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="drawing needs matplotlib") as caught:
        show_rope(RopeSettings(seq_len=8_192, out=str(tmp_path / "a.png")), as_json=False)
    assert "longreach[prepare]" in caught.value.hint


def test_settings_collect_their_problems() -> None:
    with pytest.raises(UserError) as caught:
        RopeSettings(seq_len=3, out="rope.svg")
    assert "--seq-len 3" in caught.value.problem and "rope.svg" in caught.value.problem


def test_bars() -> None:
    import numpy as np

    assert bars(np.array([-1.0, 0.0, 0.5, 1.0]), 1.0) == "▁▁▅█"


def test_it_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from pretrain.rope.report import show_rope\n"
        "from pretrain.rope.settings import RopeSettings\n"
        "show_rope(RopeSettings(seq_len=4_096), as_json=True)\n"
        "sys.stderr.write(' '.join(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules))))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
