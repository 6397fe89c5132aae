"""What the paper says that has a counterpart here, in our words, and how each claim is decided. Data; nothing is tuned.

Margins were set before any run: a loss that is 0.02 nats higher counts as worse (2 % of perplexity, more than any gap
between the paper's last three encodings), as do 10 points of retrieval (a tenth of the questions).
"""

from collections.abc import Callable
from dataclasses import dataclass

from recipes.paper_small import decisions as decide
from recipes.paper_small.verdicts import CANNOT, Found, Verdict


@dataclass(frozen=True)
class Claim:
    """`says` is the paper's, `decided` tells in words what `decide` does."""

    name: str
    experiment: str
    where: str
    says: str
    decided: str
    decide: Callable[[Found], Verdict]


def out_of_reach(reason: str) -> Callable[[Found], Verdict]:
    """For what no run of this size could show, whatever it finds."""
    return lambda found: Verdict(CANNOT, reason)


CLAIMS = (
    Claim(
        "larger gain more",
        "size",
        "Sec. 3.1, Fig. 1",
        "The larger the model, the more a longer context is worth to it.",
        "the loss at short rows' length less that at long rows', large against small model",
        decide.larger_gain_more,
    ),
    Claim(
        "beta rises",
        "size",
        "Sec. 3.1, Fig. 1",
        "The exponent of the power law of context rises with the size of the model.",
        "beta of `evaluate loss`, large against small model",
        decide.beta_rises,
    ),
    Claim(
        "power law",
        "size",
        "Sec. 3.1, Fig. 1",
        "The loss goes on falling as a power law of the context, up to the length that was trained.",
        "every size has a fit in every seed, and every doubling up to the trained length lowers the loss",
        decide.power_law,
    ),
    Claim(
        "slower decay",
        "decay",
        "Sec. 4.1, Fig. 4",
        "With a larger base the score of a query and a key decays far more slowly with their distance.",
        "the mean score over 32,768 distances, ABF against unchanged RoPE and PI, at the paper's own size",
        decide.slower_decay,
    ),
    Claim(
        "granularity",
        "decay",
        "App. B",
        "Neighbouring positions stay further apart with ABF than with PI.",
        "ratios of the finite sums at 128 elements a head: 2.72 to PI by 4, 5.41 to PI by 8",
        decide.granularity_ratios,
    ),
    Claim(
        "plain RoPE fails",
        "rope",
        "Sec. 4.1, Fig. 5",
        "With unchanged positions a model does not find the beginning of a long text, however it is trained.",
        "retrieval at the full length: unchanged RoPE below half of its own at short length, and below ABF",
        decide.plain_fails,
    ),
    Claim(
        "order of loss",
        "rope",
        "Sec. 4.1, Table 5",
        "In loss on long text ABF is ahead of PI, and PI of unchanged RoPE.",
        "loss at the full length, both steps",
        decide.order_of_loss,
    ),
    Claim(
        "ABF holds",
        "rope",
        "Sec. 4.1, Fig. 5",
        "ABF alone keeps finding the first sentence up to the full length of training.",
        "retrieval of ABF at the full length no more than 10 points below that at short length, and above PI's",
        decide.abf_holds,
    ),
    Claim(
        "xPos adds nothing",
        "rope",
        "Sec. 4.1, Table 5, Fig. 5",
        "The decay of xPos on top of ABF brings nothing.",
        "ABF no worse than xPos ABF: by 0.02 nats in loss, by 10 points in retrieval, at the full length",
        decide.xpos_adds_nothing,
    ),
    Claim(
        "short text kept",
        "rope",
        "Sec. 4.1, Table 6",
        "ABF costs nothing on short text, against the other encodings.",
        "loss and retrieval at the base's length: ABF no worse than unchanged RoPE and than PI",
        decide.short_text_kept,
    ),
    Claim(
        "published short tasks",
        "rope",
        "Sec. 4.1, Table 6",
        "On published short tasks ABF is as good as the others or better.",
        "not decided here",
        out_of_reach("code, mathematics and general knowledge are not in models of this size: all would guess"),
    ),
    Claim(
        "passkey is easy",
        "rope",
        "Sec. 4.1, footnote 4",
        "A pass key in long text tells encodings apart too little: all but unchanged RoPE find it every time.",
        "pass keys at the full length: PI, ABF and xPos ABF have 95 points or more, unchanged RoPE fewer",
        decide.passkey_is_easy,
    ),
    Claim(
        "long text up-sampled",
        "mix",
        "Sec. 4.2, Table 7",
        "The same sources with more of their long text give a better long model.",
        "loss and retrieval at the full length, mix (d) against (b)",
        decide.upsampling_gains,
    ),
    Claim(
        "little long text is enough",
        "mix",
        "Sec. 4.2, Fig. 7",
        "Without long text retrieval suffers only at the far end.",
        "mix (c) against (b): worse at the full length, no more than 10 points worse up to half of it",
        decide.without_long_text,
    ),
    Claim(
        "quality over length",
        "mix",
        "Sec. 4.2, Tables 7 and 8",
        "What makes the new mix (a) better is the quality of its text, not how long its documents are.",
        "not decided here",
        out_of_reach("(a) has a further source here, but no measure tells its quality from its length"),
    ),
    Claim(
        "tuning helps",
        "instruct",
        "Sec. 4.3, Table 9",
        "Short chats alone make the long model answer better.",
        "points of short answers, short chats against the untuned base",
        decide.step("short_answer", "rope/ABF", "instruct/short"),
    ),
    Claim(
        "pretraining text helps",
        "instruct",
        "Sec. 4.3, Table 9",
        "Pretraining text mixed into short chats makes it better still.",
        "points of short answers, with against without",
        decide.step("short_answer", "instruct/short", "instruct/short-pretrain"),
    ),
    Claim(
        "self-instruct helps",
        "instruct",
        "Sec. 4.3, Table 9",
        "Self-instruct data, even with the loss on answers alone, is far ahead in answering questions on a document.",
        "points of short answers, against short chats with pretraining text (Qasper and NarrativeQA in the paper)",
        decide.step("short_answer", "instruct/short-pretrain", "instruct/self-instruct-answers"),
    ),
    Claim(
        "loss on long prompts helps",
        "instruct",
        "Sec. 2.2, 4.3, Table 9",
        "The language-modelling loss on the long prompts is better than the loss on answers alone.",
        "points of short answers, with against without",
        decide.step("short_answer", "instruct/self-instruct-answers", "instruct/self-instruct"),
    ),
    Claim(
        "loss on long prompts repairs",
        "instruct",
        "Sec. 4.3, Table 9",
        "Trained on answers alone, a model falls behind where more than a short answer is asked for; the loss on the "
        "prompts repairs that.",
        "points of long answers: answers alone below short chats with pretraining text, and below the loss on prompts",
        decide.prompts_repair,
    ),
    Claim(
        "order of Table 9",
        "instruct",
        "Sec. 4.3, Table 9",
        "Each of the five settings is better at questions on a document than the one before it.",
        "points of short answers, all four steps",
        decide.order_of_rows,
    ),
    Claim(
        "FLOPs saved",
        "curriculum",
        "Sec. 4.4, Table 10",
        "To switch after 20, 40 or 80 % of the tokens saves 10, 20 or 40 % of the FLOPs.",
        "the formula of the commands at the paper's size, within 1 % of each of its figures; ours are beside",
        decide.flops_saved,
    ),
    Claim(
        "loss about equal",
        "curriculum",
        "Sec. 4.4, Table 11",
        "Models that begin with short rows are as good in loss as one trained on long rows throughout.",
        "loss at the full length, each curriculum no worse by 0.02 nats than long rows throughout",
        decide.curricula_equal,
    ),
    Claim(
        "tasks about equal",
        "curriculum",
        "Sec. 4.4, Table 10",
        "On long tasks they are about as good, too.",
        "retrieval at the full length no more than 10 points below that of long rows throughout",
        decide.curricula_retrieve,
    ),
    Claim(
        "jump at the switch",
        "curriculum",
        "Sec. 4.4, Fig. 6",
        "The training loss jumps where rows become long, and soon recovers.",
        f"mean loss of {decide.AFTER} steps after the switch against {decide.BEFORE} before, and of the last ones",
        decide.jump_recovers,
    ),
    Claim(
        "base collapses",
        "extrapolation",
        "App. C, Fig. 8",
        "The model that was not continued explodes past its own window.",
        "loss of the base at 8 times its rows above that at its rows",
        decide.base_collapses,
    ),
    Claim(
        "loss extrapolates",
        "extrapolation",
        "App. C, Fig. 8",
        "Past the trained length, to twice of it, the loss by position stays flat with ABF and with xPos ABF.",
        "mean loss of positions past the trained length no more than 0.1 nats above that of the half before",
        decide.loss_extrapolates,
    ),
    Claim(
        "retrieval does not",
        "extrapolation",
        "App. C, Fig. 9",
        "Retrieval falls off past the trained length.",
        "retrieval of ABF at twice the trained length below that at it",
        decide.retrieval_degrades,
    ),
    Claim(
        "xPos extrapolates no better",
        "extrapolation",
        "App. C, Fig. 9",
        "xPos, made for extrapolation, is no better at it than ABF alone.",
        "ABF no worse at twice the trained length: by 0.02 nats in loss, by 10 points in retrieval",
        decide.xpos_extrapolates_no_better,
    ),
)
