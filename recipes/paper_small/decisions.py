"""The decisions behind the claims, one function each: what has to differ from what, and by how much."""

from collections.abc import Callable
from itertools import pairwise

from longreach.model.flops import paper_shape, stage_flops
from recipes.paper_small.computed import FLOPS_SHAPE, REACH, WINDOW
from recipes.paper_small.published import FLOPS, GRANULARITY_RATIOS
from recipes.paper_small.verdicts import (
    LOSS,
    NOT_MEASURED,
    NOT_SEEN,
    RETRIEVAL,
    SEEN,
    Found,
    Verdict,
    able,
    better,
    changes,
    every,
    no_worse,
    where_able,
)

BEFORE, AFTER = 5, 3  # steps whose mean loss stands for that before and after a switch
NATS, POINTS = 0.02, 10.0  # that count as worse
FLAT_NATS = 0.1  # past the trained length: the paper's picture shows no more
ABLE = 50.0  # points below which an arm cannot do a task, so that no difference tells anything
EASY = 95.0  # points of a task that is no test
NONE, PI, ABF, XPOS = "rope/none", "rope/PI", "rope/ABF", "rope/xPos-ABF"
SIZES = ("size/small", "size/medium", "size/large")
SIGNS = {"jump": 1, "loss after the switch": -1}  # of what is told of a switch
TABLE9 = (ABF, "instruct/short", "instruct/short-pretrain", "instruct/self-instruct-answers", "instruct/self-instruct")
FULL, LATER = "curriculum/0", ("curriculum/20", "curriculum/40", "curriculum/80")


# Sec. 3.1


def larger_gain_more(found: Found) -> Verdict:
    """What the long context is worth, in nats."""
    return better(found, "gain", (SIZES[0], 0), (SIZES[-1], 0))


def beta_rises(found: Found) -> Verdict:
    """Of the fitted curves, where there are any."""
    measured = [arm for arm in SIZES if found.figures.of(arm, LOSS, found.long)]
    if unfitted := [arm for arm in measured if not found.figures.of(arm, "beta")]:
        return Verdict(NOT_SEEN, f"no power law fits {', '.join(unfitted)} in any seed")
    return better(found, "beta", (SIZES[0], 0), (SIZES[-1], 0))


def power_law(found: Found) -> Verdict:
    """A fit everywhere, and no doubling without a gain."""
    verdicts = []
    for arm in SIZES:
        seeds, fitted = found.figures.of(arm, LOSS, found.long), found.figures.of(arm, "beta")
        if seeds:
            said = f"{arm} has a power law in {len(fitted)} of {len(seeds)} seeds"
            verdicts.append(Verdict(SEEN if len(fitted) == len(seeds) else NOT_SEEN, said))
        lengths = [length for length in found.figures.at(arm, LOSS) if length <= found.long]
        verdicts += [better(found, LOSS, (arm, one), (arm, other)) for one, other in pairwise(lengths)]
    return every(verdicts) if verdicts else Verdict(NOT_MEASURED, "no size has a loss")


# Fig. 4, App. B


def slower_decay(found: Found) -> Verdict:
    """Computed: no interval is needed."""
    plain, pi, abf = (found.figures.of(f"decay/{method}", "mean score")[0] for method in ("none", "PI", "ABF"))
    said = f"{abf:.3f} of the score at distance 0 with ABF, {pi:.3f} with PI by 8, {plain:.3f} with unchanged RoPE"
    return Verdict(SEEN if abf > max(plain, pi) else NOT_SEEN, f"mean over all distances: {said}")


def granularity_ratios(found: Found) -> Verdict:
    """To the second digit."""
    values = {name: found.figures.of(f"decay/{name}", "granularity")[0] for name in ("ABF", *GRANULARITY_RATIOS)}
    ratios = {name: values["ABF"] / values[name] for name in GRANULARITY_RATIOS}
    same = all(round(ratio, 2) == GRANULARITY_RATIOS[name] for name, ratio in ratios.items())
    said = ", ".join(f"{ratio:.2f} times that of {name}" for name, ratio in ratios.items())
    return Verdict(SEEN if same else NOT_SEEN, f"ABF's granularity is {said}")


# Sec. 4.1


def plain_fails(found: Found) -> Verdict:
    """Below ABF, and below half of what it finds in short text."""
    short, long = (found.figures.mean(NONE, RETRIEVAL, length) for length in (found.short, found.long))
    if short is None or long is None:
        return Verdict(NOT_MEASURED, f"no retrieval of {NONE}")
    said = (
        f"unchanged RoPE finds {long.value:.1f} points at {found.long:,} tokens, {short.value:.1f} at {found.short:,}"
    )
    half = Verdict(SEEN if long.value < short.value / 2 else NOT_SEEN, said)
    behind = better(found, RETRIEVAL, (NONE, found.long), (ABF, found.long))
    return where_able(able(found, RETRIEVAL, (ABF, found.short), ABLE), every([half, behind]))


def order_of_loss(found: Found) -> Verdict:
    """None, PI, ABF."""
    return every(
        [better(found, LOSS, (one, found.long), (other, found.long)) for one, other in ((NONE, PI), (PI, ABF))]
    )


def abf_holds(found: Found) -> Verdict:
    """To the end, and PI does not."""
    holds = no_worse(found, RETRIEVAL, (ABF, found.short), (ABF, found.long), POINTS)
    alone = better(found, RETRIEVAL, (PI, found.long), (ABF, found.long))
    return where_able(able(found, RETRIEVAL, (ABF, found.short), ABLE), every([holds, alone]))


def xpos_adds_nothing(found: Found) -> Verdict:
    """At the trained length."""
    return _xpos_no_better(found, found.long)


