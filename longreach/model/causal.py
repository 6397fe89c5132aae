"""The loss of `longreach.model.loss` inside a causal language model of transformers.

`causal_loss(model)` lets the model take `weights` beside `input_ids`: it then gives the loss sum and never the logits.
The model keeps its class's name, its parameters and its own forward for every other call, so that generating, saving,
PEFT and DDP go on as before; as `fully_shard` does, it is given a subclass of its class made on the spot. The head
computes the loss as a module, in its own forward, so that what gathers parameters around modules finds it. One short
forward pass at the start proves that decoder, head and what follows the head are understood.
"""

import functools
import inspect
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from longreach.errors import UserError
from longreach.model.loss import Finish, losses

PROBE = 16  # tokens
LOUD = 100.0  # the largest logit of the probe: enough to bend at any soft cap

Model = TypeVar("Model", bound=nn.Module)


@dataclass
class LossOutput(ModelOutput):  # type: ignore[misc]
    """What a model gives for `weights`: the weighted sum, and the cross entropy of each token of nonzero weight."""

    loss: torch.Tensor | None = None
    token_losses: torch.Tensor | None = None  # as the weights, without gradient


def causal_loss(model: Model) -> Model:
    """The same model, which now also takes model(input_ids=, position_ids=, weights=) and returns a LossOutput.

    Tokens and weights may be one more than positions: the last one is told, and not read.
    """
    inside = language_model(model)
    head, finish = _head(inside), _finish(inside)
    _prove(inside, head, finish)
    for linear in head.modules():
        if type(linear) is nn.Linear:
            linear.__class__ = LossHead
    if not isinstance(getattr(inside, "finish", None), Finish):
        inside.__class__ = _with_loss(inside.__class__)
    inside.finish = finish
    return model


class LossHead(nn.Linear):  # type: ignore[misc]
    """A head that gives the loss in place of the logits where it is told the weights."""

    def forward(
        self,
        hidden: torch.Tensor,
        tokens: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        finish: Finish | None = None,
    ) -> Any:
        if tokens is None or weights is None or finish is None:
            return super().forward(hidden)
        return losses(hidden, self.weight, tokens, weights, bias=self.bias, finish=finish)


@functools.cache
def _with_loss(stock: Any) -> Any:
    """A subclass that looks like `stock` and takes weights too."""

    def forward(self: Any, *args: Any, weights: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if weights is None:
            return stock.forward(self, *args, **kwargs)
        return _loss(self, *args, weights=weights, **kwargs)

    signature = inspect.signature(stock.forward)  # generate reads there what the model takes
    weights = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
    taken = sorted([*signature.parameters.values(), weights], key=lambda parameter: parameter.kind)
    forward.__signature__ = signature.replace(parameters=taken)  # type: ignore[attr-defined]
    looks = {"__module__": stock.__module__, "__qualname__": stock.__qualname__, "__doc__": stock.__doc__}
    return type(stock.__name__, (stock,), {**looks, "forward": forward})


def _loss(model: Any, input_ids: torch.Tensor, *, weights: torch.Tensor, **kwargs: Any) -> LossOutput:
    given = {name: value for name, value in kwargs.items() if value is not None}  # PEFT passes all that it knows of
    if "labels" in given:
        raise ValueError("give weights or labels, not both")
    read = input_ids[:, : given["position_ids"].shape[1]] if "position_ids" in given else input_ids
    decoded = model.get_decoder()(input_ids=read, **given | {"use_cache": False, "return_dict": True})
    total, each = model.get_output_embeddings()(
        decoded.last_hidden_state, tokens=input_ids, weights=weights, finish=model.finish
    )
    return LossOutput(loss=total, token_losses=each)


def language_model(model: Any) -> Any:
    """The causal model of transformers inside PEFT and DDP."""
    while not isinstance(model, PreTrainedModel):
        model = model.get_base_model() if hasattr(model, "get_base_model") else model.module
    return model


def _head(model: Any) -> nn.Module:
    """The linear map to the words, or PEFT's wrapper of a trained copy of it."""
    head = model.get_output_embeddings()
    if isinstance(head, nn.Linear) and type(head) in (nn.Linear, LossHead):
        return head
    if isinstance(head, nn.Module) and hasattr(head, "modules_to_save"):
        return head
    raise UserError(
        f"{type(model).__name__} has a head ({type(head).__name__}) by which the loss cannot be computed",
        "leave the head out of the LoRA targets; train it whole or not at all",
    )


def _finish(model: Any) -> Finish:
    """What the config says is done to the logits: Cohere multiplies them, Granite divides, Gemma 2 caps."""
    config = model.config.get_text_config()
    scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    return Finish(scale, getattr(config, "final_logit_softcapping", None))


def _prove(model: Any, head: nn.Module, finish: Finish) -> None:
    """Hold the logits that the model gives against those computed from its decoder, head and finish."""
    heard: list[torch.Tensor] = []

    def amplify(decoder: nn.Module, args: Any, decoded: Any) -> None:
        hidden = decoded.last_hidden_state
        heard.append(hidden * (LOUD / head(hidden).abs().max()))
        decoded.last_hidden_state = heard[-1]

    tokens = torch.arange(PROBE, device=model.get_input_embeddings().weight.device)[None]
    hook = model.get_decoder().register_forward_hook(amplify)
    try:
        with torch.no_grad():
            said = model(input_ids=tokens, use_cache=False).logits.float()
    finally:
        hook.remove()
    if heard:
        ours = head(heard[0]).detach().float()
        finish.apply_(ours, slope=False)
        tolerance = 1e-4 if heard[0].dtype == torch.float32 else 2e-2
        if ours.shape == said.shape and bool((ours - said).abs().max() <= tolerance * said.abs().max()):
            return
    raise UserError(f"{type(model).__name__} does something to its logits after the head that the loss does not know")
