"""Chat templates to tokens and masks: what is learnt, written by hand for each format, and nothing else is."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from chattemplates import CHATML, KINDS, TEMPLATES, plain_tokenizer, tokenizer
from longreach.errors import UserError
from longreach.text.chat.llama2 import LLAMA2
from longreach.text.chat.template import ChatTemplate, Encoded, Unfit, open_chat

HELLO = {"role": "user", "content": "What is the weather in Bern?"}
SUNNY = {"role": "assistant", "content": "It is sunny."}
AND = {"role": "user", "content": "  And today?\n"}
WARM = {"role": "assistant", "content": "Warm,\n\nand fine."}
SYSTEM = {"role": "system", "content": "Hi, be warm."}
ONE, TWO = [HELLO, SUNNY], [HELLO, SUNNY, AND, WARM]

LEARNT = {  # by hand: what a model has to write in the two turns
    "llama2": [" It is sunny. </s>", " Warm,\n\nand fine. </s>"],
    "llama3": ["It is sunny.<|eot_id|>", "Warm,\n\nand fine.<|eot_id|>"],
    "chatml": ["It is sunny.<|im_end|>", "Warm,\n\nand fine.<|im_end|>"],
    "mistral": [" It is sunny.</s>", " Warm,\n\nand fine.</s>"],
    "gemma": ["It is sunny.<end_of_turn>", "Warm,\n\nand fine.<end_of_turn>"],
    "zephyr": ["It is sunny.</s>", "Warm,\n\nand fine.</s>"],
    "tools": ["It is sunny.<|im_end|>", "Warm,\n\nand fine.<|im_end|>"],
}
WHOLE = {  # by hand: two turns after a system text, or without one where the format has none
    "llama2": "<s>[INST] <<SYS>>\nHi, be warm.\n<</SYS>>\n\nWhat is the weather in Bern? [/INST] It is sunny. </s>"
    "<s>[INST] And today? [/INST] Warm,\n\nand fine. </s>",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nHi, be warm.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhat is the weather in Bern?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nIt is sunny.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nAnd today?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nWarm,\n\nand fine.<|eot_id|>",
    "chatml": "<|im_start|>system\nHi, be warm.<|im_end|>\n<|im_start|>user\nWhat is the weather in Bern?<|im_end|>\n"
    "<|im_start|>assistant\nIt is sunny.<|im_end|>\n<|im_start|>user\n  And today?\n<|im_end|>\n"
    "<|im_start|>assistant\nWarm,\n\nand fine.<|im_end|>\n",
    "mistral": "<s>[INST] What is the weather in Bern? [/INST] It is sunny.</s>"
    "[INST]   And today?\n [/INST] Warm,\n\nand fine.</s>",
    "gemma": "<bos><start_of_turn>user\nWhat is the weather in Bern?<end_of_turn>\n"
    "<start_of_turn>model\nIt is sunny.<end_of_turn>\n<start_of_turn>user\nAnd today?<end_of_turn>\n"
    "<start_of_turn>model\nWarm,\n\nand fine.<end_of_turn>\n",
    "zephyr": "<|system|>\nHi, be warm.</s>\n<|user|>\nWhat is the weather in Bern?</s>\n<|assistant|>\nIt is sunny.</s>\n"
    "<|user|>\n  And today?\n</s>\n<|assistant|>\nWarm,\n\nand fine.</s>\n",
}
WHOLE["tools"] = WHOLE["chatml"]
NO_SYSTEM = ("gemma", "mistral")


def chat_of(template: str, kind: str = "bytes") -> ChatTemplate:
    """A byte-level tokenizer with a template in full."""
    loaded = plain_tokenizer(kind, "<s>", "</s>", ("<|im_start|>", "<|im_end|>", "<|user|>", "<|bot|>"))
    loaded.chat_template = template
    return open_chat(loaded)


def learnt(loaded: PreTrainedTokenizerFast, found: Encoded) -> list[str]:
    """Each run of tokens that are learnt, in words."""
    borders = np.flatnonzero(np.diff(found.answer.astype(int), prepend=0, append=0))
    return [loaded.decode(found.ids[start:end]) for start, end in borders.reshape(-1, 2)]


def one(talk: Any, chat: ChatTemplate, tools: Any = None) -> Encoded:
    """The only conversation of a batch, which has to be fit."""
    (found,) = chat.encode_batch([(talk, tools)])
    assert isinstance(found, Encoded), found
    return found


def unfit(talk: Any, chat: ChatTemplate, tools: Any = None) -> Unfit:
    (found,) = chat.encode_batch([(talk, tools)])
    assert isinstance(found, Unfit), chat.text(talk)
    return found


@pytest.mark.parametrize("tags", [False, True], ids=["plain", "tagged"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_answers_and_their_ends_are_learnt_and_nothing_else(name: str, kind: str, tags: bool) -> None:
    loaded = tokenizer(name, kind, tags=tags)
    chat = open_chat(loaded)
    for talk, answers in ((ONE, 1), (TWO, 2), ([SYSTEM, *ONE], 1), ([SYSTEM, *TWO], 2)):
        if talk[0] is SYSTEM and name in NO_SYSTEM:
            continue
        found = one(talk, chat)
        lead = " " if (name, kind) == ("mistral", "prepend") else ""  # one of its own after a special token
        assert learnt(loaded, found) == [lead + answer for answer in LEARNT[name][:answers]]
        assert found.ids.tolist() == loaded.apply_chat_template(talk)["input_ids"]
        assert found.ids.dtype == np.uint32
    assert chat.text(TWO if name in NO_SYSTEM else [SYSTEM, *TWO]) == WHOLE[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_how_the_conversation_begins(name: str) -> None:
    chat = open_chat(tokenizer(name))
    whole, prompt = one(TWO, chat), chat.prompt(TWO[:3])
    assert whole.ids[: len(prompt)].tolist() == prompt
    assert whole.answer[len(prompt) :].sum() == whole.answer[whole.contents[2][1] :].sum() > 3
    assert not any("other tokens" in note for note in chat.notes)


def test_a_blank_before_the_answer_is_learnt_where_no_prompt_has_it() -> None:
    loaded = tokenizer("mistral", "first")
    talk = [HELLO, {"role": "assistant", "content": "é"}]
    assert learnt(loaded, one(talk, open_chat(loaded))) == [" é</s>"]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_each_content(kind: str) -> None:
    loaded = tokenizer("llama3", kind)
    found = one([SYSTEM, *TWO], open_chat(loaded))
    texts = [loaded.decode(found.ids[start:end]) for start, end in found.contents]
    assert [text.strip() for text in texts] == [turn["content"].strip() for turn in [SYSTEM, *TWO]]


def test_tokens_of_a_content_are_no_blanks_that_belong_to_the_template() -> None:
    loaded = tokenizer("tools")
    loaded.backend_tokenizer.add_tokens(["\n\n", "!\n"])
    for said, tokens in (("sun\n", "sun"), ("sun!", "sun!\n")):
        found = one([HELLO, {"role": "tool", "content": said}, SUNNY], open_chat(loaded))
        assert loaded.decode(found.ids[slice(*found.contents[1])]) == tokens


def test_a_tokenizer_that_does_not_know_every_character() -> None:
    loaded = tokenizer("zephyr", "unigram")
    content = orjson.loads(loaded.backend_tokenizer.to_str())
    content["model"]["byte_fallback"] = False
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    unknowing = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(orjson.dumps(content).decode()), **names)
    unknowing.chat_template = loaded.chat_template
    found = one([{**HELLO, "content": "é <unk>"}, SUNNY], open_chat(unknowing))
    assert learnt(unknowing, found) == LEARNT["zephyr"][:1] and unknowing.unk_token_id in found.ids


def test_where_a_character_of_a_content_is() -> None:
    chat = open_chat(tokenizer("llama3"))  # which trims
    text, found = chat.text(TWO), one(TWO, chat)
    at = AND["content"].index("today")
    assert text[found.origins[2] + at :].startswith("today")
    token = int(np.searchsorted(found.starts, found.origins[2] + at, side="right")) - 1
    assert found.contents[2][0] <= token < found.contents[2][1]


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}


@pytest.mark.parametrize("content", [None, "", "Wait."])
@pytest.mark.parametrize("tags", [False, True], ids=["plain", "tagged"])
def test_calls_of_tools_are_learnt_and_their_answers_are_not(tags: bool, content: str | None) -> None:
    loaded = tokenizer("tools", tags=tags)
    calls = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    talk = [SYSTEM, HELLO, calls, {"role": "tool", "content": "sun <|im_end|>"}, SUNNY]
    lead = "Wait.\n" if content else ""
    call = lead + '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call><|im_end|>'
    assert learnt(loaded, one(talk, open_chat(loaded), [TOOL])) == [call, "It is sunny.<|im_end|>"]


def test_tools_that_a_template_passes_over_are_not_lost_in_silence() -> None:
    chat = open_chat(tokenizer("chatml"))
    assert unfit(ONE, chat, [TOOL]).reason == "template drops tools"
    assert unfit([HELLO, {**SUNNY, "tool_calls": [CALL]}], chat).reason == "template drops tool calls"


def test_what_a_tool_says_may_be_written_as_json() -> None:
    chat = chat_of(
        CHATML.translate({171: "", 187: ""}).replace("m.content + '<|im_end|>\n'", "m.content|tojson + '<|im_end|>\n'")
    )
    talk = [{"role": "user", "content": 'say "é"\n'}, SUNNY]
    assert r'"say \"é\"\n"<|im_end|>' in chat.text(talk)
    found = one(talk, chat)
    assert learnt(chat.tokenizer, found) == ["It is sunny.<|im_end|>"]
    assert found.origins[0] is None and chat.tokenizer.decode(found.ids[slice(*found.contents[0])]) == r"say \"é\"\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_special_tokens_name_in_a_message_is_text(name: str, kind: str) -> None:
    loaded = tokenizer(name, kind)
    chat = open_chat(loaded)
    names = [token.content for token in loaded.added_tokens_decoder.values() if token.content != "<unk>"]
    harmless = [{**turn, "content": turn["content"].strip() + "!"} for turn in TWO]
    found, calm = ([t, one(t, chat)] for t in ([{**t, "content": f"a {' '.join(names)} b"} for t in TWO], harmless))
    specials = set(loaded.convert_tokens_to_ids(names))
    assert [i for i in found[1].ids if i in specials] == [i for i in calm[1].ids if i in specials]
    assert "".join(loaded.decode(found[1].ids).split()) == "".join(chat.text(found[0]).split())
    ends = [text.strip().removeprefix(f"a {' '.join(names)} b").strip() for text in learnt(loaded, found[1])]
    assert ends == [loaded.decode([next(iter(set(loaded.encode(text)) & chat.end_ids))]) for text in LEARNT[name]]


def test_an_injected_conversation_has_the_ids_of_a_harmless_one_around_it() -> None:
    loaded = tokenizer("llama2", "first")
    chat = open_chat(loaded)
    bad = one([{**HELLO, "content": "What is </s>"}, SUNNY], chat)
    good = one([{**HELLO, "content": "What is"}, SUNNY], chat)
    tail = len(good.ids) - good.contents[0][1]
    assert bad.ids[-tail:].tolist() == good.ids[-tail:].tolist()
    assert bad.ids[: good.contents[0][1]].tolist() == good.ids[: good.contents[0][1]].tolist()


def test_names_of_special_tokens_in_calls_are_refused() -> None:
    calls = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "weather", "arguments": "<|im_end|>"}}],
    }
    assert unfit([HELLO, calls, SUNNY], open_chat(tokenizer("tools"))).reason == "special token in text"


def test_a_batch_keeps_its_order_and_the_unfit_in_their_places() -> None:
    chat = open_chat(tokenizer("gemma"))
    found = chat.encode_batch([(ONE, None), ([SYSTEM, *ONE], None), (TWO, None), ([*ONE, *ONE[1:]], None)])
    assert [isinstance(each, Unfit) for each in found] == [False, True, False, False]
    assert found[1].reason == "template error" and "line 1: System role not supported" in found[1].detail
    assert found[2].ids.tolist() == chat.encode(TWO).ids.tolist()


def test_roles_that_must_alternate() -> None:
    flaw = unfit([HELLO, HELLO, SUNNY], open_chat(tokenizer("mistral")))
    assert "alternate" in flaw.detail


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        ([HELLO, {"role": "assistant", "content": ["parts"]}], "content is no text"),
        ([HELLO, {"role": "assistant", "content": "\ud800"}], "broken text"),
        ([HELLO], "no answer"),
        ([HELLO, {**SUNNY, "name": {1, 2}}], "no JSON"),
    ],
)
def test_what_no_template_can_do(talk: Any, reason: str) -> None:
    assert unfit(talk, open_chat(tokenizer("chatml"))).reason == reason


THINK = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
    "{% if loop.last %}<think>\n{{ m.content.split('</think>')[0].split('<think>')[-1].strip() if '</think>' in m.content }}\n</think>\n\n{% endif %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_what_a_template_puts_before_an_answer_and_not_into_the_prompt_is_learnt() -> None:
    chat = chat_of(THINK)
    assert learnt(chat.tokenizer, one(TWO, chat)) == [
        "It is sunny.<|im_end|>",
        "<think>\n\n</think>\n\nWarm,\n\nand fine.<|im_end|>",
    ]
    assert any("begins answers with '<think>" in note for note in chat.notes)


def test_tags_around_all_that_a_model_writes() -> None:
    begin, end = "{% generation %}", "{% endgeneration %}"
    tagged = THINK.replace("<|im_start|>assistant\n{% if loop", f"<|im_start|>assistant\n{begin}{{% if loop", 1)
    chat = chat_of(tagged.replace("<|im_end|>\n{% else", f"<|im_end|>{end}\n{{% else"))
    assert learnt(chat.tokenizer, one(TWO, chat)) == learnt(chat.tokenizer, one(TWO, chat_of(THINK)))
    assert not any("tags" in note for note in chat.notes)


def test_text_that_a_template_adds_for_a_content() -> None:
    chat = chat_of(
        LOOP
        + TURN
        + "<|im_end|>\n{% endfor %}{{ 'Bern!' if 'Bern' in messages[0].content and not add_generation_prompt }}"
        + PROMPT
    )
    found = one(ONE, chat)
    assert learnt(chat.tokenizer, found) == LEARNT["chatml"][:1]
    assert found.contents == [(-1, -1)] * 2 and found.origins == [None] * 2


def test_an_answer_that_the_template_rewrites_is_known_by_its_prompt() -> None:
    chat = chat_of(THINK)
    talk = [HELLO, {"role": "assistant", "content": "<think>\nBern. \n</think>\n\nIt is sunny."}]
    found = one(talk, chat)
    assert learnt(chat.tokenizer, found) == ["<think>\nBern.\n</think>\n\nIt is sunny.<|im_end|>"]
    assert found.contents[1] == (-1, -1) and found.contents[0][0] > 0
    talk[1] = {**SUNNY, "content": "a <|im_end|> </think> b"}
    assert unfit(talk, chat).reason == "special token in text"


def test_a_template_that_loses_text() -> None:
    chat = chat_of(LOOP + "{% if m.role != 'system' %}" + TURN + "<|im_end|>\n{% endif %}{% endfor %}" + PROMPT)
    assert unfit([SYSTEM, *TWO], chat).reason == "template drops text"


TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LOOP = "{% for m in messages %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content }\n", "line 1"),
        (LOOP + "\n\n{{ raise_exception('never') }}{% endfor %}", "line 3: never"),
        (LOOP + TURN + "\n{% endfor %}" + PROMPT, "no special token after an answer"),
        (
            LOOP + "{% if m.role == 'user' %}" + TURN + "</s>{% endif %}{% endfor %}",
            "does not write what the assistant says",
        ),
        (
            LOOP + TURN + "{% generation %}</s>{% endgeneration %}{% endfor %}" + PROMPT,
            "{% generation %} tags leave out",
        ),
    ],
)
def test_templates_that_teach_nothing(template: str, message: str) -> None:
    with pytest.raises(UserError, match=".*".join(map(_escaped, [message]))) as caught:
        chat_of(template)
    assert caught.value.hint


def _escaped(text: str) -> str:
    return text.replace("{", r"\{").replace("}", r"\}")


def test_tokenizers_that_cannot_teach() -> None:
    with pytest.raises(UserError, match="no end token"):
        open_chat(plain_tokenizer("bytes", "<s>", None))


def test_a_template_with_odd_tags_says_so() -> None:
    header = LOOP + "{% if m.role == 'assistant' %}{% generation %}" + TURN + "{% endgeneration %}<|im_end|>\n"
    chat = chat_of(header + "{% else %}" + TURN + "<|im_end|>\n{% endif %}{% endfor %}" + PROMPT)
    assert learnt(chat.tokenizer, one(TWO, chat)) == LEARNT["chatml"]
    assert sum("tags" in note for note in chat.notes) == 2


def test_tags_choose_the_turns() -> None:
    last = (
        LOOP + "{% if loop.last %}<|im_start|>assistant\n{% generation %}{{ m.content }}<|im_end|>\n{% endgeneration %}"
    )
    chat = chat_of(last + "{% else %}" + TURN + "<|im_end|>\n{% endif %}{% endfor %}" + PROMPT)
    assert learnt(chat.tokenizer, one(TWO, chat)) == LEARNT["chatml"][1:]


def test_a_template_without_generation_prompt_never_teaches_the_header() -> None:
    chat = chat_of(LOOP + TURN + "<|im_end|>\n{% endfor %}")
    assert learnt(chat.tokenizer, one(TWO, chat)) == LEARNT["chatml"]
    for nothing in ("", None):
        talk = [HELLO, {**SUNNY, "content": nothing}, AND, WARM]
        assert learnt(chat.tokenizer, one(talk, chat)) == ["<|im_end|>", LEARNT["chatml"][1]]
    assert any("no generation prompt" in note for note in chat.notes)


def test_the_beginning_of_the_next_turn_is_no_end() -> None:
    chat = chat_of(
        LOOP
        + "<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}"
        + PROMPT
        + "{% if not add_generation_prompt %}</s>{% endif %}"
    )
    assert unfit(TWO, chat).reason == "no end token" and "one question" in chat.notes[0]
    assert learnt(chat.tokenizer, one(ONE, chat)) == ["It is sunny.</s>"]


def test_two_kinds_of_end() -> None:
    chat = chat_of(
        LOOP + TURN + "{{ '</s>' if loop.last and m.role == 'assistant' else '<|im_end|>' }}{% endfor %}" + PROMPT
    )
    assert learnt(chat.tokenizer, one(TWO, chat)) == ["It is sunny.<|im_end|>", "Warm,\n\nand fine.</s>"]
    assert chat.end_ids == set(chat.tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>"]))


def test_a_prompt_of_other_tokens_is_said() -> None:
    loaded = plain_tokenizer("bytes", None, "</s>")
    asked = "{% if add_generation_prompt %}assistant: {% endif %}"
    loaded.chat_template = LOOP + "{{ m.role }}: {{ m.content }}</s>{% endfor %}" + asked
    loaded.backend_tokenizer.add_tokens([" Apples"])
    chat = open_chat(loaded)
    assert [note for note in chat.notes if "other tokens" in note]
    assert learnt(loaded, one([HELLO, {**SUNNY, "content": "Apples."}], chat)) == [" Apples.</s>"]


def test_a_token_that_holds_blanks_alone_of_an_answer_is_the_headers() -> None:
    loaded = tokenizer("chatml")
    loaded.backend_tokenizer.add_tokens(["\n\n"])
    found = one([HELLO, {**SUNNY, "content": "\nFine.\n\n"}], open_chat(loaded))
    assert learnt(loaded, found) == ["Fine.\n\n<|im_end|>"]


def test_a_tokenizer_without_a_template_gets_llama_2s() -> None:
    loaded = plain_tokenizer("first", "<s>", "</s>")
    chat = open_chat(loaded)
    assert loaded.chat_template == LLAMA2 and "Llama 2" in chat.notes[0]
    assert chat.text([SYSTEM, *TWO]) == WHOLE["llama2"]
    assert "no tools" in unfit(ONE, chat, [TOOL]).detail
    assert unfit([SYSTEM, SUNNY], chat).reason == unfit([HELLO, SYSTEM, SUNNY], chat).reason == "template error"
    without = plain_tokenizer("first", None, "</s>")
    assert learnt(without, one(TWO, open_chat(without))) == LEARNT["llama2"]


def test_the_day_does_not_change_within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of("{{ strftime_now('%f') }}" + LOOP + TURN + "<|im_end|>\n{% endfor %}" + PROMPT)
    assert chat.text(ONE) == chat.text(ONE)
    assert any("date" in note for note in chat.notes)


MARKS = [
    "<|im_end|>",
    "<|im_start|>",
    "</s>",
    "<s>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "assistant\n",
    "{{ x }}",
    "<|user|>",
]
PIECES = st.sampled_from(
    [*MARKS, " ", "\n", "\n\n", "\t", "é", "🙂", "👩‍👩‍👧", "\u00a0", "中", "a", "Hi there", "▁", "\U000f0000", "\u0301"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
TALKS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3)


@pytest.mark.parametrize("kind", ["bytes", "first", "prepend"])
@pytest.mark.parametrize("name", ["llama2", "chatml", "mistral", "gemma"])
def test_any_text_is_learnt_as_it_is(name: str, kind: str) -> None:
    loaded = tokenizer(name, kind)
    chat = open_chat(loaded)
    end = LEARNT[name][0].partition(".")[2]

    @settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(TALKS)
    def check(turns: list[tuple[str, str]]) -> None:
        talk = [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        (found,) = chat.encode_batch([(talk, None)])
        answers = [answer.strip() if name in ("llama2", "gemma") else answer for _, answer in turns]
        assert isinstance(found, Encoded), found
        if kind == "bytes" or not any("▁" in answer for answer in answers):  # which decodes as a blank
            lead = " " * ((name in ("llama2", "mistral")) + ((name, kind) == ("mistral", "prepend")))
            assert learnt(loaded, found) == [f"{lead}{answer}{end}" for answer in answers]

    check()
