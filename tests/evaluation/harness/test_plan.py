"""What can run, and in words why the rest cannot."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.config import HarnessSettings
from evaluation.harness import plan as planning
from evaluation.harness.plan import Job, Model, Plan, plan
from evaluation.harness.suites import chosen
from longreach.errors import UserError

WIDE = Model(window=1 << 17, chat=False, tells=True)


def planned(*suite: str, model: Model = WIDE, **given: Any) -> Plan:
    """The plan of some suites."""
    settings = HarnessSettings(model="m", out="out", suite=suite, **given)
    return plan(chosen(settings.suite), settings, model)


def only(found: Plan) -> Job:
    """The one job."""
    (job,) = found.jobs
    assert not found.cannot
    return job


@pytest.mark.parametrize(
    ("task", "given", "model", "reason"),
    [
        ("truthfulqa_gen", {}, WIDE, "needs a judge: two models fine-tuned from GPT-3"),
        ("toxigen_generations", {}, WIDE, "needs a judge: a RoBERTa classifier"),
        ("humaneval", {}, WIDE, "runs programs that the model wrote: needs --run-code"),
        ("piqa", {}, Model(0, chat=True, tells=False), "needs likelihoods of given answers, which a chat server"),
        ("piqa", {}, Model(0, chat=False, tells=False), "name the server's tokenizer with --tokenizer"),
        ("gsm8k", {}, Model(300, chat=False, tells=True), "the model's window of 300 tokens is too small"),
        ("gsm8k", {"data_dir": ""}, WIDE, "no data: give --data-dir with gsm8k (openai/gsm8k), or --hub"),
        ("arc_easy", {"data_dir": ""}, WIDE, "no data: give --data-dir with arc/ARC-Easy (allenai/ai2_arc), or --hub"),
        ("mmlu", {"data_dir": ""}, WIDE, "no data: give --data-dir with mmlu/{config} (cais/mmlu), or --hub"),
        ("longreach_bold", {"data_dir": ""}, WIDE, "no data: give --data-dir with bold (amazon-science/bold)"),
        ("longreach_bold", {"data_dir": "", "hub": True}, WIDE, "--hub does not have amazon-science/bold in this form"),
        (
            "gsm8k",
            {"data_dir": "/nowhere"},
            WIDE,
            "looked for test and train in /nowhere/gsm8k/main, /nowhere/gsm8k/data",
        ),
        ("longreach_bold", {"data_dir": "/nowhere", "hub": True}, WIDE, "looked for train in /nowhere/bold"),
    ],
)
def test_every_reason(data_dir: Path, task: str, given: dict[str, Any], model: Model, reason: str) -> None:
    found = planned(task, model=model, **{"data_dir": str(data_dir), **given})
    assert not found.jobs
    assert reason in found.cannot[task]
    assert not (task == "longreach_bold" and "or --hub" in found.cannot[task])


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    found = planned("longbench", "longreach_bold", data_dir=str(data_dir))
    assert len(found.cannot) == 22
    assert found.cannot["longbench_lcc"] == "needs jieba, fuzzywuzzy, rouge: pip install 'lm-eval[longbench]'"
    assert found.cannot["longreach_bold"] == "needs vaderSentiment: pip install 'vaderSentiment'"


def test_a_task_that_this_harness_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    row = 'task = "gone"\ngroup = "g"\nmetric = "acc,none"\ndata = "gone"\nsource = "x/gone"\n'
    path.write_text(f'side = "short"\ndescription = ""\nfolders = ["nowhere"]\n[[tasks]]\n{row}', "utf-8")
    assert planned(str(path)).cannot == {"gone": "this version of lm-eval has no such task"}


def test_from_the_hub_comes_what_the_folder_lacks(data_dir: Path) -> None:
    found = planned("mmlu", hub=True, data_dir=str(data_dir))
    parts = {part.name: data for part, data in only(found).parts}
    assert len(parts) == 57
    assert sum(data is not None for data in parts.values()) == 3
    assert not only(found).absent
    local = only(planned("mmlu", data_dir=str(data_dir)))
    assert [part.name for part, _ in local.parts] == ["mmlu_anatomy", "mmlu_astronomy", "mmlu_virology"]
    assert len(local.absent) == 54


@pytest.mark.parametrize(
    ("task", "model", "prompt_tokens", "bound"),
    [
        ("scrolls_qasper", WIDE, 0, 16384),  # the suite's
        ("scrolls_qasper", WIDE, 32768, 32768),  # Table 13
        ("scrolls_qasper", Model(4096, chat=False, tells=True), 0, 4096 - 128 - 2),
        ("scrolls_qasper", Model(4096, chat=True, tells=True), 0, 4096 - 128 - 64),
        ("scrolls_govreport", Model(4096, chat=False, tells=True), 0, 4096 - 1024 - 2),
        ("scrolls_quality", Model(4096, chat=False, tells=True), 0, 4096 - 64 - 2),
        ("piqa", WIDE, 0, (1 << 17) - 64 - 2),  # the window alone
        ("scrolls_narrativeqa", Model(0, chat=True, tells=False), 0, 16384),  # of a server's nothing is known
        ("nq_open", Model(0, chat=True, tells=False), 0, 0),
    ],
)
def test_the_longest_prompt(data_dir: Path, task: str, model: Model, prompt_tokens: int, bound: int) -> None:
    job = only(planned(task, model=model, prompt_tokens=prompt_tokens, data_dir=str(data_dir)))
    assert job.prompt_tokens == bound


def test_what_cuts_a_prompt(data_dir: Path) -> None:
    names = ("piqa", "scrolls_qasper", "longbench2_table", "longreach_paper_qasper", "longreach_leval_tpo")
    cuts = {job.entry.task: job.cut for job in planned(*names, data_dir=str(data_dir)).jobs}
    assert cuts == dict(zip(names, ("left", "left", "middle", "left", "none"), strict=True))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": ""}, "no model: give --model"),
        ({"model": "", "base_url": "http://x/v1"}, "no model: give --model, as the server calls it"),
        ({"engine": "http"}, "--engine http needs --base-url"),
        ({"engine": "vllm", "base_url": "http://x/v1"}, "--base-url is for --engine http, not vllm"),
        ({"suite": ()}, "no suite"),
        ({"prompt_tokens": 10}, "--prompt-tokens is at least 64"),
        ({"samples": -1}, "are 0 or more"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        HarnessSettings(**{"model": "m", "out": "out", "suite": ("short",), **given})
