"""The body of merge: an adapter and its base -> a model of its own."""

import sys
from pathlib import Path

from finetune.config import MergeSettings
from longreach.errors import UserError
from longreach.model.checkpoint import is_whole, read_provenance, save_model
from longreach.model.lora import merge


def merge_adapter(settings: MergeSettings) -> None:
    """adapter + base -> checkpoint."""
    adapter, out = Path(settings.adapter), Path(settings.out)
    if is_whole(out) or (out.exists() and any(out.iterdir())):
        raise UserError(f"{out} is not empty", "choose another --out; nothing was changed")
    model, tokenizer = merge(adapter, settings.base, dtype=settings.dtype)
    provenance = read_provenance(adapter)
    save_model(model, tokenizer, out, {**provenance, "merged": str(adapter)})
    sys.stdout.write(f"{adapter} and its base -> {out}\n")
