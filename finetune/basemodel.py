"""The model that is taught to chat: its tokenizer with a chat template, its window, and how it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.config import MixSettings
from longreach.errors import UserError
from longreach.model.aliases import find_alias, weights_of
from longreach.model.attention import register
from longreach.model.checkpoint import is_whole, read_provenance
from longreach.model.configjson import config_of
from longreach.model.load import load_model, read_config
from longreach.model.lora import add_lora
from longreach.model.rope import NONE, Rope, parse_rope
from longreach.model.ropeconfig import with_rope
from longreach.model.vocabulary import named_tokenizer
from longreach.text.chat.template import ChatTemplate, open_chat


@dataclass(frozen=True)
class BaseModel:
    """A base and its chat template. `config` is empty where no base was given."""

    name: str
    weights: str  # folder or hub id
    config: Mapping[str, Any]
    chat: ChatTemplate
    settings: MixSettings

    @property
    def rope(self) -> Rope:
        """How its positions are changed."""
        return parse_rope(self.settings.rope)

    @property
    def window(self) -> int:
        """The tokens that it was trained to read; 0 where no base was given."""
        return int(self.config.get("max_position_embeddings", 0))

    def load(self, rope: Rope, seq_len: int) -> Any:
        """The model before the first step, which ends its answers where the chat template ends a turn."""
        settings = self.settings
        model, _ = load_model(
            self.weights, rope, seq_len, dtype="float32", attention=register(), four_bit=settings.qlora
        )
        model.generation_config.eos_token_id = sorted(self.chat.end_ids)
        return add_lora(model, settings.lora, settings.lora_alpha or None) if settings.lora else model

    def check(self, seq_len: int) -> None:
        """UserError where its positions cannot be encoded so; loads no weights."""
        if self.rope.method != NONE:
            with_rope(read_config(self.weights), self.rope, seq_len)

    def provenance(self) -> dict[str, Any]:
        """The name, and what made it where longreach did."""
        folder = Path(self.weights)
        return {"name": self.name, **({"made_by": read_provenance(folder)} if is_whole(folder) else {})}


def base_model(settings: MixSettings) -> BaseModel:
    """The base of a run; without one, the shipped tokenizer with a chat template, to look at data by."""
    if not settings.base:
        return BaseModel("", "", {}, open_chat(named_tokenizer("")), settings)
    weights = weights_of(settings.base)
    config = config_of(settings.base) if find_alias(settings.base) else config_of(weights)
    tokenizer = named_tokenizer(weights)
    check_words(len(tokenizer), config, settings.base)
    return BaseModel(settings.base, weights, config, open_chat(tokenizer), settings)


def check_words(words: int, config: Mapping[str, Any], name: str) -> None:
    """UserError where the tokenizer knows more words than the model has embeddings."""
    has = int({**config, **config.get("text_config", {})}.get("vocab_size", words))
    if words > has:
        raise UserError(
            f"the tokenizer of {name} has {words:,} tokens, the model embeddings of {has:,}",
            "tokens were added: give the model more, too, by resize_token_embeddings, and save it",
        )