def _xpos_no_better(found: Found, at: int) -> Verdict:
    loss = no_worse(found, LOSS, (XPOS, at), (ABF, at), NATS)
    return every([loss, no_worse(found, RETRIEVAL, (XPOS, at), (ABF, at), POINTS)])


def short_text_kept(found: Found) -> Verdict:
    """The panel of short text: at the length that the base was trained at."""
    at = found.short
    losses = [no_worse(found, LOSS, (arm, at), (ABF, at), NATS) for arm in (NONE, PI)]
    return every([*losses, *(no_worse(found, RETRIEVAL, (arm, at), (ABF, at), POINTS) for arm in (NONE, PI))])


def passkey_is_easy(found: Found) -> Verdict:
    """Unless nobody learned it."""
    means = {arm: found.figures.mean(arm, "passkey", found.long) for arm in (NONE, PI, ABF, XPOS)}
    points = {arm: mean.value for arm, mean in means.items() if mean}
    if len(points) < len(means):
        return Verdict(NOT_MEASURED, "not every encoding was asked for a pass key")
    said = ", ".join(f"{arm} {value:.1f}" for arm, value in points.items())
    easy = all(points[arm] >= EASY for arm in (PI, ABF, XPOS)) and points[NONE] < EASY
    best = max(points, key=lambda arm: points[arm])
    verdict = Verdict(SEEN if easy else NOT_SEEN, f"points at {found.long:,} tokens: {said}")
    return where_able(able(found, "passkey", (best, found.long), ABLE), verdict)


# Sec. 4.2


def upsampling_gains(found: Found) -> Verdict:
    """(d) against (b)."""
    at = found.long
    return every([better(found, measure, ("mix/b", at), ("mix/d", at)) for measure in (LOSS, RETRIEVAL)])


def without_long_text(found: Found) -> Verdict:
    """(c) against (b): the far end, and what is before it."""
    far = better(found, RETRIEVAL, ("mix/c", found.long), ("mix/b", found.long))
    lengths = [length for length in found.figures.at("mix/c", RETRIEVAL) if length <= found.long // 2]
    near = [no_worse(found, RETRIEVAL, ("mix/b", length), ("mix/c", length), POINTS) for length in lengths]
    return where_able(able(found, RETRIEVAL, ("mix/b", found.short), ABLE), every([far, *near]))


# Sec. 4.3


def step(measure: str, first: str, second: str) -> Callable[[Found], Verdict]:
    """One row of Table 9 above another."""
    return lambda found: better(found, measure, (first, 0), (second, 0))


def prompts_repair(found: Found) -> Verdict:
    """In long answers: a dip, and its end."""
    dip = step("long_answer", TABLE9[3], TABLE9[2])
    return every([decide(found) for decide in (dip, step("long_answer", TABLE9[3], TABLE9[4]))])


def order_of_rows(found: Found) -> Verdict:
    """All five, each above the one before."""
    return every([step("short_answer", one, other)(found) for one, other in pairwise(TABLE9)])


# Sec. 4.4


def flops_saved(found: Found) -> Verdict:
    """The paper's figures from the formula, and ours from the same."""
    tokens = FLOPS[0] / stage_flops(paper_shape(*FLOPS_SHAPE), [(REACH, 1)]).total
    ours = {share: found.figures.of(f"curriculum/{share}", "FLOPs").get(0, 0.0) for share in FLOPS}
    same, said = True, []
    for share, published in FLOPS.items():
        stages = [(WINDOW, round(tokens * share / 100)), (REACH, round(tokens * (100 - share) / 100))]
        counted = stage_flops(paper_shape(*FLOPS_SHAPE), stages).total
        same = same and abs(counted / published - 1) < 0.01
        if share:
            saved = f", {1 - ours[share] / ours[0]:.1%} at our size" if ours[0] else ""
            said.append(f"switch at {share} %: {1 - counted / FLOPS[0]:.1%} saved at the paper's size{saved}")
    return Verdict(SEEN if same else NOT_SEEN, "; ".join(said))


def curricula_equal(found: Found) -> Verdict:
    """In loss."""
    return every([no_worse(found, LOSS, (FULL, found.long), (arm, found.long), NATS) for arm in LATER])


def curricula_retrieve(found: Found) -> Verdict:
    """In retrieval, where long rows throughout have learned it."""
    verdicts = [no_worse(found, RETRIEVAL, (FULL, found.long), (arm, found.long), POINTS) for arm in LATER]
    return where_able(able(found, RETRIEVAL, (FULL, found.short), ABLE), every(verdicts))


def jump_recovers(found: Found) -> Verdict:
    """Up at the switch, down at the end."""
    return every([changes(found, arm, measure, up) for arm in LATER for measure, up in SIGNS.items()])


# App. C


def base_collapses(found: Found) -> Verdict:
    """In loss."""
    return better(found, LOSS, ("base", found.long), ("base", found.short))


def loss_extrapolates(found: Found) -> Verdict:
    """By position, in rows of twice the length."""
    ends = (found.long, 2 * found.long)
    return every(
        [no_worse(found, "loss of positions", (arm, ends[0]), (arm, ends[1]), FLAT_NATS) for arm in (ABF, XPOS)]
    )


def retrieval_degrades(found: Found) -> Verdict:
    """Where there is something to lose."""
    falls = better(found, RETRIEVAL, (ABF, 2 * found.long), (ABF, found.long))
    return where_able(able(found, RETRIEVAL, (ABF, found.long), ABLE), falls)


def xpos_extrapolates_no_better(found: Found) -> Verdict:
    """At twice the trained length."""
    return _xpos_no_better(found, 2 * found.long)
