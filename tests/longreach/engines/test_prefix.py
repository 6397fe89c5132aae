"""What is read once for prompts that begin alike: the greedy tokens are those of `generate` on each prompt alone."""

import importlib
import random
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
prefix = importlib.import_module("longreach.engines.prefix")
tinymodels = importlib.import_module("tinymodels")

SHARED = ("llama", "qwen2", "qwen3", "gemma", "phi3", "gpt_neox", "gpt2", "opt", "bloom")
APART = ("mistral", "gemma2", "gemma3_text", "olmo3")  # some of their layers see a sliding window
OPEN = threading.Event()


def model_of(family: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(tinymodels.tiny_config(family, **changes)).eval()
    model.generation_config = transformers.GenerationConfig(pad_token_id=0, eos_token_id=1, do_sample=False)
    return model


def nested_prompts() -> list[list[int]]:
    """Beginnings of two texts, each with its own question or with none, one of a single token, one twice."""
    chance = random.Random(0)
    draw = lambda count: [chance.randrange(3, tinymodels.VOCABULARY) for _ in range(count)]  # noqa: E731
    prompts = [
        text[:size] + question for text in (draw(40), draw(40)) for size in (1, 7, 23, 40) for question in (draw(3), [])
    ]
    return [*prompts, prompts[3], draw(1)]


def new_tokens(model: Any, prompts: list[list[int]], **cache: Any) -> list[list[int]]:
    width = max(map(len, prompts))
    tokens = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    rows: list[list[int]] = model.generate(tokens, attention_mask=mask, max_new_tokens=8, **cache)[:, width:].tolist()
    return rows


@pytest.mark.parametrize("family", SHARED)
def test_shared_beginnings_give_the_tokens_of_each_prompt_alone(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "CHUNK", 5)
    model = model_of(family)
    assert prefix.shareable(model)
    kept = prefix.Prefix(model)
    prompts = nested_prompts()
    alone = [new_tokens(model, [prompt])[0] for prompt in prompts]
    for rows in (1, 4, len(prompts)):  # the cache of one batch serves the next
        got: list[list[int]] = []
        for start in range(0, len(prompts), rows):
            group = prompts[start : start + rows]
            cache, _ = kept.caches(group, 8, OPEN)
            got += new_tokens(model, group, past_key_values=cache)
        assert got == [(tokens + [0] * 8)[: len(row)] for tokens, row in zip(alone, got, strict=True)]


def test_what_is_known_already_is_not_read_again() -> None:
    model = model_of("llama")
    read: list[int] = []
    model.base_model.register_forward_pre_hook(lambda _, given, named: read.append(given[0].shape[1]), with_kwargs=True)
    kept = prefix.Prefix(model)
    text = list(range(3, 43))
    _, known = kept.caches(sorted([[*text[:size], 100, 101] for size in (10, 20, 40)]), 8, OPEN)
    assert known == [0, 20, 10]  # the longest comes first: its text sorts before the question
    assert read == [41, 1, 1]
    assert kept.caches([[*text[:10], 100, 102]], 8, OPEN)[1] == [11]  # the batch before ended with it
    kept.forget()
    assert kept.caches([text], 8, OPEN)[1] == [0]


@pytest.mark.parametrize("family", APART)
def test_a_sliding_window_is_not_shared(family: str) -> None:
    assert not prefix.shareable(model_of(family))


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rope_that_depends_on_the_length_is_not_shared(kind: str) -> None:
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 16, "long_factor": [2.0] * 16, "original_max_position_embeddings": 32}
    assert not prefix.shareable(model_of("llama", rope_parameters=rope))
    assert prefix.shareable(model_of("llama", rope_parameters={"rope_type": "default", "rope_theta": 10000.0}))


def test_reading_ends_when_the_engine_closes() -> None:
    closing = threading.Event()
    closing.set()
    with pytest.raises(Exception, match="closed"):
        prefix.Prefix(model_of("llama")).caches([[3, 4, 5]], 8, closing)


@pytest.mark.parametrize(
    ("one", "other", "shared"), [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 9], [1, 2, 9], 1)]
)
def test_what_two_texts_have_in_common(one: list[int], other: list[int], shared: int) -> None:
    assert prefix.common(one, other) == shared


def test_prompts_of_one_token_and_rows_that_end_apart() -> None:
    """A batch goes on with the rows that have not ended; what it keeps of the text is none for single tokens."""
    decode = importlib.import_module("longreach.engines.decode").decode
    model = model_of("llama", initializer_range=0.3)
    sampling = importlib.import_module("longreach.engines.base").Sampling
    chance = random.Random(1)
    for size in (1, 9):
        prompts = [[chance.randrange(3, tinymodels.VOCABULARY) for _ in range(size)] for _ in range(7)]
        budgets = [1, 2, 3, 5, 8, 13, 21]
        cache, _ = prefix.Prefix(model).caches(prompts, max(budgets), OPEN)
        answers = decode(model, None, frozenset({1}), prompts, [sampling(99)] * 7, budgets, cache, OPEN)
        for prompt, budget, answer in zip(prompts, budgets, answers, strict=True):
            alone = model.generate(torch.tensor([prompt]), max_new_tokens=budget)[0, size:].tolist()
            assert answer == alone
