"""How well a model gives back the first sentence: greedy answers, held against the sentence word by word."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from first_sentence import SPECIAL, TOKENS, Document
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

BATCH = 50


class Score(NamedTuple):
    """Means over the answers: the F1 of the longest common subsequence of words, and the share that is right."""

    rouge_l: float
    exact: float


def retrieval(folder: Path, questions: Sequence[Sequence[Document]]) -> list[Score]:
    """The score of a checkpoint on each list of questions."""
    torch.set_num_threads(1)  # more are slower for so small a model
    disable_progress_bar()
    set_verbosity_error()  # to ask past the trained length is the purpose
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [score(answers(model, tokenizer, each), [document.first for document in each]) for each in questions]


def answers(model: PreTrainedModel, tokenizer: Tokenizer, documents: Sequence[Document]) -> list[str]:
    """What the model says after each prompt, up to the end of the document or a little longer than any sentence."""
    begin, end, pad = map(tokenizer.token_to_id, SPECIAL)
    said = []
    for start in range(0, len(documents), BATCH):
        batch = [document.prompt for document in documents[start : start + BATCH]]
        prompts = [[begin, *tokenizer.encode(prompt, add_special_tokens=False).ids] for prompt in batch]
        width = max(map(len, prompts))
        tokens = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        written = model.generate(
            input_ids=tokens,
            attention_mask=tokens.ne(pad).long(),
            max_new_tokens=TOKENS.stop + 4,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=pad,
        )
        said += [tokenizer.decode(answer.tolist()).strip() for answer in written[:, width:]]
    return said


def score(said: Sequence[str], wanted: Sequence[str]) -> Score:
    """The means over all answers."""
    pairs = list(zip(said, wanted, strict=True))
    return Score(
        sum(rouge_l(answer.split(), sentence.split()) for answer, sentence in pairs) / len(pairs),
        sum(answer == sentence for answer, sentence in pairs) / len(pairs),
    )


def rouge_l(said: Sequence[str], wanted: Sequence[str]) -> float:
    """2 x the longest common subsequence / the words of both."""
    row = [0] * (len(wanted) + 1)  # its length so far, for every beginning of `wanted`
    for word in said:
        diagonal = 0
        for place, other in enumerate(wanted, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return 2 * row[-1] / (len(said) + len(wanted))
