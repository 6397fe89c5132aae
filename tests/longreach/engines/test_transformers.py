"""The transformers engine on a tiny random Llama: its answers are those of a bare `generate`, one by one."""

import asyncio
import importlib
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.errors import UserError
from tinyllama import make_tiny_llama

tokenizers = pytest.importorskip("tokenizers")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
draw = importlib.import_module("longreach.engines.draw")
TransformersEngine: Any = importlib.import_module("longreach.engines.transformers").TransformersEngine

WINDOW = 256
WORDS = ("ka", "lo mi ter " * 20, "shu reba", "din", "est pra", "vonshu " * 7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"), window=WINDOW)


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def ask(text: str, max_tokens: int = 12, temperature: float = 0.0, seed: int = 0, top_p: float = 1.0) -> Request:
    return Request((Message("user", text),), Sampling(max_tokens, temperature, top_p, seed))


def go_on(text: str, max_tokens: int = 12, stop: tuple[str, ...] = ()) -> Request:
    return Request((), Sampling(max_tokens, stop=stop), text=text)


def outcomes(model: Path, requests: list[Request], **options: Any) -> list[Any]:
    """In their order; what was read before depends on what stood beside a request, so it is left out."""

    async def run() -> list[Any]:
        async with TransformersEngine(str(model), **options) as engine:
            return await asyncio.gather(*map(engine.complete, requests), return_exceptions=True)

    return [replace(got, cached_tokens=0) if isinstance(got, Completion) else got for got in asyncio.run(run())]


def answer(model: Path, request: Request, **options: Any) -> Completion:
    (outcome,) = outcomes(model, [request], **options)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def bare(model_folder: Path, text: str, max_tokens: int, *, chat: bool = True) -> list[int]:
    """The tokens that transformers alone answers greedily."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder)
    prompt = tokenizer(text, return_tensors="pt")
    if chat:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    return model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)[
        0, prompt["input_ids"].shape[1] :
    ].tolist()


def decoded(model_folder: Path, tokens: list[int]) -> str:
    """Without bytes at the end that are no whole letter."""
    text: str = transformers.AutoTokenizer.from_pretrained(model_folder).decode(tokens, skip_special_tokens=True)
    return text.rstrip("\ufffd")


def test_a_batch_of_unequal_prompts_and_lengths_gives_what_generate_gives_one_by_one(checkpoint: Path) -> None:
    lengths = (5, 30, 1, 17, 9, 12)
    got = outcomes(checkpoint, [ask(text, length) for text, length in zip(WORDS, lengths, strict=True)], batch=4)
    alone = [bare(checkpoint, text, length) for text, length in zip(WORDS, lengths, strict=True)]
    assert [completion.text for completion in got] == [decoded(checkpoint, tokens) for tokens in alone]
    assert [completion.completion_tokens for completion in got] == [len(tokens) for tokens in alone]


def test_every_one_of_many_concurrent_requests_gets_its_own_answer(checkpoint: Path) -> None:
    requests = [ask(f"{WORDS[number % 6]} {number}", 4 + number % 5) for number in range(40)]
    assert outcomes(checkpoint, requests, batch=7) == outcomes(checkpoint, requests, batch=1)


def test_an_answer_stops_at_a_token_that_generation_config_names(copy: Path) -> None:
    tokens = bare(copy, "ka", 12)
    config = orjson.loads((copy / "generation_config.json").read_bytes())
    (copy / "generation_config.json").write_bytes(orjson.dumps(config | {"eos_token_id": [2, tokens[5]]}))
    got = outcomes(copy, [ask("ka", 12), ask("lo mi", 12)], batch=2)
    assert got[0].finish_reason == "stop"
    assert got[0].text == decoded(copy, tokens[: tokens.index(tokens[5])])
    assert got[1].finish_reason == "length"


def test_a_prompt_that_does_not_fit_fails_alone(checkpoint: Path) -> None:
    good, long, last = outcomes(checkpoint, [ask("ka"), ask("ka lo mi " * 200), ask("lo")], batch=4)
    assert isinstance(long, RequestFailed) and long.reason == "prompt too long"
    assert good == answer(checkpoint, ask("ka")) and last == answer(checkpoint, ask("lo"))


def test_the_window_cuts_an_answer_short(checkpoint: Path) -> None:
    got = answer(checkpoint, ask("ka lo mi", 100), max_model_len=30)
    assert got.finish_reason == "length"
    assert got.prompt_tokens + got.completion_tokens == 30


def test_a_seed_repeats_its_answer_whatever_else_is_in_the_batch(checkpoint: Path) -> None:
    warm = [ask("ka", temperature=1.0, seed=seed) for seed in (1, 2, 3)]
    together = outcomes(checkpoint, [*warm, ask("lo mi ter " * 9)], batch=4)
    assert [answer(checkpoint, request).text for request in warm] == [got.text for got in together[:3]]
    assert len({got.text for got in together}) == 4


# --- plain text, stop strings and what is read once


TEXTS = [
    f"{' '.join(WORDS[1:])[:size]}{question}" for size in (40, 90, 150) for question in ("", " Q: din\nA:", " est")
]


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 4}, {"batch": 16}, {"batch": 16, "batch_tokens": 200}])
def test_text_is_gone_on_with_as_generate_does(checkpoint: Path, options: dict[str, int]) -> None:
    got = outcomes(checkpoint, [go_on(text) for text in TEXTS], **options)
    alone = [bare(checkpoint, text, 12, chat=False) for text in TEXTS]
    assert [completion.text for completion in got] == [decoded(checkpoint, tokens) for tokens in alone]
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    assert [completion.prompt_tokens for completion in got] == [len(tokenizer(text)["input_ids"]) for text in TEXTS]


def test_a_batch_keeps_to_its_tokens(checkpoint: Path) -> None:
    shapes: list[tuple[int, int]] = []

    async def run() -> None:
        async with TransformersEngine(str(checkpoint), batch=9, batch_tokens=300) as engine:
            inner = engine._chat_model.model.generate
            engine._chat_model.model.generate = lambda ids, **named: (
                shapes.append(tuple(ids.shape)) or inner(ids, **named)
            )
            await asyncio.gather(*(engine.complete(go_on(text)) for text in TEXTS))

    asyncio.run(run())
    assert sum(rows for rows, _ in shapes) == len(TEXTS)
    assert max(rows for rows, _ in shapes) > 1
    assert all(rows * (width + 12) <= 300 or rows == 1 for rows, width in shapes)


def test_a_beginning_that_was_read_is_told_across_batches(checkpoint: Path) -> None:
    async def run() -> list[Completion]:
        async with TransformersEngine(str(checkpoint), batch=1) as engine:
            return [await engine.complete(go_on(f"{WORDS[1]}{end}")) for end in ("one", "two", " Q")]

    first, *later = asyncio.run(run())
    assert first.cached_tokens == 0
    assert all(
        completion.prompt_tokens // 2 < completion.cached_tokens < completion.prompt_tokens for completion in later
    )


def test_an_answer_is_cut_before_its_stop_string_which_may_span_tokens(checkpoint: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    whole = {text: bare(checkpoint, text, 30, chat=False) for text in TEXTS}
    requests, wanted = [], []
    for text, tokens in whole.items():
        for place in (3, 11, 20):
            stop = tokenizer.decode(tokens[place : place + 2])[1:]  # from within a token into the next
            count = next(n for n in range(1, 31) if stop in tokenizer.decode(tokens[:n]))
            requests.append(go_on(text, 30, ("never", stop)))
            wanted.append((tokenizer.decode(tokens).partition(stop)[0], "stop", count))
    got = outcomes(checkpoint, [*requests, go_on(TEXTS[0], 30, ("never",))], batch=7)
    assert [(one.text, one.finish_reason, one.completion_tokens) for one in got[:-1]] == wanted
    assert got[-1].finish_reason == "length" and got[-1].completion_tokens == 30


def test_a_batch_ends_when_its_last_row_is_done(checkpoint: Path) -> None:
    stop = transformers.AutoTokenizer.from_pretrained(checkpoint).decode(bare(checkpoint, "ka lo", 3, chat=False)[2])
    steps: list[object] = []

    async def run() -> None:
        async with TransformersEngine(str(checkpoint), batch=2) as engine:
            engine._chat_model.model.register_forward_hook(lambda *_: steps.append(None))
            await asyncio.gather(engine.complete(go_on("ka lo", 100, (stop,))), engine.complete(go_on("din", 9)))

    asyncio.run(run())
    assert len(steps) == 9


def test_what_looks_like_a_special_token_in_a_text_is_text(checkpoint: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    got = answer(checkpoint, go_on("ka<|end|>lo"))
    assert tokenizer("ka<|end|>lo")["input_ids"][1] == tokenizer.eos_token_id
    assert got.prompt_tokens > len(tokenizer("ka<|end|>lo")["input_ids"])


def test_a_text_begins_as_those_did_that_the_model_was_trained_on(copy: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(copy / "tokenizer.json"))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        "<|begin|> $A", special_tokens=[("<|begin|>", 1)]
    )
    tokenizer.save(str(copy / "tokenizer.json"))
    tokens = transformers.AutoTokenizer.from_pretrained(copy)("ka lo")["input_ids"]
    assert tokens[0] == 1
    got = answer(copy, go_on("ka lo"))
    assert (got.prompt_tokens, got.text) == (len(tokens), decoded(copy, bare(copy, "ka lo", 12, chat=False)))


def test_a_base_model_goes_on_with_text_and_refuses_chats(checkpoint: Path, tmp_path: Path) -> None:
    base = make_tiny_llama(tmp_path / "base", window=WINDOW, chat_template=None)
    assert answer(base, go_on("ka lo"), chat=False) == answer(checkpoint, go_on("ka lo"))
    with pytest.raises(UserError, match="no chat template"):
        answer(base, ask("ka"), chat=False)


def test_a_prompt_may_leave_the_window_where_that_is_asked_for(checkpoint: Path) -> None:
    text = WORDS[1] * 8
    with pytest.raises(RequestFailed, match="prompt too long"):
        answer(checkpoint, go_on(text))
    got = answer(checkpoint, go_on(text), past_window=True)
    assert got.prompt_tokens > WINDOW
    assert got.text == decoded(checkpoint, bare(checkpoint, text, 12, chat=False))
    with pytest.raises(RequestFailed, match="prompt too long"):
        answer(checkpoint, go_on(text), past_window=True, max_model_len=300)


def test_learned_places_do_not_go_on(checkpoint: Path, copy: Path) -> None:
    config = transformers.GPT2Config(vocab_size=512, n_positions=64, n_embd=64, n_layer=1, n_head=2, eos_token_id=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(copy)
    assert answer(copy, go_on("ka")).completion_tokens
    with pytest.raises(UserError, match="no places past its 64 tokens"):
        answer(copy, go_on("ka"), past_window=True)


def test_a_cache_that_cannot_be_shared_is_not(copy: Path) -> None:
    config = transformers.MistralConfig(
        vocab_size=512, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=WINDOW, sliding_window=16, initializer_range=0.3, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.MistralForCausalLM(config).save_pretrained(copy)
    got = outcomes(copy, [go_on(text) for text in TEXTS], batch=4)
    assert [one.text for one in got] == [decoded(copy, bare(copy, text, 12, chat=False)) for text in TEXTS]


# --- drawn


def test_draws_follow_the_probabilities() -> None:
    scores = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    rows = 4000
    drawn = draw.Draw([Sampling(1, 1.0, 1.0, seed) for seed in range(rows)])(None, scores.repeat(rows, 1)).argmax(
        dim=-1
    )
    shares = torch.bincount(drawn, minlength=4) / rows
    assert torch.allclose(shares, scores.exp(), atol=0.03)


def test_a_low_temperature_draws_the_likeliest() -> None:
    scores = torch.tensor([[1.0, 2.0, 1.9]]).repeat(50, 1)
    drawn = draw.Draw([Sampling(1, 0.001, 1.0, seed) for seed in range(50)])(None, scores).argmax(dim=-1)
    assert drawn.tolist() == [1] * 50


@pytest.mark.parametrize(("top_p", "kept"), [(1.0, [0, 1, 2, 3]), (0.85, [0, 1, 3]), (0.8, [1, 3]), (0.01, [1])])
def test_the_nucleus_keeps_the_likeliest_tokens_that_make_up_top_p(top_p: float, kept: list[int]) -> None:
    logprobs = torch.log(torch.tensor([0.15, 0.5, 0.05, 0.3], dtype=torch.float64))
    assert torch.isfinite(draw.nucleus(logprobs, top_p)).nonzero().flatten().tolist() == kept


def test_closing_cancels_what_is_under_way_and_ends_the_thread(checkpoint: Path) -> None:
    steps: list[object] = []

    async def run() -> list[Any]:
        async with TransformersEngine(str(checkpoint), batch=2) as engine:
            engine._chat_model.model.register_forward_hook(lambda *_: steps.append(None))
            pending = [asyncio.create_task(engine.complete(ask(word, 150))) for word in WORDS]
            while not steps:
                await asyncio.sleep(0.001)
        return await asyncio.gather(*pending, return_exceptions=True)

    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in asyncio.run(run()))
    assert len(steps) < 150
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transformers")]


def test_cancelling_one_request_leaves_its_batch_alone(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        async with TransformersEngine(str(checkpoint), batch=2) as engine:
            pending = [asyncio.create_task(engine.complete(ask(word))) for word in WORDS]
            await asyncio.sleep(0)
            pending[0].cancel()
            return await asyncio.gather(*pending, return_exceptions=True)

    first, *others = asyncio.run(run())
    assert isinstance(first, asyncio.CancelledError)
    assert [got.text for got in others] == [got.text for got in outcomes(checkpoint, [ask(word) for word in WORDS[1:]])]


def test_a_base_model_is_refused(tmp_path: Path) -> None:
    make_tiny_llama(tmp_path / "base", window=WINDOW, chat_template=None)
    with pytest.raises(UserError, match="no chat template"):
        answer(tmp_path / "base", ask("ka"))


def test_a_template_that_raises_is_the_users_to_mend(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{{ raise_exception('no system role here') }}")
    with pytest.raises(UserError, match="no system role here"):
        answer(copy, ask("ka"))


def test_a_model_that_is_nowhere_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="neither a folder here nor") as caught:
        answer(tmp_path / "nowhere", ask("ka"))
    assert "\n" not in caught.value.problem


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save(
        transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(copy)).state_dict(),
        copy / "pytorch_model.bin",
    )
    with pytest.raises(UserError, match="cannot load"):
        answer(copy, ask("ka"))


def test_weights_that_were_cut_off_are_one_clear_error(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot load"):
        answer(copy, ask("ka"))


def test_another_models_tokenizer_is_one_clear_error(copy: Path, tmp_path: Path) -> None:
    small = make_tiny_llama(tmp_path / "small", window=256, vocabulary=262)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (small / name).write_bytes((copy / name).read_bytes())
    with pytest.raises(UserError, match="another model's") as caught:
        answer(small, ask("ka lo mi ter von shu"))
    assert "which its model does not have" in caught.value.problem


def test_code_that_comes_with_a_model_is_not_run(copy: Path) -> None:
    config = orjson.loads((copy / "config.json").read_bytes())
    config |= {
        "model_type": "brought_along",
        "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    }
    (copy / "config.json").write_bytes(orjson.dumps(config))
    (copy / "code.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(UserError, match="cannot load"):
        answer(copy, ask("ka"))


def test_a_window_longer_than_the_models_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="reads 256 tokens, not 512"):
        answer(checkpoint, ask("ka"), max_model_len=512)


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "longreach.engines.chatmodel")
    with pytest.raises(UserError, match=r"pip install 'longreach\[transformers\]'"):
        importlib.import_module("longreach.engines.chatmodel")
