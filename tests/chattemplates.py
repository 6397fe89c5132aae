"""Chat templates as published models have them, in our own writing, and small tokenizers of the kinds they come with.

`«` and `»` stand where the {% generation %} tags of a template for training would.
"""

from functools import cache

import orjson
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from longreach.text.chat.llama2 import LLAMA2 as OURS

LLAMA2 = OURS.replace("{{- ' ' ~ turn", "«{{- ' ' ~ turn").replace("eos_token }}", "eos_token }}»")

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if m.role == 'assistant' %}«{{ m.content | trim }}<|eot_id|>»"
    "{% else %}{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»{{ '\n' }}"
    "{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant have to alternate') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}« {{ m.content + eos_token }}»{% endif %}{% endfor %}"
)

GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if m.role == 'assistant' %}«{{ m.content | trim }}<end_of_turn>»{{ '\n' }}"
    "{% else %}{{ m.content | trim + '<end_of_turn>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}"
    "{% if m.role == 'assistant' %}«{{ m.content + eos_token }}»{{ '\n' }}"
    "{% else %}{{ m.content + eos_token + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

TOOLS = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}"
    "<tools>{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools><|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}{{ '<|im_start|>user\n<tool_response>\n' + m.content "
    "+ '\n</tool_response><|im_end|>\n' }}"
    "{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\n' }}«{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}{{ '\n' if m.content or not loop.first }}"
    "<tool_call>\n{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}\n</tool_call>"
    "{% endfor %}<|im_end|>»{{ '\n' }}"
    "{% elif not (tools and loop.first and m.role == 'system') %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEMPLATES = {  # name -> template, bos, eos, special tokens beside them
    "llama2": (LLAMA2, "<s>", "</s>", ()),
    "llama3": (
        LLAMA3,
        "<|begin_of_text|>",
        "<|end_of_text|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "chatml": (CHATML, None, "<|im_end|>", ("<|im_start|>",)),
    "mistral": (MISTRAL, "<s>", "</s>", ("[INST]", "[/INST]")),
    "gemma": (GEMMA, "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>")),
    "zephyr": (ZEPHYR, "<s>", "</s>", ()),
    "tools": (TOOLS, None, "<|im_end|>", ("<|im_start|>",)),
}
KINDS = ("bytes", "first", "always", "prepend", "unigram")
WORDS = (
    "Hi there What is the weather in Bern today user assistant system model It is sunny and warm Thanks Fine".split()
)


def tokenizer(template: str, kind: str = "bytes", *, tags: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind with one of the templates."""
    text, bos, eos, others = TEMPLATES[template]
    tags_of = {"«": "{% generation %}", "»": "{% endgeneration %}"} if tags else {"«": "", "»": ""}
    loaded = plain_tokenizer(kind, bos, eos, others)
    loaded.chat_template = text.translate(str.maketrans(tags_of))
    return loaded


def plain_tokenizer(
    kind: str, bos: str | None, eos: str | None, others: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """A tokenizer without a template that knows these special tokens."""
    named = tuple(dict.fromkeys(name for name in ("<unk>", bos, eos, *others) if name))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(kind, named)),
        unk_token=None if kind == "bytes" else "<unk>",
        bos_token=bos,
        eos_token=eos,
        clean_up_tokenization_spaces=False,
    )


@cache
def _trained(kind: str, special: tuple[str, ...]) -> str:
    words = [" ".join(WORDS[place:] + WORDS[:place]) for place in range(len(WORDS))]
    if kind == "bytes":
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        bpe.train_from_iterator(words, _trainer(special, alphabet))
        return bpe.to_str()
    if kind == "unigram":
        return _unigram(special)
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if kind == "prepend":  # as Llama 2's own conversion: a blank before every stretch between special tokens
        bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training alone
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind)
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    bpe.train_from_iterator(words, _trainer((*special, *names), ["▁"]))
    content = orjson.loads(bpe.to_str())
    content["added_tokens"] = content["added_tokens"][: len(special)]
    if kind == "prepend":
        content["pre_tokenizer"] = None
    loaded = Tokenizer.from_str(orjson.dumps(content).decode())
    loaded.decoder = _sentencepiece_decoder()
    return loaded.to_str()


def _trainer(special: tuple[str, ...], alphabet: list[str]) -> trainers.BpeTrainer:
    size = len(special) + len(alphabet) + 150
    return trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )


def _unigram(special: tuple[str, ...]) -> str:
    letters = ["▁", *map(chr, range(33, 127)), "\n"]
    words = [f"▁{word}" for word in dict.fromkeys(WORDS)]
    vocab = [(name, 0.0) for name in special]
    vocab += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    vocab += [(letter, -9.0) for letter in letters] + [(word, -3.0) for word in words]
    unigram = Tokenizer(models.Unigram(vocab, unk_id=special.index("<unk>"), byte_fallback=True))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    unigram.decoder = _sentencepiece_decoder()
    unigram.add_special_tokens(list(special))
    return unigram.to_str()


def _sentencepiece_decoder() -> decoders.Decoder:
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
