"""Losses as they are written, and the weights that they give."""

import numpy as np
import pytest

from finetune.item import Item
from finetune.losses import Loss, parse_losses, weights_of


def chat(answer: str, *lengths: int) -> Item:
    """An example of as many tokens as there are marks; "a" is one of an answer."""
    mask = np.array([mark == "a" for mark in answer])
    return Item(np.arange(len(mask), dtype=np.uint16), np.array(lengths or [len(mask)], np.int32), mask)


def test_every_source_has_a_loss() -> None:
    found = parse_losses(" long=all:0.2 , code=all", ["long", "short", "code"])
    assert found == {"long": Loss(0.2), "short": Loss(0.0), "code": Loss(1.0)}
    assert parse_losses("", ["short"]) == {"short": Loss(0.0, 1.0)}
    assert [str(loss) for loss in found.values()] == ["all:0.2", "answer", "all"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("long", "'long' is no loss of a source"),
        ("long=some", "'long=some' is no loss of a source"),
        ("long=all:", "'long=all:' is no loss of a source"),
        ("long=all:much", "'long=all:much' is no loss of a source"),
        ("long=all:-1", "'long=all:-1' is no loss of a source"),
        ("long=all:inf", "'long=all:inf' is no loss of a source"),
        ("long=answer:2", "'long=answer:2' is no loss of a source"),
        ("long=all,,short=answer", "'' is no loss of a source"),
        ("logn=all", "'logn' is no source here; did you mean 'long'?"),
        ("long=all,long=answer", "long is named twice"),
        ("=all", "'' is no source here"),
    ],
)
def test_what_is_no_loss_is_said(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="as in long=") as caught:
        parse_losses(text, ["long", "short"])
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        (Loss(), [0, 0, 1, 1, 0, 1]),
        (Loss(1), [0, 1, 1, 1, 1, 1]),
        (Loss(0.25), [0, 0.25, 1, 1, 0.25, 1]),
        (None, [0, 1, 1, 1, 1, 1]),
    ],
)
def test_weights_follow_the_loss(loss: Loss | None, weights: list[float]) -> None:
    found = weights_of(chat("ppaapa"), loss, "tokens")
    assert found.tolist() == weights
    assert found.dtype == np.float32
    assert weights_of(chat("ppaapa"), loss, "examples") == pytest.approx(np.array(weights) / sum(weights))


def test_nothing_precedes_the_first_token_of_a_document() -> None:
    assert weights_of(chat("aaaaa", 3, 2), Loss(), "tokens").tolist() == [0, 1, 1, 0, 1]
    assert weights_of(chat("ppppp", 3, 2), None, "tokens").tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("average", ["tokens", "examples"])
def test_nothing_to_train_on_has_no_weight(average: str) -> None:
    assert weights_of(chat("ap"), Loss(), average).tolist() == [0, 0]


def test_longalign() -> None:
    """The mean over K packs of the sum of token losses, each times K / (N M), is the weighted mean of ours."""
    draw = np.random.default_rng(0)
    packs = [[chat("p" * draw.integers(1, 9) + "a" * draw.integers(1, 9)) for _ in range(count)] for count in (3, 1, 4)]
    examples = [each for pack in packs for each in pack]
    losses = [draw.random(len(each.tokens)) for each in examples]
    weights = [weights_of(each, Loss(), "examples").astype(np.float64) for each in examples]
    ours = sum(float(w @ x) for w, x in zip(weights, losses, strict=True)) / sum(w.sum() for w in weights)
    each_of = iter(zip(examples, losses, strict=True))
    of_packs = []
    for pack in packs:
        drawn = [next(each_of) for _ in pack]
        of_packs.append(sum(x[item.answer].sum() * len(packs) / (item.answer.sum() * 8) for item, x in drawn))
    assert ours == pytest.approx(np.mean(of_packs), rel=1e-6)
