"""`finetune plan`: a base model's configuration -> memory, operations, hours -> what fits, and how to start it."""

from finetune.config import BATCH_TOKENS, PACK_LEN, PlanSettings
from longreach.model.configjson import config_of
from longreach.plan.plan import Run, make_plan
from longreach.plan.report import Report


def show_plan(settings: PlanSettings, *, as_json: bool) -> None:
    """Print what a training run needs, and write it where a folder is given."""
    Report(make_plan(planned_run(settings), settings)).show(settings.out, as_json=as_json)


def planned_run(settings: PlanSettings) -> Run:
    """Model and tokens; rows are as long as the paper packs them unless said."""
    seq_len = settings.seq_len or PACK_LEN
    batch = settings.batch_tokens or max(BATCH_TOKENS, seq_len)
    stages = [(seq_len, settings.tokens or settings.steps * batch)]
    return Run("finetune", settings.base, config_of(settings.base), stages, batch, settings.qlora)
