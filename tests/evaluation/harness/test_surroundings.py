"""Nothing goes out without leave, and all is as before afterwards."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets.config
import huggingface_hub.constants
import pytest

from evaluation.harness.surroundings import OFFLINE, surroundings
from evaluation.results import Results
from longreach.errors import UserError


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who has said nothing of the hub."""
    for name in OFFLINE:
        monkeypatch.delenv(name, raising=False)
    for module in (huggingface_hub.constants, datasets.config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)


def offline() -> list[bool]:
    """What the libraries think."""
    return [huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE, "HF_HUB_OFFLINE" in os.environ]


def test_all_is_put_back(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    with surroundings(hub=False):
        assert offline() == [True] * 3
        assert os.environ["HF_DATASETS_OFFLINE"] == "1"
    assert offline() == [False] * 3
    assert os.environ["HF_DATASETS_OFFLINE"] == "0"
    with pytest.raises(KeyError), surroundings(hub=False):
        raise KeyError
    assert offline() == [False] * 3


def test_with_leave_all_stays_as_it_is(online: None) -> None:
    with surroundings(hub=True):
        assert offline() == [False] * 3


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Addresses that somebody tried to reach."""
    tried: list[Any] = []

    def refuse(*given: Any, **options: Any) -> Any:
        tried.append(given)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield tried


def test_a_run_on_local_data_calls_nobody(online: None, calls: list[Any], measure: Callable[..., Results]) -> None:
    results = measure("arc_easy", "scrolls_quality", "longreach_zeroscrolls_quality", samples=1)
    assert len(results.scores) == 3
    assert calls == []


def test_programs_are_run_without_a_call(
    online: None, calls: list[Any], measure: Callable[..., Results], scripted: Any
) -> None:
    lm = scripted(lambda request: request.doc["code"])
    assert [score.value for score in measure("mbpp", lm=lm, samples=1, run_code=True).scores] == [100]
    assert calls == []


def test_a_model_that_is_not_here_is_not_fetched(
    online: None, calls: list[Any], measure: Callable[..., Results]
) -> None:
    with pytest.raises(UserError, match="no model some/model") as caught:
        measure("arc_easy", model="some/model")
    assert "--hub" in caught.value.hint
    assert calls == []


def test_data_that_are_not_here_are_not_fetched(
    online: None, calls: list[Any], measure: Callable[..., Results], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no task can run"):
        measure("short", "safety", data_dir=str(tmp_path))
    assert calls == []
