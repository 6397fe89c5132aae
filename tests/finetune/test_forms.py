"""What people's data looks like, row by row: what each is taken for, what it becomes, and why a bad one is refused."""

import hashlib
import json
from typing import Any

import pytest

from finetune.conversation import Context, Conversation, NotThisForm
from finetune.forms import FORMS, read, recognise
from longreach.record import Span

Row = dict[str, Any]


def turn(role: str, content: str, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def user(content: str) -> Row:
    return turn("user", content)


def assistant(content: str, **more: Any) -> Row:
    return turn("assistant", content, **more)


def said(who: str, text: str | None) -> Row:
    return {"from": who, "value": text}


def taken(row: Row) -> Conversation:
    return read(row, recognise(row))


ASK, REPLY = user("Why is the sky blue?"), assistant("Rayleigh scattering.")
TALK = [ASK, REPLY]
THANKS = [user("Thanks!"), assistant("Welcome.")]
SYSTEM = turn("system", "Be brief.")
GPT = [said("human", ASK["content"]), said("gpt", REPLY["content"])]
Q, A = ASK["content"], REPLY["content"]
HH = f"\n\nHuman: {Q}\n\nAssistant: {A}"

CHATS: dict[str, tuple[str, Row, list[Row]]] = {  # name -> form, row, messages
    "messages": ("messages", {"messages": TALK}, TALK),
    "messages with a system turn": ("messages", {"messages": [SYSTEM, *TALK]}, [SYSTEM, *TALK]),
    "an empty system turn": ("messages", {"messages": [turn("system", "  "), *TALK]}, TALK),
    "a developer's turn": ("messages", {"messages": [turn("developer", "Be brief."), *TALK]}, [SYSTEM, *TALK]),
    "long and with its length": ("messages", {"messages": TALK, "length": 17}, TALK),
    "more fields of a turn": (
        "messages",
        {"messages": [{**ASK, "language": "en", "toxic": False, "name": None}, {**REPLY, "weight": 1}], "model": "x"},
        TALK,
    ),
    "contents in parts": (
        "messages",
        {"messages": [turn("user", [{"type": "text", "text": "Why is "}, {"type": "text", "text": Q[7:]}]), REPLY]},  # type: ignore[arg-type]
        TALK,
    ),
    "as JSON text": ("messages", {"messages": json.dumps(TALK)}, TALK),
    "in a field conversation": ("messages", {"conversation_id": "9", "conversation": TALK}, TALK),
    "conversations with roles": ("messages", {"conversations": TALK}, TALK),
    "space is kept": (
        "messages",
        {"messages": [user(" \n Why? \n"), assistant("\tSo.\n")]},
        [user(" \n Why? \n"), assistant("\tSo.\n")],
    ),
    "the assistant first": ("messages", {"messages": [REPLY, *TALK]}, [REPLY, *TALK]),
    "one role twice": ("messages", {"messages": [ASK, ASK, REPLY, REPLY]}, [ASK, ASK, REPLY, REPLY]),
    "system in a field of its own": ("messages", {"system": "Be brief.", "messages": TALK}, [SYSTEM, *TALK]),
    "the same system twice": ("messages", {"system": "Be brief.", "messages": [SYSTEM, *TALK]}, [SYSTEM, *TALK]),
    "a system of spaces": ("messages", {"system": " ", "messages": TALK}, TALK),
    "null system": ("messages", {"system": None, "messages": TALK}, TALK),
    "sharegpt": ("sharegpt", {"id": "a", "conversations": GPT}, TALK),
    "sharegpt with system": ("sharegpt", {"conversations": [said("system", "Be brief."), *GPT]}, [SYSTEM, *TALK]),
    "sharegpt with empty system": ("sharegpt", {"conversations": [said("system", ""), *GPT], "source": None}, TALK),
    "sharegpt with null system": ("sharegpt", {"conversations": [said("system", None), *GPT]}, TALK),
    "sharegpt of others": ("sharegpt", {"conversations": [said("User ", Q), said("ChatGPT", A)]}, TALK),
    "sharegpt with fields of its pages": (
        "sharegpt",
        {"conversations": [{**GPT[0], "text": None, "markdown": None, "weight": None}, GPT[1]]},
        TALK,
    ),
    "roles of other makers": (
        "messages",
        {"messages": [turn("prompter", Q), turn("model", A), turn("USER", "Thanks!"), turn("bot", "Welcome.")]},
        [*TALK, *THANKS],
    ),
    "alpaca": ("alpaca", {"instruction": Q, "input": "", "output": A, "text": "Below is an instruction ..."}, TALK),
    "alpaca without input": ("alpaca", {"instruction": Q, "output": A}, TALK),
    "alpaca with null input": ("alpaca", {"instruction": Q, "input": None, "output": A}, TALK),
    "alpaca with history": (
        "alpaca",
        {"system": "Be brief.", "history": [[Q, A]], "instruction": "Thanks!", "input": "", "output": "Welcome."},
        [SYSTEM, *TALK, *THANKS],
    ),
    "prompt and completion": ("prompt-completion", {"prompt": Q, "completion": A}, TALK),
    "prompt and response": ("prompt-completion", {"prompt": Q, "response": A}, TALK),
    "prompt and completion of turns": (
        "prompt-completion",
        {"prompt": [SYSTEM, ASK], "completion": [REPLY]},
        [SYSTEM, *TALK],
    ),
    "prompt of turns, completion of text": ("prompt-completion", {"prompt": [ASK], "completion": A}, TALK),
    "prompt and completion of turns as JSON": (
        "prompt-completion",
        {"prompt": json.dumps([ASK]), "completion": json.dumps([REPLY])},
        TALK,
    ),
    "an answer that is JSON": (
        "prompt-completion",
        {"prompt": Q, "completion": '[{"role": "admin"}]'},
        [ASK, assistant('[{"role": "admin"}]')],
    ),
    "an answer that is an empty list": ("alpaca", {"instruction": Q, "output": "[]"}, [ASK, assistant("[]")]),
    "a prompt that is spoken": (
        "prompt-completion",
        {"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "completion": A},
        TALK,
    ),
    "a prompt that starts with the word": (
        "prompt-completion",
        {"prompt": "Human: who?", "completion": A},
        [user("Human: who?"), assistant(A)],
    ),
    "a prompt that quotes a talk": (
        "prompt-completion",
        {"prompt": f"Human: {Q}\n\nAssistant: {A}\n\nWas that right?", "completion": "Yes."},
        [user(f"Human: {Q}\n\nAssistant: {A}\n\nWas that right?"), assistant("Yes.")],
    ),
    "an answer that writes a talk": ("prompt-completion", {"prompt": Q, "completion": HH}, [ASK, assistant(HH)]),
    "wanted by its label": ("prompt-completion", {"prompt": Q, "completion": A, "label": True}, TALK),
    "question and answer": ("question-answer", {"question": Q, "answer": A}, TALK),
    "question and response with a system prompt": (
        "question-answer",
        {"id": "flan.1", "system_prompt": "Be brief.", "question": Q, "response": A},
        [SYSTEM, *TALK],
    ),
    "query and response": ("question-answer", {"query": Q, "response": A, "original_question": "?"}, TALK),
    "instruction, empty context, response": (
        "question-answer",
        {"instruction": Q, "context": "", "response": A, "category": "open_qa"},
        TALK,
    ),
    "several answers": ("question-answer", {"question": Q, "answers": [A, "Scattering."]}, TALK),
    "chosen with its prompt inside": (
        "preference",
        {
            "prompt": Q,
            "prompt_id": "0",
            "chosen": TALK,
            "rejected": [ASK, assistant("God.")],
            "messages": THANKS,
            "score_chosen": 8,
        },
        TALK,
    ),
    "chosen and no prompt": ("preference", {"chosen": [*TALK, *THANKS], "rejected": TALK}, [*TALK, *THANKS]),
    "the prompt is the last question": (
        "preference",
        {"prompt": " Thanks!\n", "chosen": [*TALK, *THANKS]},
        [*TALK, *THANKS],
    ),
    "prompt of turns, inside": ("preference", {"prompt": [ASK], "chosen": TALK, "rejected": TALK}, TALK),
    "prompt of turns, apart": (
        "preference",
        {"prompt": [SYSTEM, ASK], "chosen": [REPLY], "rejected": [REPLY]},
        [SYSTEM, *TALK],
    ),
    "prompt of text, chosen turns": ("preference", {"prompt": Q, "chosen": [REPLY], "rejected": [REPLY]}, TALK),
    "prompt of text, chosen one turn": ("preference", {"prompt": Q, "chosen": REPLY, "rejected": REPLY}, TALK),
    "prompt of text, chosen text": ("preference", {"prompt": Q, "chosen": A, "rejected": "God."}, TALK),
    "system, question, chosen": (
        "preference",
        {"system": "Be brief.", "question": Q, "chosen": A, "rejected": "?"},
        [SYSTEM, *TALK],
    ),
    "system empty, input, chosen": ("preference", {"system": "", "input": Q, "chosen": A, "rejected": "?"}, TALK),
    "chosen sharegpt": ("preference", {"chosen": GPT, "rejected": GPT}, TALK),
    "spoken": ("preference", {"chosen": HH, "rejected": HH + "?"}, TALK),
    "spoken without the first lines": ("preference", {"chosen": HH.lstrip(), "rejected": ""}, TALK),
    "spoken often": (
        "preference",
        {"chosen": f"{HH}\n\n\nHuman:Thanks!\n\nAssistant:   Welcome.\n", "rejected": HH},
        [*TALK, *THANKS],
    ),
    "spoken, with the names inside lines": (
        "preference",
        {"chosen": "\n\nHuman: Human: or Assistant: ?\nHuman: so\n\nAssistant: One.\n\n Human: Two.", "rejected": ""},
        [user("Human: or Assistant: ?\nHuman: so"), assistant("One.\n\n Human: Two.")],
    ),
    "spoken prompt, chosen text": (
        "preference",
        {"prompt": f"{HH}\n\nHuman: Thanks!\n\nAssistant:", "chosen": "Welcome.", "rejected": "No."},
        [*TALK, *THANKS],
    ),
    "spoken prompt, spoken inside chosen": (
        "preference",
        {"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "chosen": HH},
        TALK,
    ),
}


@pytest.mark.parametrize("name", CHATS)
def test_a_form_is_recognised_and_read(name: str) -> None:
    form, row, messages = CHATS[name]
    assert recognise(row) == form
    before = json.dumps(row)
    talk = read(row, form)
    assert list(talk.messages) == messages
    assert (talk.context, talk.document, talk.tools) == (None, "", None)
    assert json.dumps(row) == before


TEXT = "The sky is blue because of\nRayleigh scattering. \n"
ABOUT: dict[str, tuple[Row, str, tuple[int, int], tuple[str, ...]]] = {  # name -> row, content, context, kept
    "alpaca": ({"instruction": Q, "input": TEXT, "output": A}, f"{Q}\n\n{TEXT}", (22, 22 + len(TEXT)), ()),
    "dolly": ({"instruction": Q, "context": TEXT, "response": A}, f"{TEXT}\n\n{Q}", (0, len(TEXT)), ()),
    "document": ({"document": TEXT, "question": Q, "answer": A}, f"{TEXT}\n\n{Q}", (0, len(TEXT)), ()),
    "passages": ({"context": ["One.", "Two."], "question": Q, "answer": A}, f"One.\n\nTwo.\n\n{Q}", (0, 10), ()),
    "longbench": ({"input": Q, "context": TEXT, "answers": [A], "length": 9}, f"{TEXT}\n\n{Q}", (0, len(TEXT)), ()),
    "squad": (
        {"title": "Sky", "context": TEXT, "question": Q, "answers": {"text": [A[:-1], "no"], "answer_start": [27, 0]}},
        f"{TEXT}\n\n{Q}",
        (0, len(TEXT)),
        (A[:-1],),
    ),
    "squad in objects": (
        {"context": TEXT, "question": Q, "answers": [{"text": "blue", "answer_start": 11}]},
        f"{TEXT}\n\n{Q}",
        (0, len(TEXT)),
        ("blue",),
    ),
    "squad with an answer beyond the context": (
        {"context": "a", "question": "b", "answers": {"text": ["a\n\nb"], "answer_start": [0]}},
        "a\n\nb",
        (0, 1),
        (),
    ),
    "squad with a wrong place": (
        {"context": TEXT, "question": Q, "answers": {"text": ["blue"], "answer_start": [12]}},
        f"{TEXT}\n\n{Q}",
        (0, len(TEXT)),
        (),
    ),
    "preference": (
        {"instruction": Q, "input": TEXT, "chosen": A, "rejected": "?"},
        f"{Q}\n\n{TEXT}",
        (22, 22 + len(TEXT)),
        (),
    ),
}


@pytest.mark.parametrize("name", ABOUT)
def test_the_context_is_what_may_be_cut(name: str) -> None:
    row, content, (start, end), kept = ABOUT[name]
    talk = taken(row)
    assert [message["role"] for message in talk.messages] == ["user", "assistant"]
    assert talk.messages[0]["content"] == content
    assert talk.context is not None
    assert (talk.context.message, talk.context.start, talk.context.end) == (0, start, end)
    assert tuple(span.of(content) for span in talk.context.keep) == kept
    assert talk.document == hashlib.sha256(content[start:end].encode()).hexdigest()


def test_the_context_moves_with_the_turns_before_it() -> None:
    row = {"system": "Be brief.", "history": [[Q, A]], "instruction": "And?", "input": TEXT, "output": "So."}
    talk = taken(row)
    assert talk.context == Context(3, 6, 6 + len(TEXT))
    assert talk.messages[3]["content"][6:] == TEXT


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
CALL_AS_TEXT = {**CALL, "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
CALL_OF_TABLE = {**CALL, "index": None, "function": {"name": "weather", "arguments": {"city": "Oslo", "day": None}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"city": {"type": "string"}}}}
RESULT = turn("tool", "", tool_call_id="c1")


@pytest.mark.parametrize("call", [CALL, CALL_AS_TEXT, CALL_OF_TABLE])
@pytest.mark.parametrize("calls_as_text", [False, True])
@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [{**TOOL, "strict": None}]])
def test_tools_and_their_calls_are_kept(call: Row, calls_as_text: bool, tools: Any) -> None:
    calls: Any = json.dumps([call]) if calls_as_text else [call]
    calling = {"role": "assistant", "content": None, "tool_calls": calls}
    talk = taken({"messages": [ASK, calling, {**RESULT, "name": None}, REPLY], "tools": tools})
    assert talk.messages == (ASK, assistant("", tool_calls=[CALL]), RESULT, REPLY)
    assert talk.tools == (TOOL,)


def test_a_call_of_the_older_kind_and_reasoning_are_kept() -> None:
    old = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    answer = assistant("Rain.", reasoning_content="It said so.")
    talk = taken({"messages": [ASK, old, turn("function", "rain", name="weather"), answer], "tools": []})
    called = {"type": "function", "function": CALL["function"]}
    assert talk.messages == (ASK, assistant("", tool_calls=[called]), turn("tool", "rain", name="weather"), answer)
    assert talk.tools is None


@pytest.mark.parametrize(("given", "id"), [("a-1", "a-1"), (17, "17"), (None, ""), ({"$oid": "x"}, "")])
def test_the_id_is_kept(given: object, id: str) -> None:
    assert taken({"id": given, "messages": TALK}).id == id


BAD: dict[str, tuple[Row, str, str]] = {  # name -> row, reason, part of the detail
    "fields of no form": ({"text": "x", "url": "y"}, "unknown form", "its fields are text, url; wanted are messages;"),
    "many fields": ({f"f{n}": n for n in range(99)}, "unknown form", "f11, ...; wanted"),
    "a talk that is no list": ({"conversation": "x"}, "unknown form", "conversation"),
    "a user's last turn": ({"messages": [*TALK, ASK]}, "no last answer", "the last of 3 turns is the user's"),
    "sharegpt that ends with human": ({"conversations": [*GPT, GPT[0]]}, "no last answer", "3 turns"),
    "a tool's last turn": ({"messages": [*TALK, turn("tool", "x")]}, "no last answer", "the tool's"),
    "an empty answer": ({"messages": [ASK, assistant(" \n")]}, "empty answer", "turn 2"),
    "a null answer": ({"messages": [ASK, {"role": "assistant", "content": None}]}, "empty answer", "turn 2"),
    "an empty answer between": ({"messages": [ASK, assistant(""), *TALK]}, "empty answer", "turn 2"),
    "an empty question": ({"messages": [user(""), REPLY]}, "empty turn", "turn 1, the user's"),
    "no turns": ({"messages": []}, "no turns", "an empty list"),
    "null turns": ({"messages": None}, "no turns", "null where a list"),
    "turns of strings": ({"messages": ["a", "b"]}, "no turns", "turn 1 is a string"),
    "only an answer": ({"messages": [REPLY]}, "no question", "among 1"),
    "only system and answer": ({"messages": [SYSTEM, REPLY]}, "no question", "among 2"),
    "an unknown role": (
        {"messages": [turn("narrator", "x"), REPLY]},
        "unknown role",
        "turn 1 is of 'narrator'; known are user",
    ),
    "a role that is a number": ({"messages": [{"role": 1, "content": "x"}]}, "unknown role", "turn 1 is of 1"),
    "no role": ({"messages": [{"human": "x", "bot": "y"}]}, "no role", "turn 1 has the fields human, bot"),
    "a picture": (
        {"messages": [turn("user", [{"type": "image_url", "image_url": "x"}]), REPLY]},
        "not text",
        "turn 1 holds a part of type 'image_url'",
    ),  # type: ignore[arg-type]
    "a content that is a number": (
        {"messages": [{"role": "user", "content": 7}, REPLY]},
        "not text",
        "turn 1 is a number",
    ),
    "a turn not to be learnt": ({"messages": [ASK, {**REPLY, "weight": 0}]}, "weight of 0", "turn 2"),
    "a call without a name": (
        {"messages": [ASK, assistant("", tool_calls=[{"function": {}}])]},
        "broken tool calls",
        "turn 2",
    ),
    "tools that are a text": ({"messages": TALK, "tools": "weather(city)"}, "broken tools", "a string"),
    "two system prompts": ({"system": "x", "messages": [SYSTEM, *TALK]}, "two system prompts", "'system'"),
    "alpaca, no output": ({"instruction": Q, "input": "", "output": ""}, "empty answer", "turn 2"),
    "alpaca, null output": ({"instruction": Q, "input": "", "output": None}, "empty answer", "turn 2"),
    "alpaca, no instruction": ({"instruction": "", "input": TEXT, "output": A}, "no question", "among 1"),
    "alpaca, instruction of spaces": ({"instruction": " ", "input": "", "output": A}, "empty turn", "turn 1"),
    "alpaca, a list of numbers": ({"instruction": Q, "output": [1]}, "no turns", "turn 1 is a number"),
    "alpaca, a number": ({"instruction": Q, "output": 7}, "not text", "'output' is a number"),
    "alpaca, an object": ({"instruction": Q, "output": {"a": 1}}, "not text", "'output' is an object"),
    "broken history": ({"history": [["a"]], "instruction": Q, "output": A}, "broken history", "['a']"),
    "a history that is no list": ({"history": 5, "instruction": Q, "output": A}, "broken history", "a number"),
    "two contexts": (
        {"question": Q, "context": "a", "document": "b", "answer": A},
        "two contexts",
        "context and document",
    ),
    "a context beside turns": (
        {"prompt": [SYSTEM, ASK], "context": "a", "completion": A},
        "two contexts",
        "'prompt' holds turns",
    ),
    "a context that is an object": (
        {"question": Q, "context": {"a": 1}, "answer": A},
        "not text",
        "'context' is an object",
    ),
    "no answers": (
        {"question": Q, "context": TEXT, "answers": {"text": [], "answer_start": []}},
        "empty answer",
        "turn 2",
    ),
    "an empty list of answers": ({"question": Q, "answers": []}, "empty answer", "turn 2"),
    "an unwanted completion": ({"prompt": Q, "completion": A, "label": False}, "unwanted answer", "label is false"),
    "chosen without a prompt": ({"chosen": A, "rejected": "x"}, "no question", "among 1"),
    "chosen answer without a prompt": ({"chosen": [REPLY], "rejected": []}, "no question", "among 1"),
    "another prompt": ({"prompt": "Who?", "chosen": TALK, "rejected": TALK}, "two prompts", "differs"),
    "another prompt of turns": (
        {"prompt": [*TALK, ASK], "chosen": [ASK, assistant("So.")], "rejected": []},
        "two prompts",
        "differs",
    ),
    "nothing chosen": ({"prompt": Q, "chosen": "", "rejected": "x"}, "empty answer", "turn 2"),
    "spoken to the end": ({"chosen": f"{HH}\n\nHuman: And?", "rejected": HH}, "no last answer", "3 turns"),
    "spoken without an answer": ({"chosen": f"\n\nHuman: {Q}\n\nAssistant:", "rejected": HH}, "empty answer", "turn 2"),
    "spoken without words between": (
        {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {HH}", "rejected": HH},
        "empty answer",
        "turn 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_gives_a_reason_and_a_detail_that_helps(name: str) -> None:
    row, reason, detail = BAD[name]
    with pytest.raises(NotThisForm) as error:
        taken(row)
    assert error.value.reason == reason
    assert 2 <= len(reason.split()) <= 3
    assert detail in error.value.detail
    assert "\n" not in error.value.detail


BOTH = {"instruction": "i", "output": "o", "prompt": "p", "completion": "c", "question": "q", "answer": "a"}


@pytest.mark.parametrize(
    ("row", "form", "answer"),
    [
        ({"messages": TALK, **BOTH}, "messages", A),
        ({"messages": None, **BOTH}, "alpaca", "o"),
        ({"messages": TALK, "chosen": [ASK, assistant("chosen")], **BOTH, "prompt": Q}, "preference", "chosen"),
        ({**BOTH, "output": None}, "prompt-completion", "c"),
        ({**BOTH, "instruction": None, "prompt": None}, "question-answer", "a"),
        ({"messages": TALK, "document": "a.txt", "context": "b"}, "messages", A),
        ({"conversation": "x: y", "question": "q", "answer": "a"}, "question-answer", "a"),
    ],
)
def test_of_two_forms_the_more_specific_wins(row: Row, form: str, answer: str) -> None:
    assert recognise(row) == form
    assert taken(row).messages[-1]["content"] == answer


@pytest.mark.parametrize("form", [*FORMS, "sharegpt"])
@pytest.mark.parametrize("row", [{}, {"text": "x"}, *(row for _, row, _ in CHATS.values())])
def test_read_in_another_form_a_row_is_refused_or_read_and_nothing_else(form: str, row: Row) -> None:
    try:
        assert read(row, form).messages
    except NotThisForm as error:
        assert error.reason


RECORD = {
    "id": "0f",
    "messages": [user("Read:\n<document>\nTwo.\nThree.\n</document>\nWhat?"), assistant("Three.")],
    "task": "short_answer",
    "document": {"id": "d", "path": "d", "sha256": "ab", "chars": 16},
    "context": {"start": 5, "end": 16},
    "chunk": {"start": 5, "end": 9},
    "evidence": [{"start": 10, "end": 16, "text": "Three."}],
}


def test_a_record_of_generate() -> None:
    assert recognise(RECORD) == "record"
    talk = taken(RECORD)
    assert list(talk.messages) == RECORD["messages"]
    assert (talk.id, talk.document) == ("0f", "ab")
    assert talk.context == Context(0, 17, 28, (Span(22, 28),))
