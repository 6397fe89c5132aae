"""Our tables: the paper's rows, columns of what is measured here, means over the seeds with their intervals."""

from collections.abc import Iterator, Mapping, Sequence

from recipes.paper_small.commands import Setting
from recipes.paper_small.computed import METHODS
from recipes.paper_small.experiments import SWITCHES
from recipes.paper_small.figures import Figures, written
from recipes.paper_small.published import Table
from recipes.paper_small.verdicts import digits_of

Column = tuple[str, str, int]  # title, measure, length

ROPE_ROWS = {"base": "base", "rope/none": "RoPE", "rope/PI": "PI", "rope/ABF": "ABF", "rope/xPos-ABF": "xPos ABF"}
MIX_ROWS = {f"mix/{mix}": mix for mix in "abcd"}
SIZE_ROWS = {f"size/{size}": size for size in ("small", "medium", "large")}
CURRICULUM_ROWS = {
    f"curriculum/{switch}": f"long rows from {switch} %" if switch else "long rows throughout" for switch in SWITCHES
}
TABLE9_ROWS = {
    "rope/ABF": "the long base, untuned",
    "instruct/short": "short chats",
    "instruct/short-pretrain": "and pretraining text",
    "instruct/self-instruct-answers": "and self-instruct, answers alone",
    "instruct/self-instruct": "and self-instruct, with LM loss",
}


def our_tables(run: Setting, figures: Figures) -> dict[str, list[Table]]:
    """By experiment."""
    scale = run.scale
    long, short = scale.long, scale.short
    sources = [(name, f"loss of {name}", long) for name in run.names]
    by_context = [(f"{length:,}", "loss", length) for length in scale.contexts]
    found = [(f"{length:,}", "retrieval", length) for length in scale.lengths]
    keys = [(f"{length:,}", "passkey", length) for length in scale.lengths]
    panel = [("loss", "loss", short), ("first sentence", "retrieval", short)]
    law = [(name, name, 0) for name in ("alpha", "beta", "gamma")]
    ends = [("in the trained half before", "loss of positions", long), ("past it", "loss of positions", 2 * long)]
    points = [("short answers, F1", "short_answer", 0), ("long answers, ROUGE", "long_answer", 0)]
    first = f"First sentence, ROUGE-L by length; trained at {long:,}"
    both = [("loss", "loss", long), ("first sentence", "retrieval", long)]
    return {
        "size": [
            table("Power law, by size", "model", SIZE_ROWS, law, figures),
            table(f"Loss by context; trained at {long:,}", "model", SIZE_ROWS, by_context, figures),
        ],
        "decay": [granularity(figures)],
        "rope": [
            table(f"Loss at {long:,} tokens, by source", "positions", ROPE_ROWS, sources, figures),
            table(first, "positions", ROPE_ROWS, found, figures),
            table(f"Pass key, points by length; trained at {long:,}", "positions", ROPE_ROWS, keys, figures),
            table(f"Short text: at the {short:,} tokens of the base", "positions", ROPE_ROWS, panel, figures),
            differences(f"ABF less the others, at {long:,} tokens", "positions", "rope/ABF", ROPE_ROWS, both, figures),
        ],
        "mix": [
            table(f"At {long:,} tokens", "mix", MIX_ROWS, both, figures),
            table(first, "mix", MIX_ROWS, found, figures),
            table(f"Short text: at the {short:,} tokens of the base", "mix", MIX_ROWS, panel, figures),
        ],
        "instruct": [table("Questions on held-out documents", "setting", TABLE9_ROWS, points, figures)],
        "curriculum": [
            table(
                f"FLOPs, and at {long:,} tokens", "curriculum", CURRICULUM_ROWS, [("FLOPs", "FLOPs", 0), *both], figures
            ),
            table("Loss by source", "curriculum", CURRICULUM_ROWS, sources, figures),
        ],
        "extrapolation": [
            table(f"Loss of positions to {2 * long:,}; trained at {long:,}", "positions", ROPE_ROWS, ends, figures),
            table(first, "positions", ROPE_ROWS, found[-3:], figures),
        ],
    }


def table(title: str, head: str, rows: Mapping[str, str], columns: Sequence[Column], figures: Figures) -> Table:
    """One row an arm."""
    body = tuple((name, *_cells(arm, columns, figures)) for arm, name in rows.items())
    return Table(title, (head, *(column for column, _, _ in columns)), body)


def differences(
    title: str, head: str, arm: str, rows: Mapping[str, str], columns: Sequence[Column], figures: Figures
) -> Table:
    """An arm against each other one, paired by seed."""
    body = tuple(
        (name, *(written(figures.difference(of, (other, at), (arm, at)), digits_of(of)) for _, of, at in columns))
        for other, name in rows.items()
        if other != arm
    )
    return Table(title, (head, *(column for column, _, _ in columns)), body)


def _cells(arm: str, columns: Sequence[Column], figures: Figures) -> Iterator[str]:
    for _, measure, at in columns:
        mean = figures.mean(arm, measure, at)
        yield f"{mean.value:.3e}" if mean and measure == "FLOPs" else written(mean, digits_of(measure))


def granularity(figures: Figures) -> Table:
    """At the paper's own size."""
    names = [(method, "granularity", 0) for method in METHODS]
    rows = ((name, f"{figures.of(f'decay/{name}', measure)[0]:.4f}") for name, measure, _ in names)
    return Table("Granularity, finite sums at 128 elements a head", ("method", "granularity"), tuple(rows))
