"""`pretrain plan`: a base model's configuration -> memory, operations, hours -> what fits, and how to start it."""

from longreach.model.aliases import BATCH_TOKENS, LONG, STEPS, Choice, find_alias, settings_for
from longreach.model.configjson import config_of
from longreach.model.rope import NONE, Rope
from longreach.plan.plan import Run, make_plan
from longreach.plan.report import Report
from pretrain.config import PlanSettings
from pretrain.curriculum import parse_stages


def show_plan(settings: PlanSettings, *, as_json: bool) -> None:
    """Print what a training run needs, and write it where a folder is given."""
    Report(make_plan(planned_run(settings), settings), settings.stages).show(settings.out, as_json=as_json)


def planned_run(settings: PlanSettings) -> Run:
    """Model and stages; what nobody says is the paper's."""
    alias = find_alias(settings.base)
    published = settings_for(alias.name) if alias else {}
    batch = settings.batch_tokens or published.get("batch_tokens", Choice(BATCH_TOKENS, "")).value
    tokens = settings.tokens or (settings.steps or STEPS) * batch
    stages = [(settings.seq_len or published.get("seq_len", Choice(LONG, "")).value, tokens)]
    if settings.stages:
        stages = [(spec.seq_len, round(spec.share * tokens)) for spec in parse_stages(settings.stages, Rope(NONE))]
    return Run("pretrain", settings.base, config_of(settings.base), stages, batch)
