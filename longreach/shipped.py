"""Folders that stand at the top of the repository and travel inside the installed package."""

from pathlib import Path


def shipped(name: str) -> Path:
    """The folder `name` ("prompts", "data_cards"), installed or in a checkout."""
    installed = Path(__file__).with_name("data") / name
    return installed if installed.is_dir() else Path(__file__).parents[1] / name
