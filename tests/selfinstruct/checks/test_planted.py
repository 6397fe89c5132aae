"""The bar of the checks on a planted set: what they must see and what they may lose. Mistakes: run planted.py."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
assert spec and spec.loader
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)


@pytest.mark.parametrize("name", ["planted"])
def test_deterministic_checks_meet_their_bar(name: str) -> None:
    right, total = planted.summary(planted.verdicts(name))
    caught, lost = planted.rates(right, total)
    assert total.total() >= 200
    assert caught >= 0.95, f"only {caught:.1%} of the bad pairs that can be seen are rejected for the right reason"
    assert lost <= 0.05, f"{lost:.1%} of the good pairs are rejected"
