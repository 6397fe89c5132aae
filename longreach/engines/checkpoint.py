"""What the engines that load a checkpoint themselves have in common: the errors that a user can mend."""

from longreach.engines.base import RequestRefused
from longreach.errors import UserError


def no_chat_template(model: str) -> UserError:
    """The error for a base model."""
    return UserError(
        f"{model} has no chat template: it is a base model, not one that answers",
        "choose its instruct or chat version, or save a chat_template.jinja beside its tokenizer",
    )


def refused_chat(model: str, reason: str) -> UserError:
    """The error for a chat template that raises, for instance because it knows no system role."""
    return UserError(f"the chat template of {model} refuses the conversation: {reason}", "choose another model")


def check_fits(prompt_tokens: int, window: int) -> None:
    """Fail the request whose prompt leaves no room for a single token of answer."""
    if prompt_tokens >= window:
        raise RequestRefused("prompt too long", f"{prompt_tokens} tokens, the model reads {window}, answer included")
