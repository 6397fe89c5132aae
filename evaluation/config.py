"""The settings of evaluate's commands: defaults, help, TOML keys and options in one place."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from longreach.config import factor, ratio, setting, share, size, words
from longreach.errors import UserError

EngineName = Literal["auto", "vllm", "http", "transformers"]
Style = Literal["auto", "chat", "text"]

_DATA, _MODEL, _SAMPLES, _ANSWERS, _JUDGE, _RUN = "Data", "Model", "Samples", "Answers", "Judge", "Run"
RULER_THRESHOLD = 85.6  # points: what Llama 2 7B reaches at its 4,096 tokens
LENGTHS = ("256", "1k", "2k", "4k")
LEAST_PROMPT = 64  # tokens that a published task is asked with at least


def sizes(text: str) -> tuple[int, ...]:
    """Lengths in tokens, ascending, each once: "256,1k,4096"."""
    found = tuple(sorted({size(word) for word in words(text)}))
    if found[0] < 1:
        raise ValueError("a length is at least 1")
    return found


def shares(text: str) -> tuple[float, ...]:
    """Shares from 0 to 1, ascending, each once."""
    return tuple(sorted({share(word) for word in words(text)}))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every command has."""

    seed: int = setting(0, "Of everything drawn.", group=_RUN, metavar="N")
    out: str = setting("", "Folder of the results.", group=_RUN, metavar="RESULTS", shapes_output=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UserError("\n".join(problems), "evaluate --help")

    def _problems(self) -> Iterator[str]:
        """What is wrong with the settings by themselves."""
        if not self.out:
            yield "no place for the results: give --out"

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return Path(self.out)


@dataclass(frozen=True, kw_only=True)
class TextSettings(RunSettings):
    """The user's own text, which no training has seen."""

    docs: tuple[str, ...] = setting(
        (), "Held-out text: files, folders, globs, dataset names.", group=_DATA, metavar="P..."
    )
    text_field: str = setting("text", "Field of a row that holds the text.", group=_DATA, metavar="NAME")
    min_chars: int = setting(200, "Shorter texts are left out.", group=_DATA, metavar="N")

    def _problems(self) -> Iterator[str]:
        if not self.docs:
            yield "no documents: give --docs"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class ModelSettings(RunSettings):
    """What is asked of a model through an engine."""

    model: str = setting("", "Folder or hub id; or what a server calls it.", group=_MODEL, metavar="M")
    base_url: tuple[str, ...] = setting(
        (), "Addresses of OpenAI-compatible servers.", group=_MODEL, metavar="U...", shapes_output=False
    )
    api_key_env: str = setting(
        "", "Environment variable that holds the key.", group=_MODEL, metavar="NAME", shapes_output=False
    )
    engine: EngineName = setting(
        "auto",
        "What runs the model; auto: a server where --base-url is given, else vllm on a GPU, else transformers.",
        group=_MODEL,
        choices=get_args(EngineName),
        shapes_output=False,
    )
    engine_args: str = setting("", "Further arguments of vLLM, as JSON.", group=_MODEL, metavar="JSON")
    dtype: str = setting("auto", "Of the weights.", group=_MODEL, choices=("auto", "float32", "bfloat16"))
    tokenizer: str = setting("", "By which lengths are counted; the model's own.", group=_MODEL, metavar="T")
    style: Style = setting(
        "auto",
        "Ask as a chat, or as text to go on with; auto: as a chat where the model has a template.",
        group=_MODEL,
        choices=get_args(Style),
    )
    past_window: bool = setting(False, "Ask beyond the model's window, too (transformers).", group=_MODEL)
    concurrency: int = setting(
        0, "Requests at once; 0: as many as the engine likes.", group=_RUN, metavar="N", shapes_output=False
    )
    timeout: float = setting(
        600.0,
        "Seconds that a server may take for an answer.",
        group=_RUN,
        metavar="S",
        parse=factor,
        shapes_output=False,
    )

    def _problems(self) -> Iterator[str]:
        if not (self.model or self.base_url):
            yield "no model: give --model or --base-url"
        if self.base_url and self.engine not in ("auto", "http"):
            yield f"--base-url is for --engine http, not {self.engine}"
        if self.engine == "http" and not self.base_url:
            yield "--engine http needs --base-url"
        if self.past_window and self.base_url:
            yield "--past-window is for --engine transformers: a server reads no further than its window"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class LossSettings(TextSettings):
    """What the loss is measured on."""

    model: str = setting("", "Folder or hub id of a checkpoint.", group=_MODEL, metavar="M")
    dtype: str = setting("auto", "Of the computation.", group=_MODEL, choices=("auto", "float32", "bfloat16"))
    join: bool = setting(False, "Set documents end to end where they are too short by themselves.", group=_DATA)
    lengths: tuple[int, ...] = setting(
        (),
        "Context lengths in tokens; by default powers of two up to the model's window.",
        group=_SAMPLES,
        metavar="N,...",
        parse=sizes,
    )
    samples: int = setting(50, "Windows of text that the loss is the mean of.", group=_SAMPLES, metavar="N")
    targets: int = setting(
        128,
        "Tokens at the end of each window that the loss is of, the same at every length.",
        group=_SAMPLES,
        metavar="N",
    )
    batch_tokens: int = setting(
        8192, "Tokens that go through the model at once.", group=_RUN, metavar="N", shapes_output=False
    )

    def _problems(self) -> Iterator[str]:
        if not self.model:
            yield "no model: give --model"
        if min(self.targets, self.samples, self.batch_tokens) < 1:
            yield "--targets, --samples and --batch-tokens are at least 1"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings(ModelSettings, TextSettings):
    """What is hidden in which text, and asked for."""

    task: tuple[str, ...] = setting(
        ("all",), "Tasks, by name; all: every one.", group=_SAMPLES, metavar="NAME,...", parse=words
    )
    lengths: tuple[int, ...] = setting(
        tuple(map(size, LENGTHS)),
        "In tokens, prompt and answer together.",
        group=_SAMPLES,
        metavar="N,...",
        parse=sizes,
    )
    depths: tuple[float, ...] = setting(
        (0.0, 0.25, 0.5, 0.75, 1.0), "Where in the text, from 0 to 1.", group=_SAMPLES, metavar="F,...", parse=shares
    )
    samples: int = setting(
        10,
        "Of each task, length and depth; tasks without depth take as many as all depths.",
        group=_SAMPLES,
        metavar="N",
    )
    threshold: float = setting(
        RULER_THRESHOLD, "Points that the effective length has to reach.", group=_SAMPLES, metavar="F", parse=factor
    )

    def _problems(self) -> Iterator[str]:
        if self.samples < 1:
            yield "--samples is at least 1"
        if self.threshold >= 100:
            yield "--threshold is below 100 points, which have to be exceeded"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class QaSettings(ModelSettings):
    """Which questions are asked."""

    records: tuple[str, ...] = setting(
        (), "Records of generate that no training has seen: files or run folders.", group=_DATA, metavar="F..."
    )
    samples: int = setting(0, "Questions, drawn evenly from all; 0: all.", group=_SAMPLES, metavar="N")
    closed_book: bool = setting(True, "Ask each without its document, too: what is known by heart.", group=_SAMPLES)
    max_tokens: int = setting(256, "Of an answer.", group=_ANSWERS, metavar="N")

    def _problems(self) -> Iterator[str]:
        if not self.records:
            yield "no records: give --records"
        if self.max_tokens < 1:
            yield "--max-tokens is at least 1"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class HarnessSettings(RunSettings):
    """Which published tasks are run, on which data."""

    model: str = setting("", "Folder or hub id; or what a server calls it.", group=_MODEL, metavar="M")
    base_url: str = setting(
        "", "Address of an OpenAI-compatible server.", group=_MODEL, metavar="U", shapes_output=False
    )
    api_key_env: str = setting(
        "", "Environment variable that holds the key.", group=_MODEL, metavar="NAME", shapes_output=False
    )
    engine: EngineName = setting(
        "auto", "What runs the model.", group=_MODEL, choices=get_args(EngineName), shapes_output=False
    )
    engine_args: str = setting("", "Further arguments of the harness's model, as JSON.", group=_MODEL, metavar="JSON")
    dtype: str = setting("auto", "Of the weights.", group=_MODEL, choices=("auto", "float32", "bfloat16"))
    tokenizer: str = setting("", "Where a server's model has another name.", group=_MODEL, metavar="T")
    style: Style = setting(
        "text",
        "Ask as a chat, or as text to go on with; auto: as a chat where the model has a template.",
        group=_MODEL,
        choices=get_args(Style),
    )
    suite: tuple[str, ...] = setting(
        (),
        "Suites and tasks, by name; `evaluate harness --list` shows them.",
        group=_DATA,
        metavar="NAME,...",
        parse=words,
    )
    data_dir: str = setting(
        "", "Folder that holds a folder or file of each data set.", group=_DATA, metavar="D", shapes_output=False
    )
    hub: bool = setting(False, "Take from the hub what --data-dir lacks.", group=_DATA, shapes_output=False)
    samples: int = setting(0, "Of each task at most; 0: all.", group=_SAMPLES, metavar="N")
    prompt_tokens: int = setting(
        0,
        "Longest prompt, truncated as each suite does; 0: as the suite says, within the window.",
        group=_SAMPLES,
        metavar="N",
    )
    run_code: bool = setting(
        False, "Run the programs that a model writes (HumanEval, MBPP), unprotected.", group=_RUN, shapes_output=False
    )
    batch_size: int = setting(
        0, "Samples at once; 0: as many as the engine likes.", group=_RUN, metavar="N", shapes_output=False
    )

    def _problems(self) -> Iterator[str]:
        if not self.model:
            yield "no model: give --model" + (", as the server calls it" if self.base_url else "")
        if self.base_url and self.engine not in ("auto", "http"):
            yield f"--base-url is for --engine http, not {self.engine}"
        if self.engine == "http" and not self.base_url:
            yield "--engine http needs --base-url"
        if not self.suite:
            yield "no suite: give --suite"
        if 0 < self.prompt_tokens < LEAST_PROMPT:
            yield f"--prompt-tokens is at least {LEAST_PROMPT}"
        if self.samples < 0 or self.batch_size < 0:
            yield "--samples and --batch-size are 0 or more"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class CompareSettings(RunSettings):
    """How results are held against each other."""

    names: tuple[str, ...] = setting((), "Of the models, in their order.", group=_DATA, metavar="NAME,...", parse=words)
    gate: bool = setting(
        False,
        "Exit with 4 where the long side does not rise, or the short side falls by more than --margin.",
        group=_DATA,
    )
    margin: float = setting(1.0, "Points that the short side may fall.", group=_DATA, metavar="F", parse=ratio)
    out: str = setting("", "Folder of the page; none: the table alone.", group=_RUN, metavar="FOLDER")

    def _problems(self) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, kw_only=True)
