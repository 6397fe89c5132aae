"""Presets: their figures, whose settings win, and sources that are missing or unknown."""

from typing import Any

import pytest

from longreach.errors import UserError
from pretrain.config import PrepareSettings
from pretrain.presets import LENGTHENING, PRESETS, Applied, apply_preset, find_preset
from pretrain.sources import parse_sources


def applied(name: str, *sources: str, **given: Any) -> Applied:
    """The preset on sources written NAME or NAME@SHARE."""
    return apply_preset(
        name,
        parse_sources([source.replace("@", "=x@") if "@" in source else f"{source}=x" for source in sources]),
        given,
    )


def shares(result: Applied) -> dict[str, float | None]:
    return {spec.name: spec.share for spec in result.specs}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_figure_has_its_origin_and_every_setting_exists(preset: Any) -> None:
    assert preset.origins.keys() >= preset.settings.keys()
    assert preset.settings.keys() <= PrepareSettings.__dataclass_fields__.keys()
    assert len(preset.settings.keys() & set(LENGTHENING)) <= 1
    assert preset.long_only <= set(preset.names)
    if preset.groups:
        assert sum(sum(group.values()) for group in preset.groups) == pytest.approx(1)
        assert "shares" in preset.origins


def test_the_published_figures() -> None:
    assert PRESETS["fu"].settings["long_share"] == 0.7
    assert PRESETS["fu"].settings["long_tokens"] == 4_096
    assert PRESETS["olmo3"].settings["long_share"] == 0.34
    long, short = PRESETS["prolong"].groups
    assert long == {"code": 0.3, "books": 0.3}
    assert sum(short.values()) == pytest.approx(0.4)
    assert sum(share for name, share in short.items() if name != "textbooks") == pytest.approx(0.37)


def test_a_preset_that_names_no_sources_leaves_them_as_they_are() -> None:
    result = applied("fu", "web", "mine@0.3")
    assert shares(result) == {"web": None, "mine": 0.3}
    assert result.settings == {"long_share": 0.7, "long_tokens": 4_096, "upsample_over": "source"}
    assert any("--long-share 0.7 (Fu et al. 2024" in note for note in result.notes)


def test_what_the_user_gives_wins() -> None:
    assert applied("fu", "web", long_tokens=9_000).settings == {"long_share": 0.7, "upsample_over": "source"}
    assert applied("fu", "web", upsample_long=3.0).settings == {"long_tokens": 4_096, "upsample_over": "source"}
    assert applied("llama2-long", "web", long_share=0.0).settings == {"upsample_over": "source"}
    assert not any("--long-share" in note for note in applied("fu", "web", upsample_long=3.0).notes)


def test_all_sources_get_the_published_shares() -> None:
    names = PRESETS["prolong"].names
    result = applied("prolong", *names)
    assert shares(result) == pytest.approx(
        {name: share for group in PRESETS["prolong"].groups for name, share in group.items()}
    )
    assert {spec.name for spec in result.specs if spec.long_share == 1} == {"code", "books"}
    assert not any("no source" in note for note in result.notes)


def test_missing_sources_leave_their_part_to_their_own_kind() -> None:
    result = applied("prolong", "books", "wikipedia", "arxiv")
    assert shares(result) == pytest.approx({"books": 0.6, "wikipedia": 0.4 * 4 / 7, "arxiv": 0.4 * 3 / 7})
    note = next(note for note in result.notes if "no source" in note)
    assert "code, textbooks" in note
    assert "wikipedia" not in note


def test_a_missing_kind_leaves_its_part_to_the_other() -> None:
    assert shares(applied("prolong", "wikipedia", "arxiv")) == pytest.approx({"wikipedia": 4 / 7, "arxiv": 3 / 7})


def test_shares_of_the_user_win_and_the_preset_fills_what_they_leave() -> None:
    result = applied("prolong", "mine@0.5", "books@0.2", "code", "arxiv")
    assert shares(result) == pytest.approx({"mine": 0.5, "books": 0.2, "code": 0.3 * 3 / 7, "arxiv": 0.3 * 4 / 7})
    assert not any("shares of" in note for note in applied("prolong", "code@1", "arxiv@1").notes)


def test_asking_for_long_text_yourself_takes_the_place_of_only_long_documents() -> None:
    result = applied("prolong", "books", "arxiv", long_share=0.5)
    assert [spec.long_share for spec in result.specs] == [None, None]
    assert not any("only long" in note for note in result.notes)


def test_unknown_names_are_told_with_what_is_known() -> None:
    with pytest.raises(UserError) as raised:
        applied("prolong", "book", "mine", "code")
    assert raised.value.problem.splitlines() == [
        "--preset prolong has no share for the source book; did you mean 'books'?",
        "--preset prolong has no share for the source mine",
    ]
    assert "code, books, textbooks" in raised.value.hint
    with pytest.raises(UserError, match="no preset 'prolog'; did you mean 'prolong'") as raised:
        find_preset("prolog")
    assert "olmo3: 34 %" in raised.value.hint
