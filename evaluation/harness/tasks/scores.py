"""The scores of an answer, in the form that the harness calls; all in points."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import metrics

Doc = Mapping[str, Any]
Answer = Sequence[str]  # the harness's list of the one answer


def f1(doc: Doc, answer: Answer) -> dict[str, float]:
    """SQuAD's."""
    return {"f1": metrics.f1(answer[0], doc["outputs"])}


def exact_match(doc: Doc, answer: Answer) -> dict[str, float]:
    """SQuAD's."""
    return {"exact_match": metrics.exact_match(answer[0], doc["outputs"])}


def rouge_geo(doc: Doc, answer: Answer) -> dict[str, metrics.Scores]:
    """The three ROUGE, whose means `evaluation.metrics.rouge_geo` multiplies at the end."""
    return {"rouge_geo": metrics.rouge(answer[0], doc["outputs"])}


def accuracy(doc: Doc, answer: Answer) -> dict[str, float]:
    """Of the letter that was chosen."""
    return {"accuracy": metrics.choice(answer[0], doc["outputs"])}


def exp_similarity(doc: Doc, answer: Answer) -> dict[str, float]:
    """Of percentages."""
    return {"exp_similarity": metrics.percentage(answer[0], doc["outputs"])}


def concordance(doc: Doc, answer: Answer) -> dict[str, float]:
    """Of an order."""
    return {"concordance": metrics.concordance(answer[0], doc["outputs"])}
