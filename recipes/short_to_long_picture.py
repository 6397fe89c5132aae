"""The curves of short_to_long.py as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

STYLES = {  # Okabe and Ito's colours, and dashes and marks for who sees none
    "base": ("#767676", ":", "o"),
    "none": ("#000000", "-", "s"),
    "PI": ("#E69F00", "--", "^"),
    "ABF": ("#0072B2", "-", "D"),
}
PANELS = {
    "loss": ("Loss on held-out text", "tokens before, at most", "nats a token"),
    "context": ("The same tokens, given more text", "tokens of context", "nats a token"),
    "rouge_l": ("First-sentence retrieval", "tokens of the document", "ROUGE-L"),
}


def draw(result: Mapping[str, Any], short: int, path: Path) -> None:
    """One panel a measure, the length that the base was trained at marked."""
    figure = Figure(figsize=(15, 4.4), layout="constrained")
    for axes, (measure, (title, below, beside)) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name, values in result[measure].items():
            colour, dash, mark = STYLES[name]
            lengths = [int(length) for length in values]
            axes.plot(lengths, values.values(), color=colour, linestyle=dash, marker=mark, markersize=5, label=name)
        axes.axvline(short, color="#D55E00", linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(
            f"trained at {short}",
            (short, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            textcoords="offset points",
            color="#D55E00",
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set(title=title, xlabel=below, ylabel=beside)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))
