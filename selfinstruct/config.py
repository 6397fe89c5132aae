"""The settings of `selfinstruct generate`: defaults, help, TOML keys and options in one place."""

from dataclasses import dataclass, fields
from pathlib import Path

from longreach.config import did_you_mean, ratio, setting, size, words
from longreach.errors import UserError
from longreach.text.shard import Shard, shard_text
from selfinstruct.tasks import TASKS

CHECKS = ("form", "evidence", "duplicates", "leak", "roundtrip", "critique")
TARGETS = ("sharegpt", "alpaca", "prompt-completion", "dpo")  # of export
MODEL_CHECKS = frozenset({"leak", "roundtrip", "critique"})
ENGINES = ("auto", "vllm", "http", "transformers", "extractive")
RAY = (  # docs/generate.md has what was tried
    "no engine for Ray Data: it fails a whole run for one prompt that is too long or one server that is down, and does "
    "not say which replies were cut off. On a Ray cluster let Ray run the shards (recipes/generate_ray.py), or "
    "serve the model there and give --base-url"
)
TEMPLATE_TOKENS = 64  # kept free for the chat template and for block sums that fall short of the joint count

_DOCUMENTS, _TASKS, _ENGINE, _CHECKS, _RUN = "Documents", "Tasks", "Engine", "Checks", "Run"
_DRY_RUN = "What --dry-run plans for"


def _every(text: str) -> int:
    """A count, or 0 for "all"."""
    return 0 if text.strip().lower() in ("all", "0") else size(text)


