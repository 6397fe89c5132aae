"""The command's body: settings in, a finished run folder out."""

import sys
from collections.abc import Sequence

from longreach.engines.base import Engine
from longreach.progress import ProgressLine
from longreach.run import FINISHED, RunFolder
from longreach.text.tokenize import load_tokenizer
from selfinstruct.card import write_card
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import choose_engine, choose_judge
from selfinstruct.export import write_parquet
from selfinstruct.pipeline import Report, Run, require_some
from selfinstruct.prompts import load_prompts


def generate_records(settings: GenerateSettings) -> Report:
    """documents -> chunks -> prompts -> engine -> pairs -> checks -> records, in the run folder."""
    engine, notes = choose_engine(settings)
    for note in notes:
        sys.stderr.write(note + "\n")
    return finish(prepare(settings, engine, notes))


def prepare(settings: GenerateSettings, engine: Engine, notes: Sequence[str]) -> Run:
    """Load what a run needs; everything that the user may have got wrong shows here, before any work."""
    prompts, tokenizer = load_prompts(settings.prompts), load_tokenizer(settings.tokenizer)
    return Run(settings, tokenizer, prompts, engine, choose_judge(settings), list(notes))


def finish(run: Run, *, claim: bool = True) -> Report:
    """Run to the end and write what stands beside the records."""
    with RunFolder(run.settings.folder) as folder:
        with ProgressLine("generate", run.corpus.total_bytes) as line:
            run.progress = lambda: line.update(run.corpus.read_bytes, run.tally.in_words())
            report = run.execute(folder, claim=claim)
        require_some(report)
        if run.settings.format == "parquet":
            write_parquet(folder.path / "records.jsonl", folder.path / "records.parquet")
        write_card(folder.path, report.manifest)
        folder.write_manifest(report.manifest | {"status": FINISHED})
    return report
