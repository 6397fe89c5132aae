"""The command's body: settings in, a finished run folder out."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from longreach.engines.base import Engine
from longreach.errors import missing_extra
from longreach.progress import ProgressLine
from longreach.run import RunFolder
from longreach.text.tokenize import load_tokenizer
from selfinstruct.card import write_card
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import budget_of, choose_engine, choose_judge
from selfinstruct.export import write_parquet
from selfinstruct.pipeline import Report, Run, require_some
from selfinstruct.prompts import load_prompts


def generate_records(settings: GenerateSettings) -> Report:
    """documents -> chunks -> prompts -> engine -> pairs -> checks -> records, in the run folder."""
    budget = budget_of(settings)
    engine, notes = choose_engine(settings, budget)
    for note in notes:
        sys.stderr.write(note + "\n")
    return finish(prepare(settings, engine, choose_judge(settings, budget), notes))


def prepare(settings: GenerateSettings, engine: Engine, judge: Engine | None, notes: Sequence[str]) -> Run:
    """Load what a run needs; everything that the user may have got wrong shows here, before any work."""
    if settings.format == "parquet" and find_spec("pyarrow") is None:
        raise missing_extra("pyarrow", "--format parquet", "documents")
    prompts, tokenizer = load_prompts(settings.prompts), load_tokenizer(settings.tokenizer)
    return Run(settings, tokenizer, prompts, engine, judge, list(notes))


def finish(run: Run, *, claim: bool = True, accept: Callable[[Run], None] = require_some) -> Report:
    """Run to the end and write what stands beside the records.

    `claim` refuses a folder that was made with other settings; `accept` may refuse the result before any file of the
    folder is replaced.
    """
    with RunFolder(run.settings.folder) as folder:
        with ProgressLine("generate", run.corpus.total_bytes) as line:
            run.progress = lambda: line.update(run.corpus.read_bytes, run.tally.in_words())
            report = run.execute(folder, claim=claim, accept=accept)
        parquet = folder.path / "records.parquet"
        parquet.unlink(missing_ok=True)  # one of an earlier result
        if run.settings.format == "parquet":
            write_parquet(folder.path / "records.jsonl", parquet)
        write_card(folder.path, report.manifest)
        folder.write_manifest(report.manifest)
    return report
