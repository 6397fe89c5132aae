"""What one run of prepare is asked for, with all that its settings name: sources, preset, tokenizer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longreach.config import written
from longreach.run import versions
from longreach.text.tokenize import Tokenizer, load_tokenizer
from pretrain.config import PrepareSettings
from pretrain.presets import apply_preset
from pretrain.sources import SourceSpec, parse_sources, reading_of

PACKAGES = ("longreach", "numpy", "tokenizers", "gigatoken")
PRESETTABLE = ("long_share", "upsample_long", "long_tokens", "upsample_over")


@dataclass(frozen=True)
class Job:
    """What is asked for, with all that its settings name."""

    given: PrepareSettings
    settings: PrepareSettings  # as the preset, if there is one, completes them
    specs: Sequence[SourceSpec]
    notes: Sequence[str]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, given: PrepareSettings) -> "Job":
        """Everything of the settings that may be wrong shows here."""
        settings, specs, notes = with_preset(given)
        tokenizer = load_tokenizer(settings.tokenizer)
        return cls(given, settings, specs, [*notes, *reading_of(specs), *special_notes(tokenizer)], tokenizer)

    @property
    def shaping(self) -> dict[str, Any]:
        """All that decides the rows, or the tokens of a shard."""
        return {
            **written(self.settings, shaping_only=True),
            "source": [_as_json(spec) for spec in self.specs],
            "tokenizer_sha256": self.tokenizer.sha256,
            **({"shard": self.given.shard} if self.given.shard else {}),
        }

    def manifest(self, status: str, counts: dict[str, Any]) -> dict[str, Any]:
        """What run.json says."""
        return {
            "format": 1,
            "status": status,
            "settings": written(self.given if self.given.shard else self.settings),  # a merge completes them again
            "shaping": self.shaping,
            "versions": versions(*PACKAGES),
            "counts": counts,
        }


def with_preset(settings: PrepareSettings) -> tuple[PrepareSettings, tuple[SourceSpec, ...], list[str]]:
    """Settings and sources as the preset, if there is one, makes them; and what it says of that."""
    specs = parse_sources(settings.source)
    if not settings.preset:
        return settings, specs, []
    given = {name: getattr(settings, name) for name in PRESETTABLE}
    applied = apply_preset(settings.preset, specs, given | {"long_tokens": settings.long_tokens or None})
    return replace(settings, **applied.settings), applied.specs, list(applied.notes)


def _as_json(spec: SourceSpec) -> dict[str, Any]:
    return {"name": spec.name, "paths": list(spec.paths), "share": spec.share, "long_share": spec.long_share}


def special_notes(tokenizer: Tokenizer) -> Iterator[str]:
    """What the tokenizer's special tokens mean for the rows."""
    if tokenizer.eos_id is None:
        yield f"{tokenizer.name} has no end-of-document token: documents end without a mark"
