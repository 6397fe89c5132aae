"""The moments of the optimizer on disk: optimizer-N.safetensors, each whole tensor by its name.

They are the same under every engine and number of processes, so that a run goes on under another. Files are filled one
after the other as tensors come: of a large model, only so much is ever in memory at once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from longreach.errors import UserError
from longreach.model.chunks import MOMENTS_BYTES
from longreach.model.parallel.engine import Named


def write_moments(moments: Named, folder: Path, file_bytes: int = MOMENTS_BYTES) -> None:
    """As many files as it takes."""
    held: dict[str, torch.Tensor] = {}
    for name, tensor in moments:
        if sum(each.nbytes for each in held.values()) + tensor.nbytes > file_bytes and held:
            _write(held, folder)
            held = {}
        held[name] = tensor.contiguous()
    _write(held, folder)


def _write(held: Mapping[str, torch.Tensor], folder: Path) -> None:
    number = len(list(folder.glob("optimizer-*.safetensors"))) + 1
    save_file(dict(held), folder / f"optimizer-{number:05d}.safetensors")


class Moments(Mapping[str, torch.Tensor]):
    """Reads those of a checkpoint one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        for path in sorted(folder.glob("optimizer-*.safetensors")):
            with safe_open(path, "pt") as file:
                self._files |= dict.fromkeys(file.keys(), path)

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._files:
            raise UserError(
                f"{self._folder} has no {name} of the optimizer",
                "was it written by another version of longreach, or for another model?",
            )
        with safe_open(self._files[name], "pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
