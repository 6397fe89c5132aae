"""What the model answers to a few questions as it is trained: a loss does not show an answer that never ends.

The answers are greedy, so they say the same whenever they are asked for, and one after the other, so that no padding
touches them. They are given as training computes: with the same attention and in the same precision, but with a cache.
Only the first process answers; a question costs its prompt once and a pass of one token for each token of the answer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerBase

from longreach.errors import UserError
from longreach.model.causal import language_model

SHOWN = 100  # characters of a text in the log


@dataclass(frozen=True, slots=True)
class Question:
    """The tokens that the model goes on from, what they ask in words, and the answer that is hoped for."""

    name: str
    prompt: Sequence[int]
    asked: str
    reference: str


@dataclass(frozen=True)
class Samples:
    """The questions. An answer ends with any of `end_ids`, after `max_new_tokens`, or where the window does."""

    questions: Sequence[Question]
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    max_new_tokens: int

    def check(self, window: int) -> None:
        """UserError where a prompt leaves no room for an answer."""
        for question in self.questions:
            if len(question.prompt) >= window:
                raise UserError(
                    f"the sample question {question.name} has {len(question.prompt)} tokens, the model reads {window}",
                    "leave it out, or train on longer rows",
                )

    def measure(self, model: nn.Module, *, together: bool = False) -> dict[str, Any]:
        """Every question with its answer, and the share of answers that are the reference but for case.

        `together`: all processes do this at once, and none ends an answer before the others.
        """
        with _greedily(language_model(model)) as answering, torch.no_grad():
            answers = [self._answer(answering, question, together) for question in self.questions]
        same = [_plain(answer["answer"]) == _plain(answer["reference"]) for answer in answers]
        return {"samples": answers, "exact": sum(same) / len(same)}

    def _answer(self, model: Any, question: Question, together: bool) -> dict[str, Any]:
        prompt = torch.tensor([list(question.prompt)], device=model.get_input_embeddings().weight.device)
        room = model.config.get_text_config().max_position_embeddings - prompt.shape[1]
        settings = GenerationConfig(
            do_sample=False,
            use_cache=True,
            max_new_tokens=min(self.max_new_tokens, room),
            eos_token_id=sorted(self.end_ids),
            pad_token_id=min(self.end_ids),
        )
        found = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), generation_config=settings, synced_gpus=together
        )
        tokens = found[0, prompt.shape[1] :].tolist()
        end = next((place for place, token in enumerate(tokens) if token in self.end_ids), None)
        return {
            "name": question.name,
            "question": question.asked,
            "reference": question.reference,
            "answer": str(self.tokenizer.decode(tokens[:end], skip_special_tokens=True)).strip(),
            "ended": end is not None,
        }


@contextmanager
def _greedily(model: Any) -> Iterator[Any]:
    """The model in eval mode, without settings of its own that would mend its answers; then as it was."""
    training, own = [module for module in model.modules() if module.training], model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    try:
        yield model
    finally:
        model.generation_config = own
        for module in training:
            module.training = True


def _plain(text: str) -> str:
    return text.strip().casefold()


def sample_lines(step: int, found: dict[str, Any]) -> Iterator[str]:
    """How many are exact, then each answer on a line of its own."""
    answers = found["samples"]
    yield f"step {step} | samples | exact {found['exact']:.1%} of {len(answers)}"
    for answer in answers:
        cut = "" if answer["ended"] else " (does not end)"
        yield (
            f"  {answer['name']}: {brief(answer['question'])} -> {brief(answer['answer'])!r}{cut}, "
            f"hoped for {brief(answer['reference'])!r}"
        )


def brief(text: str) -> str:
    """On one line, the middle of a long text left out: a long prompt asks at its end."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN // 2]} ... {line[-SHOWN // 2 :]}"
