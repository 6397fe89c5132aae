"""Windows of text through a model, batch by batch: the loss of their last tokens at every length, and by position.

No logits of whole rows and no T x T masks are ever held: a row costs little more than its hidden states. Every batch is
kept in losses.jsonl once it is measured, so a run that was killed goes on after the last; the model is not even loaded
where nothing is left to do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from evaluation.config import LossSettings
from evaluation.windows import Window
from longreach.errors import UserError, missing_extra
from longreach.jsonl import write_whole
from longreach.progress import ProgressLine

try:
    import torch
    from transformers.utils.logging import disable_progress_bar

    from longreach.model.attention import register
    from longreach.model.causal import causal_loss
    from longreach.model.load import load_model
    from longreach.model.rope import NONE, Rope
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise missing_extra(error.name, "evaluate", "evaluate") from error

LOSSES = "losses.jsonl"
BINS = 64  # of positions, at most

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """The mean loss of the targets [windows, lengths], and of each bin of positions of the longest rows."""

    losses: Floats
    positions: Floats


class Kept:
    """losses.jsonl: what was measured of each window at each length, also by a process that was killed."""

    def __init__(self, path: Path) -> None:
        whole = [line for line in path.open("rb") if line.endswith(b"\n")] if path.exists() else []
        write_whole(path, b"".join(whole))
        lines = map(orjson.loads, whole)
        self._found = {(line["length"], line["window"]): line for line in lines}
        self._path = path

    def get(self, length: int, window: int) -> dict[str, Any] | None:
        """The line of a window, by its number."""
        return self._found.get((length, window))

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Keep the lines of a batch."""
        with self._path.open("ab") as file:
            file.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        self._found |= {(line["length"], line["window"]): line for line in lines}


def tell_all(settings: LossSettings, windows: Sequence[Window], lengths: Sequence[int], folder: Path) -> Told:
    """Every window at every length; the model is loaded only where something is left to measure."""
    kept, model, done = Kept(folder / LOSSES), None, 0
    with ProgressLine("loss", sum(lengths) * len(windows)) as line:
        for length in lengths:
            for numbers in _batches(len(windows), max(1, settings.batch_tokens // length)):
                if not all(kept.get(length, number) for number in numbers):
                    model = model or _open_model(settings, windows, lengths[-1])
                    whole = length == lengths[-1]
                    rows = np.stack([windows[number].row(length) for number in numbers])
                    losses = _token_losses(model, rows, length - 1 if whole else settings.targets)
                    kept.add(list(_lines(length, numbers, losses, settings.targets, whole=whole)))
                done += length * len(numbers)
                line.update(done, f"{length:,} tokens of context")
    found = [[kept.get(length, number) or {} for length in lengths] for number in range(len(windows))]
    losses = np.array([[each["loss"] for each in row] for row in found])
    return Told(losses, np.array([row[-1]["positions"] for row in found]))


def _batches(windows: int, size: int) -> Iterator[range]:
    """The numbers of the windows that go through the model together."""
    return (range(first, min(first + size, windows)) for first in range(0, windows, size))


def _lines(
    length: int, numbers: Sequence[int], losses: Floats, targets: int, *, whole: bool
) -> Iterator[dict[str, Any]]:
    """What is kept of a batch."""
    for number, row in zip(numbers, losses, strict=True):
        line = {"length": length, "window": number, "loss": float(row[-targets:].mean())}
        yield {**line, "positions": _in_bins(row, length).tolist()} if whole else line


def _open_model(settings: LossSettings, windows: Sequence[Window], longest: int) -> Any:
    """The checkpoint with its RoPE as it is, where it computes."""
    disable_progress_bar()
    gpu = torch.cuda.is_available()
    dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if gpu else "float32"
    model, _ = load_model(settings.model, Rope(NONE), longest, dtype=dtype, attention=register())
    if (largest := max(int(window.tokens.max()) for window in windows)) >= model.config.vocab_size:
        raise UserError(
            f"the tokenizer of {settings.model} gives the token {largest}, its model has {model.config.vocab_size}",
            "is the tokenizer in this folder another model's?",
        )
    return causal_loss(model.to("cuda" if gpu else "cpu")).eval()


def _token_losses(model: Any, rows: NDArray[Any], told: int) -> Floats:
    """[rows, told]: the cross entropy of the last tokens of each row."""
    tokens = torch.from_numpy(rows.astype(np.int64)).to(model.device)
    weights = torch.zeros(tokens.shape, device=model.device)
    weights[:, -told:] = 1
    positions = torch.arange(tokens.shape[1], device=model.device).expand_as(tokens)
    try:
        with torch.no_grad():
            losses = model(input_ids=tokens, position_ids=positions, weights=weights).token_losses
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{len(rows)} rows of {tokens.shape[1]:,} tokens do not fit on the GPU",
            "a smaller --batch-tokens" if len(rows) > 1 else "shorter --lengths, or --dtype bfloat16",
        ) from error
    found: Floats = losses[:, -told:].double().cpu().numpy()
    if not np.isfinite(found).all():
        raise UserError(f"the loss of a row of {tokens.shape[1]:,} tokens is no number", "try --dtype float32")
    return found


# Positions


def edges_of(length: int) -> NDArray[np.int64]:
    """Where the bins of the positions 1 to `length` - 1 begin."""
    return np.arange(1, length, -(-length // BINS))


def _in_bins(row: Floats, length: int) -> Floats:
    """The mean of each bin; a row's first token has no loss."""
    edges = edges_of(length)
    means: Floats = np.add.reduceat(row, edges - 1) / np.diff([*edges, length])
    return means
