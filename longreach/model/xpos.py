"""xPos on top of ABF, for the ablation of the paper's section 4.1; Llama only.

Each rotated pair of a query grows by zeta^(n/512) with its position n, that of a key shrinks by as much, so that their
product decays with the distance and depends on nothing else. zeta is 0.29 for the fastest pair and nearly 1 for the
slowest, so the powers are taken from the middle of the window: at 32,768 tokens they stay between 1e-18 and 1e18, which
bfloat16 and float32 hold and float16 does not.

transformers and vLLM know no xPos. The checkpoint therefore names a model type of its own, and a plain load of it fails
by that name instead of running without the decay. Importing this module makes it known to the Auto classes.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaRotaryEmbedding,
    eager_attention_forward,
    rotate_half,
)

from longreach.errors import UserError

GAMMA = 0.4  # the xPos paper's
DISTANCE = 512.0  # tokens over which a pair decays by its zeta
LONGEST = 32_768  # beyond it the powers leave float32


class XposLlamaConfig(LlamaConfig):  # type: ignore[misc]
    """A Llama config; the RoPE base in it is ABF's."""

    model_type = "longreach_xpos_llama"


class XposRotaryEmbedding(LlamaRotaryEmbedding):  # type: ignore[misc]
    """Cosines, sines and the growth of the queries, each [batch, tokens, head]; float32 whatever the model's type."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        angles = position_ids[..., None].float() * self.inv_freq.float()
        distance = position_ids - self.config.max_position_embeddings // 2
        growth = zetas(angles.shape[-1], angles.device) ** (distance[..., None] / DISTANCE)
        return tuple(torch.cat((pairs, pairs), dim=-1) for pairs in (angles.cos(), angles.sin(), growth))


def zetas(pairs: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """The decay of each pair, fastest first."""
    return (torch.arange(pairs, device=device) / pairs + GAMMA) / (1 + GAMMA)


class XposLlamaAttention(LlamaAttention):  # type: ignore[misc]
    """Llama's attention with queries that grow and keys that shrink by position."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, ...],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        shape = hidden_states.shape[:-1]
        queries, keys, values = (
            project(hidden_states).view(*shape, -1, self.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        cosines, sines, growth = (each.unsqueeze(1) for each in position_embeddings)
        queries = turned(queries, cosines * growth, sines * growth)
        keys = turned(keys, cosines / growth, sines / growth)
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.attention_dropout if self.training else 0.0
        heads, weights = attend(
            self, queries, keys, values, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.o_proj(heads.reshape(*shape, -1)), weights


def turned(heads: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """The rotation, in float32."""
    wide = heads.float()
    return (wide * cosines + rotate_half(wide) * sines).to(heads.dtype)


class XposLlamaModel(LlamaModel):  # type: ignore[misc]
    """Llama with these two parts exchanged."""

    config_class = XposLlamaConfig

    def __init__(self, config: XposLlamaConfig) -> None:
        super().__init__(config)
        self.rotary_emb = XposRotaryEmbedding(config)
        for number, layer in enumerate(self.layers):
            layer.self_attn = XposLlamaAttention(config, number)
        self.post_init()


class XposLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """The language model; its weights have Llama's names."""

    config_class = XposLlamaConfig

    def __init__(self, config: XposLlamaConfig) -> None:
        super().__init__(config)
        self.model = XposLlamaModel(config)
        self.post_init()


AutoConfig.register(XposLlamaConfig.model_type, XposLlamaConfig)
AutoModelForCausalLM.register(XposLlamaConfig, XposLlamaForCausalLM)


def xpos_config(config: LlamaConfig) -> XposLlamaConfig:
    """The same Llama with xPos."""
    if type(config) is not LlamaConfig:
        raise UserError(f"xPos is built for Llama models, not for {config.model_type}", "choose abf, which is as good")
    if config.max_position_embeddings > LONGEST:
        raise UserError(
            f"xPos reaches {LONGEST} tokens, not {config.max_position_embeddings}: its decay would leave float32",
            "choose abf, which has no such limit",
        )
    named = {"model_type": XposLlamaConfig.model_type, "architectures": [XposLlamaForCausalLM.__name__]}
    changed: XposLlamaConfig = XposLlamaConfig.from_dict(config.to_dict() | named)
    return changed
