"""Mixes of long and short text that others have published, by name, each figure with where it comes from.

A preset is a set of settings, of which those that the user gives win; some also name sources and their shares. Of a
group of sources those that the user lacks leave their part to the others of the group, so that the balance of long and
short text, the figure that matters most, is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from longreach.config import did_you_mean
from longreach.errors import UserError
from pretrain.sources import SourceSpec, divide

LENGTHENING = ("long_share", "upsample_long")  # settings that exclude each other


@dataclass(frozen=True)
class Preset:
    """A published mix."""

    summary: str
    settings: Mapping[str, Any]
    groups: tuple[Mapping[str, float], ...] = ()  # share of all tokens by source; empty: as the user's sources are
    long_only: frozenset[str] = frozenset()  # sources of which only long documents are taken
    origins: Mapping[str, str] = field(default_factory=dict)  # of each setting and of the shares

    @property
    def names(self) -> list[str]:
        """The sources it knows."""
        return [name for group in self.groups for name in group]


PRESETS = {
    "llama2-long": Preset(
        "the sources in their own proportions, long text up-weighted",
        {"upsample_long": 5.0, "upsample_over": "source"},
        origins={
            "upsample_over": "Xiong et al. 2023 (arXiv:2309.16039), section 2.1: Llama 2's sources, long up-weighted",
            "upsample_long": "ours: they do not report it; 5 takes the 30 % of long text of Fu et al. to their 70 %",
        },
    ),
    "fu": Preset(
        "within each source 70 % of the tokens in documents of more than 4k tokens",
        {"long_share": 0.7, "long_tokens": 4_096, "upsample_over": "source"},
        origins={
            "long_share": "Fu et al. 2024 (arXiv:2402.10171): from about 30 % to about 70 % in each source",
            "long_tokens": "Fu et al. 2024: more than 4K",
            "upsample_over": "Fu et al. 2024: better than over the corpus, and than more books",
        },
    ),
    "prolong": Preset(
        "60 % long code repositories and books, 40 % short text of high quality",
        {},
        groups=(
            {"code": 0.30, "books": 0.30},
            {
                "textbooks": 0.03,
                "fineweb-edu": 0.10,
                "fineweb": 0.10,
                "wikipedia": 0.04,
                "stackexchange": 0.04,
                "tulu-v2": 0.03,
                "openwebmath": 0.03,
                "arxiv": 0.03,
            },
        ),
        long_only=frozenset({"code", "books"}),
        origins={
            "shares": "Gao et al. 2024 (arXiv:2410.02660), 64K stage; ShortMix is 37 % of all",
            "long_only": "Gao et al. 2024: code and books in single documents of a row; from which length is ours",
        },
    ),
    "olmo3": Preset(
        "34 % of all tokens in documents of at least 8k tokens",
        {"long_share": 0.34, "long_tokens": 8_192, "upsample_over": "corpus"},
        origins={
            "long_share": "Olmo 3 (arXiv:2512.13961): 34 % long, 66 % short; 66 % long cost 2.5 points instead of 0.8",
            "long_tokens": "Olmo 3: the shortest of its buckets of long documents begins at 8K",
            "upsample_over": "ours: the share is of the whole, since their long text is a source of its own",
        },
    ),
}


@dataclass(frozen=True)
class Applied:
    """What a preset makes of the user's sources and settings."""

    specs: tuple[SourceSpec, ...]
    settings: Mapping[str, Any]  # to be used where the user gave none
    notes: tuple[str, ...]  # each figure with its origin


def find_preset(name: str) -> Preset:
    """The preset of this name."""
    if name not in PRESETS:
        known = "; ".join(f"{each}: {preset.summary}" for each, preset in PRESETS.items())
        raise UserError(f"--preset: no preset {name!r}{did_you_mean(name, PRESETS)}", known)
    return PRESETS[name]


def apply_preset(name: str, specs: Sequence[SourceSpec], given: Mapping[str, Any]) -> Applied:
    """The preset on these sources; the settings and shares that the user has `given` win over its own."""
    preset = find_preset(name)
    lengthened = any(given.get(setting) is not None for setting in LENGTHENING)
    settings = {
        setting: value
        for setting, value in preset.settings.items()
        if given.get(setting) is None and not (lengthened and setting in LENGTHENING)
    }
    notes = [f"--{key.replace('_', '-')} {value} ({preset.origins[key]})" for key, value in settings.items()]
    if preset.groups:
        long_only = frozenset() if lengthened else preset.long_only & {spec.name for spec in specs}
        notes += _origins(preset, specs, long_only)
        specs = [
            replace(spec, share=share, long_share=1.0 if spec.name in long_only else None)
            for spec, share in zip(specs, _shares(name, preset, specs), strict=True)
        ]
    return Applied(tuple(specs), settings, tuple(f"preset {name}: {note}" for note in notes))


def _origins(preset: Preset, specs: Sequence[SourceSpec], long_only: frozenset[str]) -> list[str]:
    """Where the shares that it gives come from, and what it finds missing."""
    notes = []
    if any(spec.share is None for spec in specs):
        shares = (f"{name} {share:.0%}" for group in preset.groups for name, share in group.items())
        notes.append(f"shares of {', '.join(shares)} ({preset.origins['shares']})")
        missing = [name for name in preset.names if name not in {spec.name for spec in specs}]
        if missing:
            notes.append(f"no source {', '.join(missing)}: their part goes to the others, first to those of their kind")
    if long_only:
        notes.append(f"only long documents of {', '.join(sorted(long_only))} ({preset.origins['long_only']})")
    return notes


def _shares(name: str, preset: Preset, specs: Sequence[SourceSpec]) -> list[float]:
    """The shares of all sources: the user's own, and of what they leave the preset's for those it knows."""
    unknown = [spec.name for spec in specs if spec.name not in preset.names and spec.share is None]
    if unknown:
        slips = (f"{each}{did_you_mean(each, preset.names)}" for each in unknown)
        raise UserError(
            "\n".join(f"--preset {name} has no share for the source {slip}" for slip in slips),
            f"name your sources as it does, or give them shares; it knows {', '.join(preset.names)}",
        )
    parts: dict[str, float] = {}
    for group in preset.groups:
        here = {spec.name: group[spec.name] for spec in specs if spec.name in group}
        parts |= {source: share * sum(group.values()) / sum(here.values()) for source, share in here.items()}
    return divide([spec.share for spec in specs], [parts.get(spec.name, 0.0) for spec in specs])
