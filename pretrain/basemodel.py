"""The model that is trained, an existing one or a new one, and what is usual for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longreach.errors import UserError
from longreach.model.aliases import (
    LARGE,
    LARGE_LEARNING_RATE,
    LEARNING_RATE,
    Choice,
    find_alias,
    settings_for,
    weights_of,
)
from longreach.model.attention import register
from longreach.model.configjson import config_of
from longreach.model.flops import parameters, shape_of
from longreach.model.load import load_model, new_config, new_model, read_config
from longreach.model.lora import add_lora
from longreach.model.rope import Rope
from longreach.model.ropeconfig import with_rope
from longreach.model.vocabulary import check_same_tokenizer, tokenizer_of
from longreach.rows.rows import Rows
from pretrain.config import ContinueSettings, ScratchSettings

NEW_RATE = Choice(3e-4, "ours: Llama 2's, of 7B and 13B from scratch")


@dataclass(frozen=True)
class BaseModel:
    """How the model is loaded for a stage, its configuration, and the settings that are usual for it."""

    name: str
    config: Mapping[str, Any]
    open_tokenizer: Callable[[], Any]  # UserError where the rows are of another one
    load: Callable[[Rope, int], Any]
    check: Callable[[Rope, int], Any]  # UserError where its positions cannot be encoded so; loads no weights
    published: Mapping[str, Choice]  # of an alias
    usual_rate: Choice


def base_model(settings: ContinueSettings, data: Sequence[Rows]) -> BaseModel:
    """The model to go on with. Weights and tokenizer are not touched before they are needed."""
    alias, weights = find_alias(settings.base), weights_of(settings.base)
    config = config_of(settings.base)

    def open_tokenizer() -> Any:
        for rows in data:
            check_same_tokenizer(rows, weights)
        return tokenizer_of(data[0])

    def load(rope: Rope, seq_len: int) -> Any:
        model, _ = load_model(weights, rope, seq_len, dtype="float32", attention=register())
        return add_lora(model, settings.lora) if settings.lora else model

    return BaseModel(
        settings.base,
        config,
        open_tokenizer,
        load,
        lambda rope, seq_len: with_rope(read_config(weights), rope, seq_len),
        settings_for(alias.name) if alias else {},
        usual_rate(config),
    )


def usual_rate(config: Mapping[str, Any]) -> Choice:
    """The paper's, for a model of this size."""
    try:
        large = parameters(shape_of(config)) >= LARGE
    except UserError:  # no dense decoder that can be counted
        large = False
    if large:
        return Choice(LARGE_LEARNING_RATE, "paper, Sec. 2.1, of Llama 2 34B and 70B")
    return Choice(LEARNING_RATE, "paper, Sec. 2.1, of Llama 2 7B and 13B")


def fresh_model(settings: ScratchSettings, data: Sequence[Rows]) -> BaseModel:
    """A new model of random weights for the rows' vocabulary."""

    config = config_of(settings.config)

    def load(rope: Rope, seq_len: int) -> Any:
        return new_model(settings.config, rope, seq_len, settings.seed, "float32", register(), settings=config)

    def check(rope: Rope, seq_len: int) -> Any:
        return with_rope(new_config(config), rope, seq_len)

    return BaseModel(settings.config, config, lambda: tokenizer_of(data[0]), load, check, {}, NEW_RATE)
