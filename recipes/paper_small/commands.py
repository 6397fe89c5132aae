"""The commands of the project, as jobs: what each is given here, whatever experiment it is for.

The same text and the same questions serve every seed and arm, so that differences are paired; a seed decides the first
weights and the order of the rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import orjson

from recipes.paper_small.jobs import Job
from recipes.paper_small.scales import MEDIUM, Scale, Training
from recipes.paper_small.text import RECORD_TASKS, Wanted

TABLE9 = Path(__file__).parents[1] / "table9"
NATURAL, UPSAMPLED = 0.3, 0.7  # share of long text: the paper gives none; from and to what Fu et al. raise it
MIXES = {"a": UPSAMPLED, "b": NATURAL, "c": 0.0, "d": UPSAMPLED}  # the share of long text; (a) has a further source
ROPES = {"none": "none", "PI": "pi:{factor}", "ABF": "abf:{base:g}", "xPos-ABF": "xpos-abf:{base:g}"}
ANSWER_TOKENS = 32
LOST_TIME = 2.0  # seconds of a job beside its tokens: to fork, open, save


@dataclass(frozen=True)
class Setting:
    """A run: its folder, its scale, its text."""

    out: Path
    scale: Scale
    sources: tuple[str, ...]  # NAME or NAME=PATH; the last one is the new long text of mix (a)

    def path(self, name: str) -> str:
        """The folder of a job, or a file in it."""
        return str(self.out / name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the sources."""
        return tuple(source.partition("=")[0] for source in self.sources)

    @property
    def held_out(self) -> list[str]:
        """The text that the loss is measured on."""
        return [self.path(f"text/held-out/{name}.jsonl") for name in self.names]

    def seconds(self, tokens: float, size: str = MEDIUM, row: int = 0) -> float:
        """That so many trained tokens take."""
        return LOST_TIME + tokens * self.scale.cost(size, row or self.scale.short) / self.scale.rate


# Text and rows


def text(run: Setting) -> Job:
    """Everything that is read."""
    scale = run.scale
    tokens = {scale.short: scale.base.tokens + scale.scratch.tokens, scale.long: scale.scratch.tokens}
    wanted = Wanted(
        short=scale.short,
        long=scale.long,
        vocabulary=scale.vocabulary,
        characters=scale.characters,
        tokens={str(row): number for row, number in tokens.items()},
        chats=scale.chats,
        passages=2 * scale.samples,
    )
    words = ("text", f"--wanted={orjson.dumps(asdict(wanted)).decode()}", *run.sources)
    return Job("text", words, seconds=15 + scale.characters * len(run.sources) / 4e5)


def rows(run: Setting, name: str, row: int, sources: Sequence[str], *how: str) -> Job:
    """Packed rows of some of the sources, all with the same share of the tokens."""
    given = [f"--source={each}={run.path(f'text/{each}-{row}.jsonl')}@1" for each in sources]
    options = (f"--tokenizer={run.path('text/tokenizer')}", f"--seq-len={row}", "--validation=0", "--workers=1", *how)
    return Job(f"rows/{name}", ("pretrain", "prepare", *given, *options), ("text",), seconds=4)


def all_rows(run: Setting) -> Iterator[Job]:
    """Those of the base, and the four mixes of Sec. 4.2."""
    scale, base_mix = run.scale, run.names[:-1]
    yield rows(run, "short", scale.short, base_mix)
    for arm, share in MIXES.items():
        sources = run.names if arm == "a" else base_mix
        yield rows(run, arm, scale.long, sources, f"--long-share={share}", f"--tokens={scale.arms.tokens}")


# Models


def trained(run: Setting, seed: int, arm: str, words: Sequence[str], training: Training, size: str, row: int) -> Job:
    """A training run on packed rows."""
    data = [word.removeprefix("--data=") for word in words if word.startswith("--data=")]
    needs = [str(Path(folder).relative_to(run.out)) for folder in data]
    needs += [str(Path(word[7:]).relative_to(run.out)) for word in words if word.startswith("--base=")]
    options = (*training.options, f"--validate-every={run.scale.validate_every}", f"--dtype={run.scale.dtype}")
    return Job(
        f"seed-{seed}/{arm}",
        ("pretrain", *words, *options, f"--micro-batch={max(1, training.batch_tokens // row)}", f"--seed={seed}"),
        tuple(needs),
        training.steps,
        training.tokens,
        run.seconds(training.tokens, size),
    )


def base(run: Setting, seed: int, size: str = MEDIUM) -> Job:
    """What is continued: trained on short rows."""
    arm = "base" if size == MEDIUM else f"size/{size}-base"
    words = ("scratch", f"--config={run.path(f'models/{size}.json')}", f"--data={run.path('rows/short')}")
    return trained(run, seed, arm, words, run.scale.base, size, run.scale.short)


