"""The checkpoints of a training run, checkpoint-N after step N: which are whole and which go.

`longreach.model.checkpoint` writes each under another name and renames it when it is whole. What a kill leaves half
written keeps that name: it is never taken for a checkpoint and removed at the next start.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.model.checkpoint import is_whole, write_checkpoint

_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints:
    """Those in the folder of one run. `keep` of the newest stay (0: all)."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step stands, or would."""
        return self.folder / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """The steps of the whole ones, in order."""
        return sorted(step for step, path in self._named() if is_whole(path))

    def write(self, step: int, write: Callable[[Path], None], provenance: Mapping[str, Any]) -> None:
        """Add one; only then the oldest beyond those to keep go."""
        write_checkpoint(self.path(step), write, provenance)
        for old in self.steps()[: -self._keep] if self._keep else []:
            going = self.path(old).with_suffix(".removing")
            self.path(old).replace(going)  # at one stroke: what is left of it is no checkpoint
            _erase(going)

    def clean(self) -> list[str]:
        """Remove what a kill left half written or half removed; what it was."""
        left = [*self.folder.glob(".checkpoint-*.partial"), *self.folder.glob("checkpoint-*.removing")]
        left += [path for _, path in self._named() if not is_whole(path)]
        for path in left:
            _erase(path)
        return sorted(path.name for path in left)

    def refuse_foreign(self) -> None:
        """A folder with another tool's checkpoints is no place for a run: theirs would look like ours."""
        foreign = [path.name for _, path in self._named()]
        if foreign:
            raise UserError(
                f"{self.folder} holds checkpoints of something else: {', '.join(sorted(foreign)[:3])}",
                "choose another --out; nothing was changed",
            )

    def _named(self) -> list[tuple[int, Path]]:
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("checkpoint-*"))
        return [(int(name[1]), path) for name, path in found if name]


def _erase(folder: Path) -> None:
    shutil.rmtree(folder)
