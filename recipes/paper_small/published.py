"""The paper's figures (arXiv:2309.16039v3) that have a counterpart here, as data."""

from typing import NamedTuple


class Table(NamedTuple):
    """Rows begin with their name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


PUBLISHED: dict[str, tuple[Table, ...]] = {
    "size": (
        Table(
            "Fig. 1: L(c) = (alpha/c)^beta + gamma",
            ("model", "alpha", "beta", "gamma"),
            (
                ("7B", "25.4", "0.45", "1.56"),
                ("13B", "19.5", "0.48", "1.45"),
                ("34B", "17.7", "0.5", "1.41"),
                ("70B", "17.9", "0.51", "1.35"),
            ),
        ),
    ),
    "decay": (
        Table(
            "App. B: granularity in the limit of many dimensions",
            ("method", "granularity"),
            (("PI 1/4", "0.027"), ("ABF, beta 50", "0.076")),
            "At 128 elements a head the finite sums are computed beside; Fig. 4 is a picture without numbers.",
        ),
    ),
    "rope": (
        Table(
            "Table 5: perplexity at 32,768 tokens",
            ("positions", "Books", "CC", "Wikipedia"),
            (
                ("RoPE", "6.548", "6.816", "3.802"),
                ("PI", "6.341", "6.786", "3.775"),
                ("ABF", "6.323", "6.780", "3.771"),
                ("xPos ABF", "6.331", "6.780", "3.771"),
            ),
        ),
        Table(
            "Table 6: short tasks",
            ("positions", "HumanEval", "MATH", "MMLU", "HellaSwag", "TQA"),
            (
                ("RoPE", "14.63", "3.62", "45.69", "76.31", "65.23"),
                ("PI", "15.24", "3.08", "45.84", "76.65", "65.96"),
                ("ABF", "17.07", "3.52", "46.24", "76.73", "66.04"),
                ("xPos ABF", "16.46", "3.54", "45.72", "76.68", "66.14"),
            ),
        ),
    ),
    "mix": (
        Table(
            "Table 7: gain over the 4k model, in per cent",
            ("mix", "NarrativeQA F1", "Qasper F1", "QuALITY EM", "QMSum ROUGE"),
            (
                ("a", "23.70", "43.64", "75.5", "45.70"),
                ("b", "18.23", "38.12", "60.3", "44.87"),
                ("c", "19.48", "39.14", "67.1", "36.60"),
                ("d", "22.15", "36.82", "65.0", "42.83"),
            ),
            "(d) is ahead of (b) in NarrativeQA and QuALITY, behind in Qasper and QMSum.",
        ),
        Table(
            "Table 8: short tasks",
            ("mix", "HumanEval", "Math", "MMLU", "HellaSwag", "TQA"),
            (
                ("a", "17.08", "4.09", "48.62", "76.74", "66.24"),
                ("b", "15.24", "3.61", "46.30", "76.63", "66.71"),
                ("c", "17.07", "3.57", "46.25", "76.76", "65.90"),
                ("d", "17.07", "3.53", "46.25", "76.74", "66.04"),
            ),
        ),
    ),
    "instruct": (
        Table(
            "Table 9",
            ("setting", "Qasper", "NarrativeQA", "QuALITY", "SummScreenFD", "QMSum"),
            (
                ("Llama 2 Chat", "12.2", "9.13", "56.7", "10.5", "14.4"),
                ("short chats", "22.3", "13.2", "71.4", "14.8", "16.9"),
                ("and pretraining text", "23.7", "16.6", "76.2", "15.7", "17.8"),
                ("and self-instruct, answers alone", "35.7", "22.3", "59.3", "12.2", "13.4"),
                ("and self-instruct, with LM loss", "38.9", "23.3", "77.3", "14.5", "18.5"),
            ),
        ),
    ),
    "curriculum": (
        Table(
            "Tables 10 and 11",
            ("curriculum", "FLOPs", "NarrativeQA", "Qasper", "QuALITY", "QMSum", "CC", "Books", "Wikipedia"),
            (
                ("32k from the start", "3.783e22", "18.5", "28.6", "37.9", "11.46", "7.67", "6.52", "4.31"),
                ("4k, 32k from 20 %", "3.405e22", "20.0", "28.1", "38.8", "12.09", "7.59", "6.46", "4.26"),
                ("4k, 32k from 40 %", "3.026e22", "20.1", "27.0", "37.4", "12.44", "7.59", "6.46", "4.25"),
                ("4k, 32k from 80 %", "2.270e22", "18.5", "25.0", "38.3", "11.00", "7.59", "6.49", "4.25"),
            ),
        ),
    ),
    "extrapolation": (
        Table(
            "Figs. 8 and 9, read off by eye",
            ("model of 16,384 tokens", "loss to 32,768", "first sentence at 30,000"),
            (
                ("ABF", "flat, about 1.65 to 1.7", "60 to 70 ROUGE-L"),
                ("xPos ABF", "flat", "no better"),
                ("Llama 2, past its 4,096", "explodes", "-"),
            ),
        ),
    ),
}

GRANULARITY_RATIOS = {"PI 1/4": 2.72, "PI": 5.41}  # of ABF to PI, finite sums at 128 elements (App. B)
FLOPS = {0: 3.783e22, 20: 3.405e22, 40: 3.026e22, 80: 2.270e22}  # Table 10, by per cent of tokens before the switch