def _score(text: str) -> float:
    if not 1 <= float(text) <= 10:
        raise ValueError(f"{text} is not from 1 to 10")
    return float(text)


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What one run of generate is made from. Fields that do not shape its output may change between tries."""

    docs: tuple[str, ...] = setting(
        (),
        "Files, folders, globs, URLs (s3://, gs://, ...), or a Hugging Face dataset.",
        group=_DOCUMENTS,
        metavar="P...",
    )
    text_field: str = setting("text", "Field that holds the text of a row.", group=_DOCUMENTS, metavar="NAME")
    min_chars: int = setting(200, "Shorter documents are skipped.", group=_DOCUMENTS, metavar="N")
    near_duplicates: float = setting(
        0.85, "Skip documents at least this similar to an earlier one; 0: keep all.", group=_DOCUMENTS, metavar="F"
    )
    tokenizer: str = setting(
        "", "Folder or hub id; by default the small one that ships.", group=_DOCUMENTS, metavar="T"
    )

    tasks: tuple[str, ...] = setting(
        ("short_answer", "long_answer", "summary"),
        f"Of {', '.join(TASKS)}.",
        group=_TASKS,
        metavar="A,B",
        parse=words,
    )
    tasks_per_chunk: int = setting(
        0,
        "How many tasks each chunk gets, drawn by the seed (the paper: 1), or all.",
        group=_TASKS,
        metavar="N|all",
        parse=_every,
    )
    context_tokens: int = setting(
        16_384, "Length of a record: document, question and answer.", group=_TASKS, metavar="N"
    )
    chunk_tokens: int = setting(2_048, "Most tokens of a chunk.", group=_TASKS, metavar="N")
    question_tokens: int = setting(
        1_024, "Least room for question, answer and template beside a chunk.", group=_TASKS, metavar="N"
    )
    chunks_per_doc: int = setting(
        4,
        "Chunks asked about, spread evenly over the document's depth, or all.",
        group=_TASKS,
        metavar="N|all",
        parse=_every,
    )
    language: str = setting(
        "", "Language of questions and answers; by default the document's.", group=_TASKS, metavar="L"
    )
    prompts: str = setting("", "Folder whose .jinja files replace the shipped ones.", group=_TASKS, metavar="DIR")
    temperature: float = setting(0.7, "Of the generator; checks are greedy.", group=_TASKS, metavar="F")
    top_p: float = setting(0.95, "Nucleus sampling of the generator.", group=_TASKS, metavar="F")
    seed: int = setting(0, "Of chunks, tasks, sampling and evidence depth.", group=_TASKS, metavar="N")

    engine: str = setting("auto", "Where completions come from.", group=_ENGINE, choices=ENGINES, refused={"ray": RAY})
    model: str = setting("", "Folder, hub id, or the name the server knows.", group=_ENGINE, metavar="M")
    base_url: tuple[str, ...] = setting(
        (), "OpenAI-compatible servers of --engine http.", group=_ENGINE, metavar="U...", secret=True
    )
    api_key_env: str = setting(
        "", "Environment variable that holds the servers' key.", group=_ENGINE, metavar="NAME", shapes_output=False
    )
    structured: bool = setting(False, "Have replies forced into JSON where the engine can.", group=_ENGINE)
    concurrency: int = setting(
        0, "Requests at once, at each server; 0: the engine's own.", group=_ENGINE, metavar="N", shapes_output=False
    )
    timeout: float = setting(
        600.0,
        "Seconds that a request may take; 0: any.",
        group=_ENGINE,
        metavar="S",
        parse=ratio,
        shapes_output=False,
    )
    engine_args: str = setting("", "JSON of further arguments of vLLM.", group=_ENGINE, metavar="JSON", secret=True)
    max_requests: int = setting(0, "Budget of requests sent; 0: none.", group=_ENGINE, metavar="N", shapes_output=False)
    max_tokens: int = setting(
        0, "Budget of tokens in and out; 0: none.", group=_ENGINE, metavar="N", shapes_output=False
    )
    max_cost: float = setting(
        0.0, "Budget in dollars; 0: none.", group=_ENGINE, metavar="USD", parse=ratio, shapes_output=False
    )
    price_in: float = setting(
        0.0, "Dollars a million prompt tokens.", group=_ENGINE, metavar="USD", parse=ratio, shapes_output=False
    )
    price_out: float = setting(
        0.0, "Dollars a million completion tokens.", group=_ENGINE, metavar="USD", parse=ratio, shapes_output=False
    )

    checks: tuple[str, ...] = setting(CHECKS, "The checks to make.", group=_CHECKS, metavar="A,B", parse=words)
    min_score: float = setting(
        7.0, "Critique score, 1 to 10, from which a pair is kept.", group=_CHECKS, metavar="F", parse=_score
    )
    judge_model: str = setting(
        "", "Model that makes the critique, instead of the generator.", group=_CHECKS, metavar="M"
    )
    judge_url: tuple[str, ...] = setting(
        (), "Its OpenAI-compatible servers.", group=_CHECKS, metavar="U...", secret=True
    )
    judge_api_key_env: str = setting(
        "", "Environment variable that holds their key.", group=_CHECKS, metavar="NAME", shapes_output=False
    )

    out: str = setting("runs/selfinstruct", "Run folder.", group=_RUN, metavar="DIR", shapes_output=False)
    format: str = setting(
        "jsonl", "Also write records.parquet.", group=_RUN, choices=("jsonl", "parquet"), shapes_output=False
    )
    limit: int = setting(0, "Only the first N documents: a preview.", group=_RUN, metavar="N", shapes_output=False)
    shard: str = setting(
        "",
        "Only part I, from 0, of the documents divided into N by a hash; merge joins them.",
        group=_RUN,
        metavar="I/N",
        parse=shard_text,
        shapes_output=False,
    )

    gpu: str = setting("h100", "GPU or node, as of pretrain plan.", group=_DRY_RUN, metavar="NAME", shapes_output=False)
    gpus: int = setting(
        0, "GPUs of all servers; 0: of one, or of each --base-url.", group=_DRY_RUN, metavar="N", shapes_output=False
    )
    price: float = setting(
        0.0, "Dollars of one GPU for an hour.", group=_DRY_RUN, metavar="USD", parse=ratio, shapes_output=False
    )
    shape: str = setting(
        "",
        "Alias, folder, config.json or hub id of a model of the same shape, where --model is but a server's name.",
        group=_DRY_RUN,
        metavar="M",
        shapes_output=False,
    )

    def __post_init__(self) -> None:
        problems = [*self._task_problems(), *self._size_problems(), *self._engine_problems()]
        if problems:
            raise UserError("\n".join(problems), "selfinstruct generate --help")

    def _task_problems(self) -> list[str]:
        problems = [] if self.docs else ["no documents: give --docs"]
        problems += [
            f"--tasks: no task {name!r}{did_you_mean(name, TASKS)}" for name in self.tasks if name not in TASKS
        ]
        problems += [
            f"--checks: no check {name!r}{did_you_mean(name, CHECKS)}" for name in self.checks if name not in CHECKS
        ]
        return problems if self.tasks else [*problems, "--tasks: none given"]

    def _size_problems(self) -> list[str]:
        problems = []
        if self.chunk_tokens < 32:
            problems.append("--chunk-tokens: at least 32 are needed to ask about anything")
        if self.question_tokens < TEMPLATE_TOKENS:
            problems.append(f"--question-tokens: the template alone takes up to {TEMPLATE_TOKENS}")
        if self.context_tokens < self.chunk_tokens + self.question_tokens:
            problems.append(
                f"--context-tokens {self.context_tokens} cannot hold a chunk of {self.chunk_tokens} tokens with "
                f"{self.question_tokens} for question and answer: raise it, or lower --chunk-tokens or "
                "--question-tokens"
            )
        for name in ("temperature", "top_p", "near_duplicates"):
            if not 0 <= getattr(self, name) <= (2 if name == "temperature" else 1):
                problems.append(f"--{name.replace('_', '-')}: {getattr(self, name)} is out of range")
        return problems

    def _engine_problems(self) -> list[str]:
        problems = []
        if self.engine == "http" and not self.base_url:
            problems.append("--engine http needs --base-url")
        if self.base_url and self.engine not in ("auto", "http"):
            problems.append(f"--base-url is given, but --engine {self.engine} asks no server")
        if self.engine in ("vllm", "transformers") and not self.model:
            problems.append(f"--engine {self.engine} needs --model")
        if self.max_cost and not (self.price_in or self.price_out):
            problems.append("--max-cost needs --price-in and --price-out")
        if self.judge_url and "critique" not in self.checks:
            problems.append("--judge-url is given, but --checks leaves critique out")
        return problems

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out)

    @property
    def part(self) -> Shard:
        """The documents that this run asks about."""
        return Shard.of(self.shard) if self.shard else Shard()

    @property
    def answer_language(self) -> str:
        """As the prompts put it."""
        return self.language or "the language of the document"


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What `selfinstruct check` changes; what is not given stays as the run had it."""

    checks: tuple[str, ...] = setting((), "The checks to make.", group=_CHECKS, metavar="A,B", parse=words)
    min_score: float = setting(
        0.0, "Critique score from which a pair is kept.", group=_CHECKS, metavar="F", parse=_score
    )
    judge_model: str = setting("", "Model that makes the critique.", group=_CHECKS, metavar="M")
    judge_url: tuple[str, ...] = setting((), "Its OpenAI-compatible servers.", group=_CHECKS, metavar="U...")
    judge_api_key_env: str = setting("", "Environment variable that holds their key.", group=_CHECKS, metavar="NAME")

    def changes(self) -> dict[str, object]:
        """The settings that were given."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in given.items() if value}
