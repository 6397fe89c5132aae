"""A configuration from a path, an alias or the hub; clear errors for everything else."""

import json
from pathlib import Path

import pytest

from longreach.errors import UserError
from longreach.model.configjson import config_of


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert config_of(str(tmp_path)) == config_of(str(tmp_path / "config.json")) == {"model_type": "llama"}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x80"])
def test_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="configuration"):
        config_of(str(path))


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        config_of(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="LoRA adapter"):
        config_of(str(tmp_path))


@pytest.mark.parametrize(
    "base", ["nothing", "./nothing/here", "/nothing/here", "a/b/c", "a/", "/a", "~/model", "recipes/no.json"]
)
def test_what_is_no_hub_id_is_not_asked_for(base: str) -> None:
    with pytest.raises(UserError, match="neither a path here, nor an alias, nor a hub id"):
        config_of(base)


def test_the_hub_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="no model nobody/no-such-model"):
        config_of("nobody/no-such-model")
