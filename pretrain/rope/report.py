"""`pretrain rope`: a base model's configuration -> figures -> tables, a picture, and the command to go on with."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from longreach.model.configjson import config_of
from longreach.tables import print_json, print_table
from pretrain.rope.advice import BOUND
from pretrain.rope.analysis import Analysis, Method, analyse
from pretrain.rope.decay import smoothed
from pretrain.rope.rotary import rotary_of
from pretrain.rope.settings import RopeSettings

BARS, BAR_PARTS = "▁▂▃▄▅▆▇█", 56
JSON_POINTS = 128


def show_rope(settings: RopeSettings, *, as_json: bool) -> None:
    """Print what the RoPE of a base model does at a length, and draw it where a picture is asked for."""
    analysis = analyse(rotary_of(settings.base, config_of(settings.base)), settings.seq_len)
    if settings.out:
        from pretrain.rope.picture import draw

        draw(analysis, Path(settings.out))
    if as_json:
        print_json(as_object(analysis) | {"picture": settings.out or None})
        return
    _print_methods(analysis)
    _print_bases(analysis)
    for sentence in _sentences(analysis):
        click.echo(sentence)
    if settings.out:
        click.echo(f"picture: {settings.out}")


def next_command(analysis: Analysis) -> str:
    """How to train with what is recommended."""
    name, rope = shlex.quote(analysis.rotary.name), analysis.advice.rope
    return f"pretrain continue --base {name} --data ROWS --seq-len {analysis.seq_len} --rope {rope}"


def _print_methods(analysis: Analysis) -> None:
    rotary, length = analysis.rotary, f"{analysis.seq_len:,}"
    scaled = f", {rotary.scaling} scaling" if rotary.scaling else ""
    click.echo(
        f"{rotary.name}: base {rotary.base:,.0f}{scaled}, {rotary.dim} rotated elements a head, "
        f"window {rotary.window:,}; asked for {length}\n"
    )
    marks = sorted({max(1, analysis.seq_len // part) for part in (32, 8, 1)})
    rows = [
        (
            method.rope,
            f"{method.granularity:.4f}",
            _reach(method.reach, analysis),
            *(f"{value:.2f}" for value in np.interp(marks, analysis.distances, method.relative)),
        )
        for method in analysis.methods
    ]
    print_table(("--rope", "granularity", "reach", *(f"at {mark:,}" for mark in marks)), rows)
    click.echo(f"\nattention from distance 0 to {length} (means; the lowest bar is 0 or less)")
    curves = [smoothed(method.relative, BAR_PARTS) for method in analysis.methods]
    top = max(curve.max() for curve in curves)
    for method, curve in zip(analysis.methods, curves, strict=True):
        click.echo(f"{method.rope!s:<18} {bars(curve, top)}")
    click.echo("scores are shares of that at distance 0, for queries and keys of ones (paper, Fig. 4)")
    click.echo("granularity: (2/d) sum sin(theta_j), how finely neighbours are told apart (paper, App. B)\n")


def _print_bases(analysis: Analysis) -> None:
    rows = [
        (entry.source, f"{entry.base:,.0f}", f"{entry.length:,}" if entry.length else "", _reach(entry.reach, analysis))
        for entry in analysis.bases
    ]
    print_table(("base", "", "used for", "reach"), rows)
    click.echo("reach: first distance at which a similar token scores below any other,")
    click.echo(f"by {BOUND}, computed for heads of {analysis.rotary.dim}\n")


def _sentences(analysis: Analysis) -> Iterator[str]:
    """What the tables come to."""
    length = f"{analysis.seq_len:,}"
    if analysis.smallest is None:
        yield f"No base covers {length} tokens by that bound."
    else:
        yield f"The smallest base found to cover {length} tokens is {analysis.smallest:,.0f}."
    if analysis.larger:
        larger, short = analysis.larger
        yield f"A larger base may reach less: {larger:,.0f} reaches {short:,}. So the reach is computed, not read off."
    if analysis.bound:
        yield (
            f"By arXiv:2310.05209, {analysis.bound.dimension} of {analysis.rotary.dim} elements were trained on every "
            f"angle: base {analysis.advice.base:,.0f} extends to {analysis.bound.limit:,.0f} tokens at most, "
            f"and {length} take at least {analysis.bound.least_base:,.0f}."
        )
    yield f"\nrecommended: --rope {analysis.advice.rope}"
    yield from (f"  {reason}" for reason in analysis.advice.reasons)
    yield f"go on: {next_command(analysis)}"


def _reach(reached: int | None, analysis: Analysis) -> str:
    return f"{analysis.limit:,}+" if reached is None else f"{reached:,}"


def bars(curve: NDArray[np.float64], top: float) -> str:
    """A curve from 0 to `top` in one line of text."""
    return "".join(BARS[round(level)] for level in np.clip(curve / top, 0, 1) * (len(BARS) - 1))


def as_object(analysis: Analysis) -> dict[str, Any]:
    """The same figures for machines; curves at some 128 distances. A reach of null is `reach_limit` or more."""
    rotary, advice = analysis.rotary, analysis.advice
    last = len(analysis.distances) - 1
    points = np.unique(np.r_[0, np.geomspace(1, last, min(JSON_POINTS, last)).round().astype(int)])
    return {
        "model": rotary.name,
        "rotary_dim": rotary.dim,
        "base": rotary.base,
        "scaling": rotary.scaling or None,
        "window": rotary.window,
        "seq_len": analysis.seq_len,
        "reach_limit": analysis.limit,
        "methods": [_method_object(method) for method in analysis.methods],
        "decay": {
            "distances": analysis.distances[points],
            "scores": {str(method.rope): method.curve[points] for method in analysis.methods},
        },
        "bases": [
            {"base": entry.base, "reach": entry.reach, "published_for": entry.length, "source": entry.source}
            for entry in analysis.bases
        ],
        "smallest_base": analysis.smallest,
        "larger_base_that_reaches_less": analysis.larger and {"base": analysis.larger[0], "reach": analysis.larger[1]},
        "critical": analysis.bound and asdict(analysis.bound),
        "recommended": {"rope": str(advice.rope), "base": advice.base, "reasons": advice.reasons},
        "command": next_command(analysis),
    }


def _method_object(method: Method) -> dict[str, Any]:
    return {"rope": str(method.rope), "granularity": method.granularity, "reach": method.reach}