def continued(run: Setting, model: Job, seed: int, arm: str, rope: str, mix: str, size: str = MEDIUM) -> Job:
    """A base on long rows of a mix, its positions encoded so."""
    scale = run.scale
    rope = ROPES[rope].format(factor=scale.long // scale.short, base=scale.abf_base)
    words = (f"--base={run.path(model.name)}", f"--data={run.path(f'rows/{mix}')}", f"--rope={rope}")
    return trained(run, seed, arm, ("continue", *words), scale.arms, size, scale.long)


def from_scratch(run: Setting, seed: int, arm: str, switch: int) -> Job:
    """So many per cent of the tokens in short rows, the others in long ones; ABF's base throughout.

    The paper does not say which base its short stage has.
    """
    scale, share = run.scale, switch / 100
    stages = [f"{scale.short}:{share:g}"] * (switch > 0) + [f"{scale.long}:{1 - share:g}"]
    data = [f"--data={run.path('rows/short')}"] * (switch > 0) + [f"--data={run.path('rows/d')}"]
    words = ("scratch", f"--config={run.path(f'models/{MEDIUM}.json')}", *data, f"--stages={','.join(stages)}")
    row = round(share * scale.short + (1 - share) * scale.long)
    return trained(run, seed, arm, (*words, f"--rope=abf:{scale.abf_base:g}"), scale.scratch, MEDIUM, row)


# Measures


def loss(run: Setting, model: Job, size: str = MEDIUM) -> Job:
    """By length of context and by position."""
    scale = run.scale
    lengths = ",".join(map(str, scale.contexts))
    words = ("evaluation", "loss", f"--model={run.path(model.name)}", "--docs", *run.held_out, "--join")
    how = (f"--lengths={lengths}", f"--targets={scale.targets}", f"--samples={scale.windows}")
    seconds = run.seconds(sum(scale.contexts) * scale.windows / 3, size, scale.long)  # a third: no backward pass
    return Job(f"{model.name}.loss", (*words, *how), (model.name, "text"), seconds=seconds)


def retrieval(run: Setting, model: Job, tasks: str) -> Job:
    """The first sentence, and on request the pass key, given back from text of each length."""
    scale = run.scale
    words = ("evaluation", "retrieval", f"--model={run.path(model.name)}", f"--task={tasks}")
    text = f"--docs={run.path('text/held-out/passages.jsonl')}"
    how = (f"--lengths={','.join(map(str, scale.lengths))}", f"--samples={scale.samples // 3}", "--depths=0,0.5,1")
    asked = ("--past-window", "--style=text", "--engine=transformers", "--min-chars=1")
    number = scale.samples * (1 + tasks.count(","))
    seconds = run.seconds(
        number * (sum(scale.lengths) / 3 + 100 * len(scale.lengths))
    )  # an answer is slow, word by word
    return Job(f"{model.name}.retrieval", (*words, text, *how, *asked), (model.name, "text"), seconds=seconds)


# Chat models


def records(run: Setting, name: str, part: str) -> Job:
    """By rule: every task on each chunk of the documents."""
    scale = run.scale
    docs = (f"--docs={run.path(f'text/{part}/{source}.jsonl')}" for source in run.names)
    words = ("selfinstruct", "generate", "--engine=extractive", *docs)
    tasks = (
        f"--tasks={','.join(RECORD_TASKS)}",
        "--tasks-per-chunk=all",
        "--chunks-per-doc=all",
        "--near-duplicates=0",
    )
    room = (f"--chunk-tokens={scale.long // 4}", f"--question-tokens={scale.long // 4}")
    texts = (f"--tokenizer={run.path('text/tokenizer')}", f"--prompts={run.path('text/prompts')}", "--min-chars=100")
    return Job(name, (*words, *tasks, *room, f"--context-tokens={scale.long}", *texts), ("text",), seconds=60)


def tuned(run: Setting, seed: int, setting: str, long_base: Job) -> Job:
    """A setting of Table 9, as recipes/table9 has it."""
    scale = run.scale
    data = {"--short": "text/chats.jsonl"}
    data |= {"--long": "records"} if setting.startswith("self-instruct") else {}
    data |= {"--pretrain": "rows/d"} if setting == "short-pretrain" else {}
    words = ("finetune", "sft", f"--config={TABLE9 / setting}.toml", f"--base={run.path(long_base.name)}")
    given = (f"{option}={run.path(name)}" for option, name in data.items())
    how = (f"--seq-len={scale.long}", "--samples=0", f"--dtype={scale.dtype}", f"--seed={seed}")
    return Job(
        f"seed-{seed}/instruct/{setting}",
        (*words, *given, *how, *scale.instruct.options, f"--validate-every={scale.validate_every}"),
        (long_base.name, "text", *(name for name in data.values() if not name.startswith("text"))),
        scale.instruct.steps,
        scale.instruct.tokens,
        run.seconds(scale.instruct.tokens),
    )


def asked(run: Setting, model: Job) -> Job:
    """Questions on held-out documents: a base as text to go on with, a chat model through its template."""
    words = ("evaluation", "qa", f"--model={run.path(model.name)}", f"--records={run.path('questions')}")
    how = (f"--samples={run.scale.questions}", f"--max-tokens={ANSWER_TOKENS}", "--no-closed-book", "--past-window")
    seconds = run.seconds(run.scale.questions * (run.scale.long / 3 + 100))
    needs = (model.name, "questions")
    return Job(f"{model.name}.qa", (*words, *how, "--engine=transformers"), needs, seconds=seconds)
