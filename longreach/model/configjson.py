"""The configuration of a base model as plain JSON: enough to plan and to look at its RoPE, without torch.

From a folder, a config.json or an alias it takes no network; only for a hub id is transformers asked.
"""

import json
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.model.aliases import aliases, find_alias, unknown


def config_of(base: str) -> dict[str, Any]:
    """What the config.json of a path, an alias or a hub id says."""
    path = Path(base)
    if path.is_dir():
        return _read(_inside(path))
    if path.exists():
        return _read(path)
    alias = find_alias(base)
    if alias:
        return dict(alias.config)
    if base.count("/") != 1 or base.startswith((".", "/", "~")) or base.endswith(("/", ".json")):
        raise unknown(base)
    return _from_hub(base)


def local_config(model: str) -> dict[str, Any] | None:
    """What a path, an alias or the hub id of an alias says, without a network; None for any other name."""
    alias = find_alias(model) or next((each for each in aliases().values() if each.hub == model), None)
    if alias:
        return dict(alias.config)
    return config_of(model) if Path(model).exists() else None


def _inside(folder: Path) -> Path:
    """The configuration of a model's folder."""
    if (folder / "config.json").exists():
        return folder / "config.json"
    if (folder / "adapter_config.json").exists():
        raise UserError(f"{folder} is a LoRA adapter, not a model", "name its base model")
    raise UserError(f"{folder} is no model: it has no config.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} as a model's configuration: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is no model's configuration: it holds no JSON object")
    return config


def _from_hub(name: str) -> dict[str, Any]:
    from longreach.model.load import read_config

    config: dict[str, Any] = read_config(name).to_dict()
    return config
