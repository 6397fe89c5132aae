"""A tokenizer as transformers has it, beginning texts as its own configuration says.

transformers 5 reads `add_bos_token` of few classes alone and saves it for none: a model trained with `<s>` before each
text would be saved, and asked, without it. Here the tokenizer puts the token there itself, which is saved.
"""

from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from longreach.text.special import CONFIG, hub_config, read_config


def auto_tokenizer(name: str) -> Any:
    """Of a folder or hub id. Code that comes with it is never run. Raises what AutoTokenizer raises."""
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    config = read_config(Path(name) / CONFIG) if Path(name).exists() else hub_config(name)
    if config.get("add_bos_token") is True and tokenizer.is_fast and not _begins(tokenizer):
        bos, number = tokenizer.bos_token, tokenizer.bos_token_id
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=[bos, "$A"], pair=[bos, "$A", f"{bos}:1", "$B:1"], special_tokens=[(bos, number)]
        )
    return tokenizer


def _begins(tokenizer: Any) -> bool:
    """Whether there is nothing to mend."""
    return tokenizer.bos_token_id is None or tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