class JudgeSettings(RunSettings):
    """Who judges, where a model does."""

    judge_model: str = setting(
        "", "Model that judges; a name on --judge-url.", group=_JUDGE, metavar="M", shapes_output=False
    )
    judge_url: tuple[str, ...] = setting((), "Servers of the judge.", group=_JUDGE, metavar="U...", shapes_output=False)
    judge_api_key_env: str = setting(
        "", "Environment variable that holds its key.", group=_JUDGE, metavar="NAME", shapes_output=False
    )

    def _problems(self) -> Iterator[str]:
        if self.judge_model and not self.judge_url:
            yield "--judge-model needs a server to ask: give --judge-url"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class SideBySideSettings(JudgeSettings):
    """Which answers people look at, and what they said."""

    samples: int = setting(0, "Examples to judge, drawn evenly; 0: all.", group=_SAMPLES, metavar="N")
    votes: tuple[str, ...] = setting(
        (), "Votes that annotators saved from the page: count them.", group=_DATA, metavar="F...", shapes_output=False
    )


@dataclass(frozen=True, kw_only=True)
class RedTeamSettings(ModelSettings, JudgeSettings, TextSettings):
    """Which long contexts stand before which adversarial prompts."""

    prompts: tuple[str, ...] = setting(
        (), "Adversarial prompts of yours: rows with prompt, area and perhaps id.", group=_DATA, metavar="F..."
    )
    injections: bool = setting(True, "Hide the shipped, harmless instructions in the text, too.", group=_SAMPLES)
    lengths: tuple[int, ...] = setting(
        tuple(map(size, LENGTHS)),
        "In tokens, prompt and answer together.",
        group=_SAMPLES,
        metavar="N,...",
        parse=sizes,
    )
    depths: tuple[float, ...] = setting(
        (0.0, 0.5, 1.0), "Where an injected instruction stands.", group=_SAMPLES, metavar="F,...", parse=shares
    )
    max_tokens: int = setting(256, "Of an answer.", group=_ANSWERS, metavar="N")

    def _problems(self) -> Iterator[str]:
        if not (self.prompts or self.injections):
            yield "nothing to ask: give --prompts, or leave --injections on"
        if self.max_tokens < 1:
            yield "--max-tokens is at least 1"
        yield from super()._problems()


@dataclass(frozen=True, kw_only=True)
class PanelSettings(ModelSettings, TextSettings):
    """What the default panel is made of; each measure's other settings are its defaults."""

    records: tuple[str, ...] = setting((), "Records that no training has seen, for qa.", group=_DATA, metavar="F...")
    suite: tuple[str, ...] = setting(
        ("short",),
        "Suites of published tasks, where there is --data-dir.",
        group=_DATA,
        metavar="NAME,...",
        parse=words,
    )
    data_dir: str = setting("", "Folder of the suites' data sets.", group=_DATA, metavar="D")
    lengths: tuple[int, ...] = setting(
        (),
        "In tokens; by default powers of two up to the model's window, four of them.",
        group=_SAMPLES,
        metavar="N,...",
        parse=sizes,
    )
    samples: int = setting(0, "Of each measure, instead of its default.", group=_SAMPLES, metavar="N")
