"""GPUs are told by NVIDIA's tool: here a stand-in on the PATH."""

from pathlib import Path

import pytest

from longreach.machine import Gpu, cores, cpu, free_gb, gpu_of, gpus, memory_gb


def tool(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_each_gpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "echo 'NVIDIA H100, 81559, 9.0, 570.1'; echo 'Tesla T4, 15360, 7.5, 535.2'", monkeypatch)
    first, second = gpus()
    assert first == Gpu("NVIDIA H100", pytest.approx(85.52, abs=0.01), (9, 0), "570.1")
    assert first.bfloat16
    assert (second.capability, second.bfloat16) == ((7, 5), False)


@pytest.mark.parametrize("body", ["echo broken >&2; exit 9", "exit 0"])
def test_a_tool_that_fails_tells_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    tool(tmp_path, body, monkeypatch)
    assert gpus() == []


def test_no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_what_the_driver_does_not_tell_is_0() -> None:
    assert gpu_of("NVIDIA GB10, [N/A], 12.1, 580.9") == Gpu("NVIDIA GB10", 0.0, (12, 1), "580.9")


def test_this_machine(tmp_path: Path) -> None:
    assert cores() >= 1
    assert cpu()
    assert 0.5 < memory_gb() < 1e5
    assert 0 < free_gb(tmp_path) < 1e9
